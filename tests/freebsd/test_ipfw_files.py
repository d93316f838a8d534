"""ipfw as people have it: scripts of the Handbook and rc.firewall, states, tables and sets, by packets."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim import ScenarioError, build, loads
from mptcpsim.core.segment import (
    ACK,
    FIN,
    ICMP_HOST_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
    NOT_ECT,
    RST,
    SYN,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
)
from mptcpsim.core.sequences import SequenceMap
from mptcpsim.freebsd.dummynet_host import Dummynet
from mptcpsim.freebsd.ipfw_filter import IpfwFilter
from mptcpsim.freebsd.lines import DialectError, Line, PassedOver
from mptcpsim.freebsd.names import InterfaceNames
from mptcpsim.freebsd.scripts import read_rc_conf, read_script
from mptcpsim.freebsd.shell import Shell, TypedCommand
from mptcpsim.freebsd.system import System
from mptcpsim.net.policy import Verdict
from mptcpsim.net.router import Router
from mptcpsim.scenario.load import dumps
from mptcpsim.sim.loop import Loop
from mptcpsim.units import SECOND
from tests.profiles import examples

INSIDE, OUTSIDE = "192.168.1.1", "203.0.113.1"
CLIENT, SERVER = "192.168.1.2", "203.0.113.2"


def system(text: str, files: dict[str, str] | None = None, boot: bool = False) -> System:
    """A router between 192.168.1.0/24 (xl0) and 203.0.113.0/24 (dc0) after some commands."""
    router = Router(Loop(), "R")
    router.add_interface("xl0", [f"{INSIDE}/24"])
    router.add_interface("dc0", [f"{OUTSIDE}/24"])
    router.routes.add("192.168.1.0/24", router.interfaces["xl0"])
    router.routes.add("203.0.113.0/24", router.interfaces["dc0"])
    router.routes.add("default", router.interfaces["dc0"], "203.0.113.254")
    names = InterfaceNames(router.interfaces)
    found = System(router, names, files or {}, Dummynet(router.loop, "R"), None, False, True)
    found.begin(read_script(text))
    return found


def ipfw(text: str) -> IpfwFilter:
    found = system(text).firewall.ipfw
    assert found is not None
    return found


def segment(src: str, dst: str, port: int = 80, flags: int = SYN, sport: int = 1000) -> Segment:
    flow = FourTuple(src, sport, dst, port)
    return Segment(flow, 40, SequenceMap(), flags, 0, 0, 0, 0, -1, -1, None, NOT_ECT)


def ask(filter_: IpfwFilter, way: str, packet: Packet) -> Verdict:
    """The verdict about a packet ``in xl0``, ``out dc0`` of the router's own, or forwarded by ``xl0 dc0``."""
    interfaces = filter_.node.interfaces
    first, second = way.split()
    if first == "in":
        return filter_.inbound(packet, interfaces[second])
    received = None if first == "out" else interfaces[first]
    return filter_.outbound(packet, interfaces[second], "", received)


def passes(filter_: IpfwFilter | str, way: str, packet: Packet) -> bool:
    found = ipfw(filter_) if isinstance(filter_, str) else filter_
    return not ask(found, way, packet).reason


# --- Whole scripts --------------------------------------------------------------------------------

HANDBOOK = """#!/bin/sh
# Flush out the list before we begin.
ipfw -q -f flush

# Set rules command prefix
cmd="ipfw -q add"
pif="dc0"     # interface name of NIC attached to Internet

$cmd 00005 allow all from any to any via xl0
$cmd 00010 allow all from any to any via lo0
$cmd 00101 check-state

$cmd 00110 allow tcp from any to 203.0.113.53 53 out via $pif setup keep-state
$cmd 00111 allow udp from any to 203.0.113.53 53 out via $pif keep-state
$cmd 00120 allow log udp from any to any 67 out via $pif keep-state
#$cmd 00120 allow udp from any to x.x.x.x 67 out via $pif keep-state
$cmd 00200 allow tcp from any to any 80 out via $pif setup keep-state
$cmd 00230 allow tcp from any to any smtp,pop3 out via $pif setup keep-state
$cmd 00250 allow icmp from any to any out via $pif keep-state
$cmd 00299 deny log all from any to any out via $pif

$cmd 00300 deny all from 192.168.0.0/16 to any in via $pif     #RFC 1918 private IP
$cmd 00304 deny all from 127.0.0.0/8 to any in via $pif        #loopback
$cmd 00310 deny icmp from any to any in via $pif
$cmd 00315 deny tcp from any to any ident in via $pif
$cmd 00320 deny tcp from any to any 137-139 in via $pif
$cmd 00330 deny all from any to any frag in via $pif
$cmd 00332 deny tcp from any to any established in via $pif
$cmd 00400 allow tcp from any to me 80 in via $pif setup limit src-addr 2
$cmd 00499 deny log all from any to any in via $pif
$cmd 00999 deny log all from any to any
"""


def test_the_handbook_s_stateful_rules() -> None:
    found = ipfw(HANDBOOK)
    assert len(found.rules.rules()) == 20
    out, back = segment(CLIENT, SERVER), segment(SERVER, CLIENT, 1000, SYN | ACK, 80)
    assert not passes(found, "in dc0", back)
    assert passes(found, "in xl0", out)
    assert passes(found, "xl0 dc0", out)
    assert passes(found, "in dc0", back)
    assert passes(found, "dc0 xl0", back)
    assert not passes(found, "xl0 dc0", segment(CLIENT, SERVER, 443))
    assert not passes(found, "in dc0", segment(SERVER, OUTSIDE, 80, ACK))
    for sport in (1, 2):
        assert passes(found, "in dc0", segment(SERVER, OUTSIDE, 80, SYN, sport))
    third = ask(found, "in dc0", segment(SERVER, OUTSIDE, 80, SYN, 3))
    assert third.reason == "ipfw-limit"
    assert "limit src-addr 2 is reached" in third.steps[-1]
    assert passes(found, "in dc0", segment("203.0.113.3", OUTSIDE, 80, SYN, 3))


RC_FIREWALL = """
fwcmd="/sbin/ipfw"
firewall_type="CLIENT"   # of the caller
net="203.0.113.0/24"
setup_loopback () {
	${fwcmd} add 100 pass all from any to any via lo0
	${fwcmd} add 200 deny all from any to 127.0.0.0/8
	${fwcmd} add 300 deny ip from 127.0.0.0/8 to any
}
${fwcmd} -f flush > /dev/null 2>&1
setup_loopback
case ${firewall_type} in
[Oo][Pp][Ee][Nn]|open2)
	${fwcmd} add 65000 pass all from any to any
	;;
[Cc][Ll][Ii][Ee][Nn][Tt])
	${fwcmd} add pass all from me to ${net}
	${fwcmd} add pass all from ${net} to me
	if [ -n "$net6" -o "${firewall_type}" = "x" ]; then
		${fwcmd} add pass all from me to ${net6}
	elif [ "${net}" != "" ] && [ 1 -lt 2 ]; then
		${fwcmd} add pass all from any to any frag
	else
		$undefined
	fi
	${fwcmd} add pass tcp from any to any established
	for port in 25 www; do
		${fwcmd} add pass tcp from any to me $port setup
	done
	${fwcmd} add pass tcp from me to any setup; ${fwcmd} add deny tcp from any to any setup
	;;
esac
"""


def test_the_constructs_of_rc_firewall() -> None:
    script = RC_FIREWALL.replace('net="2', 'net6=""\nnet="2')
    found = ipfw(script)
    bodies = [str(rule)[9:] for rule in found.rules.rules()]
    assert bodies == [
        "100 allow ip from any to any via lo0",
        "200 deny ip from any to 127.0.0.0/8",
        "300 deny ip from 127.0.0.0/8 to any",
        "400 allow ip from me to 203.0.113.0/24",
        "500 allow ip from 203.0.113.0/24 to me",
        "600 allow ip from any to any frag",
        "700 allow tcp from any to any established",
        "800 allow tcp from any to me 25 setup",
        "900 allow tcp from any to me 80 setup",
        "1000 allow tcp from me to any setup",
        "1100 deny tcp from any to any setup",
    ]
    assert passes(found, "in dc0", segment("198.51.100.1", OUTSIDE, 80))
    assert not passes(found, "in dc0", segment("198.51.100.1", OUTSIDE, 22))


def test_rc_conf_starts_ipfw() -> None:
    files = {
        "/etc/rc.conf": 'hostname="gw"\nfirewall_enable="YES"\nfirewall_script="/etc/ipfw.rules"\n'
        'firewall_logging="YES"\nsshd_enable="YES"\n',
        "/etc/ipfw.rules": HANDBOOK,
    }
    found = system("", files)
    assert found.firewall.ipfw is not None
    assert len(found.firewall.ipfw.rules.rules()) == 20
    assert {note.word for note in found.passed_over} == {
        "hostname",
        "firewall_logging",
        "sshd_enable",
        "log",
        "frag",
    }
    files["/etc/rc.conf"] = "firewall_enable=YES\nfirewall_type=open"
    opened = system("", files).firewall.ipfw
    assert opened is not None
    assert passes(opened, "in dc0", segment(SERVER, CLIENT))
    assert not passes(opened, "in dc0", segment("127.0.0.1", CLIENT))
    files["/etc/rc.conf"] = "firewall_enable=YES\nfirewall_type=/etc/list"
    files["/etc/list"] = "# rules\nadd 5 allow ip from any to any\n"
    assert system("", files).firewall.ipfw.rules.rules()[0].number == 5  # type: ignore[union-attr]
    for line, remedy in (
        ("firewall_type=simpel", "known are open, closed"),
        ("firewall_type=simple", "need firewall_simple_iif"),
        ("firewall_script=/etc/none", "No such file"),
        ("natd_enable=YES", "put a NAT on a link"),
        ("ifconfig_em0='inet 10.0.0.1/24'", "as commands"),
        ("pf_enabel=YES", "'pf_enable'"),
    ):
        with pytest.raises(DialectError, match=remedy):
            system("", files | {"/etc/rc.conf": f"firewall_enable=YES\n{line}\n"})


def test_the_types_of_rc_firewall() -> None:
    """What each protects is what its packets show; the rules are those of /etc/rc.firewall."""

    def typed_firewall(kind: str, more: str) -> IpfwFilter:
        rc_conf = f'firewall_enable="YES"\nfirewall_type="{kind}"\n{more}\n'
        found = system("", {"/etc/rc.conf": rc_conf}).firewall.ipfw
        assert found is not None
        return found

    services = 'firewall_myservices="22/tcp www"\nfirewall_allowservices="any"'
    workstation = typed_firewall("workstation", services)
    for port, allowed in ((22, True), (80, True), (443, False)):
        assert passes(workstation, "in dc0", segment(SERVER, OUTSIDE, port)) == allowed
    assert passes(workstation, "out dc0", segment(OUTSIDE, SERVER, 443))
    assert passes(workstation, "in dc0", segment(SERVER, OUTSIDE, 1000, SYN | ACK, 443))
    simple = typed_firewall(
        "simple",
        "firewall_simple_iif=xl0\nfirewall_simple_inet=192.168.1.0/24\nfirewall_simple_oif=dc0\n"
        "firewall_simple_onet=203.0.113.0/24",
    )
    assert passes(simple, "in dc0", segment(SERVER, OUTSIDE, 25))
    assert not passes(simple, "in dc0", segment(SERVER, OUTSIDE, 22))
    assert not passes(simple, "in dc0", segment(CLIENT, OUTSIDE, 25))
    assert not passes(simple, "in dc0", segment("10.1.1.1", OUTSIDE, 25))
    assert passes(simple, "in xl0", segment(CLIENT, SERVER, 22))
    client = typed_firewall("client", "firewall_client_net=203.0.113.0/24")
    assert passes(client, "in dc0", segment(SERVER, OUTSIDE, 22))
    assert not passes(client, "in dc0", segment("198.51.100.1", OUTSIDE, 22))
    assert passes(client, "in dc0", segment("198.51.100.1", OUTSIDE, 22, ACK))
    assert not passes(typed_firewall("closed", ""), "in dc0", segment(SERVER, OUTSIDE, 22))


def test_what_the_handbook_types() -> None:
    files = {
        "/etc/pf.conf": 'table <clients> file "/etc/clients"\nblock in\npass in from <clients>\npass out\n',
        "/etc/clients": "192.168.2.0/24\n!192.168.2.5\n",
    }
    found = system(
        '# sysrc firewall_enable="YES"\n# sysrc firewall_type="open"\n# sysrc pflog_enable=yes\n'
        "# kldload ipfw\n# service ipfw start\n# sysctl net.inet.ip.fw.verbose_limit=5\n"
        "# pfctl -e ; pfctl -f /etc/pf.conf\n"
        "# pfctl -vnf /etc/pf.conf\n# service pf restart\n# service pflog start\n",
        files,
    )
    assert found.firewall.ipfw is not None
    assert found.firewall.pf.enabled
    assert [note.word for note in found.passed_over if note.at.file == "commands"] == [
        "pflog_enable", "kldload", "service ipfw", "net.inet.ip.fw.verbose_limit", "service pflog",
    ]  # fmt: skip
    more = "pfctl -t clients -T add 10.0.0.0/8\npfctl -t clients -T replace -f /etc/clients\n"
    more += "pfctl -t clients -T show"
    (add, replace, show) = read_script(more)
    found.execute(add)
    assert "10.0.0.0/8" in found.execute(show)
    found.execute(replace)
    assert found.execute(show).splitlines() == ["!192.168.2.5/32", "192.168.2.0/24"]


def test_files_of_rules_and_scripts() -> None:
    files = {
        "/etc/a": "-f flush\nadd 7 allow log tcp from any to any\n",
        "/etc/b": 'c="ipfw add"\n$c 8 deny ip from any to any\n',
    }
    found = system("ipfw -q /etc/a\nsh /etc/b\n", files)
    assert found.firewall.ipfw is not None
    assert [rule.number for rule in found.firewall.ipfw.rules.rules()] == [7, 8]
    with pytest.raises(DialectError, match="among the commands"):
        system("sh /etc/c", {"/etc/c": "ifconfig xl0 up\n"})
    with pytest.raises(DialectError, match="cannot name another"):
        system("ipfw /etc/c", {"/etc/c": "/etc/a\n"})


# --- States ---------------------------------------------------------------------------------------


class Clock:
    """Packets of one rule set, at times of our choosing."""

    def __init__(self, text: str) -> None:
        self.filter = ipfw(text)
        self.now = 0
        self.filter.rules.states._clock = lambda: self.now

    def out(self, flags: int = ACK, sport: int = 1000) -> Verdict:
        return ask(self.filter, "out dc0", segment(OUTSIDE, SERVER, 80, flags, sport))

    def back(self, flags: int = ACK, sport: int = 1000) -> Verdict:
        return ask(self.filter, "in dc0", segment(SERVER, OUTSIDE, sport, flags, 80))


KEEP = """
ipfw add 10 check-state
ipfw add 20 allow tcp from me to any setup keep-state
ipfw add 30 deny ip from any to any
"""


def test_a_state_lives_as_long_as_its_connection() -> None:
    clock = Clock(KEEP)
    assert clock.back(SYN | ACK).reason == "ipfw-deny"
    assert not clock.out(SYN).reason
    assert not clock.back(SYN | ACK).reason
    assert not clock.out().reason
    clock.now += 4000 * SECOND  # kept alive
    assert not clock.back().reason
    assert not clock.out(FIN | ACK).reason
    clock.now += 100 * SECOND
    assert not clock.back(FIN | ACK).reason
    clock.now += SECOND // 2
    assert not clock.out().reason
    clock.now += 2 * SECOND
    assert clock.out().reason == "ipfw-deny"


def test_a_state_of_a_syn_or_a_reset_ends() -> None:
    clock = Clock(KEEP)
    clock.out(SYN)
    clock.now += 21 * SECOND
    assert clock.back(SYN | ACK).reason == "ipfw-deny"
    clock.out(SYN)
    clock.back(RST | ACK)
    clock.now += 2 * SECOND
    assert clock.back().reason == "ipfw-deny"
    assert len(clock.filter.rules.states) == 0


def test_states_that_somebody_may_need_are_shown_every_packet() -> None:
    clock = Clock(KEEP)
    assert not clock.out(SYN).lasting
    assert not clock.back(SYN | ACK).lasting
    assert (
        clock.back(SYN | ACK).steps[-1].startswith(f"ipfw, the state of {OUTSIDE} > {SERVER} made by rule 20")
    )


def test_a_state_has_the_action_of_its_rule() -> None:
    text = (
        "ipfw add 10 skipto 100 tcp from me to any setup keep-state\nipfw add 20 deny ip from any to any\n"
        "ipfw add 90 deny ip from any to any\nipfw add 100 count ip from any to any\n"
        "ipfw add 110 allow ip from any to any\n"
    )
    clock = Clock(text)
    assert not clock.out(SYN).reason
    assert not clock.back(SYN | ACK).reason
    assert clock.back(SYN | ACK, 1001).reason


def test_names_of_states() -> None:
    text = (
        "ipfw add 10 check-state :web\nipfw add 20 allow tcp from me to any setup keep-state :mail\n"
        "ipfw add 30 deny ip from any to any\n"
    )
    clock = Clock(text)
    assert not clock.out(SYN).reason
    # The rule itself looks for its own states, and check-state :web for no such.
    assert not clock.back(SYN | ACK).reason
    assert Clock(text.replace(":web", ":any")).out(SYN).reason == ""


def test_deleted_rules_take_their_states_along() -> None:
    clock = Clock(KEEP)
    clock.out(SYN)
    clock.filter.delete(read_script("ipfw delete 20")[0])  # type: ignore[arg-type]
    assert clock.back(SYN | ACK).reason == "ipfw-deny"


# --- Words of rules -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "packet", "matches"),
    [
        ("tcpflags syn,!ack", segment(CLIENT, SERVER, flags=SYN), True),
        ("tcpflags syn,!ack", segment(CLIENT, SERVER, flags=SYN | ACK), False),
        ("not tcpflags syn", segment(CLIENT, SERVER, flags=ACK), True),
        ("tcpflags syn,fin,rst,ack", segment(CLIENT, SERVER, flags=SYN), False),
        ("frag", segment(CLIENT, SERVER), False),
        ("not frag", segment(CLIENT, SERVER), True),
        ("ipoptions ssrr", segment(CLIENT, SERVER), False),
        ("ipoptions !ssrr,!lsrr", segment(CLIENT, SERVER), True),
        ("layer2", segment(CLIENT, SERVER), False),
        ("ipversion 4", segment(CLIENT, SERVER), True),
        ("{ dst-port 22 or dst-port http }", segment(CLIENT, SERVER), True),
        ("{ dst-port 22 or not src-port 1000 }", segment(CLIENT, SERVER), False),
        ("in recv xl0", segment(CLIENT, SERVER), True),
        ("recv 192.168.1.1", segment(CLIENT, SERVER), True),
        ("via 203.0.113.1", segment(CLIENT, SERVER), False),
        ("in verrevpath", segment(CLIENT, SERVER), True),
        ("in verrevpath", segment(SERVER, CLIENT), False),
        ("in versrcreach", segment("198.51.100.1", SERVER), True),
        ("antispoof", segment(SERVER, CLIENT), False),
        ("antispoof", segment("198.51.100.1", CLIENT), True),
        ("dst-ip me", segment(CLIENT, OUTSIDE), True),
        ("icmptypes 3,11", IcmpError(SERVER, segment(CLIENT, SERVER), ICMP_TIME_EXCEEDED), True),
        ("icmptype 11", IcmpError(SERVER, segment(CLIENT, SERVER), ICMP_TIME_EXCEEDED), True),
        ("icmptypes 3", IcmpError(SERVER, segment(CLIENT, SERVER), ICMP_TIME_EXCEEDED), False),
    ],
)
def test_options(rule: str, packet: Packet, matches: bool) -> None:
    text = f"ipfw add 10 deny {rule}\nipfw add 20 allow ip from any to any\n"
    assert passes(text, "in xl0", packet) != matches
    (first, *_) = read_script(text)
    (again, *_) = read_script(str(first))
    assert again._replace(at=first.at) == first


@pytest.mark.parametrize(
    ("ends", "matches"),
    [
        ("{ tcp or udp } from any to any", True),
        ("{ udp or icmp } from any to any", False),
        ("tcp from { 10.0.0.1 or 192.168.1.0/24 } to any", True),
        ("tcp from { not 192.168.1.2 } to any", False),
        ("tcp from 192.168.1.0/24{1,3-5} to any", False),
        ("tcp from 192.168.1.0/24{1-2} to any", True),
        ("tcp from any 1000 to any www", True),
        ("tcp from any to any ssh,smtp", False),
        ("tcp from any to any 79-http", True),
        ("tcp from any to not me 80", True),
        ("gre from any to any", False),
        ("ip4 from any to 203.0.113.0:255.255.255.0", True),
        ("all from any to table(1)", True),
        ("all from any to not table(1)", False),
        ("all from any to any src-ip table(bad)", False),
    ],
)
def test_addresses(ends: str, matches: bool) -> None:
    text = f"ipfw table 1 add 203.0.0.0/8\nipfw add 10 deny {ends}\nipfw add 20 allow ip from any to any\n"
    assert passes(text, "in xl0", segment(CLIENT, SERVER)) != matches


def test_tables() -> None:
    found = system(
        "ipfw table bad create type addr\nipfw table bad add 10.0.0.0/8\nipfw -q table bad add 10.1.1.1 5\n"
        "ipfw add deny ip from table(bad) to any\nipfw add allow ip from any to any\n"
    )
    rules = found.firewall.ipfw
    assert rules is not None
    assert not passes(rules, "in dc0", segment("10.2.2.2", CLIENT))
    (delete, listing, flush) = read_script(
        "ipfw table bad delete 10.0.0.0/8\nipfw table all list\nipfw table bad flush"
    )
    found.execute(delete)
    assert passes(rules, "in dc0", segment("10.2.2.2", CLIENT))
    assert found.execute(listing).splitlines() == ["--- table(bad), set(0) ---", "10.1.1.1/32"]
    found.execute(flush)
    assert passes(rules, "in dc0", segment("10.1.1.1", CLIENT))
    with pytest.raises(DialectError, match="nothing is deleted"):
        found.execute(delete)


def test_sets() -> None:
    found = system(
        "ipfw add 10 set 3 deny ip from any to any\nipfw add 20 set 31 allow ip from any to any\n"
        "ipfw set disable 3"
    )
    rules = found.firewall.ipfw
    assert rules is not None

    def after(text: str) -> bool:
        for command in read_script(text):
            found.execute(command)
        return passes(rules, "in dc0", segment(SERVER, CLIENT))

    assert passes(rules, "in dc0", segment(SERVER, CLIENT))
    assert not after("ipfw set disable 4 enable 3")
    assert after("ipfw set swap 3 4")
    assert not after("ipfw set move 4 to 5")
    assert after("ipfw set move rule 10 to 4")
    assert not after("ipfw set enable 4")
    assert after("ipfw delete set 4")
    assert after("ipfw flush")
    assert [rule.number for rule in rules.rules.rules()] == [20]
    assert not after("ipfw add 5 deny ip from any to any\nipfw add 7 deny ip from any to any")
    assert after("ipfw delete 5-10")


@pytest.mark.parametrize(
    ("action", "answer", "unreachable"),
    [
        ("deny", False, ""),
        ("reset", True, ""),
        ("reject", False, ICMP_HOST_UNREACHABLE),
        ("unreach port", False, ICMP_PORT_UNREACHABLE),
        ("unreach 3", False, ICMP_PORT_UNREACHABLE),
        ("unreach filter-prohib", False, ICMP_HOST_UNREACHABLE),
    ],
)
def test_answers_to_denied_packets(action: str, answer: bool, unreachable: str) -> None:
    verdict = ask(ipfw(f"ipfw add {action} tcp from any to any"), "in xl0", segment(CLIENT, SERVER))
    assert (verdict.reason, verdict.answer, verdict.unreachable) == ("ipfw-deny", answer, unreachable)


def test_words_that_change_nothing_are_noted() -> None:
    found = system(
        "ipfw add 10 allow log logamount 5 ip from any to any\nipfw zero\n"
        "ipfw add 5 reass all from any to any in\nipfw add 20 deny tag 3 ip from any to any bridged\n"
        "unused=1\nipfw disable verbose\nipfw -n add deny ip from any to any\n"
    )
    assert {note.word for note in found.passed_over} == {
        "log",
        "zero",
        "reass",
        "tag",
        "bridged",
        "unused=",
        "verbose",
        "-n",
    }
    assert found.firewall.ipfw is not None
    assert [rule.action for rule in found.firewall.ipfw.rules.rules()] == ["count", "allow", "deny"]


# --- Shell ----------------------------------------------------------------------------------------


def typed(text: str) -> list[list[str]]:
    found: list[TypedCommand] = []
    Shell(found.append).run([(Line("s", n, line), line) for n, line in enumerate(text.splitlines(), 1)])
    return [command.words for command in found]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a="x  y"\nc $a "$a" \'$a\'', [["c", "x", "y", "x  y", "$a"]]),
        ("a=b\nc ${a}d $a/e ${x:-f} ${a:+g} x${a}", [["c", "bd", "b/e", "f", "g", "xb"]]),
        ("a=x; b=$a$a\nc $b", [["c", "xx"]]),
        ('e=""\nc $e "$e" z', [["c", "", "z"]]),
        ('c "a#b" # d\n#e', [["c", "a#b"]]),
        ("c a; d b && f g || h", [["c", "a"], ["d", "b"], ["f", "g"]]),
        ("for i in 1 2; do c $i; done; e $i", [["c", "1"], ["c", "2"], ["e", "2"]]),
        (
            "for i in 1 2\ndo\nfor j in a b\ndo c $i$j\ndone\ndone",
            [["c", "1a"], ["c", "1b"], ["c", "2a"], ["c", "2b"]],
        ),
        ("if [ a = b ]; then c; elif [ -z '' ]; then d; else e; fi", [["d"]]),
        ("if ! [ a = b ] && test -n x\nthen\nc\nfi", [["c"]]),
        ("f() { c $1 $2; }\nf 1 2\nf 3 4", [["c", "1", "2"], ["c", "3", "4"]]),
        ("case abc in a*) c;; *) d;; esac", [["c"]]),
        ("case x in\na|x)\n c\n ;;\nesac\nd", [["c"], ["d"]]),
        ("[ a = b ] && c\n[ a = a ] && d", [["d"]]),
        ("c > /dev/null 2>&1\nd >/dev/null", [["c"], ["d"]]),
        ("c table(1) {1,2}", [["c", "table(1)", "{1,2}"]]),
        ('c \\$a \\"', [["c", "$a", '"']]),
        ("{ c; d; }", [["c"], ["d"]]),
        ("c &", [["c"]]),
        ("f() {\n[ a = b ] || return 0\nc\n}\nf\nd\nexit 1\ne", [["d"]]),
        ("i=22/tcp\nc ${i%/*} ${i#*/} ${i%%2*}x", [["c", "22", "tcp", "x"]]),
        ("echo x > /dev/stderr\nc", [["c"]]),
    ],
)
def test_scripts(text: str, words: list[list[str]]) -> None:
    assert typed(text) == words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c | d", "needs a shell"),
        ("c `d`", "needs a shell"),
        ('c "`d`"', "needs a shell"),
        ("c $(d)", "needs a shell"),
        ("c > file", "needs a shell"),
        ("c < file", "needs a shell"),
        ("while true; do c; done", "needs a shell"),
        ("[ -f /etc/x ]", "needs a shell"),
        ("c ${a/b/c}", "needs a shell"),
        ("c $nothing", "$nothing is not set above this line: write nothing=VALUE"),
        ("if [ a = a ]; then c", "'fi' is missing"),
        ("for i in a; do c", "'done' is missing"),
        ("fi", "no construct is open"),
        ("f() { f; }\nf", "calls itself"),
        ("c 'a", "not closed"),
        ("a=1 c", "a line of its own"),
        (". /etc/rc.subr", "write their lines here"),
        ("if " * 200, "write them flat"),
    ],
)
def test_what_a_script_cannot_do(text: str, said: str) -> None:
    with pytest.raises(DialectError) as caught:
        typed(text)
    assert said in str(caught.value)


WORDS = ["if", "then", "else", "fi", "for", "i", "in", "do", "done", "case", "esac", "a)", ";;", ";", "\n",
         "\n", "[", "]", "=", "a", "$a", "a=b", "${a}", "f()", "f", "{", "}", "&&", "||", "|", "'", '"', "\\",
         "(", ")", "!", "#", ">", "/dev/null", "ipfw add allow ip from any to any", "ipfw", "-q"]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=100))
@examples(300)
def test_any_script_is_run_or_refused(text: str) -> None:
    with contextlib.suppress(DialectError):
        read_script(text)
    with contextlib.suppress(DialectError):
        read_rc_conf(text, "rc.conf")


RULE_WORDS = ["ipfw add", "10", "set", "3", "prob", "0.5", "allow", "deny", "check-state", "skipto",
              "unreach", "host", "log", "tcp", "{", "}", "or", "from", "to", "any", "me", "table(1)",
              "10.0.0.0/24{1,2}",
              "not", "80", "ssh", "in", "out", "via", "xl0", "keep-state", ":x", "limit", "src-addr",
              "2", "tcpflags", "syn,!ack", "established", "icmptypes", "//", "table", "add",
              "delete", "enable"]  # fmt: skip


@given(st.lists(st.sampled_from(RULE_WORDS), max_size=25).map(lambda words: "ipfw add " + " ".join(words)))
@examples(300)
def test_any_rule_is_read_and_written_or_refused(text: str) -> None:
    try:
        found = [c for c in read_script(text) if not isinstance(c, PassedOver)]
    except DialectError:
        return
    for command in found:
        (again,) = (c for c in read_script(str(command)) if not isinstance(c, PassedOver))
        assert again._replace(at=command.at) == command


# --- Whole scenarios ------------------------------------------------------------------------------

NETWORK = """
title = "t"
duration = "6s"
[hosts.A]
interfaces = { em0 = "192.168.1.2/24" }
default_route = "192.168.1.1"
[hosts.B]
interfaces = { em0 = "203.0.113.2/24" }
default_route = "203.0.113.1"
[routers.R]
interfaces = { xl0 = "192.168.1.1/24", dc0 = "203.0.113.1/24" }
[routers.R.freebsd]
commands = '''
COMMANDS
'''
[[links]]
ends = ["A:em0", "R:xl0"]
rate = "10Mbps"
delay = "1ms"
[[links]]
ends = ["R:dc0", "B:em0"]
rate = "10Mbps"
delay = "5ms"
[[flows]]
name = "web"
client = "A"
server = "B"
port = 80
bytes = "100kB"
"""


def test_a_run_behind_the_handbook_s_rules() -> None:
    simulation = build(loads(NETWORK.replace("COMMANDS", HANDBOOK)))
    simulation.env.run(until=simulation.scenario.duration)
    assert simulation.flows[0].completed_at > 0
    other = build(loads(NETWORK.replace("COMMANDS", HANDBOOK).replace("port = 80", "port = 8080")))
    other.env.run(until=other.scenario.duration)
    assert other.topology.nodes["R"].drops["ipfw-deny"] > 0
    assert other.flows[0].completed_at < 0


def test_variables_and_commands_of_the_ordinary_model() -> None:
    """What becomes part of the tables stands on lines of its own; variables may be in it."""
    script = (
        'lan="xl0"\nifconfig $lan inet 192.168.1.7/24 alias\nipfw add allow ip from any to any via $lan\n'
    )
    script += "ipfw add allow ip from any to any\n"
    scenario = loads(NETWORK.replace("COMMANDS", script))
    assert scenario.routers["R"].interfaces["xl0"].addresses == ("192.168.1.1/24", "192.168.1.7/24")
    assert loads(dumps(scenario)) == scenario
    with pytest.raises(ScenarioError, match="line of its own"):
        loads(NETWORK.replace("COMMANDS", "if [ a = a ]; then\nifconfig xl0 down\nfi\n"))
