"""The timeline of a scenario: what changes at which instant."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from mptcpsim.scenario.fields import Model
from mptcpsim.scenario.links import Loss
from mptcpsim.scenario.quantities import (
    Rate,
    Time,
)


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
