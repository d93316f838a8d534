"""The scenario file as a model: every key, its type, its default.

What can be said of one key alone is checked here; what needs two keys (does this
host exist, can that address be reached) in ``scenario.check``. All models refuse
unknown keys and are frozen once read.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PlainSerializer, StrictBool, Tag, model_validator

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.scenario.catalogue import parameters
from mptcpsim.scenario.fields import Model, PluginChoice, PluginField
from mptcpsim.scenario.mptcp_settings import MptcpField, MptcpSettings
from mptcpsim.scenario.quantities import (
    PositiveRate,
    PositiveSize,
    PositiveTime,
    Probability,
    Rate,
    Size,
    Time,
    Whole,
    size_text,
)
from mptcpsim.units import MILLISECOND, parse_size

#: The least MTU that a link may have, bytes (RFC 791: every host takes 576; RFC 8200: 1280 for IPv6).
MIN_MTU = 576
MAX_MTU = 65535

#: Queue limit of a link that states none: dummynet's 50 slots.
DEFAULT_QUEUE_SLOTS = 50

Count = Annotated[Whole, Field(ge=1)]
Port = Annotated[Whole, Field(ge=1, le=65535)]
Segments = Annotated[Whole, Field(ge=1, le=1000)]


# --- TCP settings -----------------------------------------------------------------------------


class TcpSettings(Model):
    """Some of the fields of ``core.config.TcpConfig``; what is absent keeps its value.

    Those of MPTCP have tables of their own, see ``scenario.mptcp_settings``.
    """

    mss: Annotated[Whole, Field(ge=0, le=65495)] | None = None
    congestion: PluginField | None = None
    initial_window_segments: Segments | None = None
    initial_ssthresh: Size | None = None
    send_buffer: PositiveSize | None = None
    receive_buffer: PositiveSize | None = None
    window_scaling: StrictBool | None = None
    window_scale: Annotated[Whole, Field(ge=-1, le=14)] | None = None
    timestamps: StrictBool | None = None
    sack: StrictBool | None = None
    rack_tlp: StrictBool | None = None
    limited_transmit: StrictBool | None = None
    ecn: StrictBool | None = None
    nagle: StrictBool | None = None
    ack_every: Segments | None = None
    delayed_ack: Time | None = None
    rto_initial: PositiveTime | None = None
    rto_min: PositiveTime | None = None
    rto_max: PositiveTime | None = None
    rto_granularity: PositiveTime | None = None
    syn_retries: Annotated[Whole, Field(ge=0, le=127)] | None = None
    data_retries: Annotated[Whole, Field(ge=0, le=127)] | None = None
    persist_max: PositiveTime | None = None
    zero_window_probe: Literal["byte", "empty"] | None = None
    keepalive: StrictBool | None = None
    keepalive_idle: PositiveTime | None = None
    keepalive_interval: PositiveTime | None = None
    keepalive_probes: Annotated[Whole, Field(ge=1, le=127)] | None = None
    time_wait: Time | None = None
    path_mtu_discovery: StrictBool | None = None
    slow_start_after_idle: StrictBool | None = None
    challenge_ack_limit: Annotated[Whole, Field(ge=0)] | None = None
    initial_sequence: Annotated[Whole, Field(ge=-1, lt=1 << 32)] | None = None
    initial_timestamp: Annotated[Whole, Field(ge=-1, lt=1 << 32)] | None = None
    header_prediction: StrictBool | None = None

    def over(self, base: TcpConfig) -> TcpConfig:
        """Return ``base`` with the fields that are given here replaced."""
        given: dict[str, Any] = {
            name: value
            for name in type(self).model_fields
            if name != "congestion" and (value := getattr(self, name)) is not None
        }
        if self.congestion is not None:
            given["congestion"] = self.congestion.name
            given["congestion_parameters"] = parameters(
                "congestion", self.congestion.name, self.congestion.parameters
            )
        return replace(base, **given)


class Defaults(Model):
    """Settings of every host that states none of its own."""

    tcp: TcpSettings = TcpSettings()
    mptcp: MptcpField = MptcpSettings()


# --- Nodes ------------------------------------------------------------------------------------


def _interface_address(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is not an address: write a string such as "192.168.0.10/24"')
    if "/" not in value:
        raise ValueError(f'{value!r} has no prefix length: write it as "{value}/24"')
    try:
        address = ipaddress.ip_interface(value)
    except ValueError as error:
        raise ValueError(
            f'{value!r} is not an address: {error}; write one such as "192.168.0.10/24"'
        ) from None
    network = address.network
    if network.num_addresses > 2 and address.ip == network.network_address:
        raise ValueError(f"{value!r} is the address of the network itself: choose one of its hosts")
    if network.version == 4 and network.num_addresses > 2 and address.ip == network.broadcast_address:
        raise ValueError(f"{value!r} is the broadcast address of its network: choose one of its hosts")
    return str(address)


def _address(value: Any) -> str:
    try:
        if not isinstance(value, str):
            raise ValueError("not a string")
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f'{value!r} is not an address: write one such as "192.168.0.1"') from None


def _network(value: Any) -> str:
    try:
        if not isinstance(value, str):
            raise ValueError("not a string")
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(
            f'{value!r} is not a destination: {error}; write a network such as "10.0.1.0/24"'
        ) from None


InterfaceAddress = Annotated[str, BeforeValidator(_interface_address)]
Address = Annotated[str, BeforeValidator(_address)]
Network = Annotated[str, BeforeValidator(_network)]


class InterfaceSpec(Model):
    """An interface: ``"192.168.0.10/24"``, a list of such, or a table."""

    addresses: Annotated[tuple[InterfaceAddress, ...], Field(min_length=1)]


def _interface(value: Any) -> Any:
    if isinstance(value, str):
        return {"addresses": [value]}
    if isinstance(value, list):
        return {"addresses": value}
    return value


class RouteSpec(Model):
    """A static route: packets for ``to`` go to the gateway ``via``."""

    to: Network
    via: Address


class NodeSpec(Model):
    """What hosts and routers have in common."""

    interfaces: Annotated[
        dict[str, Annotated[InterfaceSpec, BeforeValidator(_interface)]], Field(min_length=1)
    ]
    default_route: Address | None = None
    routes: tuple[RouteSpec, ...] = ()


class HostSpec(NodeSpec):
    """An end system with a TCP stack."""

    tcp: TcpSettings = TcpSettings()
    mptcp: MptcpField = MptcpSettings()


class RouterSpec(NodeSpec):
    """A node that forwards between its interfaces."""


class SwitchSpec(Model):
    """A learning-free layer-2 switch: what its ports share is one network."""


# --- Links ------------------------------------------------------------------------------------


class GilbertElliott(Model):
    """Two-state loss as dummynet's ``plr K,p,H,r`` has it.

    ``k`` is the loss probability in the good state, ``h`` in the bad one; ``p`` leads from
    good to bad, ``r`` back, both for each packet.
    """

    k: Probability = 0.0
    p: Probability
    h: Probability = 1.0
    r: Probability


class PeriodicLoss(Model):
    """Every ``every``-th packet is lost, beginning with packet ``first`` (0: with ``every``)."""

    every: Annotated[Whole, Field(ge=1)]
    first: Annotated[Whole, Field(ge=0)] = 0


class ListedLoss(Model):
    """The packets with the given numbers are lost; the first one has the number 1."""

    packets: Annotated[tuple[Annotated[Whole, Field(ge=1)], ...], Field(min_length=1)]


def _loss_kind(value: Any) -> str:
    """Tell the four ways to write a loss apart; the tags never show, see ``scenario.load``."""
    if isinstance(value, PeriodicLoss) or (isinstance(value, dict) and "every" in value):
        return "<periodic>"
    if isinstance(value, ListedLoss) or (isinstance(value, dict) and "packets" in value):
        return "<listed>"
    return "<gilbert-elliott>" if isinstance(value, dict | GilbertElliott) else "<probability>"


def _loss_probability(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ValueError(
            f"{value!r} is not a loss: write a probability from 0 to 1, "
            "{k = 0.0, p = 0.01, h = 0.5, r = 0.2} (Gilbert-Elliott), {every = 100} or {packets = [7]}"
        )
    return float(value)


Loss = Annotated[
    Annotated[float, BeforeValidator(_loss_probability), Tag("<probability>")]
    | Annotated[GilbertElliott, Tag("<gilbert-elliott>")]
    | Annotated[PeriodicLoss, Tag("<periodic>")]
    | Annotated[ListedLoss, Tag("<listed>")],
    Discriminator(_loss_kind),
]


class QueueLimit(Model):
    """The length of a queue, in slots or in bytes; exactly one of them is not 0."""

    slots: int = 0
    size: int = 0


def _queue(value: Any) -> Any:
    if isinstance(value, QueueLimit):
        return value
    slots = None
    if isinstance(value, int) and not isinstance(value, bool):
        slots = value
    elif isinstance(value, str):
        number, _, unit = value.strip().partition(" ")
        if unit in ("packets", "slots", "packet", "slot") and number.lstrip("+-").isdigit():
            slots = int(number)
        else:
            size = parse_size(value)
            if size <= 0:
                raise ValueError(f"{value!r} holds nothing: a queue has at least one byte")
            return QueueLimit(size=size)
    else:
        raise ValueError(f'{value!r} is not a queue: write slots such as 50, or a size such as "30KiB"')
    if not 1 <= slots <= 10_000_000:
        raise ValueError(f"{value!r} is out of range: a queue has 1 to 10000000 slots")
    return QueueLimit(slots=slots)


def _queue_out(limit: QueueLimit) -> Any:
    return limit.slots if limit.slots else size_text(limit.size)


Queue = Annotated[QueueLimit, BeforeValidator(_queue), PlainSerializer(_queue_out)]


class DirectionSpec(Model):
    """Properties of one direction of a link; what is absent is as in the link itself."""

    rate: Rate | None = None
    delay: Time | None = None
    queue: Queue | None = None
    qdisc: PluginField | None = None
    loss: Loss | None = None
    jitter: Time | None = None
    jitter_reorders: StrictBool | None = None
    reorder: Probability | None = None
    reorder_delay: Time | None = None
    duplicate: Probability | None = None
    corrupt: Probability | None = None
    burst: Size | None = None


class LinkSpec(Model):
    """A duplex link between two ends; ``forward`` runs from the first end to the second.

    An end is ``"HOST:INTERFACE"``, ``"ROUTER:INTERFACE"`` or ``"SWITCH"``.
    """

    name: Annotated[str, Field(min_length=1)]
    ends: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)]
    rate: Rate = 0
    delay: Time = 0
    queue: Queue = QueueLimit(slots=DEFAULT_QUEUE_SLOTS)
    qdisc: PluginField = PluginChoice(name="droptail")
    loss: Loss = 0.0
    jitter: Time = 0
    jitter_reorders: StrictBool = False
    reorder: Probability = 0.0
    reorder_delay: Time = 0
    duplicate: Probability = 0.0
    corrupt: Probability = 0.0
    burst: Size = 0
    overhead_bytes: Annotated[Whole, Field(ge=0, le=1000)] = 0
    mtu: Annotated[Whole, Field(ge=MIN_MTU, le=MAX_MTU)] = 1500
    down_drops_queue: StrictBool = True
    down_drops_flight: StrictBool = False
    forward: DirectionSpec = DirectionSpec()
    backward: DirectionSpec = DirectionSpec()

    @model_validator(mode="before")
    @classmethod
    def _name_by_ends(cls, data: Any) -> Any:
        return {"name": default_link_name(data), **data} if isinstance(data, dict) else data

    def direction(self, forward: bool) -> DirectionSpec:
        """Return all properties of one direction, none of them None."""
        own = self.forward if forward else self.backward
        values = {
            name: given if (given := getattr(own, name)) is not None else getattr(self, name)
            for name in DirectionSpec.model_fields
        }
        return DirectionSpec.model_construct(**values)


def default_link_name(link: dict[str, Any]) -> str:
    """Return the name of a link that states none: its ends."""
    ends = link.get("ends")
    return "--".join(str(end) for end in ends) if isinstance(ends, list | tuple) else ""


# --- Flows ------------------------------------------------------------------------------------


class ReaderSpec(Model):
    """A reader that takes at most ``read_size``, every so often or (0) whenever there is data.

    Without a reader everything is taken at once.
    """

    read_size: PositiveSize
    every: Time = 0


class FlowSpec(Model):
    """What all flows have in common: who talks to whom, from when on, with which settings."""

    name: Annotated[str, Field(min_length=1)]
    client: str
    server: str
    client_interface: str | None = None
    server_interface: str | None = None
    port: Port = 5001
    start: Time = 0
    reader: ReaderSpec | None = None
    tcp: TcpSettings = TcpSettings()
    client_tcp: TcpSettings = TcpSettings()
    server_tcp: TcpSettings = TcpSettings()
    mptcp: MptcpField = MptcpSettings()
    client_mptcp: MptcpField = MptcpSettings()
    server_mptcp: MptcpField = MptcpSettings()


class _Limited(FlowSpec):
    """A flow that ends by itself: after so many bytes, after a time, or not at all."""

    bytes: PositiveSize | None = None
    duration: PositiveTime | None = None
    reverse: StrictBool = False

    @model_validator(mode="after")
    def _one_limit(self) -> _Limited:
        if self.bytes is not None and self.duration is not None:
            raise ValueError("bytes and duration exclude each other: keep one of them")
        return self


class BulkFlow(_Limited):
    """As much as goes, as iperf does; the client sends, or with ``reverse`` the server."""

    app: Literal["bulk"] = "bulk"


class ConstantRateFlow(_Limited):
    """A message of ``message`` bytes as often as ``rate`` says."""

    app: Literal["constant-rate"]
    rate: PositiveRate
    message: PositiveSize = 1000


class OnOffFlow(_Limited):
    """Constant rate during ``on``, silence during ``off``; both are means if ``random``."""

    app: Literal["on-off"]
    rate: PositiveRate
    message: PositiveSize = 1000
    on: PositiveTime
    off: PositiveTime
    random: StrictBool = False


class RequestResponseFlow(FlowSpec):
    """The client sends a request, the server answers; the next one follows after ``every``.

    ``every`` counts from request to request (0: at once after the response); a request that
    is due while the last response is not complete waits for it.
    """

    app: Literal["request-response"]
    request: PositiveSize = 100
    response: PositiveSize = 10_000
    every: Time = 0
    count: Count | None = None


AnyFlow = BulkFlow | ConstantRateFlow | OnOffFlow | RequestResponseFlow

#: The model of each value of ``app``.
FLOWS: dict[str, type[FlowSpec]] = {
    "bulk": BulkFlow,
    "constant-rate": ConstantRateFlow,
    "on-off": OnOffFlow,
    "request-response": RequestResponseFlow,
}


# --- Events and output ------------------------------------------------------------------------


class EventSpec(Model):
    """A change of a link at an instant."""

    at: Time
    link: str
    action: Literal["down", "up", "set"]
    direction: Literal["both", "forward", "backward"] = "both"
    rate: Rate | None = None
    delay: Time | None = None
    loss: Loss | None = None

    @model_validator(mode="after")
    def _something_to_set(self) -> EventSpec:
        given = [name for name in ("rate", "delay", "loss") if getattr(self, name) is not None]
        if self.action == "set" and not given:
            raise ValueError('action "set" sets nothing: add rate, delay or loss')
        if self.action != "set" and given:
            raise ValueError(f'{given[0]} belongs to action "set", not to {self.action!r}')
        return self


class OutputSpec(Model):
    """What a run records."""

    sample_interval: PositiveTime = 100 * MILLISECOND
    capture: tuple[str, ...] = ()


class Scenario(Model):
    """A whole scenario, as ``scenario.load.load`` returns it."""

    title: Annotated[str, Field(min_length=1)]
    description: str = ""
    seed: Annotated[Whole, Field(ge=0, lt=1 << 63)] = 1
    duration: PositiveTime
    #: Python files with plug-ins of the user's; absolute paths once the scenario is loaded.
    plugins: tuple[str, ...] = ()
    #: "static": what hosts and routers state. "hops" and "delay": the shortest path for what they do not.
    routing: Literal["static", "hops", "delay"] = "static"
    defaults: Defaults = Defaults()
    hosts: Annotated[dict[str, HostSpec], Field(min_length=1)]
    routers: dict[str, RouterSpec] = Field(default_factory=dict)
    switches: dict[str, SwitchSpec] = Field(default_factory=dict)
    links: Annotated[tuple[LinkSpec, ...], Field(min_length=1)]
    flows: Annotated[tuple[Annotated[AnyFlow, Field(discriminator="app")], ...], Field(min_length=1)]
    events: tuple[EventSpec, ...] = ()
    output: OutputSpec = OutputSpec()

    @model_validator(mode="before")
    @classmethod
    def _bulk_by_default(cls, data: Any) -> Any:
        """A flow without ``app`` is a bulk flow; one without ``name`` is called ``flowN``."""
        flows = data.get("flows") if isinstance(data, dict) else None
        if not isinstance(flows, list):
            return data
        named = [
            {"name": f"flow{index}", "app": "bulk", **flow} if isinstance(flow, dict) else flow
            for index, flow in enumerate(flows)
        ]
        return {**data, "flows": named}

    @property
    def nodes(self) -> dict[str, NodeSpec]:
        """Hosts and routers by name."""
        return {**self.hosts, **self.routers}

    def tcp_config(self, host: str, *settings: TcpSettings | MptcpSettings) -> TcpConfig:
        """Return the configuration of a host, the given settings of a flow on top."""
        own = self.hosts[host]
        config, mptcp = TcpConfig(), MptcpConfig()
        for layer in (self.defaults.tcp, self.defaults.mptcp, own.tcp, own.mptcp, *settings):
            if isinstance(layer, MptcpSettings):
                mptcp = layer.over(mptcp)
            else:
                config = layer.over(config)
        return replace(config, mptcp=mptcp)

    def flow_configs(self, flow: FlowSpec) -> tuple[TcpConfig, TcpConfig]:
        """Return the configurations of client and server of a flow."""
        both = flow.tcp, flow.mptcp
        return (
            self.tcp_config(flow.client, *both, flow.client_tcp, flow.client_mptcp),
            self.tcp_config(flow.server, *both, flow.server_tcp, flow.server_mptcp),
        )
