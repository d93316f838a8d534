"""Which keys of ``tcp`` and ``mptcp`` tables, and of links, change nothing, and why.

A key has an effect if it has one at any end of any flow that its table is for. That is judged from the
scenario alone, without building its network, so that each point of a sweep can be judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.net.pipe_settings import PipeSettings
from mptcpsim.pathmanagers.ndiffports import NDiffPorts
from mptcpsim.scenario.check import tables_of_end
from mptcpsim.scenario.errors import KeyPath, dotted
from mptcpsim.scenario.events import SetEvent
from mptcpsim.scenario.flows import AnyFlow, RequestResponseFlow
from mptcpsim.scenario.links import DirectionSpec, LinkSpec
from mptcpsim.scenario.places import Places
from mptcpsim.scenario.schema import Scenario
from mptcpsim.settings import CLIENT, RECEIVER, SENDER, Setting, settings_of

#: Kinds of reasons.
HIDDEN: Final = "hidden"
UNUSED: Final = "unused"
LACKING: Final = "lacking"

#: The settings of the two kinds of tables.
_SETTINGS: Final = {"tcp": settings_of(TcpConfig), "mptcp": settings_of(MptcpConfig)}

#: Two keys for one thing: the second one, and the first one.
_SAME: Final = {
    each.single: name for settings in _SETTINGS.values() for name, each in settings.items() if each.single
}

#: What does nothing on a link without another key.
_LINK_NEEDS: Final = {key: each.needs for key, each in settings_of(PipeSettings).items() if each.needs}


class Vain(NamedTuple):
    """A key that changes nothing.

    Attributes:
        path: of the key.
        kind: ``HIDDEN``, ``UNUSED`` or ``LACKING``.
        why: the reason, as a clause.
    """

    path: KeyPath
    kind: str
    why: str


def vain_keys(scenario: Scenario, places: Places) -> list[Vain]:
    """Return the keys that change nothing, in the order of tables.

    What commands of a host have set is left out: they configure a machine, whatever it is used for.
    """
    found = _Settings(scenario, places).vain()
    rated = {event.link for event in scenario.events if isinstance(event, SetEvent) and event.rate}
    for index, link in enumerate(scenario.links):
        found += _vain_of_link(("links", index), link, link.name in rated)
    if scenario.ecmp != "off" and scenario.routing == "static":
        why = 'it needs routing = "hops" or "delay", for it is about shortest paths'
        found.append(Vain(("ecmp",), LACKING, why))
    return [vain for vain in found if not places.is_typed(vain.path)]


class _Settings:
    """The tables of all ends, and for each key why it has had no effect so far."""

    def __init__(self, scenario: Scenario, places: Places) -> None:
        self._scenario = scenario
        self._places = places
        #: By table and key; None once it has an effect somewhere.
        self._reasons: dict[tuple[KeyPath, str], dict[str, str] | None] = {}

    def vain(self) -> list[Vain]:
        for index, flow in enumerate(self._scenario.flows):
            configs = self._scenario.flow_configs(flow)
            ends = (flow.client, "client"), (flow.server, "server")
            for (host, side), config in zip(ends, configs, strict=True):
                for kind in ("tcp", "mptcp"):
                    if kind == "tcp" or config.mptcp.enabled:
                        self._judge(index, flow, host, side, kind, config)
                    else:
                        self._spare(index, host, side)
            if isinstance(flow, RequestResponseFlow) and flow.reader is not None:
                why = "both ends of a request-response flow read at once whatever there is"
                self._note(("flows", index), "reader", UNUSED, why)
        self._judge_idle_hosts()
        return [
            Vain((*path, key), kind, why)
            for (path, key), reasons in self._reasons.items()
            if reasons
            for kind, why in [_joined(reasons)]
        ]

    def _judge_idle_hosts(self) -> None:
        busy = {host for flow in self._scenario.flows for host in (flow.client, flow.server)}
        for name, host in self._scenario.hosts.items():
            if name not in busy:
                for kind, settings in (("tcp", host.tcp), ("mptcp", host.mptcp)):
                    for key in sorted(settings.model_fields_set):
                        self._note(("hosts", name, kind), key, UNUSED, f"{name} has no flow")

    def _judge(self, index: int, flow: AnyFlow, host: str, side: str, kind: str, config: TcpConfig) -> None:
        """Judge each key of each table of an end."""
        own = config if kind == "tcp" else config.mptcp
        closer: dict[str, KeyPath] = {}
        for path, settings in tables_of_end(self._scenario, index, host, side, kind):
            here: dict[str, KeyPath] = {}
            for key in type(settings).model_fields:  # in this order, and not in that of a set
                value = getattr(settings, key)
                if value is None or (value is True and key == "enabled"):
                    continue  # any other key enables MPTCP, too
                name = _SAME.get(key, key)
                setting = _SETTINGS[kind][name]
                here[name] = (*path, key)
                if key == "enabled" and closer:
                    enabling = next(iter(closer.values()))
                    self._note(path, key, HIDDEN, dotted(self._places.written(enabling)))
                elif name in closer:
                    self._note(path, key, HIDDEN, dotted(self._places.written(closer[name])))
                elif why := _unused(flow, host, side, setting, value):
                    self._note(path, key, UNUSED, why)
                elif setting.needs and not getattr(own, setting.needs):
                    self._note(path, key, LACKING, f"it needs {setting.needs} = true")
                else:
                    self._reasons[self._places.written(path), key] = None
            closer = {**here, **closer}

    def _spare(self, index: int, host: str, side: str) -> None:
        """MPTCP is off at an end: its keys are not judged there, and what switches it off has an effect."""
        for path, settings in tables_of_end(self._scenario, index, host, side, "mptcp"):
            if getattr(settings, "enabled", None) is False:
                self._reasons[self._places.written(path), "enabled"] = None

    def _note(self, path: KeyPath, key: str, kind: str, why: str) -> None:
        reasons = self._reasons.setdefault((self._places.written(path), key), {})
        if reasons is not None:
            reasons.setdefault(why, kind)


def _unused(flow: AnyFlow, host: str, side: str, setting: Setting, value: Any) -> str:
    """Return why one end of a flow does not look at a setting, or nothing."""
    both = isinstance(flow, RequestResponseFlow)
    sends = both or (side == "server") == bool(getattr(flow, "reverse", False))
    if setting.used_by == SENDER and not sends:
        return f"{host} sends no data"
    if setting.used_by == RECEIVER and sends and not both:
        return f"{host} receives no data"
    if setting.used_by == CLIENT and side == "server":
        return f"{host} opens no connection"
    if setting.family == NDiffPorts.FAMILY and value.name == NDiffPorts.NAME and side == "server":
        return f"{value.name} opens subflows at the client, and {host} is the server"
    return ""


#: Reasons that are told, at most.
_MOST_REASONS: Final = 3


def _joined(reasons: dict[str, str]) -> tuple[str, str]:
    """Return the kind of several reasons together, and a clause with all of them."""
    hiding = [why for why, kind in reasons.items() if kind == HIDDEN]
    others = [why for why, kind in reasons.items() if kind != HIDDEN]
    clauses = others[:_MOST_REASONS]
    if hiding:
        named = " and ".join(hiding[:_MOST_REASONS])
        if len(hiding) > _MOST_REASONS:
            named = f"{', '.join(hiding[:_MOST_REASONS])} and {len(hiding) - _MOST_REASONS} more"
        clauses.insert(0, f"{named} {'stands' if len(hiding) == 1 else 'stand'} closer")
    if len(others) > _MOST_REASONS:
        clauses.append(f"and so on ({len(others)} ends)")
    kind = HIDDEN if hiding else next(iter(reasons.values()))
    return kind, ", ".join(clauses)


# --- Links ---------------------------------------------------------------------------------------


def _vain_of_link(path: KeyPath, link: LinkSpec, rated: bool) -> Iterator[Vain]:
    """Yield the keys of a link that change nothing; ``rated``: events give it a rate."""
    sides = ("forward", "backward")
    directions = [link.direction(True), link.direction(False)]
    for key in sorted(link.model_fields_set & set(DirectionSpec.model_fields)):
        if all(getattr(getattr(link, side), key) is not None for side in sides):
            named = " and ".join(dotted((*path, side, key)) for side in sides)
            yield Vain((*path, key), HIDDEN, f"{named} stand closer")
        elif key in _LINK_NEEDS and getattr(link, key):
            needed = _LINK_NEEDS[key]
            if not (rated and needed == "rate") and not any(getattr(each, needed) for each in directions):
                yield Vain((*path, key), LACKING, f"it needs {needed}")
    for side, direction in zip(sides, directions, strict=True):
        for key, needed in _LINK_NEEDS.items():
            if rated and needed == "rate":
                continue
            if getattr(getattr(link, side), key) and not getattr(direction, needed):
                yield Vain((*path, side, key), LACKING, f"it needs {needed}")
