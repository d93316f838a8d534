"""Every kind of wrong scenario: status 2, one message with file, key and remedy, nothing written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner, Result

from mptcpsim.cli import app

BASE = """\
title = "Two hosts and a router"
seed = 1
duration = "5s"

[defaults.tcp]
congestion = "reno"

[hosts.A]
default_route = "10.0.1.1"
[hosts.A.interfaces]
A1 = "10.0.1.2/24"
[hosts.A.tcp]
send_buffer = "1MiB"

[hosts.B]
default_route = "10.0.2.1"
[hosts.B.interfaces]
B1 = "10.0.2.2/24"

[routers.R]
[routers.R.interfaces]
R1 = "10.0.1.1/24"
R2 = "10.0.2.1/24"

[switches.S]

[[links]]
name = "access"
ends = ["A:A1", "S"]
rate = "100Mbps"

[[links]]
name = "middle"
ends = ["S", "R:R1"]
queue = 50

[[links]]
name = "core"
ends = ["R:R2", "B:B1"]
rate = "10Mbps"
delay = "10ms"
mtu = 1500
loss = 0.001

[[flows]]
name = "bulk"
client = "A"
server = "B"
app = "bulk"
duration = "5s"
port = 5001

[[events]]
at = "2s"
link = "core"
action = "set"
rate = "5Mbps"

[output]
sample_interval = "100ms"
capture = ["A:A1"]
"""


class Case(NamedTuple):
    """One mistake: what to replace in the scenario, and what the message must say."""

    name: str
    old: str
    new: str
    key: str
    remedy: str
    sets: tuple[str, ...] = ()


SECOND_FLOW = '[[flows]]\nname = "{name}"\nclient = "A"\nserver = "B"\nport = {port}\n\n[[events]]\nat = "2s"'
EVENT = '[[events]]\nat = "2s"'
FURTHER_FLOW = SECOND_FLOW.replace("\n\n", "\n{more}\n\n")

CASES = [
    # --- TOML
    Case("toml syntax", 'duration = "5s"\n\n', 'duration = "5s\n\n', "line 3", "mend the syntax"),
    Case("toml value", "port = 5001", "port = 50 01", "line 51", "mend the syntax"),
    Case("key twice", "seed = 1", "seed = 1\nseed = 2", "line 3", "mend the syntax"),
    # --- Unknown and missing keys
    Case("unknown key at the top", "seed = 1", "sede = 1", "sede", "did you mean 'seed'?"),
    Case("unknown key of a host", "default_route = \"10.0.1.1\"", "gateway = \"10.0.1.1\"", "hosts.A.gateway",
         "did you mean 'default_route'?"),
    Case("unknown key of a router", "[routers.R]\n", "[routers.R]\nrouts = []\n", "routers.R.routs",
         "did you mean 'routes'?"),
    Case("unknown key of a switch", "[switches.S]", "[switches.S]\nports = 4", "switches.S.ports",
         "unknown key 'ports'"),
    Case("unknown key of a link", 'delay = "10ms"', 'dealy = "10ms"', "links.2.dealy", "did you mean 'delay'?"),
    Case("unknown key of a direction", "mtu = 1500", 'forward = {rat = "1Mbps"}', "links.2.forward.rat",
         "did you mean 'rate'?"),
    Case("unknown key of a flow", "port = 5001", "prot = 5001", "flows.0.prot", "did you mean 'port'?"),
    Case("key of another app", "port = 5001", 'request = "1kB"', "flows.0.request", "unknown key 'request'"),
    Case("unknown key of tcp", 'send_buffer = "1MiB"', 'sendbuffer = "1MiB"', "hosts.A.tcp.sendbuffer",
         "did you mean 'send_buffer'?"),
    Case("unknown key of a loss", "loss = 0.001", "loss = {p = 0.1, r = 0.2, q = 1.0}", "links.2.loss.q",
         "unknown key 'q'"),
    Case("unknown key of an event", 'rate = "5Mbps"', 'rat = "5Mbps"', "events.0.rat", "did you mean 'rate'?"),
    Case("unknown key of output", 'sample_interval = "100ms"', 'interval = "100ms"', "output.interval",
         "sample_interval"),
    Case("no duration", 'duration = "5s"\n\n', "\n", "duration", "add it"),
    Case("no title", 'title = "Two hosts and a router"', "", "title", "add it"),
    Case("empty title", 'title = "Two hosts and a router"', 'title = ""', "title", "write a name"),
    Case("no client", 'client = "A"', "", "flows.0.client", "add it"),
    Case("no links", "", "", "links", "at least 1", ("links=[]",)),
    Case("no flows", "", "", "flows", "at least 1", ("flows=[]",)),
    Case("no hosts", "", "", "hosts", "at least 1", ("hosts={}",)),
    Case("no address", 'A1 = "10.0.1.2/24"', "A1 = []", "hosts.A.interfaces.A1.addresses", "at least 1"),
    # --- Types
    Case("number for a string", 'title = "Two hosts and a router"', "title = 5", "title", "in quotes"),
    Case("string for a number", "seed = 1", 'seed = "one"', "seed", "not a whole number"),
    Case("fraction for a whole number", "seed = 1", "seed = 1.5", "seed", "not a whole number"),
    Case("string for a table", "", "", "hosts.A.tcp", "write a table of keys", ("hosts.A.tcp=reno",)),
    Case("table for a list", "", "", "flows", "write a list", ("flows={}",)),
    Case("string for a boolean", 'send_buffer = "1MiB"', 'sack = "yes"', "hosts.A.tcp.sack", "true or false"),
    # --- Quantities
    Case("time without unit", 'duration = "5s"\n\n', "duration = 5\n\n", "duration", 'such as "10ms"'),
    Case("unknown unit of time", 'delay = "10ms"', 'delay = "10msec"', "links.2.delay", "'10ms'?"),
    Case("rate without unit", 'rate = "10Mbps"', "rate = 10000000", "links.2.rate", 'such as "8Mbps"'),
    Case("unknown unit of a rate", 'rate = "10Mbps"', 'rate = "10MHz"', "links.2.rate", "known are bps"),
    Case("unknown unit of a size", 'send_buffer = "1MiB"', 'send_buffer = "1Meg"', "hosts.A.tcp.send_buffer",
         "known are B"),
    Case("no number", 'delay = "10ms"', 'delay = "ms"', "links.2.delay", "write a number and a unit"),
    Case("negative duration", 'duration = "5s"\n\n', 'duration = "-5s"\n\n', "duration", "zero or more"),
    Case("zero duration", 'duration = "5s"\n\n', 'duration = "0s"\n\n', "duration", "more than zero"),
    Case("duration out of range", 'duration = "5s"\n\n', 'duration = "1e30h"\n\n', "duration", "out of range"),
    Case("negative seed", "seed = 1", "seed = -1", "seed", "greater than or equal to 0"),
    Case("loss above one", "loss = 0.001", "loss = 1.5", "links.2.loss", "from 0 to 1"),
    Case("loss not a number", "loss = 0.001", "loss = nan", "links.2.loss", "from 0 to 1"),
    Case("Gilbert-Elliott out of range", "loss = 0.001", "loss = {p = 2.0, r = 0.2}", "links.2.loss.p",
         "between 0 and 1"),
    Case("periodic loss of zero", "loss = 0.001", "loss = {every = 0}", "links.2.loss.every",
         "greater than or equal to 1"),
    Case("queue without slots", "queue = 50", "queue = 0", "links.1.queue", "1 to 10000000 slots"),
    Case("queue in unknown unit", "queue = 50", 'queue = "50 cars"', "links.1.queue", "unknown unit"),
    Case("mtu too small", "mtu = 1500", "mtu = 100", "links.2.mtu", "greater than or equal to 576"),
    Case("mtu too large", "mtu = 1500", "mtu = 70000", "links.2.mtu", "less than or equal to 65535"),
    Case("mtu of an interface too small", 'A1 = "10.0.1.2/24"', 'A1 = {addresses = ["10.0.1.2/24"], mtu = 68}',
         "hosts.A.interfaces.A1.mtu", "greater than or equal to 88"),
    Case("mtu of an interface too small for IPv6", 'A1 = "10.0.1.2/24"',
         'A1 = {addresses = ["10.0.1.2/24", "2001:db8::1/64"], mtu = 1000}', "hosts.A.interfaces.A1.mtu", "1280"),
    Case("reordering without a delay", "mtu = 1500", "reorder = 0.1", "links.2.reorder", "add reorder_delay"),
    Case("port out of range", "port = 5001", "port = 70000", "flows.0.port", "less than or equal to 65535"),
    # --- Names
    Case("unknown host in a flow", 'server = "B"', 'server = "C"', "flows.0.server", "known are A, B"),
    Case("router in a flow", 'server = "B"', 'server = "R"', "flows.0.server", "only hosts have flows"),
    Case("client is server", 'server = "B"', 'server = "A"', "flows.0.server", "choose two hosts"),
    Case("unknown interface in a flow", "port = 5001", 'client_interface = "A2"', "flows.0.client_interface",
         "known are A1"),
    Case("link to nowhere", '"R:R2", "B:B1"', '"R:R2", "X:B1"', "links.2.ends", "no host or router is called 'X'"),
    Case("link to an unknown switch", '"A:A1", "S"', '"A:A1", "T"', "links.0.ends", "no switch"),
    Case("link to an unknown interface", '"R:R2", "B:B1"', '"R:R3", "B:B1"', "links.2.ends", "known are R1, R2"),
    Case("link without an interface", '"R:R2", "B:B1"', '"R:R2", "B"', "links.2.ends", "write it as 'B:B1'"),
    Case("link with one end", '"R:R2", "B:B1"', '"R:R2"', "links.2.ends", "at least 2"),
    Case("link with three ends", '"R:R2", "B:B1"', '"R:R2", "B:B1", "S"', "links.2.ends", "2 at most"),
    Case("link to itself", '"R:R2", "B:B1"', '"R:R2", "R:R2"', "links.2.ends", "two different ends"),
    Case("interface with two links", '"S", "R:R1"', '"S", "R:R2"', "links.2.ends", "use another interface"),
    Case("interface without a link", 'A1 = "10.0.1.2/24"', 'A1 = "10.0.1.2/24"\nA2 = "10.0.3.2/24"',
         "hosts.A.interfaces.A2", "add one to links"),
    Case("two links of one name", 'name = "middle"', 'name = "access"', "links.1.name", "its own name"),
    Case("two flows of one name", EVENT, SECOND_FLOW.format(name="bulk", port=5002), "flows.1.name",
         "its own name"),
    Case("two servers on one port", EVENT, FURTHER_FLOW.format(name="other", port=5001, more='listen = "1s"'),
         "flows.1.port", "choose another port"),
    Case("interface and address", EVENT, FURTHER_FLOW.format(name="other", port=5002,
         more='client_interface = "A1"\nclient_address = "10.0.1.2"'), "flows.1", "exclude each other"),
    Case("somebody else's address", EVENT, FURTHER_FLOW.format(name="other", port=5002,
         more='server_address = "10.0.2.3"'), "flows.1.server_address", "did you mean '10.0.2.2'?"),
    Case("neither a time nor never", EVENT, FURTHER_FLOW.format(name="other", port=5002, more='listen = "soon"'),
         "flows.1.listen", "soon"),
    Case("host and switch of one name", "[switches.S]", "[switches.S]\n[switches.A]", "switches.A",
         "rename one of them"),
    Case("colon in a name", "[switches.S]", '[switches.S]\n[switches."T:1"]', "switches.T:1",
         "choose another one"),
    # --- Addresses and routes
    Case("address without a prefix", '"10.0.1.2/24"', '"10.0.1.2"', "hosts.A.interfaces.A1",
         'write it as "10.0.1.2/24"'),
    Case("not an address", '"10.0.1.2/24"', '"10.0.1.300/24"', "hosts.A.interfaces.A1", "write one such as"),
    Case("address of the network", '"10.0.1.2/24"', '"10.0.1.0/24"', "hosts.A.interfaces.A1",
         "choose one of its hosts"),
    Case("broadcast address", '"10.0.1.2/24"', '"10.0.1.255/24"', "hosts.A.interfaces.A1",
         "choose one of its hosts"),
    Case("address twice", '"10.0.2.2/24"', '"10.0.2.1/24"', "routers.R.interfaces.R2", "its own"),
    Case("gateway is no address", 'default_route = "10.0.1.1"', 'default_route = "R"', "hosts.A.default_route",
         "write one such as"),
    Case("bad destination", "[routers.R]\n", '[routers.R]\nroutes = [{to = "10.0.2.5/24", via = "10.0.2.2"}]\n',
         "routers.R.routes.0.to", "write a network such as"),
    Case("no IP version in common", 'A1 = "10.0.1.2/24"', 'A1 = "fd00::2/64"', "flows.0.server",
         "give both an IPv4 or both an IPv6 address"),
    Case("unknown routing", "", "", "routing", "'static', 'hops' or 'delay'", ("routing=ospf",)),
    # --- Plug-ins
    Case("unknown congestion control", 'congestion = "reno"', 'congestion = "renno"', "defaults.tcp.congestion",
         "did you mean 'reno'?"),
    Case("unknown parameter", 'congestion = "reno"', 'congestion = {name = "reno", warp = 9}',
         "defaults.tcp.congestion", "has no parameter 'warp'"),
    Case("plug-in without a name", 'congestion = "reno"', "congestion = {c = 0.4}", "defaults.tcp.congestion",
         "a name or a table with a name"),
    Case("unknown queue discipline", "queue = 50", 'qdisc = "readd"', "links.1.qdisc", "did you mean 'red'?"),
    Case("parameter out of range", "queue = 50", 'qdisc = {name = "red", max_p = 7.0}', "links.1.qdisc",
         "outside its range"),
    Case("parameter of the wrong type", "queue = 50", 'qdisc = {name = "red", ecn = 3}', "links.1.qdisc",
         "takes a bool"),
    # --- MPTCP
    Case("unknown profile", "[hosts.B]\n", '[hosts.B]\nmptcp = "linux"\n', "hosts.B.mptcp.profile",
         "known are rfc8684, rfc6824, caia-v0.4, caia-v0.51, linux-6.18"),
    Case("profile of the wrong type", "port = 5001", "mptcp = {profile = 1}", "flows.0.mptcp.profile",
         "known are rfc8684"),
    Case("neither a profile nor a table", "port = 5001", "mptcp = 1", "flows.0.mptcp", "write true, false"),
    Case("unknown key of mptcp", "port = 5001", "client_mptcp = {max_subflow = 2}",
         "flows.0.client_mptcp.max_subflow", "did you mean 'max_subflows'?"),
    Case("version and versions", "port = 5001", "mptcp = {version = 1, versions = [0]}", "flows.0.mptcp",
         "keep one of them"),
    Case("one version twice", "port = 5001", "mptcp = {versions = [1, 1]}", "flows.0.mptcp",
         "versions has one version twice: write [1], [0], [1, 0] or [0, 1]"),
    Case("no version", "port = 5001", "mptcp = {versions = []}", "flows.0.mptcp.versions", "at least 1"),
    Case("unknown version", "port = 5001", "mptcp = {versions = [1, 2]}", "flows.0.mptcp.versions.1",
         "it must be 0 or 1 (got 2)"),
    Case("octets", "port = 5001", "mptcp = {dsn_octets = 6}", "flows.0.mptcp.dsn_octets",
         "it must be 4 or 8 (got 6)"),
    Case("unknown way to fast-close", "port = 5001", 'mptcp = {fastclose = "fin"}', "flows.0.mptcp.fastclose",
         "'ack' or 'rst'"),
    Case("no subflow at all", "port = 5001", "mptcp = {max_subflows = 0}", "flows.0.mptcp.max_subflows",
         "greater than or equal to 1"),
    Case("unknown scheduler", "port = 5001", 'mptcp = {scheduler = "minrt"}', "flows.0.mptcp.scheduler",
         "did you mean 'minrtt'?"),
    Case("unknown path manager", "[hosts.B]\n", '[hosts.B]\nmptcp = {path_manager = "full"}\n',
         "hosts.B.mptcp.path_manager", "known are endpoints, mp_addresses, ndiffports"),
    Case("path manager without a name", "port = 5001", "mptcp = {path_manager = {subflows = 3}}",
         "flows.0.mptcp.path_manager", "a name or a table with a name"),
    Case("limit out of range", "port = 5001", 'mptcp = {path_manager = {name = "ndiffports", subflows = 0}}',
         "flows.0.mptcp.path_manager", "outside its range 1 to 255"),
    Case("endpoint without a use", "port = 5001",
         'client_mptcp = {path_manager = {name = "endpoints", endpoints = "10.0.1.2"}}',
         "flows.0.client_mptcp.path_manager", "'10.0.1.2': what is it for? Add subflow"),
    Case("endpoint that is no address", "port = 5001",
         'client_mptcp = {path_manager = {name = "endpoints", endpoints = "A1 subflow"}}',
         "flows.0.client_mptcp.path_manager", "write one, as in '10.0.2.1 subflow'"),
    Case("flag C in version 0", "port = 5001", "mptcp = {version = 0, deny_join_initial = true}",
         "flows.0.mptcp.deny_join_initial", "speak version 1"),
    # --- Flows, events, output
    Case("unknown app", 'app = "bulk"', 'app = "bulky"', "flows.0.app", "did you mean 'bulk'?"),
    Case("bytes and duration", "port = 5001", 'bytes = "1MB"', "flows.0", "keep one of them"),
    Case("start after the end", "port = 5001", 'start = "6s"', "flows.0.start", "start earlier"),
    Case("reader without a size", "port = 5001", 'reader = {every = "5ms"}', "flows.0.reader.read_size",
         "add it"),
    Case("name too long", "[switches.S]", f"[switches.S]\n[switches.{'x' * 300}]", "xxx...: it", "1 to 100 bytes"),
    Case("name of dots", "[switches.S]", '[switches.S]\n[switches.".."]', "switches...", "not . or .."),
    Case("empty name", "[switches.S]", '[switches.S]\n[switches.""]', "switches.", "1 to 100 bytes"),
    Case("line feed", "[switches.S]", '[switches.S]\n[switches."a\\nb"]', "'a\\nb': it", "printable"),
    Case("one name of two captures", "A:A1", "A:A1", "hosts.A.x.interfaces.y", "rename one of them",
         ('hosts.A.interfaces={"x.y" = "10.0.1.2/24"}', 'hosts."A.x".interfaces={y = "10.0.1.3/24"}')),
    Case("slash in a name", "[switches.S]", '[switches.S]\n[switches."a/b"]', "switches.a/b",
         "choose another one"),
    Case("buffer smaller than a segment", 'send_buffer = "1MiB"', 'send_buffer = "100B"',
         "hosts.A.tcp.send_buffer", "bytes or more"),
    Case("mss too small", 'send_buffer = "1MiB"', "mss = 10", "hosts.A.tcp.mss", "choose 64 or more"),
    Case("time-outs that contradict", 'send_buffer = "1MiB"', 'rto_min = "10min"', "hosts.A.tcp.rto_min",
         "lower it"),
    Case("event on an unknown link", 'link = "core"', 'link = "cor"', "events.0.link", "did you mean 'core'?"),
    Case("unknown action", 'action = "set"', 'action = "cut"', "events.0.action", "known are down, up, set, interface-down"),
    Case("event that sets nothing", 'rate = "5Mbps"\n', "", "events.0", "add rate, delay, loss or queue"),
    Case("value with a wrong action", 'action = "set"', 'action = "down"', "events.0.rate", "belongs to action 'set'"),
    Case("capture of an unknown interface", '"A:A1"]\n', '"A:A9"]\n', "output.capture.0", "did you mean 'A:A1'?"),
    Case("too many samples", 'sample_interval = "100ms"', 'sample_interval = "1ns"', "output.sample_interval",
         "choose a longer interval"),
    # --- Overrides
    Case("override without a value", "", "", "--set 'seed'", "key=value", ("seed",)),
    Case("override without a key", "", "", "--set '=5'", "key=value", ("=5",)),
    Case("override of a bad path", "", "", "--set 'links..rate=1Mbps'", "not a path of keys", ("links..rate=1Mbps",)),
    Case("override of an unknown link", "", "", "links", "did you mean 'core'?", ("links.cor.rate=1Mbps",)),
    Case("override of an entry that is not there", "", "", "links", "0 to 2", ("links.7.rate=1Mbps",)),
    Case("override below a value", "", "", "seed", "no keys of its own", ("seed.x=1",)),
    Case("override of an unknown key", "", "", "links.2.rte (from --set links.core.rte=1Mbps)",
         "did you mean 'rate'?", ("links.core.rte=1Mbps",)),
    Case("override by a bad unit", "", "", "links.2.rate (from --set links.core.rate=1MHz)", "known are bps",
         ("links.core.rate=1MHz",)),
]  # fmt: skip


def scenario_text(case: Case) -> str:
    if not case.old:
        return BASE
    assert case.old in BASE, case.old
    return (
        BASE.replace(case.old, case.new, 1)
        if case.old != '"10.0.2.2/24"'
        else BASE.replace(case.old, case.new)
    )


def run_cli(directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["run", *arguments, "--out", str(directory / "out")])


def listing(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_wrong_scenario_is_explained(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "wrong.toml"
    file.write_text(scenario_text(case), encoding="utf-8")
    sets = [part for item in case.sets for part in ("--set", item)]
    result = run_cli(tmp_path, str(file), *sets)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith(f"mptcpsim: {file}: "), lines
    assert case.key in lines[0]
    assert case.remedy in lines[0]
    assert listing(tmp_path) == ["wrong.toml"]


def test_the_base_of_the_table_is_right(tmp_path: Path) -> None:
    from mptcpsim.scenario.load import loads

    assert loads(BASE).links[2].rate == 10_000_000


def test_each_kind_has_its_own_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 45


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('delay = "10ms"', 'delay = "10m/s"', 41),
        ("seed = 1", "seed = -1", 2),
        ('A1 = "10.0.1.2/24"', 'A1 = "10.0.1.2"', 11),
        ("port = 5001", "prot = 5001", 51),
        ('congestion = "reno"', "congestion = 5", 6),
        ('name = "middle"', 'name = "access"', 33),
        ('client = "A"', "", 45),
    ],
)
def test_the_line_is_named(old: str, new: str, line: int, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(BASE.replace(old, new), encoding="utf-8")
    assert f"{file}: line {line}: " in run_cli(tmp_path, str(file)).stderr


# --- The file itself ------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    result = run_cli(tmp_path, str(tmp_path / "none.toml"))
    assert result.exit_code == 2
    assert f"{tmp_path / 'none.toml'}: no such file; name an existing scenario file" in result.stderr
    assert listing(tmp_path) == []


def test_directory_instead_of_a_file(tmp_path: Path) -> None:
    result = run_cli(tmp_path, str(tmp_path))
    assert result.exit_code == 2
    assert "is a directory; name the scenario file in it" in result.stderr
    assert listing(tmp_path) == []


def test_unreadable_encoding(tmp_path: Path) -> None:
    file = tmp_path / "latin1.toml"
    file.write_bytes(BASE.replace("Two hosts", "Zwei Gerät").encode("latin-1"))
    result = run_cli(tmp_path, str(file))
    assert result.exit_code == 2
    assert f"{file}: not UTF-8 text" in result.stderr
    assert "save the scenario in UTF-8" in result.stderr
    assert listing(tmp_path) == ["latin1.toml"]


def test_file_below_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(BASE, encoding="utf-8")
    result = run_cli(tmp_path, str(file / "scenario.toml"))
    assert result.exit_code == 2
    assert "check the path and its permissions" in result.stderr


def test_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "empty.toml"
    file.write_text("", encoding="utf-8")
    result = run_cli(tmp_path, str(file))
    assert result.exit_code == 2
    assert "title: the key 'title' is missing: add it" in result.stderr


# --- The directory to write -----------------------------------------------------------------------


@pytest.fixture
def good_file(tmp_path: Path) -> Path:
    file = tmp_path / "good.toml"
    file.write_text(BASE, encoding="utf-8")
    return file


def test_directory_not_empty(good_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("data", encoding="utf-8")
    result = run_cli(tmp_path, str(good_file))
    assert result.exit_code == 2
    assert f"{tmp_path / 'out'}: is not empty and was not written by a run" in result.stderr
    assert "choose another name for --out" in result.stderr
    assert listing(tmp_path) == ["good.toml", "out", "out/precious"]


def test_directory_is_a_file(good_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("data", encoding="utf-8")
    result = run_cli(tmp_path, str(good_file))
    assert result.exit_code == 2
    assert "is not a directory; choose another name for --out" in result.stderr
    assert (tmp_path / "out").read_text(encoding="utf-8") == "data"


def test_directory_below_a_file(good_file: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["run", str(good_file), "--out", str(good_file / "deep" / "out")])
    assert result.exit_code == 2
    assert "choose another name for --out" in result.stderr


def test_force_refuses_the_current_directory(
    good_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["run", str(good_file), "--out", ".", "--force"])
    assert result.exit_code == 2
    assert "choose another name for --out" in result.stderr
    assert listing(tmp_path) == ["good.toml"]


# --- As a user sees it: a process of its own ------------------------------------------------------


@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[-1]], ids=lambda case: case.name)
def test_a_real_process_ends_with_status_2(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(scenario_text(case), encoding="utf-8")
    sets = [part for item in case.sets for part in ("--set", item)]
    command = [sys.executable, "-m", "mptcpsim", "run", str(file), *sets, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert case.key in done.stderr
    assert case.remedy in done.stderr
    assert listing(tmp_path) == ["wrong.toml"]
