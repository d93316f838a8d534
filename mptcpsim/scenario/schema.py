"""The scenario file as a model: every key, its type, its default.

What can be said of one key alone is checked here; what needs two keys (does this
host exist, can that address be reached) in ``scenario.check``. All models refuse
unknown keys and are frozen once read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mptcpsim.core.config import TcpConfig
from mptcpsim.scenario.catalogue import known
from mptcpsim.scenario.events import AnyEvent
from mptcpsim.scenario.fields import Model
from mptcpsim.scenario.flows import AnyFlow, FlowSpec
from mptcpsim.scenario.links import LinkSpec
from mptcpsim.scenario.mptcp_settings import MptcpField, MptcpSettings, mptcp_config
from mptcpsim.scenario.nodes import HostSpec, NodeSpec, RouterSpec, SwitchSpec
from mptcpsim.scenario.quantities import (
    PositiveTime,
    Size,
    Time,
    Whole,
)
from mptcpsim.scenario.sweep_settings import SweepSpec
from mptcpsim.scenario.tcp_settings import TcpSettings
from mptcpsim.units import MILLISECOND


class Defaults(Model):
    """Settings of every host that states none of its own."""

    tcp: TcpSettings = TcpSettings()
    mptcp: MptcpField = MptcpSettings()


class DumpSpec(Model):
    """A capture that is written in any case, as tcpdump does: ``tcpdump/HOST/FILE`` in the run directory."""

    interface: str
    file: Annotated[str, Field(min_length=1)]
    start: Time = 0
    #: Packets are cut to this length; 0 keeps them whole.
    snap_length: Size = 0


class OutputSpec(Model):
    """What a run records."""

    sample_interval: PositiveTime = 100 * MILLISECOND
    #: Fields of Linux's ``tcp_info`` and ``mptcp_info`` that are recorded as series, beside those that always
    #: are; ``mptcpsim list metrics`` shows them.
    record: tuple[str, ...] = ()
    #: Interfaces to be captured with ``--pcap``.
    capture: tuple[str, ...] = ()
    dumps: tuple[DumpSpec, ...] = ()


class ResultsSpec(Model):
    """How results are told."""

    #: Gaps in the delivery of a flow from this duration on are stalls, shorter ones pauses (docs/design.md);
    #: by default 1 s, and twice the largest time-out of a subflow.
    stall_threshold: PositiveTime | None = None


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
    #: Of shortest paths of one length: "off", the first one is taken; "flow", each flow takes one.
    ecmp: Literal["off", "flow"] = "off"
    defaults: Defaults = Defaults()
    hosts: Annotated[dict[str, HostSpec], Field(min_length=1)]
    routers: dict[str, RouterSpec] = Field(default_factory=dict)
    switches: dict[str, SwitchSpec] = Field(default_factory=dict)
    links: Annotated[tuple[LinkSpec, ...], Field(min_length=1)]
    flows: Annotated[tuple[Annotated[AnyFlow, Field(discriminator="app")], ...], Field(min_length=1)]
    events: tuple[AnyEvent, ...] = ()
    output: OutputSpec = OutputSpec()
    results: ResultsSpec = ResultsSpec()
    #: Values that ``mptcpsim sweep`` tries; a single run ignores them.
    sweep: SweepSpec | None = None

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
        config = TcpConfig()
        with known(self.plugins):
            for layer in (self.defaults.tcp, own.tcp, *settings):
                if isinstance(layer, TcpSettings):
                    config = layer.over(config)
            mptcp = [layer for layer in settings if isinstance(layer, MptcpSettings)]
            return replace(config, mptcp=mptcp_config([self.defaults.mptcp, own.mptcp, *mptcp]))

    def flow_configs(self, flow: FlowSpec) -> tuple[TcpConfig, TcpConfig]:
        """Return the configurations of client and server of a flow."""
        both = flow.tcp, flow.mptcp
        return (
            self.tcp_config(flow.client, *both, flow.client_tcp, flow.client_mptcp),
            self.tcp_config(flow.server, *both, flow.server_tcp, flow.server_mptcp),
        )
