"""Random scenarios, the same ones for the same numbers: short runs of everything that a scenario can say.

    python tests/random_scenarios.py DIRECTORY [COUNT]

writes them as files. A scenario has a network (``random_networks``), one of a few shapes, and a theme that
says what goes wrong in it: nothing in particular, windows that close, packets that are lost or changed,
middleboxes, paths and addresses that go away, many short connections, connections that are idle.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.random_networks import SHAPES, Draw, Network, Shape, Table

PROFILES = (
    "rfc8684",
    "rfc8684",
    "linux-6.18",
    "linux-6.18",
    "linux-6.17-noprobe",
    "rfc6824",
    "caia-v0.4",
    "caia-v0.51",
)
VERSION_0 = ("rfc6824", "caia-v0.4", "caia-v0.51")
THEMES = ("free", "closing", "lossy", "boxes", "failing", "many", "idle")


class RandomScenario(NamedTuple):
    """A scenario file, and the options of ``mptcpsim run`` with which it is run.

    ``client`` and ``server`` are the first addresses of the ends, where they are hosts ``C`` and ``S``.
    """

    name: str
    text: str
    options: tuple[str, ...]
    client: str = ""
    server: str = ""


def random_scenario(number: int, shapes: Sequence[Shape] = SHAPES) -> RandomScenario:
    """Return the scenario of a number."""
    draw = Draw(f"scenario {number}")
    # Every shape meets every theme: the two lengths have no common divisor.
    shape, theme = shapes[number % len(shapes)], THEMES[number % len(THEMES)]
    network = shape(draw)
    profile = draw.one(*PROFILES) if draw.chance(0.75) or network.paths > 1 else ""
    if network.profiles:
        profile = draw.one(*network.profiles)
    scenario: Table = {
        "title": f"{shape.__name__.replace('_', ' ')}, {theme}, {profile or 'TCP'}",
        "seed": draw.below(1 << 31),
        "duration": f"{network.seconds or draw.one(*DURATIONS[theme])}s",
        **network.top,
    }
    if draw.chance(0.5):
        scenario["results"] = {"stall_threshold": f"{draw.one(100, 200, 500)}ms"}
    _links(draw, network, theme)
    _ends(draw, network, theme, profile)
    scenario |= {key: value for key, value in network.tables.items() if value}
    if network.defaults:
        scenario["defaults"] = network.defaults
    scenario["links"] = network.links
    flows = _flows(draw, network, theme)
    if flows:
        scenario["flows"] = flows
    events = _events(draw, network, theme, flows)
    if events:
        scenario["events"] = events
    scenario["output"] = {"sample_interval": f"{draw.one(10, 50, 100, 250)}ms"}
    if not scenario["links"]:
        del scenario["links"]
    options = ["--roundtrip"] if draw.chance(0.25) else []
    options += ["--dsn"] if draw.chance(0.3) else []
    options += [*draw.one(["--pcap"], ["--pcap"], ["--pcap", "merged"], ["--pcap", "--pcap-snaplen", "128"])]
    name = f"{number:03}-{shape.__name__}-{theme}"
    addresses = (*network.client_addresses[:1], *network.server_addresses[:1])
    return RandomScenario(name, tomlkit.dumps(scenario), tuple(options), *addresses)


DURATIONS = {
    "free": (2, 3, 5),
    "closing": (4, 8, 15),
    "lossy": (3, 5, 10),
    "boxes": (3, 6, 20),
    "failing": (4, 10, 40),
    "many": (2, 4),
    "idle": (10, 60, 300),
}


# --- Links ----------------------------------------------------------------------------------------

QDISCS: tuple[Any, ...] = (
    "droptail",
    "codel",
    "fq_codel",
    "pie",
    "fq_pie",
    "red",
    "gred",
    "drr",
    "wf2q+",
    {"name": "codel", "ecn": True, "target": "2ms"},
    {"name": "pie", "ecn": True, "max_burst": 0, "dre": True},
    {"name": "red", "ecn": True, "min_th": 2.0, "max_th": 6.0, "max_p": 0.5, "w_q": 0.1},
    {"name": "gred", "min_th": 2.0, "max_th": 6.0, "max_p": 0.3, "w_q": 0.2},
    {"name": "fq_codel", "flows": 4, "limit": 20, "target": "3ms"},
    {"name": "fq_pie", "onoff": True, "limit": 30, "drand": False},
)


def _links(draw: Draw, network: Network, theme: str) -> None:
    """Give the links of the paths rates, delays, queues and faults."""
    for link in network.path_links:
        link["rate"] = f"{draw.one(300, 500, 1000, 2000, 4000, 8000)}kbps"
        link["delay"] = draw.one("100us", "1ms", "5ms", "10ms", "20ms", "40ms", "90ms")
        link["queue"] = draw.one(3, 5, 10, 20, 50, "10kB", "30KiB")
        if draw.chance(0.3):
            link["qdisc"] = draw.one(*QDISCS)
        if draw.chance(0.15):
            link["overhead_bytes"] = 14
        if draw.chance(0.1):
            link["burst"] = "15kB"
        if draw.chance(0.1):
            link["mtu"] = draw.one(1280, 1400, 9000) if network.ipv6 else draw.one(576, 1400, 9000)
        if draw.chance(0.1):
            link["down_drops_queue"] = False
        if draw.chance(0.1):
            link["down_drops_flight"] = True
        if theme == "lossy" or draw.chance(0.15):
            _faults(draw, link if draw.chance(0.6) else link.setdefault(draw.one("forward", "backward"), {}))
        if draw.chance(0.1):
            link.setdefault("backward", {})["rate"] = draw.one("64kbps", "256kbps")
        if theme == "boxes" or (theme in ("closing", "failing") and draw.chance(0.5)) or draw.chance(0.1):
            boxes = [
                draw.one(*BOXES[theme if theme in BOXES else "boxes"])(draw)
                for _ in range(draw.one(1, 1, 1, 2))
            ]
            if network.ipv6 or not network.plain_addresses:
                boxes = [box for box in boxes if box["name"] != "nat"]
            if boxes:
                link["middleboxes"] = boxes


def _faults(draw: Draw, link: Table) -> None:
    if draw.chance(0.8):
        link["loss"] = draw.one(
            0.005,
            0.02,
            0.05,
            0.15,
            {"k": 0.0, "p": 0.02, "h": 0.6, "r": 0.3},
            {"every": draw.one(11, 30)},
            {"packets": sorted({draw.below(60) + 1 for _ in range(4)})},
        )
    if draw.chance(0.35):
        link["jitter"] = draw.one("2ms", "10ms", "30ms")
        link["jitter_reorders"] = draw.chance(0.6)
    if draw.chance(0.35):
        link["reorder"] = draw.one(0.01, 0.1)
        link["reorder_delay"] = draw.one("3ms", "15ms", "60ms")
    if draw.chance(0.3):
        link["duplicate"] = draw.one(0.01, 0.1)
    if draw.chance(0.3):
        link["corrupt"] = draw.one(0.005, 0.03)


# --- Middleboxes ----------------------------------------------------------------------------------

KINDS = (
    "syn",
    "non-syn",
    "syn-with-options",
    "mptcp",
    "dss",
    "mp_capable",
    "mp_join",
    "add_addr",
    "remove_addr",
    "mp_prio",
    "mp_fastclose",
    "pure-ack",
    "zero-window",
    "data",
    "fin",
    "rst",
    "window-update",
    "probe",
)


def _which(draw: Draw) -> Table:
    """Return which of the packets that match a box acts on."""
    start = draw.below(2500)
    return draw.one(
        {},
        {"first": draw.one(1, 2, 5)},
        {"after": draw.one(1, 4, 20)},
        {"nth": [draw.one(1, 2), draw.one(3, 5)]},
        {"every": draw.one(2, 3, 7)},
        {"from": f"{start}ms", "until": f"{start + draw.one(100, 400, 1500)}ms"},
    )


def _drop(draw: Draw) -> Table:
    kind = draw.one(*KINDS)
    which = _which(draw) if kind not in ("data", "pure-ack", "non-syn", "mptcp", "dss") else {}
    if not which:
        start = draw.below(1500)
        which = draw.one({"first": 2}, {"from": f"{start}ms", "until": f"{start + 300}ms"}, {"every": 9})
    return {"name": "drop", "match": kind, **which, **_direction(draw)}


def _direction(draw: Draw) -> Table:
    return draw.one({}, {}, {"direction": "forward"}, {"direction": "backward"})


def _drop_updates(draw: Draw) -> Table:
    return {"name": "drop", "match": draw.one("window-update", "probe", "zero-window"), **_which(draw)}


def _strip(draw: Draw) -> Table:
    options = draw.one(
        "mptcp",
        "mptcp",
        "dss",
        "mp_capable",
        "mp_join",
        "add_addr",
        ["timestamps", "sack"],
        "wscale",
        "mp_fail",
        "mp_tcprst",
    )
    match = draw.one(
        {}, {"match": "syn"}, {"match": "non-syn"}, {"after": draw.one(2, 3, 4, 30, 100)}, {"first": 3}
    )
    return {"name": "strip", "options": options, **match, **_direction(draw)}


def _hold(draw: Draw) -> Table:
    time = draw.one({"time": "30ms"}, {"time": "250ms"}, {"release": f"{draw.one(800, 1500)}ms"})
    which = draw.one({"first": 5}, {"every": 4}, {"every": 11}, {"from": "500ms", "until": "900ms"})
    return {
        "name": "hold",
        "match": draw.one("data", "pure-ack", "any", "mp_join", "add_addr", "syn"),
        **time,
        **which,
    }


def _resegment(draw: Draw) -> Table:
    return draw.one(
        {"name": "split", "size": draw.one(300, 700), "options": draw.one("each", "first")},
        {"name": "coalesce", "wait": "3ms", "size": draw.one(1448, 2800), **_which(draw)},
    )


def _payload(draw: Draw) -> Table:
    change = draw.one({"flip": 2}, {"insert": 5}, {"remove": 3}, {"flip": 1, "offset": 10})
    return {"name": "payload", **change, "nth": [draw.one(3, 8, 20)]}


def _sequence(draw: Draw) -> Table:
    return {"name": "sequence", "sack": draw.chance(0.7), **_direction(draw)}


def _nat(draw: Draw) -> Table:
    return {"name": "nat", "keep_ports": draw.chance(0.5), **draw.one({}, {"timeout": "1s"})}


def _ack(draw: Draw) -> Table:
    return {"name": "ack", **draw.one({"first": 30}, {"every": 5}, {"from": "300ms", "until": "900ms"})}


BOXES = {
    "boxes": (_drop, _drop, _strip, _strip, _strip, _hold, _resegment, _payload, _sequence, _nat, _ack),
    "closing": (_drop_updates, _drop_updates, _drop),
    "failing": (_drop, _drop, _strip, _hold),
}


# --- Ends -----------------------------------------------------------------------------------------


def _ends(draw: Draw, network: Network, theme: str, profile: str) -> None:
    """Configure TCP and MPTCP of the ends."""
    shared = _tcp(draw, theme)
    for end in ("client", "server"):
        host = network.end(end)
        tcp = shared if draw.chance(0.5) else _tcp(draw, theme)
        host["tcp"] = dict(tcp)
        if not profile or (draw.chance(0.06) and theme == "boxes"):
            continue
        mptcp: Table = {"profile": profile}
        if theme == "boxes" and draw.chance(0.2):
            mptcp["profile"] = draw.one("rfc8684", "rfc6824", "linux-6.18")
        manager = network.path_manager(draw, profile, end)
        if manager:
            mptcp["path_manager"] = manager
        mptcp |= _mptcp(draw, theme)
        if (
            mptcp["profile"] not in VERSION_0
            and not {"version", "versions"} & set(mptcp)
            and draw.chance(0.08)
        ):
            mptcp["deny_join_initial"] = True
        host["mptcp"] = mptcp


def _some(draw: Draw, share: float, choices: dict[str, Sequence[Any]]) -> Table:
    """Return a share of some keys, each with one of its values."""
    return {key: draw.one(*values) for key, values in choices.items() if draw.chance(share)}


CONGESTION: tuple[Any, ...] = (
    "cubic",
    "reno",
    "lia",
    {"name": "reno", "abc_limit": 2},
    {"name": "lia", "abc_limit": 2},
    {"name": "cubic", "beta": 0.5, "fast_convergence": False},
)


def _tcp(draw: Draw, theme: str) -> Table:
    table = _some(draw, 0.5, {"congestion": CONGESTION})
    table |= _some(
        draw,
        0.14,
        {
            "mss": (88, 200, 536, 1000),
            "initial_window_segments": (1, 3),
            "initial_ssthresh": ("5kB", "20kB"),
            "send_buffer": ("2kB", "20kB", "64KiB"),
            "receive_buffer": ("3kB", "16KiB", "64KiB", "100001B"),
            "receive_autotune": (True,),
            "window_scaling": (False,),
            "window_scale": (0, 3, 14),
            "timestamps": (False,),
            "sack": (False,),
            "rack_tlp": (False,),
            "limited_transmit": (False,),
            "ecn": (True,),
            "nagle": (False,),
            "ack_every": (1, 4),
            "delayed_ack": ("0ms", "200ms"),
            "rto_initial": ("300ms", "3s"),
            "rto_min": ("50ms", "1s"),
            "zero_window_probe": ("byte", "empty"),
            "path_mtu_discovery": (False,),
            "slow_start_after_idle": (False,),
            "challenge_ack_limit": (0, 2),
            "initial_sequence": (0, 0xFFFF_F000, 0x7FFF_FF00),
            "initial_timestamp": (0, 0xFFFF_FF00),
            "header_prediction": (False,),
            "time_wait": ("0ms", "500ms"),
            "fin_timeout": ("300ms",),
        },
    )
    if theme == "closing":
        table |= {
            "receive_buffer": draw.one("4KiB", "8KiB", "16KiB", "32KiB"),
            "persist_max": draw.one("1s", "4s", "60s"),
        }
        table |= _some(draw, 0.3, {"zero_window_probe": ("byte", "empty"), "receive_autotune": (True,)})
    if theme == "failing":
        table |= _some(
            draw,
            0.5,
            {
                "data_retries": (2, 4),
                "syn_retries": (1, 2),
                "rto_max": ("1s", "4s"),
                "rto_min": ("50ms", "200ms"),
                "keepalive": (True,),
            },
        )
    if theme == "idle" or "keepalive" in table:
        table |= {
            "keepalive": True,
            "keepalive_idle": draw.one("1s", "5s"),
            "keepalive_interval": draw.one("500ms", "2s"),
            "keepalive_probes": draw.one(1, 3),
        }
    if theme in ("idle", "many"):
        table |= _some(draw, 0.5, {"time_wait": ("0ms", "500ms", "2s"), "fin_timeout": ("500ms", "3s")})
    if table.get("rto_initial") == "300ms":
        table["rto_min"] = "50ms"
    if theme == "lossy":
        table |= _some(
            draw, 0.3, {"sack": (False,), "rack_tlp": (False,), "timestamps": (False,), "ecn": (True,)}
        )
    return table


def _mptcp(draw: Draw, theme: str) -> Table:
    table = _some(
        draw,
        0.08,
        {
            "checksum": (True,),
            "join_after": ("dss", "add-addr", "at-once"),
            "max_subflows": (1, 2, 3),
            "initial_dsn": (0xFFFF_F000, 0xFFFF_FFFF_FFFF_F000),
            "dsn_octets": (4, 8),
            "data_ack_octets": (4, 8),
            "mapping_segments": (3, 8),
            "hold_unmapped": (False,),
            "keep_until_acked": (True, False),
            "share_send_window": (True, False),
            "window_update": ("all", "one", "none"),
            "window_update_rule": ("rfc", "bsd", "linux"),
            "receive_window": ("connection", "subflow", "own"),
            "data_ack_on_updates": (False,),
            "data_ack_lag": ("150us", "1ms"),
            "connection_window": (False,),
            "fill_window": (True,),
            "wake_on_window": (False,),
            "map_ahead": (True,),
            "subflow_probe": ("empty", "byte", "none"),
            "persist_min": ("1s",),
            "persist_shift": (1, 3),
            "persist_blocks": (True,),
            "data_probe": (True,),
            "invalid_ratelimit": ("500ms",),
            "data_timeout": ("300ms", "4s"),
            "data_retransmit": ("4kB", "32KiB"),
            "add_addr_timeout": ("300ms",),
            "fastclose": ("ack", "rst"),
            "cache_versions": (False,),
            "version": (0, 1),
        },
    )
    if "version" not in table and draw.chance(0.08):
        table["versions"] = draw.one([1, 0], [0, 1])
    if draw.chance(0.5):
        table["scheduler"] = draw.one(
            "minrtt",
            "roundrobin",
            "redundant",
            {"name": "roundrobin", "segments": 3},
            {"name": "minrtt", "opportunistic": True, "penalise": False},
            {"name": "minrtt", "opportunistic": False, "penalise": True},
        )
    if theme == "boxes":
        table |= _some(
            draw, 0.4, {"checksum": (True,), "syns_with_option": (1, 2), "fail_timeout": ("800ms", "3s")}
        )
    if theme == "failing":
        table |= _some(
            draw,
            0.5,
            {
                "subflow_retries": (1, 2, 3),
                "stale_timeouts": (1, 2),
                "path_probe": ("0ms", "300ms"),
                "close_timeout": ("0ms", "500ms", "3s"),
                "data_retries": (0, 1, 3),
                "add_addr_retries": (0, 2),
                "add_addr_timeout": ("200ms", "1s"),
            },
        )
    return table


# --- Flows ----------------------------------------------------------------------------------------


def _flows(draw: Draw, network: Network, theme: str) -> list[Table]:
    if network.flows:
        return [flow if flow.get("app") else flow | _application(draw, theme) for flow in network.flows]
    if network.own_flows:
        return []
    count = draw.one(6, 12, 20) if theme == "many" else draw.one(1, 1, 1, 2, 3)
    # Flows that share a port of the server have one server, and with it one application.
    same = _many(draw) if theme == "many" and count == 12 else None
    flows = []
    for index in range(count):
        flow: Table = {
            "name": f"f{index}",
            "client": network.client,
            "server": network.server,
            **network.ends,
        }
        flow["port"] = 5001 if same else 5001 + index
        flow |= same or (_many(draw) if theme == "many" else _application(draw, theme))
        if index or draw.chance(0.1):
            flow["start"] = f"{draw.below(1500)}ms"
        if draw.chance(0.06) and not same:
            flow["listen"] = draw.one("never", "300ms")
        if draw.chance(0.1):
            flow["client_tcp"] = _some(
                draw, 0.4, {"nagle": (False,), "congestion": CONGESTION, "mss": (400,)}
            )
        flows.append(flow)
    return flows


def _many(draw: Draw) -> Table:
    return draw.one(
        {"app": "bulk", "bytes": draw.one("1B", "500B", "5kB", "40kB")},
        {
            "app": "request-response",
            "count": draw.one(1, 3),
            "request": "60B",
            "response": draw.one("200B", "9kB"),
        },
    )


def _application(draw: Draw, theme: str) -> Table:
    """Return what a flow's applications do."""
    reverse = {"reverse": True} if draw.chance(0.3) else {}
    reader: Table = {}
    if theme == "closing" or draw.chance(0.2):
        reader = {"read_size": draw.one("100B", "1kB", "4KiB", "32KiB", "256KiB")}
        if draw.chance(0.5):
            reader["every"] = draw.one("5ms", "20ms", "100ms", "400ms", "1500ms")
        if draw.chance(0.7):
            reader |= {
                "pause": draw.one("150ms", "700ms", "3s"),
                "pause_after": draw.one("0B", "5kB", "40kB"),
            }
    with_reader = {"reader": reader} if reader else {}
    if theme == "idle":
        kind = draw.one("on-off", "request-response", "constant-rate", "bulk")
    else:
        kind = draw.one("bulk", "bulk", "bulk", "bulk", "constant-rate", "on-off", "request-response")
    if kind == "request-response":
        table = {"request": draw.one("20B", "2kB"), "response": draw.one("50B", "20kB", "150kB")}
        if draw.chance(0.4):
            table["count"] = draw.one(1, 4)
        return {"app": kind, **table, "every": draw.one("100ms", "700ms", "3s") if theme != "idle" else "8s"}
    limit = draw.one(
        {}, {"bytes": draw.one("3kB", "60kB", "250kB", "700kB")}, {"duration": draw.one("300ms", "1500ms")}
    )
    if theme == "idle":
        limit = (
            {"bytes": draw.one("2kB", "40kB", "150kB")}
            if kind == "bulk"
            else {"duration": draw.one("2s", "8s")}
        )
    if kind == "bulk":
        write = {"write_size": draw.one("400B", "3kB", "50kB")} if draw.chance(0.3) else {}
        return {"app": kind, **write, **limit, **reverse, **with_reader}
    table = {"rate": draw.one("40kbps", "300kbps", "1Mbps"), "message": draw.one("100B", "1000B", "9kB")}
    if kind == "on-off":
        table |= {
            "on": draw.one("50ms", "400ms"),
            "off": draw.one("150ms", "1500ms"),
            "random": draw.chance(0.5),
        }
    return {"app": kind, **table, **limit, **reverse, **with_reader}


# --- Events ---------------------------------------------------------------------------------------


def _events(draw: Draw, network: Network, theme: str, flows: list[Table]) -> list[Table]:
    """Return what happens on the way, in the order of time."""
    found: list[tuple[int, Table]] = []
    rounds = draw.one(1, 2, 3) if theme == "failing" else int(draw.chance(0.4))
    for _ in range(rounds):
        at = 200 + draw.below(2500)
        later = at + draw.one(20, 300, 1200, 4000)
        found += draw.one(*network.happenings(draw, theme))(draw, network, at, later, flows)
    found.sort(key=lambda pair: pair[0])
    return [{"at": f"{at}ms", **event} for at, event in found]


def main() -> None:
    """Write scenarios as files."""
    directory, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        scenario = random_scenario(number)
        (directory / f"{scenario.name}.toml").write_text(scenario.text, encoding="utf-8")


if __name__ == "__main__":
    main()
