"""Links of a scenario: rates, delays, queues, losses."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, PlainSerializer, StrictBool, Tag, model_validator

from mptcpsim.scenario.fields import Model, PluginChoice, PluginField
from mptcpsim.scenario.quantities import (
    Probability,
    Rate,
    Size,
    Time,
    Whole,
    size_text,
)
from mptcpsim.units import parse_size

#: The least MTU that a link may have, bytes (RFC 791: every host takes 576; RFC 8200: 1280 for IPv6).
MIN_MTU = 576
MAX_MTU = 65535

#: Queue limit of a link that states none: dummynet's 50 slots.
DEFAULT_QUEUE_SLOTS = 50


class GilbertElliottSpec(Model):
    """Two-state loss as dummynet's ``plr K,p,H,r`` has it.

    ``k`` is the loss probability in the good state, ``h`` in the bad one; ``p`` leads from
    good to bad, ``r`` back, both for each packet.
    """

    k: Probability = 0.0
    p: Probability
    h: Probability = 1.0
    r: Probability


class PeriodicLossSpec(Model):
    """Every ``every``-th packet is lost, beginning with packet ``first`` (0: with ``every``)."""

    every: Annotated[Whole, Field(ge=1)]
    first: Annotated[Whole, Field(ge=0)] = 0


class ListedLossSpec(Model):
    """The packets with the given numbers are lost; the first one has the number 1."""

    packets: Annotated[tuple[Annotated[Whole, Field(ge=1)], ...], Field(min_length=1)]


def _loss_kind(value: Any) -> str:
    """Tell the four ways to write a loss apart; the tags never show, see ``scenario.load``."""
    if isinstance(value, PeriodicLossSpec) or (isinstance(value, dict) and "every" in value):
        return "<periodic>"
    if isinstance(value, ListedLossSpec) or (isinstance(value, dict) and "packets" in value):
        return "<listed>"
    return "<gilbert-elliott>" if isinstance(value, dict | GilbertElliottSpec) else "<probability>"


def _loss_probability(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ValueError(
            f"{value!r} is not a loss: write a probability from 0 to 1, "
            "{k = 0.0, p = 0.01, h = 0.5, r = 0.2} (Gilbert-Elliott), {every = 100} or {packets = [7]}"
        )
    return float(value)


LossSpec = Annotated[
    Annotated[float, BeforeValidator(_loss_probability), Tag("<probability>")]
    | Annotated[GilbertElliottSpec, Tag("<gilbert-elliott>")]
    | Annotated[PeriodicLossSpec, Tag("<periodic>")]
    | Annotated[ListedLossSpec, Tag("<listed>")],
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


QueueSpec = Annotated[QueueLimit, BeforeValidator(_queue), PlainSerializer(_queue_out)]


class DirectionSpec(Model):
    """Properties of one direction of a link; what is absent is as in the link itself."""

    rate: Rate | None = None
    delay: Time | None = None
    queue: QueueSpec | None = None
    qdisc: PluginField | None = None
    loss: LossSpec | None = None
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
    queue: QueueSpec = QueueLimit(slots=DEFAULT_QUEUE_SLOTS)
    qdisc: PluginField = PluginChoice(name="droptail")
    loss: LossSpec = 0.0
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
    #: At the second end, in order from the first one; ``mptcpsim list middlebox`` shows what there is.
    middleboxes: tuple[PluginField, ...] = ()
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
