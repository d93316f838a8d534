"""From the description of a link to the settings of its pipes, and to its middleboxes."""

from __future__ import annotations

from mptcpsim.net.loss import ListedLoss, LossModel, PeriodicLoss
from mptcpsim.net.middlebox import Middlebox
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.plugins import create
from mptcpsim.scenario import links
from mptcpsim.scenario.catalogue import parameters


def pipe_settings(link: links.LinkSpec, direction: links.DirectionSpec) -> PipeSettings:
    """Return the settings of the pipe of one direction, as ``links.LinkSpec.direction`` completes it."""
    assert direction.queue is not None
    assert direction.qdisc is not None
    return PipeSettings(
        rate_bps=direction.rate or 0,
        delay_ns=direction.delay or 0,
        limit=direction.queue.slots or direction.queue.size,
        limit_in_bytes=direction.queue.slots == 0,
        burst_bits=8 * (direction.burst or 0),
        overhead_bytes=link.overhead_bytes,
        plr=random_loss_values(direction.loss),
        qdisc=direction.qdisc.name,
        qdisc_parameters=parameters("qdisc", direction.qdisc.name, direction.qdisc.parameters),
        jitter_ns=direction.jitter or 0,
        jitter_reorders=bool(direction.jitter_reorders),
        reorder=direction.reorder or 0.0,
        reorder_ns=direction.reorder_delay or 0,
        duplicate=direction.duplicate or 0.0,
        corrupt=direction.corrupt or 0.0,
        down_drops_queue=link.down_drops_queue,
        down_drops_flight=link.down_drops_flight,
    )


def middleboxes(link: links.LinkSpec) -> list[Middlebox]:
    """Return new middleboxes, configured, in the order of the link's list."""
    boxes = []
    for choice in link.middleboxes:
        box = create("middlebox", choice.name, parameters("middlebox", choice.name, choice.parameters))
        assert isinstance(box, Middlebox)
        boxes.append(box)
    return boxes


def random_loss_values(loss: links.LossSpec | None) -> tuple[float, ...]:
    """Return a loss as dummynet's ``plr``: nothing, p, or K, p, H, r."""
    if isinstance(loss, links.GilbertElliottSpec):
        return (loss.k, loss.p, loss.h, loss.r)
    return (loss,) if isinstance(loss, float) and loss > 0.0 else ()


def counted_loss(loss: links.LossSpec | None) -> LossModel | None:
    """Return the model of a loss that counts packets, else None."""
    if isinstance(loss, links.PeriodicLossSpec):
        return PeriodicLoss(loss.every, loss.first)
    if isinstance(loss, links.ListedLossSpec):
        return ListedLoss(loss.packets)
    return None
