"""The configuration of an MPTCP end, and a path manager that does what a test has planned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, ClassVar

import mptcpsim.pathmanagers
import mptcpsim.schedulers
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.plugins import (
    Action,
    Parameter,
    PathManager,
    PathView,
    RemoteAddress,
    SubflowInfo,
    Value,
    register,
)

assert mptcpsim.pathmanagers
assert mptcpsim.schedulers


class Plan:
    """What the path manager ``scripted`` of an end does, and what it was told.

    Attributes:
        told: the events so far: the name of the method and what it was given besides the view.
        view: the view of the connection that last called.
    """

    def __init__(
        self,
        *,
        established: Iterable[Action] = (),
        announced: Callable[[PathView, RemoteAddress], list[Action]] | None = None,
        withdrawn: Callable[[PathView, int], list[Action]] | None = None,
        subflow_closed: Callable[[PathView, SubflowInfo], list[Action]] | None = None,
        local_address: Callable[[PathView, str, bool], list[Action]] | None = None,
    ) -> None:
        self.established = list(established)
        self.announced = announced
        self.withdrawn = withdrawn
        self.subflow_closed = subflow_closed
        self.local_address = local_address
        self.told: list[tuple[Any, ...]] = []
        self.view: PathView | None = None

    def hear(self, view: PathView, name: str, *given: Any) -> list[Action]:
        """Note an event and return what to do."""
        self.view = view
        self.told.append((name, *given))
        if name == "established":
            return self.established
        answer = getattr(self, name)
        return [] if answer is None else list(answer(view, *given))

    def heard(self, name: str) -> list[Any]:
        """Return what came with the events of a name."""
        return [told[1] if len(told) == 2 else told[1:] for told in self.told if told[0] == name]


#: The plans of the path managers: a parameter can only be a simple value, so it is the index here.
PLANS: list[Plan] = []


@register
class Scripted(PathManager):
    NAME = "scripted"
    SUMMARY = "does what a test has planned"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (Parameter("plan", 0, "index in PLANS"),)

    def configure(self, values: dict[str, Value]) -> None:
        self.plan = PLANS[int(values["plan"])]

    def on_established(self, view: PathView) -> list[Action]:
        return self.plan.hear(view, "established")

    def on_announced(self, view: PathView, remote: RemoteAddress) -> list[Action]:
        return self.plan.hear(view, "announced", remote)

    def on_withdrawn(self, view: PathView, identifier: int) -> list[Action]:
        return self.plan.hear(view, "withdrawn", identifier)

    def on_subflow_closed(self, view: PathView, subflow: SubflowInfo) -> list[Action]:
        return self.plan.hear(view, "subflow_closed", subflow)

    def on_local_address(self, view: PathView, address: str, up: bool) -> list[Action]:
        return self.plan.hear(view, "local_address", address, up)


def mptcp(plan: Plan | None = None, *, tcp: dict[str, Any] | None = None, **fields: Any) -> TcpConfig:
    """Return the configuration of an MPTCP end whose path manager follows a plan.

    Args:
        plan: what the path manager does; nothing by default.
        tcp: fields of ``TcpConfig``.
        fields: fields of ``MptcpConfig``.
    """
    if "path_manager" not in fields:
        PLANS.append(plan or Plan())
        fields |= {"path_manager": "scripted", "path_manager_parameters": {"plan": len(PLANS) - 1}}
    return replace(TcpConfig(**(tcp or {})), mptcp=MptcpConfig(enabled=True, **fields))
