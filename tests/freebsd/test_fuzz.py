"""Hostile texts on the whole way from a scenario to a run: a ScenarioError in one line, or it runs."""

from __future__ import annotations

from typing import Any

import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st

from mptcpsim.scenario.build import build
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.load import dumps, loads
from tests.profiles import examples

#: Commands that are taken in nearly every order, by the host that they are typed at.
GOOD = {
    "A": [
        "ifconfig A1 inet 10.0.0.1/24",
        "ifconfig A2 inet 10.0.1.1/24",
        "ifconfig A2 inet 10.0.1.5/24 alias",
        "ifconfig A2 down",
        "ifconfig A1 mtu 1400",
        "ifconfig A2 up",
        "iperf -c 10.0.0.2 -t 1",
        "iperf -c 10.0.0.2 -n 3k -P 2 -p 7 -l 700 -j 20K",
        "ipfw add fwd 10.0.0.2 tcp from any to any 7",
        "route add -net 10.7.0.0/16 10.0.0.2",
        'sysctl net.inet.tcp.mptcp.mp_addresses="10.0.0.1"',
        "ipfw add skipto 500 ip from any to any in recv A1",
        "ipfw add 20 prob 0.5 deny ip from me to any via em*",
    ],
    "B": ["ifconfig B1 inet 10.0.0.2/24", "iperf -c 10.0.0.1 -i 0.02 -w 9K", "ifconfig B1 up"],
}
BOTH = [
    "",
    "# iperf -s",
    "sysctl net.inet.tcp.sack.enable=0 net.inet.tcp.rfc1323=0",
    "pfctl -e -f /etc/pf.conf",
    "sysctl net.inet.tcp.recvspace=30000",
    "sysctl net.inet.tcp.cc.algorithm=cubic",
    "pfctl -d -F all",
    "sysctl net.inet.ip.fw.one_pass=0",
    "sysctl net.inet.ip.dummynet.pipe_slot_limit=70",
    "pfctl -e",
    "ipfw pipe 1 config bw 8Mbit/s delay 5 queue 10",
    "ipfw add pipe 1 tcp from any to any out",
    "ipfw pipe 3 config plr 0.1",
    "ipfw add queue 9 tcp from any to any in",
    "ipfw add pipe 3 ip from any to me",
    "ipfw add 65000 allow ip from any to any",
    "ipfw -q flush",
    "sysctl net.inet.ip.fw.enable=0",
]
BAD = [
    "ifconfig A2 10.0.0.1 delete",
    "ifconfig A1 10.0.0.1 delete",
    "ifconfig A1 down",
    "route add default 10.0.0.2",
    "route delete default",
    "route delete -net 10.0.0.0/24",
    "route add -net 10.0.0.0/24 -interface A2",
    "iperf -s",
    "sysctl net.inet.tcp.recvspace=1",
    "iperf -s -l 3 -p 7 -k 64K",
    "tcpdump -i em0 -w x.pcap",
    "frobnicate",
    'pf_enable="YES"',
    "ipfw pipe 1 delete",
    "ipfw delete 10",
    "ipfw queue 2 config pipe 1 weight 3",
    "ifconfig A1 inet 10.0.0.1/24 \\",
    "iperf -c 10.0.9.9",
    "ifconfig A1 inet6 fd00::1/64",
]
PF = [
    "pass out on em0 route-to (em1 10.0.1.9) from 10.0.0.0/24 to any",
    "set skip on lo0",
    "pass all no state",
    "pass in on { A1 em1 } reply-to (em1 10.0.1.9) keep state",
    "set state-policy if-bound",
    "# nothing",
    "",
    "block return in proto tcp from any port > 1000",
    "block drop out quick on ! em0 inet6",
    'net = "10.0.0.0/24"',
    "pass out on em1 route-to (em0 10.0.0.2) no state",
    "block in proto tcp flags P/PS",
]
BAD_PF = ["pass from $nothing", "{", '"', "\\", "nat on em0"]
WORDS = [
    "",
    "em0",
    "A2",
    "10.0.0.2",
    "::1",
    "10.0.0.0/0",
    "-1",
    "99999999999",
    "any",
    "{",
    "}",
    '"',
    "$x",
    "\\",
    "from",
    "tcp",
    "-f",
    "é",
    "\t",
    "\x00",
    "%s",
    "1e9",
    "out",
]


@st.composite
def lines(draw: st.DrawFn, good: list[str], bad: list[str]) -> str:
    """Return a text of lines, most of them as they should be, some refused, some with other words."""
    found = []
    for _ in range(draw(st.integers(0, 7))):
        kind = draw(st.integers(0, 39))
        words = draw(st.sampled_from(bad if kind == 0 else good)).split(" ")
        if kind == 1:
            place = draw(st.integers(0, len(words) - 1))
            words[place : place + draw(st.integers(0, 2))] = [
                draw(st.sampled_from(WORDS) | st.text(max_size=5))
            ]
        found.append(" ".join(words))
    if draw(st.integers(0, 39)) == 0:
        found.append(draw(st.text(max_size=40)))
    return "\n".join(found)


@st.composite
def tables(draw: st.DrawFn, host: str) -> dict[str, Any]:
    """Return a ``freebsd`` table with texts of all kinds."""
    commands = lines(GOOD[host] + BOTH, BAD)
    server = "iperf -s -p 7\n" if host == "B" else ""
    found: dict[str, Any] = {"commands": server + draw(commands)}
    if draw(st.integers(0, 9)):
        found["aliases"] = {"A1": "em0", "A2": "em1"} if host == "A" else {"B1": "em0"}
    rules = draw(
        lines(PF if host == "A" else ["pass all", "block in proto tcp from any to any port 5001"], BAD_PF)
    )
    found["files"] = {
        "/etc/pf.conf": rules,
        "/etc/rc.conf": f'pf_enable="{draw(st.sampled_from(["YES", "NO"]))}"',
    }
    found["default_to_accept"] = draw(st.booleans())
    if draw(st.booleans()):
        at = st.sampled_from(["1ms", "30ms", "55ms"])
        found["later"] = [
            {"at": draw(at), "commands": draw(commands)} for _ in range(draw(st.integers(1, 2)))
        ]
    return found


def scenario(a: Any, b: Any) -> str:
    ends = (["A:A1", "switch"], ["A:A2", "switch"], ["B:B1", "switch"])
    data = {
        "title": "Fuzz",
        "duration": "60ms",
        "hosts": {
            "A": {"interfaces": {"A1": "10.0.0.1/24"}, "freebsd": a},
            "B": {"interfaces": {"B1": "10.0.0.2/24"}, "freebsd": b},
        },
        "links": [{"ends": end, "rate": "10Mbps", "delay": "1ms"} for end in ends],
        "flows": [{"client": "B", "server": "A", "port": 9, "bytes": "20kB"}],
    }
    return tomlkit.dumps(data) + "\n[switches.switch]\n"


def judge(toml: str) -> bool:
    """Load and run; return whether it was one."""
    try:
        found = loads(toml)
    except ScenarioError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert message.startswith("scenario: ")
        assert "\n" not in message
        return False
    assert loads(dumps(found)) == found
    simulation = build(found)
    simulation.env.run(found.duration)
    for flow in simulation.flows:
        if flow.receiver is not None and flow.sender is not None:
            assert flow.receiver.delivered <= flow.sender.written
    return True


@examples(100)
@given(tables("A"), tables("B"))
@example({"commands": "iperf -s -p 7"}, {"commands": "iperf -c 10.0.0.1 -p 7 -n 1k"})
def test_texts(a: dict[str, Any], b: dict[str, Any]) -> None:
    judge(scenario(a, b))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("aliases", "commands", "files", "later", "default_to_accept", "other")


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value if item is not None] if isinstance(value, list) else value


@examples(100)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4) | VALUES)
def test_tables_of_wrong_kinds(table: Any) -> None:
    judge(scenario(without_none(table) if table is not None else 0, {"commands": "iperf -s"}))


SURROUNDINGS = (
    "interfaces",
    "routes",
    "default_route",
    "tcp",
    "mptcp",
    "connected_routes",
    "rules",
    "tables",
)


@examples(50)
@given(
    st.sampled_from(SURROUNDINGS),
    VALUES,
    st.sampled_from(["hosts.A", "links", "flows", "output", "defaults"]),
)
def test_surroundings_of_wrong_kinds(key: str, value: Any, place: str) -> None:
    """What stands around the dialect may be wrong, too; the ordinary check says so."""
    value = 0 if value is None else without_none(value)
    commands = "ifconfig A1 inet 10.0.0.1/24\nroute add default 10.0.0.2\nsysctl net.inet.tcp.sack.enable=0\n"
    commands += "tcpdump -i A1 -w x.pcap\niperf -c 10.0.0.2 -n 1k"
    data: dict[str, Any] = tomlkit.parse(scenario({"commands": commands}, {"commands": "iperf -s"})).unwrap()
    if place == "hosts.A":
        data["hosts"]["A"][key] = value
    else:
        data[place] = value
    judge(tomlkit.dumps(data))


def test_some_of_the_examples_run() -> None:
    """The fuzz would prove nothing if every text were refused."""
    good = "ifconfig A1 inet 10.0.0.1/24\nipfw add allow ip from any to any\niperf -c 10.0.0.2"
    assert judge(scenario({"commands": good}, {"commands": "iperf -s"}))
