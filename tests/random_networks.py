"""The networks of random scenarios: links, addresses, and what may happen to them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.random_firewalls import firewall, pf_states, pipes

#: A table of a scenario file.
Table = dict[str, Any]
#: What happens at an instant, ms.
Event = tuple[int, Table]


class Draw:
    """A stream of choices, the same one for the same name."""

    def __init__(self, name: str) -> None:
        self._random = random.Random(name)

    def one(self, *choices: Any) -> Any:
        """Return one of several values."""
        return self._random.choice(choices)

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return self._random.random() < probability

    def below(self, end: int) -> int:
        """Return a whole number from 0 to ``end`` - 1."""
        return self._random.randrange(end)


@dataclass
class Network:
    """A network, as tables of a scenario file.

    Attributes:
        top: keys of the scenario itself.
        tables: ``hosts``, ``routers`` and ``switches``.
        links: all links.
        path_links: those of them that get random properties.
        ends: keys of flows that name interfaces.
        client_addresses: of the client, by path.
        server_addresses: of the server, by path.
        seconds: the duration, where it is not up to the theme.
        flows: flows of the network's own; those without ``app`` get one.
        own_flows: there are flows already, by commands.
        profiles: the only profiles that make sense here.
        plain_addresses: no route refers to an address that a NAT would hide.
    """

    tables: dict[str, dict[str, Table]]
    links: list[Table]
    path_links: list[Table]
    client: str = "C"
    server: str = "S"
    top: Table = field(default_factory=dict)
    defaults: Table = field(default_factory=dict)
    ends: Table = field(default_factory=dict)
    client_addresses: list[str] = field(default_factory=list)
    server_addresses: list[str] = field(default_factory=list)
    joins: tuple[str, ...] = ("none", "ndiffports")
    paths: int = 1
    ipv6: bool = False
    seconds: int = 0
    flows: list[Table] = field(default_factory=list)
    own_flows: bool = False
    profiles: tuple[str, ...] = ()
    plain_addresses: bool = True
    _way: str = ""

    def end(self, which: str) -> Table:
        """Return the table of the host at an end, or the defaults where all hosts are alike."""
        host = self.tables.get("hosts", {}).get(self.client if which == "client" else self.server)
        return self.defaults if host is None else host

    def path_manager(self, draw: Draw, profile: str, which: str) -> Any:
        """Return the ``path_manager`` of an end, or None."""
        if which == "client" or not self._way:
            self._way = draw.one(*self.joins)
        client = which == "client"
        own = (self.client_addresses if client else self.server_addresses)[1:]
        if self._way == "none":
            return None
        if self._way == "ndiffports":
            return {"name": "ndiffports", "subflows": draw.one(2, 3, 4)} if client else None
        if profile.startswith("caia") and self._way != "port":
            return {"name": "mp_addresses", "addresses": " ".join(own)}
        flags = " backup" if draw.chance(0.2) else ""
        if self._way == "signal":
            return (
                {"name": "endpoints", "add_addr_accepted": draw.one(1, 2, 8), "subflows": draw.one(2, 8)}
                if client
                else {
                    "name": "endpoints",
                    "endpoints": ", ".join(f"{at} signal{flags}" for at in own),
                    "subflows": 8,
                }
            )
        if self._way == "port":
            port = f" port {draw.one(5001, 6001)}"
            return (
                {"name": "endpoints", "add_addr_accepted": 2}
                if client
                else {"name": "endpoints", "endpoints": ", ".join(f"{at} signal{port}{flags}" for at in own)}
            )
        if self._way == "subflow":
            return (
                {
                    "name": "endpoints",
                    "endpoints": ", ".join(f"{at} subflow{flags}" for at in own),
                    "subflows": 8,
                }
                if client
                else None
            )
        # A full mesh: everything at once.
        words = "subflow fullmesh" if client else "signal"
        return {
            "name": "endpoints",
            "endpoints": ", ".join(f"{at} {words}{flags}" for at in own),
            "add_addr_accepted": 4,
            "subflows": draw.one(3, 8),
        }

    def happenings(self, draw: Draw, theme: str) -> list[Callable[..., list[Event]]]:
        """Return what may happen here."""
        if self.path_links:
            found: list[Callable[..., list[Event]]] = [link_cut, link_cut, link_changes, link_changes]
        else:
            found = [pauses]
        if self.client_addresses and not self.own_flows:
            found += [interface_cut, interface_cut, address_moves, address_moves, routes_change, pauses]
        return found


def _link(name: str, one: str, other: str, **keys: Any) -> Table:
    return {"name": name, "ends": [one, other], **keys}


# --- Shapes ---------------------------------------------------------------------------------------


def _address(path: int, host: int, ipv6: bool) -> str:
    return f"fd00:{path}::{host}" if ipv6 else f"10.{path}.0.{host}"


def _direct(paths: int, ipv6: bool = False) -> Network:
    """Return two hosts with a link for each path, and rules that send each address by its own link."""
    length, whole = (64, 128) if ipv6 else (24, 32)
    hosts: dict[str, Table] = {}
    addresses = {
        name: [_address(path, last, ipv6) for path in range(paths)] for name, last in (("C", 1), ("S", 2))
    }
    for name, other in (("C", "S"), ("S", "C")):
        own, peer = addresses[name], addresses[other]
        hosts[name] = {"interfaces": {f"eth{path}": f"{at}/{length}" for path, at in enumerate(own)}}
        if paths > 1:
            hosts[name]["rules"] = [f"from {own[path]} lookup {path}" for path in range(1, paths)]
            hosts[name]["tables"] = {
                str(path): [f"{at}/{whole} via {peer[path]}" for at in peer if at != peer[path]]
                for path in range(1, paths)
            }
    links = [_link(f"path{path}", f"C:eth{path}", f"S:eth{path}") for path in range(paths)]
    return Network(
        {"hosts": hosts},
        links,
        links,
        ends={"client_interface": "eth0", "server_interface": "eth0"},
        client_addresses=addresses["C"],
        server_addresses=addresses["S"],
        paths=paths,
        ipv6=ipv6,
        joins=("subflow", "signal", "signal", "mesh", "port")
        if paths > 1
        else ("none", "none", "ndiffports"),
    )


def one_link(draw: Draw) -> Network:
    """Two hosts, one link."""
    return _direct(1)


def two_links(draw: Draw) -> Network:
    """Two hosts, two links."""
    return _direct(2)


def three_links(draw: Draw) -> Network:
    """Two hosts, three links."""
    return _direct(3)


def ipv6_links(draw: Draw) -> Network:
    """Two hosts with addresses of IPv6."""
    return _direct(draw.one(1, 2, 2), ipv6=True)


def one_router(draw: Draw) -> Network:
    """A router between two hosts with two paths to it; the hosts choose routes by destination."""
    length, any_ = 24, "default"
    client, server = [f"10.{path}.0.1" for path in range(2)], [f"10.9{path}.0.1" for path in range(2)]
    hosts: dict[str, Table] = {}
    for name, own, peer in (("C", client, server), ("S", server, client)):
        gateways = [at[:-1] + "254" for at in own]
        hosts[name] = {
            "interfaces": {f"eth{path}": f"{at}/{length}" for path, at in enumerate(own)},
            "routes": [{"to": f"{at[:-1]}0/24", "via": gateways[path]} for path, at in enumerate(peer)],
            "rules": [f"from {own[1]} lookup 2"],
            "tables": {"2": [f"{any_} via {gateways[1]}"]},
        }
    interfaces = {f"c{path}": f"10.{path}.0.254/24" for path in range(2)}
    interfaces |= {f"s{path}": f"10.9{path}.0.254/24" for path in range(2)}
    links = [_link(f"path{path}", f"C:eth{path}", f"R:c{path}") for path in range(2)]
    server_links = [_link(f"server{path}", f"R:s{path}", f"S:eth{path}") for path in range(2)]
    if draw.chance(0.3):
        server_links[0]["mtu"] = 1200
    return Network(
        {"hosts": hosts, "routers": {"R": {"interfaces": interfaces}}},
        links + server_links,
        links,
        ends={"client_interface": "eth0", "server_interface": "eth0"},
        client_addresses=client,
        server_addresses=server,
        paths=2,
        joins=("signal", "signal", "subflow", "mesh"),
        plain_addresses=False,
    )


def chain(draw: Draw) -> Network:
    """Two to four routers in a row, the shortest paths computed; one link carries smaller packets."""
    count = draw.one(2, 3, 4)
    routers: dict[str, Table] = {}
    links = [_link("first", "C:eth0", "R0:up")]
    for number in range(count):
        up, down = f"10.{number}.0.254/24", f"10.{number + 1}.0.{1 if number + 1 < count else 254}/24"
        if number:
            up = f"10.{number}.0.2/24"
            links.append(_link(f"hop{number}", f"R{number - 1}:down", f"R{number}:up"))
        routers[f"R{number}"] = {"interfaces": {"up": up, "down": down}}
    links.append(_link("last", f"R{count - 1}:down", "S:eth0"))
    server = f"10.{count}.0.1"
    hosts = {"C": {"interfaces": {"eth0": "10.0.0.1/24"}}, "S": {"interfaces": {"eth0": f"{server}/24"}}}
    narrow = links[1]
    if draw.chance(0.6):
        narrow["mtu"] = draw.one(900, 1400)
    if draw.chance(0.2):
        # The router that says so is not heard (RFC 2923 section 2.1).
        links[0]["middleboxes"] = [{"name": "drop", "match": "icmp"}]
    return Network(
        {"hosts": hosts, "routers": routers},
        links,
        [narrow],
        top={"routing": draw.one("hops", "delay")},
        client_addresses=["10.0.0.1"],
        server_addresses=[server],
        joins=("none", "ndiffports"),
        plain_addresses=False,
    )


def diamond(draw: Draw) -> Network:
    """Equal paths between two routers, of which each flow takes one."""
    width = draw.one(2, 3)
    routers: dict[str, Table] = {
        "L": {"interfaces": {"host": "10.100.0.254/24"}},
        "R": {"interfaces": {"host": "10.200.0.254/24"}},
    }
    links = [_link("client", "C:eth0", "L:host"), _link("server", "R:host", "S:eth0")]
    middle = []
    for path in range(width):
        routers["L"]["interfaces"][f"m{path}"] = f"10.{path}.1.1/24"
        routers["R"]["interfaces"][f"m{path}"] = f"10.{path}.2.1/24"
        routers[f"M{path}"] = {"interfaces": {"left": f"10.{path}.1.2/24", "right": f"10.{path}.2.2/24"}}
        middle += [
            _link(f"left{path}", f"L:m{path}", f"M{path}:left"),
            _link(f"right{path}", f"M{path}:right", f"R:m{path}"),
        ]
    hosts = {"C": {"interfaces": {"eth0": "10.100.0.1/24"}}, "S": {"interfaces": {"eth0": "10.200.0.1/24"}}}
    distinct = {"distinct_paths": True} if draw.chance(0.6) else {}
    return Network(
        {"hosts": hosts, "routers": routers},
        links + middle,
        middle[::2],
        top={"routing": "hops", "ecmp": "flow"},
        ends=distinct,
        client_addresses=["10.100.0.1"],
        server_addresses=["10.200.0.1"],
        paths=width,
        joins=("ndiffports",),
        profiles=("rfc8684", "linux-6.18", "rfc6824"),
        plain_addresses=False,
    )


def one_network(draw: Draw) -> Network:
    """A switch that joins a host with two addresses, a server, and a third host that talks to it."""
    hosts: dict[str, Table] = {
        "C": {"interfaces": {"eth0": "10.0.0.1/24", "eth1": "10.0.0.11/24"}},
        "S": {"interfaces": {"eth0": "10.0.0.2/24", "eth1": "10.0.0.12/24"}},
        "D": {"interfaces": {"eth0": "10.0.0.3/24"}},
    }
    places = ("C:eth0", "C:eth1", "S:eth0", "S:eth1", "D:eth0")
    links = [_link(place.replace(":", "-"), place, "X") for place in places]
    keys = {"client_interface": "eth0", "server_interface": "eth0"}
    return Network(
        {"hosts": hosts, "switches": {"X": {}}},
        links,
        links[:2],
        client_addresses=["10.0.0.1", "10.0.0.11"],
        server_addresses=["10.0.0.2", "10.0.0.12"],
        paths=2,
        joins=("signal", "subflow", "mesh"),
        flows=[
            {"name": "f0", "client": "C", "server": "S", **keys},
            {"name": "f1", "client": "D", "server": "S", "port": 5002, "app": "bulk", "bytes": "30kB"},
        ],
        plain_addresses=False,
    )


def generated(draw: Draw) -> Network:
    """A network of the generators', and flows by a pattern or between two of its hosts."""
    common = {"rate": draw.one("2Mbps", "5Mbps"), "delay": draw.one("200us", "3ms"), "queue": draw.one(5, 20)}
    kind = draw.one("dumbbell", "parallel-paths", "torus", "fat-tree", "bottleneck-torus")
    network = Network({}, [], [], seconds=2, plain_addresses=False)
    pattern = {
        "name": "p",
        "pattern": draw.one("permutation", "permutation", "incast"),
        "bytes": draw.one("8kB", "30kB"),
    }
    manager: Any = {"name": "ndiffports", "subflows": draw.one(2, 3)}
    if kind == "dumbbell":
        network.top["topology"] = {"generator": kind, "pairs": 3, **common}
        network.flows = [
            {"client": f"c{i}", "server": f"s{i}", "app": "bulk", "bytes": "120kB"} for i in range(3)
        ]
    elif kind == "parallel-paths":
        network.top["topology"] = {
            "generator": kind,
            "paths": [{"rate": "1Mbps", "delay": "5ms"}, {"rate": "2Mbps", "delay": "30ms"}],
        }
        network.flows = [{"client": "client", "server": "server", "app": "bulk", "bytes": "250kB"}]
    elif kind == "bottleneck-torus":
        network.top["topology"] = {"generator": kind, **common}
        network.flows = [
            {"client": f"c{i}", "server": f"s{i}", "app": "bulk", "bytes": "60kB"} for i in range(3)
        ]
    else:
        size = {"k": 4} if kind == "fat-tree" else {"rows": 3, "columns": 3}
        network.top |= {"topology": {"generator": kind, **size, **common}, "ecmp": "flow"}
        if pattern["pattern"] == "incast":
            pattern["server"] = "h0-0-0" if kind == "fat-tree" else "h0-0"
        network.flows = [pattern | {"app": "bulk"}]
    network.defaults = {
        "tcp": {"congestion": draw.one("lia", "reno", "cubic"), "receive_buffer": draw.one("32KiB", "1MiB")}
    }
    if draw.chance(0.7):
        network.defaults["mptcp"] = {"profile": draw.one("rfc8684", "linux-6.18"), "path_manager": manager}
        if pattern["pattern"] == "permutation" and "ecmp" in network.top:
            network.flows[0]["distinct_paths"] = draw.chance(0.5)
    return network


def freebsd(draw: Draw) -> Network:
    """Hosts and a router that are configured as FreeBSD is: pf, ipfw, dummynet, iperf."""
    multipath = draw.chance(0.7)
    first = [
        "ifconfig A1 inet 192.168.5.2/24",
        "ifconfig A2 inet 192.168.0.2/24",
        "route add default 192.168.5.1",
    ]
    if multipath:
        first += ['sysctl net.inet.tcp.mptcp.mp_addresses="192.168.0.2"']
    first += draw.one(
        [],
        ["sysctl net.inet.tcp.sack.enable=0"],
        ["sysctl net.inet.tcp.rfc1323=0"],
        ["sysctl net.inet.tcp.ecn.enable=1"],
    )
    first += draw.one([], ["sysctl net.inet.tcp.sendspace=65536", "sysctl net.inet.tcp.cc.algorithm=newreno"])
    seconds = draw.one(2, 3)
    client = f"iperf -c 10.0.1.2 -t {seconds}"
    client += draw.one("", " -P 2", " -l 8k", " -w 64k")
    if draw.chance(0.3):
        client = f"iperf -c 10.0.1.2 -n {draw.one('100k', '300k')}"
    files: Table = {}
    if multipath:
        files = {
            "/etc/rc.conf": 'pf_enable="YES"',
            "/etc/pf.conf": (
                "pass out on em0 route-to {(em1 192.168.0.1)} from 192.168.0.0/24 to any\n"
                "pass in on em1 reply-to (em1 192.168.0.1) from any to any keep state\n"
            ),
        }
    elif draw.chance(0.6):
        files = pf_states(draw)
    dump = draw.one([], ["tcpdump -w em0.pcap -i em0 &"], ["tcpdump -w em0.pcap -s 96 -i em0 &"])
    a: Table = {"aliases": {"A1": "em0", "A2": "em1"}, "commands": "\n".join([*first, *dump, client]) + "\n"}
    if files:
        a["files"] = files
    if files and draw.chance(0.3):
        a["later"] = [{"at": "1500ms", "commands": draw.one("pfctl -d", "pfctl -F states", "pfctl -F all")}]
    server = draw.one("iperf -s", "iperf -s -l 16k", "iperf -s -w 32k", "iperf -s -l 512k -k 1M")
    b = {
        "aliases": {"B1": "em0"},
        "commands": f"ifconfig B1 inet 10.0.1.2/24\nroute add default 10.0.1.1\n{server}\n",
    }
    router: Table = {"interfaces": {"R1": "192.168.5.1/24", "R2": "192.168.0.1/24", "R3": "10.0.1.1/24"}}
    commands, router_files, later = pipes(draw) if draw.chance(0.7) else firewall(draw)
    router["freebsd"] = {"commands": commands, "default_to_accept": True}
    if router_files:
        router["freebsd"]["files"] = router_files
    if later:
        router["freebsd"]["later"] = later
    links = [
        _link("a1", "A:A1", "R:R1", rate="4Mbps", delay="2ms"),
        _link("a2", "A:A2", "R:R2", rate="4Mbps", delay="2ms"),
        _link("b", "R:R3", "B:B1", rate="20Mbps"),
    ]
    return Network(
        {"hosts": {"A": {"freebsd": a}, "B": {"freebsd": b}}, "routers": {"R": router}},
        links,
        links[:2] if draw.chance(0.3) else [],
        client="A",
        server="B",
        seconds=seconds + 1,
        own_flows=True,
        paths=2 if multipath else 1,
        joins=("none",),
        profiles=("caia-v0.4", "caia-v0.51"),
        plain_addresses=False,
    )


#: What makes a network.
Shape = Callable[[Draw], Network]

#: Two hosts ``C`` and ``S`` that talk to each other.
PLAIN_SHAPES: tuple[Shape, ...] = (two_links, one_router, one_link, ipv6_links, three_links)

SHAPES: tuple[Shape, ...] = (
    one_link,
    two_links,
    one_router,
    three_links,
    chain,
    two_links,
    diamond,
    ipv6_links,
    one_network,
    one_link,
    freebsd,
    two_links,
    one_router,
    generated,
    two_links,
    freebsd,
)


# --- Happenings -----------------------------------------------------------------------------------


def link_cut(draw: Draw, network: Network, at: int, later: int, flows: list[Table]) -> list[Event]:
    """A link, or one direction of it, goes down; mostly it comes up again."""
    event = {"link": draw.one(*network.path_links)["name"]}
    if draw.chance(0.3):
        event["direction"] = draw.one("forward", "backward")
    found = [(at, {"action": "down", **event})]
    return [*found, (later, {"action": "up", **event})] if draw.chance(0.75) else found


def link_changes(draw: Draw, network: Network, at: int, later: int, flows: list[Table]) -> list[Event]:
    """A link gets another rate, delay, loss or queue."""
    event = {"action": "set", "link": draw.one(*network.path_links)["name"]}
    change = draw.one(
        {"rate": "200kbps"},
        {"rate": "6Mbps", "in_service": "new-rate"},
        {"rate": "100kbps", "in_service": "old-rate", "queue": 4},
        {"delay": "150ms"},
        {"delay": "1ms"},
        {"loss": 0.1},
        {"loss": 1.0, "direction": "forward"},
        {"loss": {"k": 0.05, "p": 0.05, "h": 0.8, "r": 0.2}},
        {"queue": 2},
    )
    if "queue" in change and isinstance(draw.one(*network.path_links).get("queue"), str):
        del change["queue"]
        change["delay"] = "60ms"
    restored = {"loss": 0.0} if "loss" in change else {"rate": "2Mbps"}
    return [(at, event | change), (later, event | restored)]


def interface_cut(draw: Draw, network: Network, at: int, later: int, flows: list[Table]) -> list[Event]:
    """An interface goes down, with or without its addresses, and comes up again."""
    path = draw.below(len(network.client_addresses))
    interface = f"{network.client}:eth{path}"
    down = {
        "action": "interface-down",
        "interface": interface,
        **draw.one({}, {"addresses": "keep"}, {"addresses": "remove"}),
    }
    found = [(at, down)]
    return (
        [*found, (later, {"action": "interface-up", "interface": interface})] if draw.chance(0.8) else found
    )


def address_moves(draw: Draw, network: Network, at: int, later: int, flows: list[Table]) -> list[Event]:
    """An address is taken away, and comes back or not; or a further one is added."""
    side = draw.one("client", "server")
    addresses = network.client_addresses if side == "client" else network.server_addresses
    path = draw.below(len(addresses))
    interface = f"{network.client if side == 'client' else network.server}:eth{path}"
    length = 64 if network.ipv6 else 24
    if draw.chance(0.25):
        further = addresses[path] + "7"
        return [(at, {"action": "add-address", "interface": interface, "address": f"{further}/{length}"})]
    found = [(at, {"action": "remove-address", "interface": interface, "address": addresses[path]})]
    back = {"action": "add-address", "interface": interface, "address": f"{addresses[path]}/{length}"}
    return [*found, (later, back)] if draw.chance(0.6) else found


def routes_change(draw: Draw, network: Network, at: int, later: int, flows: list[Table]) -> list[Event]:
    """A host gets a route, and loses it again."""
    address = network.server_addresses[-1]
    whole = 128 if network.ipv6 else 32
    path = draw.below(len(network.client_addresses))
    route = f"{address}/{whole} dev eth{path}"
    event = {"node": network.client, "route": route}
    return [(at, {"action": "add-route", **event}), (max(later, at + 1), {"action": "delete-route", **event})]


def pauses(draw: Draw, network: Network, at: int, later: int, flows: list[Table]) -> list[Event]:
    """An application stops for a while, or for good."""
    named = [flow for flow in flows if "name" in flow and "pattern" not in flow]
    if not named:
        return []
    event = {"flow": draw.one(*named)["name"], "side": draw.one("reader", "writer")}
    found = [(at, {"action": "pause", **event})]
    return [*found, (later, {"action": "resume", **event})] if draw.chance(0.8) else found
