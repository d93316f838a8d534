"""Every rule of lint: a scenario that yields exactly it, and its mended twin that yields nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mptcpsim import plugins
from mptcpsim.cli import app
from mptcpsim.lint.catalogue import RULES, markdown
from mptcpsim.lint.finding import FAMILIES, SEVERITIES, Finding
from mptcpsim.lint.lint import count, lint
from mptcpsim.lint.report import json_of, text_of
from mptcpsim.lint.subject import Subject, subject_of
from mptcpsim.scenario.catalogue import load_plugins
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.load import ScenarioSource
from tests.paths import DOCS, EXPERIMENTS
from tests.profiles import examples

#: A has two addresses in two networks behind one router, each used by its own interface.
TWO_NETWORKS = """\
title = "Two networks"
description = "A1 (192.168.5.2) and A2 (192.168.0.2) reach B1 (10.0.1.2)."
duration = "5s"

[defaults.mptcp]
profile = "caia-v0.4"

[hosts.A]
interfaces = { A1 = "192.168.5.2/24", A2 = "192.168.0.2/24" } # A2: 192.168.0.2
default_route = "192.168.5.1"

[hosts.B]
interfaces = { B1 = "10.0.1.2/24" }
default_route = "10.0.1.1"

[routers.R]
interfaces = { r5 = "192.168.5.1/24", r0 = "192.168.0.1/24", r1 = "10.0.1.1/24" }

[[links]]
name = "five"
ends = ["A:A1", "R:r5"]
rate = "10Mbps"

[[links]]
name = "zero"
ends = ["A:A2", "R:r0"]
rate = "10Mbps"

[[links]]
name = "one"
ends = ["R:r1", "B:B1"]
rate = "10Mbps"

[[flows]]
name = "iperf"
client = "A"
server = "B"
app = "bulk"
duration = "4s"
"""

#: Two networks, one of them around a switch; both ends as Linux has it.
TWO_LINKS = """\
title = "Two links"
duration = "5s"

[hosts.A]
interfaces = { a = "10.0.0.1/24", d = "10.0.9.1/24" }
mptcp = { profile = "linux-6.18", path_manager = { name = "endpoints", subflows = 2, add_addr_accepted = 1 } }

[hosts.B]
interfaces = { b = "10.0.0.2/24", c = "10.0.9.2/24" }
mptcp = { profile = "linux-6.18", path_manager = { name = "endpoints", endpoints = "10.0.9.2 signal" } }

[switches.S]

[[links]]
name = "near"
ends = ["A:a", "S"]
rate = "10Mbps"
delay = "10ms"

[[links]]
name = "far"
ends = ["S", "B:b"]
rate = "10Mbps"

[[links]]
name = "other"
ends = ["A:d", "B:c"]
rate = "10Mbps"

[[flows]]
name = "bulk"
client = "A"
server = "B"
server_interface = "b"
app = "bulk"
bytes = "1MB"

[[events]]
at = "1s"
link = "near"
action = "down"

[[events]]
at = "2s"
link = "near"
action = "up"
"""

#: A rate that is low for a moment, and does not hold the packet in service.
DIP = """
[[events]]
at = "3s"
action = "set"
link = "other"
direction = "forward"
rate = "1kbps"

[[events]]
at = "3.01s"
action = "set"
link = "other"
direction = "forward"
rate = "10Mbps"
in_service = "new-rate"
"""

#: Further events: each changes something, and would not if it came twice.
INTERFACE_TWICE = """
[[events]]
at = "3s"
interface = "A:d"
action = "interface-down"

[[events]]
at = "4s"
interface = "A:d"
action = "interface-up"
"""
ROUTE_TWICE = """
[[events]]
at = "3s"
node = "A"
action = "add-route"
route = "10.8.0.0/16 via 10.0.9.2"

[[events]]
at = "4s"
node = "A"
action = "delete-route"
route = "10.8.0.0/16"
"""
PAUSE_TWICE = """
[[events]]
at = "3s"
flow = "bulk"
side = "reader"
action = "pause"

[[events]]
at = "4s"
flow = "bulk"
side = "reader"
action = "resume"
"""

#: As the first one, and A routes by source address.
RULES_OF_A = TWO_NETWORKS.replace(
    'default_route = "192.168.5.1"\n',
    'default_route = "192.168.5.1"\n'
    'tables.100 = ["default via 192.168.0.1 dev A2"]\n'
    'rules = ["from 192.168.0.2 lookup 100"]\n'
    'mptcp = { path_manager = { name = "mp_addresses", addresses = "192.168.0.2" } }\n',
)

#: The same with pf, whose rules do not depend on the routing table.
PF = TWO_NETWORKS.replace(
    '[hosts.A]\ninterfaces = { A1 = "192.168.5.2/24", A2 = "192.168.0.2/24" } # A2: 192.168.0.2\n'
    'default_route = "192.168.5.1"\n',
    """\
[hosts.A.freebsd]
aliases = { A1 = "em0", A2 = "em1" }
commands = '''
ifconfig A1 inet 192.168.5.2/24
ifconfig A2 inet 192.168.0.2/24
route add default 192.168.5.1
sysctl net.inet.tcp.mptcp.mp_addresses="192.168.0.2"
'''

[hosts.A.freebsd.files]
"/etc/rc.conf" = 'pf_enable="YES"'
"/etc/pf.conf" = '''
def_net = "192.168.5.0/24"
mp_net = "192.168.0.0/24"
pass out route-to (em1 192.168.0.1) from $mp_net to any
pass out route-to (em0 192.168.5.1) from $def_net to any
pass in on em1 reply-to (em1 192.168.0.1) from any to any keep state
pass in on em0 reply-to (em0 192.168.5.1) from any to any keep state
'''
""",
)

#: The same with ipfw, and a pipe.
IPFW = (
    PF[: PF.index("[hosts.A.freebsd.files]")].replace(
        "sysctl net",
        """\
ipfw pipe 1 config bw 8Mbps
ipfw add 100 fwd 192.168.0.1 ip from 192.168.0.2 to any out
ipfw add 200 pipe 1 ip from any to any out
ipfw add 300 allow ip from any to any in
sysctl net""",
    )
    + PF[PF.index("[hosts.B]") :]
)


BASES = [TWO_NETWORKS, TWO_LINKS, RULES_OF_A, PF, IPFW]

#: The rules of pf for packets that leave.
OUT_RULES = """\
pass out route-to (em1 192.168.0.1) from $mp_net to any
pass out route-to (em0 192.168.5.1) from $def_net to any
"""


class Case(NamedTuple):
    """A scenario that is wrong in one thing.

    Attributes:
        code: of the rule that says so.
        base: that is right.
        old: what is right in it.
        new: what is wrong instead.
        says: a part of the problem or of the remedy.
        line: where.
    """

    code: str
    base: str
    old: str
    new: str
    says: str
    line: int = 0


CASES = [
    Case("W101", TWO_NETWORKS, "A1 (192.168.5.2) and", "A1 (192.168.0.2) and", "the address of A:A2", 2),
    Case("W101", TWO_NETWORKS, "# A2: 192.168.0.2", "# A2: 192.168.5.2", "the address of A:A1", 9),
    Case("W101", TWO_NETWORKS, "# A2: 192.168.0.2", "# 192.168.5.2 (A2)", "the address of A:A1", 9),
    Case("W101", TWO_NETWORKS, "# A2: 192.168.0.2", "# A2 (A1)", "A2 is not A1", 9),
    Case("W101", PF, 'def_net = "', '# the default interface, A1 (em1)\ndef_net = "', "A1 is em0, not em1", 20),
    Case("W102", TWO_NETWORKS, "and A2 (192", "and Host B2 and A2 (192", "write B or B1", 2),
    Case("W103", TWO_NETWORKS, "# A2: 192.168.0.2", "# on 192.168.0.5", "192.168.0.2 (A:A2)", 9),
    Case("E201", TWO_NETWORKS, '= "192.168.5.1"', '= "192.168.5.9"', "nobody has that address", 10),
    Case("E201", TWO_NETWORKS, '= "192.168.5.1"', '= "10.0.1.1"', "in no network of A", 10),
    Case("E201", TWO_NETWORKS, '= "192.168.5.1"', '= "192.168.5.2"', "the address of A itself", 10),
    Case("E201", TWO_NETWORKS, "[hosts.B]", 'routes = [{ to = "10.0.1.0/24", via = "10.0.1.2", dev = "A1" }]\n[hosts.B]',
         "it is that of B:B1", 12),
    Case("E201", RULES_OF_A, "via 192.168.0.1 dev", "via 192.168.0.9 dev", "write 192.168.0.1", 11),
    Case("E202", RULES_OF_A, "rules =", 'routes = [{ to = "192.168.0.0/24", dev = "A1" }]\nrules =', "write A2", 12),
    Case("E202", PF, "sysctl net", "route delete -net 192.168.0.0/24\nroute add -net 192.168.0.0/24 -interface em0\n"
         "sysctl net", "write A2 (em1) in place of A1 (em0)", 15),
    Case("E203", TWO_NETWORKS, 'r0 = "192.168.0.1/24"', 'r0 = "192.168.1.1/24"', "nobody else on its link is"),
    Case("E204", TWO_NETWORKS, 'default_route = "192.168.5.1"\n', "", "there is no route to 10.0.1.2 (no-route)"),
    Case("E204", TWO_NETWORKS, 'default_route = "10.0.1.1"\n', "", "the answer of flow 'iperf' from 10.0.1.2"),
    Case("E205", RULES_OF_A, 'r1 = "10.0.1.1/24" }\n', 'r1 = "10.0.1.1/24" }\nrules = ["to 192.168.0.2 blackhole"]\n',
         "B will join 192.168.0.2 from 10.0.1.2", 13),
    Case("W206", RULES_OF_A, "from 192.168.0.2 lookup 100", "from 192.168.0.2 lookup main", "leave A by A1", 13),
    Case("W207", RULES_OF_A, 'r1 = "10.0.1.1/24" }\n',
         'r1 = "10.0.1.1/24" }\nroutes = [{ to = "192.168.5.2/32", dev = "r0" }]\n',
         "leave by A.A1, and replies arrive by A.A2"),
    Case("W208", TWO_NETWORKS, 'r0 = "192.168.0.1/24"', 'r0 = "192.168.0.1/16"', "R:r0 is in 192.168.0.0/16"),
    Case("W209", RULES_OF_A, "from 192.168.0.2 lookup", "from 192.168.0.3 lookup", "no packet of A is from 192.168.0.3", 12),
    Case("E301", PF, '"192.168.0.0/24"', '"192.168.0.0"', "the rule in line 3 matches no packet", 21),
    Case("E301", PF, "from $def_net to", "from 192.168.5.0 to", "the length behind it: 192.168.5.0/24", 23),
    Case("E301", PF, "from $def_net to", "from ! 192.168.0.0 to", "'! 192.168.0.0' excludes no packet", 23),
    Case("E302", PF, "from $def_net to", "from ! 192.168.0.77 to", "'! 192.168.0.77' excludes no packet", 23),
    Case("E302", PF, "from any to any", "from 10.0.1.77 to any", "10.0.1.2 (B:B1)", 24),
    Case("E303", PF, "(em1 192.168.0.1) from any", "(em1 192.168.0.5) from any", "write 192.168.0.1", 24),
    Case("E304", PF, OUT_RULES, "pass out on em0 route-to {(em1 192.168.0.1)} from 192.168.5.0/24 to any\n",
         "write from 192.168.0.0/24", 22),
    Case("E305", PF, OUT_RULES, "pass out on ! em1 route-to (em1 192.168.0.1) from $mp_net to any no state\n"
         "pass out on em1 route-to (em0 192.168.5.1) from any to any no state\n", "back and forth", 23),
    Case("W306", PF, "pass out route-to (em0 192.168.5.1) from $def_net to any",
         "pass out on em1 route-to (em0 192.168.5.1) from any to any", "only the state", 23),
    Case("W307", PF, "pass out route-to (em1", "pass out on em0 route-to (em1", "only because routing", 22),
    Case("W308", PF, "from $def_net to", "from 10.0.1.0/24 to", "A has 192.168.5.2, 192.168.0.2", 23),
    Case("W309", PF, "pass in on em1 reply-to", "pass in on em1 inet from any to any\npass in on em1 reply-to",
         "line 6", 24),
    Case("W309", PF, "pass out route-to (em1", "pass out quick route-to (em1 192.168.0.1) from $mp_net to any\n"
         "pass out route-to (em1", "has 'quick'", 23),
    Case("N311", PF, "pass out route-to (em1", "pass out log route-to (em1", "nothing is logged", 22),
    Case("W310", PF, 'pf_enable="YES"', 'pf_enable="NO"', "pf is not enabled"),
    Case("E401", IPFW, "200 pipe 1", "200 pipe 2", "there is no pipe 2: pipes are 1", 16),
    Case("E401", IPFW, "ipfw add 200 pipe 1", "ipfw queue 4 config pipe 2\nipfw add 50 pipe 1 ip from any to 9.9.9.9\n"
         "ipfw add 200 queue 4", "queue 4 feeds pipe 2, which is not configured", 18),
    Case("W402", IPFW, "200 pipe 1", "200 allow", "no rule sends packets to it", 14),
    Case("W402", IPFW, "config bw 8Mbps", "config bw 8Mbps type fq_codel", "packets of rules 'pipe 1' pass a FIFO", 14),
    Case("W402", IPFW, "ipfw add 100", "ipfw sched 1 config type fq_codel\nipfw add 100", "no queue feeds sched 1", 15),
    Case("W407", IPFW, "ipfw add 100", "ipfw pipe 1 config delay 20ms\nipfw add 100", "without the bw that line", 15),
    Case("W407", IPFW, "[hosts.B]", "[[hosts.A.freebsd.later]]\nat = '1s'\ncommands = 'ipfw pipe 1 config plr 0.1'\n[hosts.B]",
         "it is unlimited now"),
    Case("W407", IPFW, "config bw 8Mbps", "config bw 8Mbps queue 30KBytes red 0.002/5000/15000/0.1\n"
         "ipfw pipe 1 config bw 8Mbps", "without the queue and red", 15),
    Case("E403", IPFW, "ipfw add 300 allow ip from any to any in\n", "", "rule 65535 denies the rest", 10),
    Case("W404", IPFW, "300 allow ip from any to any in", "150 allow ip from any to any", "rule 150", 16),
    Case("E405", IPFW, "fwd 192.168.0.1", "fwd 192.168.0.9", "write 192.168.0.1", 15),
    Case("W406", IPFW, "from 192.168.0.2 to any", "from 192.168.0.7 to any", "nobody has the address", 15),
    Case("W406", IPFW, "ipfw add 200", "ipfw add 150 deny ip from 192.168.0.0 to any\nipfw add 200",
         "write the length behind it: 192.168.0.0/24", 16),
    Case("N408", IPFW, "200 pipe 1", "200 pipe 1 log", "nothing is logged", 16),
    Case("E501", RULES_OF_A, 'addresses = "192.168.0.2"', 'addresses = "192.168.0.5"', "nobody has it", 13),
    Case("E501", RULES_OF_A, 'addresses = "192.168.0.2"', 'addresses = "192.168.0.2 10.0.1.2"', "that of B:B1", 13),
    Case("W502", TWO_NETWORKS, 'default_route = "192.168.5.1"\n', 'default_route = "192.168.5.1"\n'
         'mptcp = { path_manager = { name = "mp_addresses", addresses = "192.168.5.2" } }\n', "192.168.0.2", 11),
    Case("W503", TWO_LINKS, "10.0.9.2 signal", "10.0.9.2 subflow", "a server opens no subflow", 10),
    Case("W503", TWO_LINKS, "add_addr_accepted = 1", "add_addr_accepted = 0", "add_addr_accepted is 0", 10),
    Case("W503", TWO_LINKS, "subflows = 2", "subflows = 0", "allows 0 further subflows", 10),
    Case("W505", TWO_NETWORKS, "[hosts.B]\n", "[hosts.B]\nmptcp = false\n", "B does not"),
    Case("W506", TWO_NETWORKS, "[hosts.B]\n", "[hosts.B]\nmptcp = { version = 1 }\n", "version 0"),
    Case("W507", TWO_NETWORKS, '"caia-v0.4"\n', '"caia-v0.4"\npath_manager = { name = "ndiffports", subflows = 9 }\n',
         "and 4 will come up, the first one included: max_subflows is 4 at A", 7),
    Case("W507", TWO_LINKS.replace("10.0.9.2 signal", ""), 'name = "endpoints", subflows = 2, add_addr_accepted = 1',
         'name = "ndiffports", subflows = 6', "3 will come up, the first one included: the path manager at B allows 2", 6),
    Case("W508", TWO_LINKS, "10.0.9.2 signal", "", '"10.0.9.2 signal"'),
    Case("W601", TWO_LINKS, 'bytes = "1MB"', 'server_tcp = { receive_buffer = "16KiB" }', "write receive_buffer ="),
    Case("W601", TWO_LINKS, 'link = "near"\naction = "down"', 'link = "near"\naction = "down"\n[[events]]\nat = "2.5s"\n'
         'action = "set"\nlink = "other"\ndelay = "60ms"\n[[flows]]\nname = "more"\nclient = "A"\nserver = "B"\nport = 5\n'
         'server_tcp = { receive_buffer = "200kB" }', "with a round trip of 120 ms (from 2.5 s on) flow 'more' gets"),
    Case("W602", TWO_LINKS, 'bytes = "1MB"', 'client_tcp = { send_buffer = "16KiB" }', "its paths carry 20 Mbit/s"),
    Case("W603", TWO_NETWORKS, 'r5"]\n', 'r5"]\nqueue = "50B"\n', "such as 50", 22),
    Case("W603", TWO_LINKS.replace('"B:b"]', '"B:b"]\nqueue = "64KiB"'), 'link = "near"\naction = "down"', 'link = "near"\naction = "down"\n'
         '[[events]]\nat = "3s"\naction = "set"\nlink = "far"\nqueue = "50B"', "becomes 50 bytes"),
    Case("W604", TWO_LINKS, '"S"]\n', '"S"]\nmtu = 9000\n', "such as 1500", 17),
    Case("W605", TWO_NETWORKS, 'r5"]\n', 'r5"]\nqueue = 200\nqdisc = "fq_codel"\n', "limit = 200 }", 22),
    Case("W605", TWO_LINKS.replace('"B:b"]', '"B:b"]\nqdisc = "fq_codel"'), 'link = "near"\naction = "down"',
         'link = "near"\naction = "down"\n[[events]]\nat = "3s"\naction = "set"\nlink = "far"\nqueue = 9', "no event changes"),
    Case("W606", TWO_NETWORKS, 'r5"]\n', 'r5"]\nqueue = "64KiB"\nqdisc = "red"\n', "such as 7500 and 22500", 23),
    Case("W606", TWO_NETWORKS, 'r5"]\n', 'r5"]\nforward = { queue = "64KiB", qdisc = { name = "gred", min_th = 5, max_th = 30 } }\n',
         "less than a packet", 22),
    Case("W606", TWO_NETWORKS, 'r5"]\n', 'r5"]\nqdisc = { name = "red", min_th = 7500, max_th = 22500 }\n', "75kB", 22),
    Case("W606", TWO_NETWORKS, 'r5"]\n', 'r5"]\nqueue = "9kB"\nqdisc = { name = "red", min_th = 9500, max_th = 22500 }\n',
         "holds 9000 bytes", 23),
    Case("W606", IPFW, "config bw 8Mbps", "config bw 8Mbps queue 30KBytes red 0.002/5/15/0.1", "such as 7500 and 22500", 14),
    Case("W701", TWO_LINKS, 'at = "2s"', 'at = "6s"', "raise the duration"),
    Case("N702", TWO_NETWORKS, 'duration = "4s"', 'duration = "6s"', "raise the duration", 39),
    Case("E704", TWO_LINKS, 'app = "bulk"', 'listen = "never"', "nobody listens at port 5001 of B"),
    Case("E704", TWO_LINKS, 'app = "bulk"', 'listen = "1s"', "start the server first"),
    Case("E704", TWO_LINKS, 'app = "bulk"', 'bind = "10.0.9.2"', "connect to 10.0.9.2"),
    Case("W703", TWO_LINKS, 'action = "down"', 'action = "up"', "is up already"),
    Case("W703", TWO_LINKS + INTERFACE_TWICE, 'action = "interface-up"', 'action = "interface-down"', "is down already"),
    Case("W703", TWO_LINKS + INTERFACE_TWICE, 'action = "interface-down"', 'action = "interface-up"', "is up already"),
    Case("W703", TWO_LINKS + ROUTE_TWICE, '10.8.0.0/16"', '10.9.0.0/16"', "has no route '10.9.0.0/16'"),
    Case("W703", TWO_LINKS + ROUTE_TWICE, 'delete-route"\nroute = "10.8.0.0/16', 'add-route"\nroute = "10.8.0.0/16 dev a', "stays"),
    Case("W703", TWO_LINKS + ROUTE_TWICE, '"\n\n[[events]]\nat = "4s"\nnode', '"\n\n[[events]]\nat = "2.5s"\nnode', "no route"),
    Case("W703", TWO_LINKS + PAUSE_TWICE, 'action = "resume"', 'action = "pause"', "is paused already"),
    Case("W703", TWO_LINKS + PAUSE_TWICE, 'action = "pause"', 'action = "resume"', "is not paused"),
    Case("W703", TWO_LINKS, 'link = "near"\naction = "down"', 'link = "near"\naction = "down"\n'
         '[[events]]\nat = "3s"\naction = "set"\nlink = "near"\nrate = "10Mbps"', "has what is set already at 3 s"),
    Case("W705", TWO_LINKS + DIP, 'in_service = "new-rate"\n', "", "a packet of 1500 bytes takes 12 s"),
    Case("W705", TWO_LINKS + DIP.replace("3.01s", "4.9s"), '"new-rate"', '"old-rate"', "has 1 kbit/s for 1.9 s"),
    Case("W801", TWO_NETWORKS, "[hosts.A]\n", "[defaults.tcp]\ncongestion = 'reno'\n[hosts.A]\n"
         "tcp = { congestion = 'cubic' }\n", "hosts.A.tcp.congestion stands closer, B sends no data", 9),
    Case("W801", TWO_NETWORKS, 'app = "bulk"', "mptcp = 'caia-v0.4'", "flows.0.mptcp.profile stands closer", 6),
    Case("W801", TWO_NETWORKS, 'r5"]\n', 'r5"]\nforward = { rate = "10Mbps" }\nbackward = { rate = "10Mbps" }\n',
         "links.0.forward.rate and links.0.backward.rate stand closer", 24),
    Case("W802", TWO_NETWORKS, "[hosts.B]\n", "[hosts.B]\nmptcp = { scheduler = 'redundant' }\n", "B sends no data", 13),
    Case("W802", TWO_NETWORKS, "[hosts.A]\n", "[hosts.A]\ntcp = { receive_buffer = '1MiB' }\n", "A receives no data", 9),
    Case("W803", TWO_NETWORKS, 'duration = "5s"\n', 'duration = "5s"\necmp = "flow"\n', "it needs routing", 4),
    Case("W803", TWO_NETWORKS, "[hosts.B]\n", "[hosts.B]\ntcp = { keepalive_idle = '1s' }\n", "it needs keepalive", 13),
]  # fmt: skip


def found_in(text: str, name: str = "scenario.toml") -> list[Finding]:
    return lint(Subject(*ScenarioSource(text, name).read()))


def told(findings: list[Finding]) -> list[str]:
    return [f"{finding.rule.code} {finding.place.line}: {finding.problem}" for finding in findings]


@pytest.mark.parametrize("base", BASES)
def test_nothing_is_said_of_what_is_right(base: str) -> None:
    assert told(found_in(base)) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.says}")
def test_a_rule_finds_its_mistake_and_nothing_else(case: Case) -> None:
    assert case.base.count(case.old) >= 1
    wrong = case.base.replace(case.old, case.new, 1)
    findings = found_in(wrong)
    assert {finding.rule.code for finding in findings} == {case.code}, told(findings)
    assert any(case.says in f"{finding.problem} {finding.remedy}" for finding in findings), told(findings)
    if case.line:
        assert findings[0].place.line == case.line, told(findings)


def test_files_beside_the_scenario_are_looked_at(tmp_path: Path) -> None:
    start = PF.index("\"/etc/pf.conf\" = '''\n")
    end = PF.index("'''", start + 20)
    rules = PF[start:end].partition("\n")[2].replace('"192.168.0.0/24"', '"192.168.0.0"')
    (tmp_path / "pf.conf").write_text("# of A1 (192.168.0.2)\n" + rules, encoding="utf-8")
    text = PF[:start] + '"/etc/pf.conf" = { file = "pf.conf" }' + PF[end + 3 :]
    findings = lint(subject_of(Path(written(tmp_path, text))))
    assert [(f.rule.code, f.place.file, f.place.line) for f in findings] == [
        ("W101", str(tmp_path / "pf.conf"), 1),
        ("E301", str(tmp_path / "pf.conf"), 3),
    ]


def test_a_host_may_be_the_gateway_to_another_address_of_its_own() -> None:
    """Two hosts with two links between them: nobody has to forward."""
    via = 'tables.2 = ["10.0.0.2/32 via 10.0.9.2 dev d"]\nrules = ["from 10.0.9.1 lookup 2"]\n'
    assert told(found_in(TWO_LINKS.replace("[hosts.B]", via + "[hosts.B]"))) == []
    wider = via.replace("10.0.0.2/32", "10.0.0.0/24")
    (finding,) = found_in(TWO_LINKS.replace("[hosts.B]", wider + "[hosts.B]"))
    assert finding.rule.code == "E201"
    assert "the host B, which does not forward" in finding.problem


def test_a_further_address_in_one_network_has_the_length_of_a_host() -> None:
    """As ifconfig(8) wants it of an alias."""
    alias = "sysctl net", "ifconfig A1 inet 192.168.5.3/32 alias\nsysctl net"
    assert told(found_in(PF.replace(*alias))) == []


def test_a_warning_does_not_hide_that_packets_are_lost() -> None:
    rules = "pass out from 10.9.0.0/16 to any\nblock return out all\n"
    codes = {finding.rule.code for finding in found_in(PF.replace(OUT_RULES, rules))}
    assert {"W308", "E204"} <= codes


def test_a_rule_that_sends_nothing_away_is_no_reason_for_a_wrong_interface() -> None:
    plain = PF.replace(" reply-to (em1 192.168.0.1)", "").replace(" reply-to (em0 192.168.5.1)", "")
    codes = {f.rule.code for f in found_in(plain.replace(OUT_RULES, "pass out from 10.9.0.0/16 to any\n"))}
    assert codes == {"W308", "W206"}


def test_a_join_is_for_the_port_of_the_client() -> None:
    """B opens the second subflow: its SYN is for the port from which A has opened the first one."""
    rule = "block in quick on em1 proto tcp from any to any port {} 5001\n"
    assert told(found_in(PF.replace(OUT_RULES, OUT_RULES + rule.format("=")))) == []
    (finding,) = found_in(PF.replace(OUT_RULES, OUT_RULES + rule.format("!=")))
    assert finding.rule.code == "E205"
    assert finding.remedy.endswith("B 10.0.1.2 192.168.0.2 --port 50000`")


def test_a_scheduler_that_a_queue_feeds_is_in_use() -> None:
    queue = "ipfw sched 1 config type fq_codel\nipfw queue 1 config sched 1\nipfw add 200 queue 1"
    assert told(found_in(IPFW.replace("ipfw add 200 pipe 1", queue))) == []


def test_skipto_reaches_rules_behind_one_for_all_packets() -> None:
    last = "ipfw add 300 allow ip from any to any in"
    jump = f"ipfw add 50 skipto 300 ip from any to any in\nipfw add 250 allow ip from any to any\n{last}"
    assert told(found_in(IPFW.replace(last, jump))) == []
    short = jump.replace("skipto 300", "skipto 200")
    assert [finding.rule.code for finding in found_in(IPFW.replace(last, short))] == ["W404"]


def test_what_a_probe_shows_is_no_matter_of_chance() -> None:
    text = IPFW.replace("ipfw add 100", "ipfw add 50 prob 0.4 deny ip from any to any\nipfw add 100")
    for seed in range(1, 6):
        assert told(found_in(f"seed = {seed}\n" + text)) == []
        lossy = text.replace("prob 0.4", "prob 0.9")
        assert {finding.rule.code for finding in found_in(f"seed = {seed}\n" + lossy)} >= {"E204"}


def test_a_dip_that_holds_nothing_for_long_is_none() -> None:
    plain = DIP.replace('in_service = "new-rate"\n', "")
    assert told(found_in(TWO_LINKS + DIP)) == []
    assert told(found_in(TWO_LINKS + plain.replace("1kbps", "100kbps"))) == []
    assert told(found_in(TWO_LINKS + plain.replace("10Mbps", "900bps"))) == []  # it falls, and falls again
    # 1 s at 10 kbit/s: each packet takes 1.2 s; at 50 kbit/s 0.24 s, less than the second that it lasts.
    long = plain.replace("3.01s", "4s")
    assert [f.rule.code for f in found_in(TWO_LINKS + long.replace("1kbps", "10kbps"))] == ["W705"]
    assert told(found_in(TWO_LINKS + long.replace("1kbps", "50kbps"))) == []
    assert [f.rule.code for f in found_in(TWO_LINKS + plain.replace("1kbps", "50kbps"))] == ["W705"]


def test_a_set_event_may_give_one_direction_what_the_other_has() -> None:
    event = "[[events]]\nat = '3s'\naction = 'set'\nlink = 'near'\nrate = '5Mbps'\n"
    again = event.replace("3s", "4s")
    assert told(found_in(TWO_LINKS + event.replace("rate", "direction = 'forward'\nrate") + again)) == []
    assert [f.rule.code for f in found_in(TWO_LINKS + event + again)] == ["W703"]
    assert told(found_in(TWO_LINKS + event + again.replace("rate = '5Mbps'", "loss = 0.1"))) == []


def test_a_pipe_that_was_deleted_is_configured_for_the_first_time() -> None:
    first = "ipfw pipe 1 config bw 8Mbps delay 20ms\n"
    for between in ("ipfw pipe delete 1\n", "ipfw pipe flush\n", ""):
        text = IPFW.replace("ipfw pipe 1 config", f"{first}{between}ipfw pipe 1 config")
        assert [f.rule.code for f in found_in(text)] == ([] if between else ["W407"])


def test_one_subflow_that_is_meant_is_no_fault() -> None:
    text = TWO_LINKS.replace("10.0.9.2 signal", "")
    assert [f.rule.code for f in found_in(text)] == ["W508"]
    one = text.replace('app = "bulk"', "mptcp = { max_subflows = 1 }")
    assert told(found_in(one)) == []
    later = "[[events]]\nat = '4s'\naction = 'remove-address'\ninterface = 'B:c'\naddress = '10.0.9.2'\n"
    assert told(found_in(text + later)) == []


def test_two_addresses_on_one_path_are_no_second_path() -> None:
    """Without source routing all packets of A leave by A1."""
    assert told(found_in(TWO_NETWORKS.replace("caia-v0.4", "linux-6.18"))) == []


def test_a_second_path_may_have_its_last_link_in_common() -> None:
    text = RULES_OF_A.replace(', addresses = "192.168.0.2"', "")
    assert text != RULES_OF_A
    (finding,) = found_in(text)
    assert finding.rule.code == "W508"
    assert "192.168.0.2 of A reaches 10.0.1.2 of B on another path" in finding.problem
    assert 'name = "mp_addresses", addresses = "192.168.0.2"' in finding.remedy
    (finding,) = found_in(text.replace("caia-v0.4", "rfc8684").replace('"mp_addresses"', '"endpoints"'))
    assert 'endpoints = "192.168.0.2 subflow" } in [hosts.A.mptcp]' in finding.remedy


def test_two_links_and_a_profile_alone() -> None:
    text = TWO_LINKS
    for host in ("A", "B"):
        at = text.index("mptcp = { profile", text.index(f"[hosts.{host}]"))
        text = text[:at] + 'mptcp = "rfc8684"' + text[text.index("\n", at) :]
    (finding,) = found_in(text)
    assert finding.rule.code == "W508"
    assert "10.0.9.1 of A reaches 10.0.9.2 of B on another path" in finding.problem
    for settings in ("add_addr_accepted = 1", 'endpoints = "10.0.9.2 signal"'):
        path_manager = f'mptcp = {{ path_manager = {{ name = "endpoints", {settings} }} }}'
        text = text.replace('mptcp = "rfc8684"', path_manager, 1)
    assert told(found_in(text)) == []


def test_every_rule_has_a_scenario() -> None:
    assert {case.code for case in CASES} == set(RULES)


def test_the_catalogue_is_in_order() -> None:
    names = [rule.name for rule in RULES.values()]
    assert len(set(names)) == len(names)
    assert len({code[1:] for code in RULES}) == len(RULES)
    for code, rule in RULES.items():
        assert code == rule.code
        assert code[0] in SEVERITIES
        assert code[1] in FAMILIES
        assert len(code) == 4
        assert rule.summary
        assert rule.reason.endswith(".")


def test_the_catalogue_in_the_documentation_is_this_one() -> None:
    text = (DOCS / "lint.md").read_text(encoding="utf-8")
    assert text.partition("<!-- catalogue -->\n")[2] == markdown()


# --- The experiments -----------------------------------------------------------------------------

#: What lint says of them, and why that is right.
KNOWN: dict[str, set[str]] = {
    # Both addresses are in one network, which is reached by the first interface that is in it.
    "seed/one-network/scenario.toml": {"W206"},
    "seed/one-network/commands.toml": {"W206"},
    "zero-window/seed/scenario.toml": {"W206"},
    # A send buffer that starves a path is the cause that is shown.
    "zero-window/causes/send-buffer-starved.toml": {"W602"},
    # What the document says of a single routing table.
    "seed/multi-network/no-policy.toml": {"W206"},
    # Mistake 7 of the document, which its mended rules have as well.
    "seed/multi-network/pf.toml": {"W307"},
    # Mistakes 1, 4, 5 and 7, and 4 and 5 hiding each other.
    "seed/multi-network/verbatim.toml": {"E202", "E301", "E304", "W306", "W307"},
    # Each mistake of the document; 7 is in all rules for the second network.
    "seed/mistakes/1.toml": {"E202"},
    "seed/mistakes/2.toml": {"W101"},
    "seed/mistakes/3.toml": {"E301", "E304"},
    "seed/mistakes/4.toml": {"E301", "W307"},
    "seed/mistakes/5.toml": {"E304", "W306", "W307"},
    "seed/mistakes/5-no-state.toml": {"E304", "E305", "W307"},
    "seed/mistakes/6.toml": {"W102", "W103", "E501"},
    "seed/mistakes/7.toml": {"W307"},
}


def scenarios() -> list[Path]:
    return sorted(path for path in (EXPERIMENTS).rglob("*.toml"))


@pytest.fixture
def registry() -> Iterator[None]:
    """Forget the plug-ins of the experiments again."""
    load_plugins()
    known = plugins._registry
    saved = {family: dict(members) for family, members in known.items()}
    yield
    known.clear()
    known.update(saved)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("path", scenarios(), ids=lambda path: str(path.relative_to(EXPERIMENTS)))
def test_no_false_alarm(path: Path) -> None:
    findings = lint(subject_of(path))
    expected = KNOWN.get(str(path.relative_to(EXPERIMENTS)), set())
    assert {finding.rule.code for finding in findings} == expected, told(findings)


# --- Whatever a scenario says --------------------------------------------------------------------

#: What may stand in place of an address or of a number.
ADDRESSES = [
    "192.168.5.2",
    "192.168.0.1",
    "10.0.1.2",
    "10.0.1.77",
    "0.0.0.0",
    "fd00::1",
    "255.255.255.255",
    "A",
]
NUMBERS = ["0", "1", "-1", "99", "65535", "100000", "x"]
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")


@st.composite
def edited(draw: st.DrawFn) -> str:
    """A scenario with a few of its lines gone, doubled or changed."""
    lines = draw(st.sampled_from(BASES)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        number = draw(st.integers(0, len(lines) - 1))
        line = lines[number]
        edit = draw(st.sampled_from(["delete", "double", "address", "number"]))
        if edit == "delete" and len(lines) > 1:
            del lines[number]
        elif edit == "double":
            lines.insert(number, line)
        elif edit == "address":
            lines[number] = _ADDRESS.sub(draw(st.sampled_from(ADDRESSES)), line, count=1)
        else:
            lines[number] = _NUMBER.sub(draw(st.sampled_from(NUMBERS)), line, count=1)
    return "\n".join(lines) + "\n"


@examples(150)
@given(edited())
def test_lint_always_has_an_answer(text: str) -> None:
    try:
        subject = Subject(*ScenarioSource(text, "scenario.toml").read())
    except ScenarioError:
        return
    findings = lint(subject)
    assert all(finding.problem and finding.remedy for finding in findings)
    assert text_of(findings, subject)
    assert json.loads(json_of(findings, "scenario.toml"))["error"] == count(findings)["error"]


# --- Before a run --------------------------------------------------------------------------------


def run_command(tmp_path: Path, text: str, *more: str) -> tuple[int, str]:
    path = written(tmp_path, text)
    out = str(tmp_path / "out")
    result = CliRunner().invoke(app, ["run", path, "--out", out, "--no-figures", "--force", *more])
    return result.exit_code, result.stderr


def test_a_run_tells_of_errors_and_warnings_and_goes_on(tmp_path: Path) -> None:
    wrong = TWO_NETWORKS.replace('r5"]\n', 'r5"]\nqueue = "50B"\n').replace(
        '= "192.168.5.1"', '= "192.168.5.9"'
    )
    status, err = run_command(tmp_path, wrong.replace('duration = "4s"', 'duration = "6s"'))
    path = tmp_path / "scenario.toml"
    assert status == 0
    assert [line.partition(" the ")[0] for line in err.splitlines()] == [
        f"mptcpsim: {path}:10: error E201:",
        f"mptcpsim: {path}:22: warning W603:",
        f"mptcpsim: what to write instead: mptcpsim lint {path}",
    ]
    assert (tmp_path / "out" / "summary.json").exists()
    assert run_command(tmp_path, wrong, "--no-lint") == (0, "")


def test_a_run_of_what_is_right_says_nothing(tmp_path: Path) -> None:
    assert run_command(tmp_path, TWO_NETWORKS, "--set", "duration=1s", "--set", "flows.0.duration=500ms") == (
        0,
        "",
    )


def test_a_run_does_not_depend_on_lint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*unused: object) -> None:
        raise ZeroDivisionError("a rule divides by zero")

    monkeypatch.setattr("mptcpsim.lint.lint.warnings_of", fails)
    status, err = run_command(
        tmp_path, TWO_NETWORKS, "--set", "duration=1s", "--set", "flows.0.duration=500ms"
    )
    assert status == 0
    assert err == "mptcpsim: lint has failed (ZeroDivisionError: a rule divides by zero); the run goes on\n"


# --- The command ---------------------------------------------------------------------------------


def lint_command(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["lint", *arguments])
    return result.exit_code, result.stdout, result.stderr


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "scenario.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_nothing_found(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_NETWORKS)
    assert lint_command(path) == (0, f"{path}: nothing found\n", "")


def test_warnings_are_no_failure(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_NETWORKS)
    status, out, _ = lint_command(path, "--set", "links.five.queue=50B")
    assert status == 0
    assert "W603 [queue-below-a-packet] links.0.queue (from --set links.five.queue=50B)\n" in out
    assert out.endswith(f"1 warning in {path}; `mptcpsim lint --explain W603` says more\n")


def test_a_rule_can_be_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_NETWORKS.replace('r5"]\n', 'r5"]\nqueue = "50B"\n'))
    assert "W603" in lint_command(path)[1]
    assert lint_command(path, "--ignore", "W603")[1] == f"{path}: nothing found\n"
    assert lint_command(path, "--ignore", "queue-below-a-packet")[1] == f"{path}: nothing found\n"


def test_json(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_NETWORKS.replace('r5"]\n', 'r5"]\nqueue = "50B"\n'))
    status, out, _ = lint_command(path, "--format", "json")
    whole = json.loads(out)
    assert status == 0
    assert (whole["scenario"], whole["error"], whole["warning"], whole["note"]) == (path, 0, 1, 0)
    (finding,) = whole["findings"]
    assert finding["code"] == "W603"
    assert (finding["file"], finding["line"], finding["key"]) == (path, 22, "links.0.queue")
    assert finding["problem"]
    assert finding["remedy"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.toml"], "no such file"),
        (["{}", "--set", "flows.0.server=B2"], "no host is called 'B2'; did you mean 'B'?"),
        (["{}", "--ignore", "E999"], "there is no rule 'E999'"),
        (["--explain", "W604x"], "did you mean 'W604'?"),
        ([], "name a scenario"),
    ],
)
def test_wrong_input_is_status_2(tmp_path: Path, arguments: list[str], says: str) -> None:
    path = written(tmp_path, TWO_NETWORKS)
    status, out, err = lint_command(*[word.format(path) for word in arguments])
    assert (status, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_name_that_does_not_exist_gets_the_message_of_run(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_NETWORKS.replace('server = "B"', 'server = "B2"'))
    ran = CliRunner().invoke(app, ["run", path])
    assert lint_command(path) == (2, "", ran.stderr)
    assert ran.exit_code == 2


@pytest.mark.parametrize("word", ["W604", "w604", "mtu-differs"])
def test_a_rule_is_explained(word: str) -> None:
    status, out, _ = lint_command("--explain", word)
    assert status == 0
    assert out.startswith("W604 [mtu-differs], warning: ")


def test_all_rules_are_listed() -> None:
    status, out, _ = lint_command("--list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == list(RULES)
