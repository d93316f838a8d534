"""How a scenario writes which packets a link loses, and the length of its queue."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, PlainSerializer, Tag

from mptcpsim.scenario.fields import Model
from mptcpsim.scenario.quantities import Probability, Whole, size_text
from mptcpsim.units import parse_size


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


def random_loss_values(loss: LossSpec | None) -> tuple[float, ...]:
    """Return a loss as dummynet's ``plr``: nothing, p, or K, p, H, r."""
    if isinstance(loss, GilbertElliottSpec):
        return (loss.k, loss.p, loss.h, loss.r)
    return (loss,) if isinstance(loss, float) and loss > 0.0 else ()
