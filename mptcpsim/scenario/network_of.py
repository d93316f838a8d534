"""From a graph to the tables of a scenario: names, kinds, interfaces, addresses, links."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mptcpsim.scenario.errors import Problem
from mptcpsim.scenario.links import DirectionSpec, LinkSpec
from mptcpsim.scenario.nodes import USABLE_NAMES, InterfaceSpec, usable_name
from mptcpsim.scenario.quantities import rate_text, time_text
from mptcpsim.scenario.validate import validate
from mptcpsim.suggest import nearly
from mptcpsim.topologies.addressing import DEFAULT_POOL, Addressing, fill
from mptcpsim.topologies.attributes import (
    FIBRE_KM_PER_S,
    HOST,
    ROUTER,
    SWITCH,
    Attributes,
    Units,
    delay_of,
    distance_km,
    kind_of,
    others_of,
    position_of,
    rate_of,
    shown_names,
)
from mptcpsim.topologies.plan import ChoiceError, PlanEdge, PlanNode, TopologyError, TopologyPlan
from mptcpsim.units import SECOND

#: Keys of a link that an edge may have under the same name.
_OTHER_KEYS = tuple(
    key
    for key in LinkSpec.model_fields
    if key not in ("name", "ends", "rate", "delay", "forward", "backward")
)

#: The word of ``ignore`` for edges from a node to itself; all others are names of attributes.
SELF_LOOPS = "self-loops"

_TABLES = {HOST: "hosts", ROUTER: "routers", SWITCH: "switches"}


@dataclass(frozen=True)
class Choices:
    """What a ``[topology]`` says about its graph; see ``scenario.topology``."""

    prefix: str = DEFAULT_POOL
    names: str | None = None
    hosts: str | Sequence[str] | Mapping[str, Sequence[str]] = ()
    units: Units = field(default_factory=Units)
    delay_from_distance: bool = False
    ignore: tuple[str, ...] = ()
    link: Mapping[str, Any] = field(default_factory=dict)
    access: Mapping[str, Any] = field(default_factory=dict)


class NetworkTables:
    """Tables of a scenario, made from a graph.

    Attributes:
        origin: what they were made from, for messages.
        hosts, routers, switches: by name.
        links: in the order of the edges, those of added hosts last.
    """

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.hosts: dict[str, dict[str, Any]] = {}
        self.routers: dict[str, dict[str, Any]] = {}
        self.switches: dict[str, dict[str, Any]] = {}
        self.links: list[dict[str, Any]] = []


class _End:
    """One end of a link: the node, and unless that is a switch an interface with addresses."""

    def __init__(self, node: str, interface: str, addresses: list[str]) -> None:
        self.node = node
        self.interface = interface
        self.addresses = addresses

    @property
    def text(self) -> str:
        return f"{self.node}:{self.interface}" if self.interface else self.node


def network_of(
    plan: TopologyPlan, choices: Choices, scenario: Mapping[str, Any], origin: str
) -> NetworkTables:
    """Return the tables of the network that a graph stands for.

    Nodes without a link are left out.

    Args:
        plan: the graph.
        choices: how to read it.
        scenario: what the scenario itself says, as it was read: it decides what kind a node is that it
            names, and its addresses are taken.
        origin: what the graph is, for messages.

    Raises:
        TopologyError: the graph makes no network; the text has the place.
    """
    return _Builder(plan, choices, scenario, origin).build()


class _Builder:
    def __init__(
        self, plan: TopologyPlan, choices: Choices, scenario: Mapping[str, Any], origin: str
    ) -> None:
        self.plan = plan
        self.choices = choices
        self.scenario = scenario
        self.network = NetworkTables(origin)
        self.names: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self.attributes: dict[str, Attributes] = {}
        self.ends: list[tuple[_End, _End]] = []
        #: Interfaces of each node, in the order of its links.
        self.interfaces: dict[str, dict[str, _End]] = {}

    def build(self) -> NetworkTables:
        self._loops()
        self._nodes()
        names: set[str] = set()
        for edge, back in self.plan.pairs():
            self._link(edge, back, names)
        for host, router in self._attached():
            self._attach(host, router, names)
        self._no_hosts()
        self._addresses()
        self._tables()
        return self.network

    # --- nodes ----------------------------------------------------------------------------

    def _loops(self) -> None:
        for edge in self.plan.loops:
            if SELF_LOOPS not in self.choices.ignore:
                raise TopologyError(
                    f"{edge}: a link joins two different nodes; remove it, "
                    f'or write ignore = ["{SELF_LOOPS}"] in [topology]'
                )

    def _nodes(self) -> None:
        ignore = self.choices.ignore
        self.attributes = {name: Attributes(node, ignore) for name, node in self.plan.nodes.items()}
        self.names = self._chosen_names()
        for identity, name in self.names.items():
            written = [kind for kind, table in _TABLES.items() if name in _table(self.scenario, table)]
            self.kinds[name] = written[0] if written else kind_of(self.attributes[identity])
            self.interfaces[name] = {}

    def _chosen_names(self) -> dict[str, str]:
        """Return the name of each node by its identifier: the label if every node has one of its own."""
        identities = {name: name for name in self.plan.nodes}
        if self.choices.names != "id":
            labels: dict[str, str] = {}
            reason = ""
            seen: dict[str, PlanNode] = {}
            for identity, attributes in self.attributes.items():
                node = self.plan.nodes[identity]
                label = self._label(attributes)
                if not label:
                    reason = f"{node}: it has no label"
                elif label in seen:
                    reason = f"{node}: label: {label!r} is the label of {seen[label]}, too"
                elif not usable_name(label):
                    reason = f"{node}: label: {label!r} cannot be a name ({USABLE_NAMES})"
                else:
                    seen[label] = node
                    labels[identity] = label
                    continue
                break
            if not reason:
                return labels
            if self.choices.names == "label":
                raise TopologyError(f'{reason}; mend it, or write names = "id"')
        for identity, node in self.plan.nodes.items():
            if not usable_name(identity):
                raise TopologyError(
                    f"{node}: its id is no name of a node; choose another one, of {USABLE_NAMES}, "
                    'or give each node a label and write names = "label"'
                )
        return identities

    def _label(self, attributes: Attributes) -> str:
        """Return what a node is called if not by its id; other programs' words only if that was asked for."""
        if self.choices.names == "label":
            return next(iter(shown_names(attributes)), "")
        return attributes.text("label") or ""

    def _found(self, word: str) -> str:
        """Return the node that ``topology.hosts`` names, by its name, its id or what people see of it.

        Raises:
            ChoiceError: there is none, or more than one.
        """
        if word in self.kinds:
            return word
        if word in self.names:
            return self.names[word]
        seen = {identity: shown_names(attributes) for identity, attributes in self.attributes.items()}
        for rank in range(max(map(len, seen.values()), default=0)):
            found = [identity for identity, names in seen.items() if names[rank : rank + 1] == [word]]
            if len(found) > 1:
                raise ChoiceError(
                    "hosts", f"{len(found)} nodes are called {word!r}: write the id, one of {_listed(found)}"
                )
            if found:
                return self.names[found[0]]
        every = [name for identity, names in seen.items() for name in (*names, self.names[identity])]
        close = nearly(word, every, 0.6)
        if close:
            hint = f"did you mean {close!r}?"
        else:
            hint = "its nodes are " + _listed(
                [" ".join([self.names[i], *(f"({n})" for n in names[:1] if n != self.names[i])])
                 for i, names in seen.items()]
            )  # fmt: skip
        raise ChoiceError("hosts", f"{word!r} is no node of it; name one of its routers or switches: {hint}")

    # --- links ----------------------------------------------------------------------------

    def _link(self, edge: PlanEdge, back: PlanEdge | None, names: set[str]) -> None:
        forward = Attributes(edge, self.choices.ignore)
        table = self._properties(edge, forward)
        if back is not None:
            opposite = self._properties(back, Attributes(back, self.choices.ignore))
            table.update(_backward(edge, table, opposite))
        ends = self.names[edge.source], self.names[edge.target]
        name = _free(forward.text("name") or f"{ends[0]}--{ends[1]}", names)
        self._add(
            name, names, self._end(ends[0], forward, "source"), self._end(ends[1], forward, "target"), table
        )

    def _properties(self, edge: PlanEdge, attributes: Attributes) -> dict[str, Any]:
        """Return the keys of a link that one edge states, the topology's for the rest."""
        choices = self.choices
        table: dict[str, Any] = {}
        rate = rate_of(attributes, choices.units)
        if rate is not None:
            table["rate"] = rate_text(rate)
        delay = delay_of(attributes, choices.units)
        if delay is None and choices.delay_from_distance:
            delay = self._fibre_delay(edge, attributes)
        if delay is not None:
            table["delay"] = time_text(delay)
        table.update(others_of(attributes, _OTHER_KEYS))
        try:
            validate(LinkSpec, {"ends": ["a:b", "c:d"], **table})
        except Problem as problem:
            key = str(problem.path[0]) if problem.path else "it"
            written = (attributes.get(key) or (key, ""))[0]
            raise TopologyError(
                f"{edge}: {written}: {problem.text}; or add {written!r} to topology.ignore"
            ) from None
        return {**choices.link, **table}

    def _fibre_delay(self, edge: PlanEdge, attributes: Attributes) -> int | None:
        distance = attributes.number("dist", "distance_km")
        if distance is None:
            distance = distance_km(self.attributes[edge.source], self.attributes[edge.target])
        if distance is None:
            if "delay" in self.choices.link:
                return None
            raise TopologyError(
                f"{edge}: its ends have no Latitude and Longitude; write delay in [topology] for such links"
            )
        if not 0.0 <= distance <= 1e6:
            raise TopologyError(f"{edge}: {distance:g} km is no distance on the globe; mend it")
        return round(distance / FIBRE_KM_PER_S * SECOND)

    def _end(self, node: str, attributes: Attributes, side: str) -> _End:
        named = attributes.text(f"{side}_interface")
        addresses = attributes.texts(f"{side}_address")
        if (named or addresses) and isinstance(attributes.owner, PlanEdge) and not attributes.owner.oriented:
            raise TopologyError(
                f"{attributes.owner}: an undirected graph of this format has no source and target; "
                "make it directed, or write the interfaces in the scenario"
            )
        if self.kinds[node] == SWITCH:
            return _End(node, "", [])
        _check_addresses(attributes, side, addresses)
        if named is not None and not usable_name(named):
            raise attributes.wrong(
                f"{side}_interface", f"{named!r} cannot be a name; choose another one, of {USABLE_NAMES}"
            )
        return self._interface(node, named, addresses)

    def _interface(self, node: str, named: str | None, addresses: list[str]) -> _End:
        own = self.interfaces[node]
        name = named or f"eth{len(own)}"
        if name in own:
            raise TopologyError(f"node {node!r}: two links end at its interface {name!r}; rename one of them")
        # An address that the scenario itself gives the interface counts.
        written = _addresses_of(
            _table(_table(_table(self.scenario, _TABLES[self.kinds[node]]), node), "interfaces").get(name)
        )
        own[name] = _End(node, name, written or addresses)
        return own[name]

    def _add(self, name: str, names: set[str], first: _End, second: _End, table: Mapping[str, Any]) -> None:
        names.add(name)
        self.ends.append((first, second))
        self.network.links.append({"name": name, "ends": [first.text, second.text], **table})

    # --- added hosts ----------------------------------------------------------------------

    def _attached(self) -> Iterator[tuple[str, str]]:
        """Return the hosts to add and their routers, a pair for each link."""
        hosts = self.choices.hosts
        if isinstance(hosts, Mapping):
            for host, routers in hosts.items():
                for router in routers:
                    yield host, router
            return
        if isinstance(hosts, str):
            neighbours: dict[str, set[str]] = {name: set() for name in self.kinds}
            for first, second in self.ends:
                neighbours[first.node].add(second.node)
                neighbours[second.node].add(first.node)
            most = 1 if hosts == "leaves" else len(neighbours)
            hosts = [n for n, near in neighbours.items() if self.kinds[n] == ROUTER and len(near) <= most]
        for router in hosts:
            yield f"h-{router}", router

    def _attach(self, host: str, router: str, names: set[str]) -> None:
        router = self._found(router)
        if self.kinds[router] == HOST:
            raise ChoiceError("hosts", f"{router!r} is a host itself; name one of its routers or switches")
        if not usable_name(host):
            raise ChoiceError("hosts", f"{host!r} cannot be a name; choose another one, of {USABLE_NAMES}")
        if host in self.kinds and host not in self.network.hosts:
            raise ChoiceError("hosts", f"the graph has a node {host!r} already; choose another name")
        self.network.hosts.setdefault(host, {})
        self.kinds[host] = HOST
        self.interfaces.setdefault(host, {})
        far = _End(router, "", []) if self.kinds[router] == SWITCH else self._interface(router, None, [])
        near = self._interface(host, None, [])
        self._add(_free(f"{host}--{router}", names), names, near, far, self.choices.access)

    def _no_hosts(self) -> None:
        """Tell why ``hosts = "leaves"`` has added none, where nobody else is a host either."""
        if self.choices.hosts != "leaves" or HOST in self.kinds.values() or not self.ends:
            return
        if _table(self.scenario, "hosts"):
            return
        near: dict[str, set[str]] = {}
        for first, second in self.ends:
            near.setdefault(first.node, set()).add(second.node)
            near.setdefault(second.node, set()).add(first.node)
        least = min(near, key=lambda name: len(near[name]))
        raise ChoiceError(
            "hosts",
            f'"leaves" adds a host at each router with one neighbour, and there is none: {least!r} has the '
            f'fewest, {len(near[least])}; write hosts = "all", or a list such as [{_quoted(least)}]',
        )

    # --- addresses ------------------------------------------------------------------------

    def _addresses(self) -> None:
        explicit = [a for own in self.interfaces.values() for end in own.values() for a in end.addresses]
        explicit += _all_addresses(self.scenario)
        addressing = Addressing(self.choices.prefix, explicit)
        for ends, shared in self._segments():
            missing = [end for end in ends if not end.addresses]
            stated = [address for end in ends for address in end.addresses]
            if not missing:
                continue
            if stated:
                found = fill(stated[0], stated, len(missing))
            else:
                with_host = any(self.kinds[end.node] == HOST for end in ends)
                found = addressing.network(len(ends), with_host, shared)
            for end, address in zip(missing, found, strict=True):
                end.addresses = [address]

    def _segments(self) -> Iterator[tuple[list[_End], bool]]:
        """Return what is one network, in the order of its first link, and whether switches are in it."""
        groups: dict[str, list[_End]] = {}
        parent: dict[str, str] = {}

        def root(name: str) -> str:
            while parent.setdefault(name, name) != name:
                parent[name] = name = parent[parent[name]]
            return name

        for first, second in self.ends:
            if not first.interface and not second.interface:
                parent[root(first.node)] = root(second.node)
        for first, second in self.ends:
            if first.interface and second.interface:
                groups[first.text] = [first, second]
                continue
            switch, other = (second, first) if first.interface else (first, second)
            group = groups.setdefault(f"{root(switch.node)} ", [])
            if other.interface:
                group.append(other)
        for name, ends in groups.items():
            yield ends, name.endswith(" ")

    # --- tables ---------------------------------------------------------------------------

    def _tables(self) -> None:
        linked = {end.node for pair in self.ends for end in pair}
        identities = {name: identity for identity, name in self.names.items()}
        for name, kind in self.kinds.items():
            if name not in linked:
                continue
            table: dict[str, Any] = {}
            if name in identities:
                attributes = self.attributes[identities[name]]
                further = attributes.texts("address", "addresses", "ip")
                _check_addresses(attributes, "", further, length=32)
                position = position_of(attributes)
                if position is not None:
                    table["position"] = list(position)
                if further and self.interfaces[name]:
                    next(iter(self.interfaces[name].values())).addresses += further
            if kind != SWITCH:
                table["interfaces"] = {
                    interface: end.addresses[0] if len(end.addresses) == 1 else end.addresses
                    for interface, end in self.interfaces[name].items()
                }
            getattr(self.network, _TABLES[kind])[name] = table


def _listed(names: Sequence[str], most: int = 20) -> str:
    """Return names for a message, not too many of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"{name:.60}" for name in names[:most]) + more


def _quoted(name: str) -> str:
    """Return a name as TOML has it."""
    return json.dumps(name, ensure_ascii=False)


def _free(name: str, names: set[str]) -> str:
    """Return a name that is not taken: the given one, or with -2, -3 and so on behind it."""
    candidate, number = name, 2
    while candidate in names:
        candidate = f"{name}-{number}"
        number += 1
    return candidate


def _backward(edge: PlanEdge, forward: Mapping[str, Any], back: Mapping[str, Any]) -> dict[str, Any]:
    """Return the key ``backward`` of a link whose two directions differ."""
    plain = LinkSpec.model_validate({"ends": ["a:b", "c:d"]}).model_dump(mode="json")
    own: dict[str, Any] = {}
    for key in (*forward, *(key for key in back if key not in forward)):
        value = back.get(key, plain[key])
        if value == forward.get(key, plain[key]):
            continue
        if key not in DirectionSpec.model_fields:
            raise TopologyError(
                f"{edge}: {key}: the edge back has another one; write the same in both directions"
            )
        own[key] = value
    return {"backward": own} if own else {}


# --- What the scenario itself says, of which nothing has been checked yet ----------------------


def _table(data: Any, key: str) -> dict[str, Any]:
    found = data.get(key) if isinstance(data, Mapping) else None
    return found if isinstance(found, dict) else {}


def _addresses_of(interface: Any) -> list[str]:
    """Return the addresses that an interface's value gives, as far as they are some."""
    if isinstance(interface, dict):
        interface = interface.get("addresses")
    found = [interface] if isinstance(interface, str) else interface
    if not isinstance(found, list):
        return []
    return [text for text in found if isinstance(text, str) and _is_address(text)]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return True


def _all_addresses(scenario: Mapping[str, Any]) -> list[str]:
    return [
        address
        for kind in ("hosts", "routers")
        for node in _table(scenario, kind).values()
        for interface in _table(node, "interfaces").values()
        for address in _addresses_of(interface)
    ]


def _check_addresses(attributes: Attributes, side: str, addresses: list[str], length: int = 0) -> None:
    """Judge addresses of a graph's, and write them in canonical form with their prefix lengths.

    Args:
        attributes: of the edge or node that has them.
        side: ``source`` or ``target`` of an edge, or nothing.
        addresses: changed in place.
        length: of the prefix of an address that states none; 0: it has to.
    """
    for index, text in enumerate(addresses):
        name = f"{side}_address" if side else "address"
        whole = f"{text}/{length}" if length and "/" not in text and ":" not in text else text
        try:
            spec = validate(InterfaceSpec, {"addresses": [whole]})
        except Problem as problem:
            raise attributes.wrong(name, problem.text) from None
        addresses[index] = spec.addresses[0]
