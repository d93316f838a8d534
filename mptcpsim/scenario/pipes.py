"""From the description of a link to the settings of its pipes, and to its middleboxes."""

from __future__ import annotations

from mptcpsim.net.loss import ListedLoss, LossModel, PeriodicLoss
from mptcpsim.net.middlebox import Middlebox
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.plugins import create
from mptcpsim.scenario import link_values
from mptcpsim.scenario.catalogue import parameters
from mptcpsim.scenario.link_values import LossSpec
from mptcpsim.scenario.links import DirectionSpec, LinkSpec


def pipe_settings(link: LinkSpec, direction: DirectionSpec) -> PipeSettings:
    """Return the settings of the pipe of one direction, as ``links.LinkSpec.direction`` completes it."""
    return PipeSettings(**{**link.fields(), **direction.fields()})


def middleboxes(link: LinkSpec) -> list[Middlebox]:
    """Return new middleboxes, configured, in the order of the link's list."""
    boxes = []
    for choice in link.middleboxes:
        box = create("middlebox", choice.name, parameters("middlebox", choice.name, choice.parameters))
        assert isinstance(box, Middlebox)
        boxes.append(box)
    return boxes


def counted_loss(loss: LossSpec | None) -> LossModel | None:
    """Return the model of a loss that counts packets, else None."""
    if isinstance(loss, link_values.PeriodicLossSpec):
        return PeriodicLoss(loss.every, loss.first)
    if isinstance(loss, link_values.ListedLossSpec):
        return ListedLoss(loss.packets)
    return None
