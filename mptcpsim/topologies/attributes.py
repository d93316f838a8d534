"""What the attributes of people's graphs mean, as keys of a scenario.

Names are compared without regard to case; the first one of a row that is present counts. What is not
named here means nothing and is ignored: files carry colours, notes and weights.

====================  =============================================================================
of a node             names
====================  =============================================================================
kind                  kind, role, type, node_type: see ``KINDS``; any other word is a router
address               address, addresses, ip: further addresses of the node's first interface
position              Longitude and Latitude, lon and lat, x and y, or pos (a list of two)
====================  =============================================================================

====================  =============================================================================
of an edge            names
====================  =============================================================================
rate                  rate, bandwidth, bw, capacity, LinkSpeedRaw (always bit/s), LinkSpeed with
                      LinkSpeedUnits (K, M, G or T) as in the Topology Zoo
delay                 delay, latency
distance              dist, distance_km: kilometres, for ``delay_from_distance``
name                  name
an end                source_interface, target_interface, source_address, target_address
other                 every other key of a link in a scenario: queue, loss, mtu, qdisc, jitter, ...
====================  =============================================================================

A quantity is a text with its unit, as in a scenario, or a number in the unit that the topology states:
``rate_unit`` (bit/s by default) and ``delay_unit`` (milliseconds by default).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Final

from mptcpsim.suggest import nearly
from mptcpsim.topologies.plan import PlanEdge, PlanNode, TopologyError
from mptcpsim.units import NEVER, UnitError, parse_rate, parse_time

HOST: Final = "host"
ROUTER: Final = "router"
SWITCH: Final = "switch"

#: Kinds of nodes by the words that stand for them.
KINDS: Final = {
    **dict.fromkeys(("host", "hosts", "server", "client", "endhost", "end-host", "end_host"), HOST),
    **dict.fromkeys(("router", "routers", "gateway"), ROUTER),
    **dict.fromkeys(("switch", "switches", "l2switch", "l2-switch", "bridge", "ovs"), SWITCH),
}

RATES: Final = ("rate", "bandwidth", "bw", "capacity")
DELAYS: Final = ("delay", "latency")

#: A number without a unit below this is no rate in bit/s, but one in Mbit/s whose unit nobody stated.
LEAST_BARE_RATE: Final = 1000

#: Light in a fibre: two thirds of its speed in vacuum, kilometres a second.
FIBRE_KM_PER_S: Final = 299_792.458 * 2 / 3

EARTH_RADIUS_KM: Final = 6371.0


class Attributes:
    """The attributes of one node or edge, found by any of their names."""

    def __init__(self, owner: PlanNode | PlanEdge, ignore: Collection[str] = ()) -> None:
        self.owner = owner
        left_out = {name.lower() for name in ignore}
        self._values: dict[str, tuple[str, Any]] = {}
        for name, value in owner.attributes.items():
            if value is not None and value != "" and str(name).lower() not in left_out:
                self._values.setdefault(str(name).lower(), (str(name), value))

    def get(self, *names: str) -> tuple[str, Any] | None:
        """Return the name as it was written and the value of the first attribute that is there."""
        for name in names:
            if name.lower() in self._values:
                return self._values[name.lower()]
        return None

    def wrong(self, name: str, text: str) -> TopologyError:
        """Return the error of an attribute, with its place."""
        return TopologyError(f"{self.owner}: {name}: {text}")

    def text(self, *names: str) -> str | None:
        """Return an attribute that is a text; numbers count as one."""
        found = self.get(*names)
        if found is None:
            return None
        if isinstance(found[1], bool) or not isinstance(found[1], str | int | float):
            raise self.wrong(found[0], f'{_shown(found[1])} is no text; write one, such as "name"')
        return str(found[1]).strip()

    def texts(self, *names: str) -> list[str]:
        """Return an attribute that is a list of texts, or one text with commas or spaces in it."""
        found = self.get(*names)
        if found is None:
            return []
        value = found[1]
        if isinstance(value, str):
            return value.replace(",", " ").split()
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return list(value)
        raise self.wrong(found[0], f"{_shown(value)} is no text and no list of texts")

    def number(self, *names: str) -> float | None:
        """Return an attribute that is a finite number, or a text that stands for one."""
        found = self.get(*names)
        return None if found is None else self._number(*found)

    def _number(self, name: str, value: Any) -> float:
        number = plain(value)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise self.wrong(
                name, f"{_shown(value)} is no number; mend it, or add {name!r} to topology.ignore"
            )
        try:
            number = float(number)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.wrong(name, f"{_shown(value)} is out of range; mend it")
        return number


def plain(value: Any) -> Any:
    """Return the number that a text stands for, and a whole number without its ``.0``; else the value."""
    if isinstance(value, str):
        try:
            value = float(value) if len(value) <= 40 else value
        except ValueError:
            return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


# --- Nodes --------------------------------------------------------------------------------------


def kind_of(attributes: Attributes) -> str:
    """Return the kind of a node: ``host``, ``router`` or ``switch``.

    Files have words of their own in ``type`` and ``role`` (the Topology Zoo's ``Routerless``); ``kind`` is
    this program's attribute, so a word in it that is nearly one of ours was meant to be that.

    Raises:
        TopologyError: the kind is none, but nearly one.
    """
    for name in ("kind", "role", "type", "node_type"):
        found = attributes.get(name)
        if found is None or not isinstance(found[1], str):
            continue
        word = found[1].strip().lower()
        if word in KINDS:
            return KINDS[word]
        singular = [kind for kind in KINDS if not kind.endswith("s")]
        close = nearly(word, singular, 0.75) if name == "kind" else ""
        if close:
            raise attributes.wrong(
                found[0],
                f"{_shown(found[1])} is no kind of node; did you mean {close!r}? A node that the scenario "
                "names under [routers] is a router, whatever the file says",
            )
    return ROUTER


def shown_names(attributes: Attributes) -> list[str]:
    """Return what people see as the name of a node, whichever program they look with; the best one first.

    ``label`` is that of most; ``NodeLabel`` is yEd's, ``name`` and ``shared name`` are Cytoscape's.
    """
    names = (attributes.get(name) for name in ("label", "NodeLabel", "name", "shared name"))
    return [str(found[1]).strip() for found in names if found is not None and isinstance(found[1], str | int)]


def position_of(attributes: Attributes) -> tuple[float, float] | None:
    """Return where a node is drawn: longitude and latitude, or x and y; None if not stated."""
    for across, along in (("longitude", "latitude"), ("lon", "lat"), ("x", "y")):
        x, y = attributes.number(across), attributes.number(along)
        if x is not None and y is not None:
            return x, y
    found = attributes.get("pos", "position")
    if found is None or not isinstance(found[1], list | tuple) or len(found[1]) != 2:
        return None
    name, (first, second) = found
    return attributes._number(name, first), attributes._number(name, second)


def distance_km(a: Attributes, b: Attributes) -> float | None:
    """Return the distance of two nodes on the globe (haversine formula), if both tell where they are.

    Raises:
        TopologyError: a coordinate is none.
    """
    places: list[tuple[float, float]] = []
    for node in (a, b):
        longitude, latitude = node.number("longitude", "lon"), node.number("latitude", "lat")
        if longitude is None or latitude is None:
            return None
        for name, value, limit in (("latitude", latitude, 90.0), ("longitude", longitude, 360.0)):
            if abs(value) > limit:
                raise node.wrong(name, f"{value:g} is outside {-limit:g} to {limit:g} degrees; mend it")
        places.append((math.radians(longitude), math.radians(latitude)))
    (lon_a, lat_a), (lon_b, lat_b) = places
    half = math.sin((lat_b - lat_a) / 2) ** 2
    half += math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


# --- Edges --------------------------------------------------------------------------------------


class Units:
    """What numbers without a unit count.

    Attributes:
        rate_bps: of one in a rate; ``stated`` if the file states it.
        delay_ns: of one in a delay.
    """

    def __init__(self, rate_unit: str | None = None, delay_unit: str = "ms") -> None:
        self.rate_bps = parse_rate(f"1{rate_unit or 'bps'}")
        self.stated = rate_unit is not None
        self.delay_ns = parse_time(f"1{delay_unit}")


def rate_of(attributes: Attributes, units: Units) -> int | None:
    """Return the rate of an edge, bit/s, or None if it has none."""
    found = attributes.get(*RATES)
    if found is not None:
        return _quantity(attributes, found, parse_rate, units.rate_bps, "rate", 0 if units.stated else None)
    found = attributes.get("LinkSpeedRaw")
    if found is not None:
        return _quantity(attributes, found, parse_rate, 1, "rate", None)
    found = attributes.get("LinkSpeed")
    if found is None:
        return None
    unit = attributes.text("LinkSpeedUnits") or ""
    factor = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}.get(unit.lower()[:1])
    if factor is None and not isinstance(plain(found[1]), str):
        raise attributes.wrong(found[0], "a number without LinkSpeedUnits (K, M, G or T); add it")
    return _quantity(attributes, found, parse_rate, int(factor or 1), "rate", 0)


def delay_of(attributes: Attributes, units: Units) -> int | None:
    """Return the delay of an edge, ns, or None if it has none."""
    found = attributes.get(*DELAYS)
    return None if found is None else _quantity(attributes, found, parse_time, units.delay_ns, "delay", 0)


def _quantity(
    attributes: Attributes, found: tuple[str, Any], parse: Any, unit: int, what: str, least: int | None
) -> int:
    """Return a quantity in the simulator's unit; ``least`` None warns of rates that forgot their unit."""
    name, value = found
    number = plain(value)
    if isinstance(number, str):
        try:
            return int(parse(number))
        except UnitError as error:
            raise attributes.wrong(name, f"{error}; or add {name!r} to topology.ignore") from None
    amount = attributes._number(name, number) * unit
    if amount < 0 or amount >= NEVER:
        raise attributes.wrong(name, f"{_shown(value)} is no {what}: it is out of range")
    if least is None and 0 < amount < LEAST_BARE_RATE:
        raise attributes.wrong(
            name,
            f'{_shown(value)} is a rate of {amount:g} bit/s; write the unit, such as "{number}Mbps", '
            'or rate_unit = "Mbps" in [topology]',
        )
    return round(amount)


def others_of(attributes: Attributes, known: Collection[str]) -> Mapping[str, Any]:
    """Return what an edge has of the keys of a link that nobody else reads, numbers as numbers."""
    values: dict[str, Any] = {}
    for key in known:
        if (found := attributes.get(key)) is not None:
            values[key] = plain(found[1])
    return values
