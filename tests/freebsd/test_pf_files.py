"""pf.conf as people have it: the manual's words, the examples of FreeBSD and OpenBSD, judged by packets."""

from __future__ import annotations

import pytest

from mptcpsim import ScenarioError, build, loads
from mptcpsim.core.segment import (
    ACK,
    FIN,
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_HOST_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    NOT_ECT,
    RST,
    SYN,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
)
from mptcpsim.core.sequences import SequenceMap
from mptcpsim.freebsd.lines import DialectError
from mptcpsim.freebsd.names import InterfaceNames
from mptcpsim.freebsd.pf import read_pf
from mptcpsim.freebsd.pf_filter import PfFilter
from mptcpsim.freebsd.services import SERVICES
from mptcpsim.freebsd.site import Site
from mptcpsim.lint.lint import lint
from mptcpsim.lint.subject import subject_of
from mptcpsim.net.policy import Verdict
from mptcpsim.net.router import Router
from mptcpsim.sim.loop import Loop
from mptcpsim.units import SECOND

INSIDE, OUTSIDE = "192.168.1.1", "203.0.113.1"
CLIENT, SERVER = "192.168.1.2", "203.0.113.2"


def site() -> Site:
    """A router between 192.168.1.0/24 (em0) and 203.0.113.0/24 (em1), the default route by em1."""
    router = Router(Loop(), "R")
    router.add_interface("em0", [f"{INSIDE}/24", "fd00:1::1/64"])
    router.add_interface("em1", [f"{OUTSIDE}/24", "203.0.113.9/24"])
    for prefix, name in (("192.168.1.0/24", "em0"), ("203.0.113.0/24", "em1"), ("fd00:1::/64", "em0")):
        router.routes.add(prefix, router.interfaces[name])
    router.routes.add("default", router.interfaces["em1"], "203.0.113.254")
    return Site(router, InterfaceNames(router.interfaces), {})


def pf(text: str, at: Site | None = None) -> PfFilter:
    at = at or site()
    assert at.node is not None
    found = PfFilter(at.node, at.names, at)
    found.load(read_pf(text, "pf.conf", at))
    found.enable(True)
    return found


def segment(src: str, dst: str, port: int = 80, flags: int = SYN, sport: int = 1000) -> Segment:
    flow = FourTuple(src, sport, dst, port)
    return Segment(flow, 40, SequenceMap(), flags, 0, 0, 0, 0, -1, -1, None, NOT_ECT)


def ask(filter_: PfFilter, direction: str, interface: str, packet: Packet) -> Verdict:
    at = filter_.node.interfaces[interface]
    if direction == "in":
        return filter_.inbound(packet, at)
    return filter_.outbound(packet, at, "", None)


def passes(text: str | PfFilter, direction: str, interface: str, packet: Packet) -> bool:
    found = pf(text) if isinstance(text, str) else text
    return not ask(found, direction, interface, packet).reason


# --- Whole files ----------------------------------------------------------------------------------

HANDBOOK = """
tcp_services = "{ ssh, smtp, domain, www, pop3, auth, pop3s }"
udp_services = "{ domain }"
block all
pass out proto tcp to any port $tcp_services keep state
pass proto udp to any port $udp_services keep state
"""

FAQ = """
int_if = "em0"
ext_if = "em1"
tcp_services = "{ 22, 113 }"
icmp_types = "echoreq"
priv_nets = "{ 127.0.0.0/8, 192.168.0.0/16, 172.16.0.0/12, 10.0.0.0/8 }"
set block-policy return
set loginterface $ext_if
set skip on lo
scrub in all
nat-anchor "ftp-proxy/*"
rdr-anchor "ftp-proxy/*"
anchor "ftp-proxy/*"
block all
pass quick on lo0 all
block drop in  quick on $ext_if from $priv_nets to any
block drop out quick on $ext_if from any to $priv_nets
pass in on $ext_if inet proto tcp from any to ($ext_if) \\
    port $tcp_services flags S/SA keep state
pass in inet proto icmp all icmp-type $icmp_types keep state
pass in  on $int_if from $int_if:network to any keep state
pass out on $int_if from any to $int_if:network keep state
pass out on $ext_if proto tcp all modulate state flags S/SA
pass out on $ext_if proto { udp, icmp } all keep state
"""

BRUTE_FORCE = """
ext_if = "em1"
localnet = $ext_if:network
table <bruteforce> persist
set limit { states 200000, frags 20000, src-nodes 20000 }
set optimization normal
set timeout { frag 30, interval 10 }
set debug urgent
match in all scrub (no-df random-id)
antispoof quick for { lo0 $ext_if } inet
block in log (all, to pflog0) quick from urpf-failed label uRPF
block quick from <bruteforce>
pass inet proto tcp from any to $localnet port { ssh, 8000:8080, >= 50000 } \\
	flags S/SA keep state \\
	(max-src-conn 2, max-src-conn-rate 15/5, \\
	overload <bruteforce> flush global)
pass out on egress all allow-opts
"""


def test_the_handbook_s_names_of_services() -> None:
    found = pf(HANDBOOK)
    assert passes(found, "out", "em1", segment(CLIENT, SERVER, 80))
    assert passes(found, "out", "em1", segment(CLIENT, SERVER, 995))
    assert not passes(found, "out", "em1", segment(CLIENT, SERVER, 443))
    assert not passes(found, "in", "em0", segment(CLIENT, SERVER, 80))


def test_the_example_of_the_faq() -> None:
    found = pf(FAQ)
    notes = {(note.word, note.at.number) for note in found.rules.conf.passed_over}
    assert {word for word, _ in notes} == {
        "set loginterface", "scrub", "nat-anchor", "rdr-anchor", "anchor", "modulate",
    }  # fmt: skip
    assert passes(found, "in", "em0", segment(CLIENT, SERVER))
    assert passes(found, "out", "em1", segment(CLIENT, SERVER))
    assert passes(found, "in", "em1", segment(SERVER, CLIENT, 1000, SYN | ACK, sport=80))
    assert passes(found, "in", "em1", segment(SERVER, OUTSIDE, 22))
    # ($ext_if) is no address of the inside.
    refused = ask(found, "in", "em1", segment(SERVER, INSIDE, 22))
    assert (refused.reason, refused.answer) == ("pf-block", True)
    # block drop, whatever the policy says
    spoofed = ask(found, "in", "em1", segment("10.1.2.3", CLIENT))
    assert (spoofed.reason, spoofed.answer) == ("pf-block", False)
    assert not passes(found, "in", "em0", segment("192.168.2.2", SERVER))


def test_a_file_with_brute_force() -> None:
    found = pf(BRUTE_FORCE)
    words = {note.word for note in found.rules.conf.passed_over}
    assert words == {
        "scrub", "set debug", "log", "label", "allow-opts", "set limit frags", "set limit src-nodes", "frag",
        "interval",
    }  # fmt: skip
    # antispoof: addresses of em1's network come by em1 alone, its own ones by no wire.
    assert not passes(found, "in", "em0", segment(SERVER, OUTSIDE, 22))
    assert not passes(found, "in", "em1", segment(OUTSIDE, CLIENT, 22))
    # urpf-failed
    assert not passes(found, "in", "em0", segment("198.51.100.7", OUTSIDE, 22))
    assert passes(found, "in", "em1", segment("198.51.100.7", OUTSIDE, 22))
    assert "pass out on em1" in str(found.rules.conf.rules[-1])


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("nat on $ext_if from !($ext_if) -> ($ext_if:0)", "middleboxes = ["),
        ("nat pass on $ext_if inet from $int_if:network to any -> ($ext_if)", "middleboxes = ["),
        ("binat on $ext_if from 10.0.0.1 to any -> 203.0.113.9", "middleboxes = ["),
        ("rdr pass on $int_if proto tcp to port ftp -> 127.0.0.1 port 8021", "server's own address"),
        ("match out on egress inet from !(egress:network) to any nat-to (egress:0)", "middleboxes = ["),
        ("pass in on $ext_if proto tcp to port 80 rdr-to 192.168.1.2", "server's own address"),
        ("pass in proto tcp to port 80 synproxy state", "keep state"),
        ("altq on $ext_if cbq bandwidth 2Mb queue { std }", "dummynet"),
        ("pass out route-to { (em0 10.0.0.1), (em1 10.0.0.2) } round-robin all", "a rule for each"),
        ("scrub out on $ext_if all max-mss 1440", "mss"),
    ],
)
def test_what_would_change_the_result_is_refused(line: str, remedy: str) -> None:
    """The rest of the same file is read."""
    with pytest.raises(DialectError) as caught:
        pf(FAQ.replace("block all\n", f"block all\n{line}\n"))
    assert remedy in str(caught.value)
    assert caught.value.line == 15
    assert pf(FAQ).rules.conf.rules


# --- Addresses ------------------------------------------------------------------------------------


def rules_of(text: str, at: Site | None = None) -> list[str]:
    return [str(rule) for rule in read_pf(text, "pf.conf", at or site()).rules]


@pytest.mark.parametrize(
    ("word", "sources"),
    [
        ("em0", ["192.168.1.1", "fd00:1::1"]),
        ("em0:network", ["192.168.1.0/24", "fd00:1::/64"]),
        ("em1", ["203.0.113.1", "203.0.113.9"]),
        ("em1:0", ["203.0.113.1"]),
        ("em1:broadcast", ["203.0.113.255"]),
        ("em1:network:0", ["203.0.113.0/24"]),
        ("lo0", ["127.0.0.1", "::1"]),
        ("egress", ["203.0.113.1", "203.0.113.9"]),
        ("em1/24", ["203.0.113.0/24"]),
        ("! em0:network", ["! 192.168.1.0/24", "! fd00:1::/64"]),
    ],
)
def test_names_of_interfaces_are_their_addresses(word: str, sources: list[str]) -> None:
    found = read_pf(f"block from {word} to any", "pf.conf", site()).rules
    texts = list(dict.fromkeys(str(rule.source).removesuffix("/32").removesuffix("/128") for rule in found))
    assert texts == sources


def test_self_is_every_address_of_the_host() -> None:
    found = pf("block all\npass in from any to self")
    for address in (INSIDE, OUTSIDE, "203.0.113.9"):
        assert passes(found, "in", "em1", segment(SERVER, address))
    assert not passes(found, "in", "em1", segment(SERVER, CLIENT))


def test_parentheses_follow_the_interface() -> None:
    at = site()
    static, following = pf("block all\npass to em1", at), pf("block all\npass to (em1)", at)
    assert at.node is not None
    at.node.interfaces["em1"].add_address("203.0.113.77/24")
    assert not passes(static, "in", "em1", segment(SERVER, "203.0.113.77"))
    assert passes(following, "in", "em1", segment(SERVER, "203.0.113.77"))


def test_groups_of_interfaces() -> None:
    assert not passes("block on em", "in", "em0", segment(CLIENT, SERVER))
    assert not passes("block on em", "out", "em1", segment(CLIENT, SERVER))
    assert passes("block on ! em", "in", "em0", segment(CLIENT, SERVER))
    assert passes("block on egress", "in", "em0", segment(CLIENT, SERVER))
    assert not passes("block on egress", "out", "em1", segment(CLIENT, SERVER))


def test_ranges_and_no_route() -> None:
    found = pf("block from 192.168.1.5 - 192.168.1.9")
    assert passes(found, "in", "em0", segment("192.168.1.4", SERVER))
    assert not passes(found, "in", "em0", segment("192.168.1.9", SERVER))
    at = site()
    assert at.node is not None
    at.node.routes.remove("0.0.0.0/0")
    assert not passes(pf("block from no-route", at), "in", "em1", segment("198.51.100.1", CLIENT))
    assert passes(pf("block from no-route", at), "in", "em1", segment(SERVER, CLIENT))


# --- Tables ---------------------------------------------------------------------------------------


def test_of_a_table_the_longest_entry_counts() -> None:
    found = pf("table <x> { 10/8, ! 10.1/16, 10.1.2/24, !10.1.2.3 }\nblock all\npass from <x>")
    for address, inside in (("10.2.0.1", True), ("10.1.9.9", False), ("10.1.2.9", True), ("10.1.2.3", False),
                            ("11.0.0.1", False)):  # fmt: skip
        assert passes(found, "in", "em1", segment(address, CLIENT)) == inside
    negated = pf("table <x> { 10/8 }\nblock all\npass from ! <x>")
    assert passes(negated, "in", "em1", segment("11.0.0.1", CLIENT))
    assert not passes(negated, "in", "em1", segment("10.0.0.1", CLIENT))


def test_tables_of_files_and_of_nobody() -> None:
    at = site()
    at.files = {"/etc/bad": "# spammers\n10.0.0.0/8\n! 10.1.1.1 ; a note\nem0:network\n"}
    found = pf('table <bad> persist file "/etc/bad" { 172.16/12 }\nblock from <bad>\npass from <nobody>', at)
    assert not passes(found, "in", "em1", segment("10.0.0.9", CLIENT))
    assert not passes(found, "in", "em1", segment("172.16.0.9", CLIENT))
    assert not passes(found, "in", "em0", segment(CLIENT, SERVER))
    assert passes(found, "in", "em1", segment("10.1.1.1", CLIENT))
    assert [note.word for note in found.rules.conf.passed_over] == ["<nobody>"]


# --- What is answered ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "answer", "unreachable"),
    [
        ("block", False, ""),
        ("set block-policy return\nblock", True, ""),
        ("set block-policy return\nblock drop", False, ""),
        ("block return", True, ""),
        ("block return-rst", True, ""),
        ("block return-rst (ttl 20)", True, ""),
        ("block return-icmp", False, ICMP_PORT_UNREACHABLE),
        ("block return-icmp (host-unr)", False, ICMP_HOST_UNREACHABLE),
        ("block return-icmp (filter-prohib, admin-unr)", False, ICMP_HOST_UNREACHABLE),
    ],
)
def test_answers_to_blocked_packets(rule: str, answer: bool, unreachable: str) -> None:
    verdict = ask(pf(rule + " in proto tcp"), "in", "em1", segment(SERVER, OUTSIDE))
    assert (verdict.reason, verdict.answer, verdict.unreachable) == ("pf-block", answer, unreachable)


NETWORK = """
title = "t"
duration = "4s"
[hosts.A]
interfaces = { em0 = "192.168.1.2/24" }
default_route = "192.168.1.1"
[hosts.B]
interfaces = { em0 = "203.0.113.2/24" }
default_route = "203.0.113.1"
[routers.R]
interfaces = { em0 = "192.168.1.1/24", em1 = "203.0.113.1/24" }
[[links]]
ends = ["A:em0", "R:em0"]
rate = "10Mbps"
delay = "1ms"
[[links]]
ends = ["R:em1", "B:em0"]
rate = "10Mbps"
delay = "5ms"
[NODE.freebsd.files]
"/etc/rc.conf" = 'pf_enable="YES"'
"/etc/pf.conf" = '''
RULES
'''
"""


def network(rules: str, flows: int = 1, node: str = "routers.R", **keys: str) -> str:
    text = NETWORK.replace("RULES", rules).replace("NODE", node)
    for index in range(flows):
        more = "\n".join(f"{key} = {value}" for key, value in ({"bytes": '"20kB"'} | keys).items())
        text += f'[[flows]]\nname = "f{index}"\nclient = "A"\nserver = "B"\nport = {80 + index}\n{more}\n'
    return text


def run(text: str):  # type: ignore[no-untyped-def]
    simulation = build(loads(text))
    simulation.env.run(until=simulation.scenario.duration)
    return simulation


@pytest.mark.parametrize(
    ("rule", "node"),
    [
        ("block return in", "hosts.B"),
        ("block return-icmp in", "hosts.B"),
        ("block return-icmp (proto-unr) in", "routers.R"),
        ("block return out", "hosts.A"),
        ("block return-icmp out", "hosts.A"),
    ],
)
def test_a_client_hears_that_it_is_refused(rule: str, node: str) -> None:
    """A RST or an ICMP error ends the connection at once; without an answer SYNs are sent again."""
    simulation = run(network(f"{rule} proto tcp to port 80", node=node))
    assert "refused" in simulation.flows[0].error
    silent = run(network("block drop proto tcp to port 80", node=node))
    assert "refused" not in silent.flows[0].error


# --- Words of rules ---------------------------------------------------------------------------------


def test_icmp_types() -> None:
    text = "block all\npass in inet proto icmp all icmp-type { unreach code needfrag, timex }"
    cause = segment(CLIENT, SERVER)
    assert passes(text, "in", "em1", IcmpError(SERVER, cause, ICMP_FRAGMENTATION_NEEDED, 1000))
    assert not passes(text, "in", "em1", IcmpError(SERVER, cause, ICMP_HOST_UNREACHABLE))
    assert passes(text.replace(" code needfrag", ""), "in", "em1",
                  IcmpError(SERVER, cause, ICMP_HOST_UNREACHABLE))  # fmt: skip


def test_probability_is_drawn_for_each_packet() -> None:
    found = pf("block in all probability 25%")
    found.rules.draw = iter([0.1, 0.3, 0.24, 0.9] * 2).__next__
    verdicts = [ask(found, "in", "em0", segment(CLIENT, SERVER, flags=ACK)) for _ in range(4)]
    assert [bool(verdict.reason) for verdict in verdicts] == [True, False, True, False]
    assert not any(verdict.lasting for verdict in verdicts)


def test_protocols_of_which_there_are_no_packets() -> None:
    assert passes("pass all\nblock proto { gre, esp, 50, ospf }", "in", "em0", segment(CLIENT, SERVER))


@pytest.mark.parametrize("rule", ["block in all fragment", "block in proto tcp user _pbuild"])
def test_rules_for_packets_that_do_not_exist(rule: str) -> None:
    found = pf(rule)
    assert passes(found, "in", "em0", segment(CLIENT, SERVER))
    assert len(found.rules.conf.passed_over) == 1
    with pytest.raises(DialectError, match="root's"):
        pf("block in proto tcp user root")


def test_every_service_is_a_port() -> None:
    assert all(0 < port < 65536 for port in SERVICES.values())
    assert (SERVICES["www"], SERVICES["ssh"], SERVICES["auth"], SERVICES["pop3s"]) == (80, 22, 113, 995)


# --- States ---------------------------------------------------------------------------------------


class Clock:
    """Packets through a filter, at times of our choosing."""

    def __init__(self, text: str) -> None:
        self.filter = pf(text)
        self.now = 0
        self.filter.rules._states._clock = lambda: self.now

    def send(self, sport: int, flags: int = SYN, back: bool = False, src: str = SERVER) -> Verdict:
        packet = segment(src, OUTSIDE, 22, flags, sport)
        if back:
            packet = segment(OUTSIDE, src, sport, flags, 22)
        return ask(self.filter, "out" if back else "in", "em1", packet)

    def connect(self, sport: int, src: str = SERVER) -> Verdict:
        """A whole handshake; the verdict of its last packet, or of the SYN if that is dropped."""
        first = self.send(sport, src=src)
        if first.reason:
            return first
        assert not self.send(sport, SYN | ACK, True, src).reason
        return self.send(sport, ACK, src=src)

    def close(self, sport: int) -> None:
        for flags, back in ((FIN | ACK, False), (FIN | ACK, True), (ACK, False)):
            assert not self.send(sport, flags, back).reason


SSH = "block all\npass in proto tcp to port ssh keep state "


def test_max_states_of_a_rule() -> None:
    clock = Clock(SSH + "(max 2)")
    assert not clock.connect(1).reason
    assert not clock.connect(2).reason
    assert clock.connect(3).reason == "pf-limit"
    assert "'max' allows" in " ".join(clock.send(3).steps)
    clock.close(1)
    assert clock.connect(3).reason == "pf-limit"
    clock.now += 91 * SECOND  # tcp.closed
    assert not clock.connect(3).reason
    assert clock.connect(4).reason == "pf-limit"


def test_states_of_one_source_and_sources_of_a_rule() -> None:
    clock = Clock(SSH + "(source-track rule, max-src-states 1, max-src-nodes 2)")
    assert not clock.connect(1).reason
    assert clock.connect(2).reason == "pf-limit"
    assert not clock.connect(2, "203.0.113.3").reason
    assert clock.connect(3, "203.0.113.4").reason == "pf-limit"
    clock.send(1, RST)
    clock.now += 91 * SECOND
    assert not clock.connect(3, "203.0.113.4").reason


def test_too_many_connections_are_put_into_a_table() -> None:
    clock = Clock(
        "table <bad> persist\nblock all\nblock quick from <bad>\npass in proto tcp to port ssh keep state "
        "(max-src-conn 2, overload <bad> flush)"
    )
    for sport in (1, 2):
        assert not clock.connect(sport).reason
    # A SYN alone is no connection.
    assert not clock.send(3).reason
    assert not clock.connect(4, "203.0.113.3").reason
    assert clock.connect(3).reason == "pf-limit"
    assert clock.send(1, ACK).reason == "pf-block"  # flush has ended its states
    assert clock.send(9).reason == "pf-block"
    assert not clock.send(4, ACK, src="203.0.113.3").reason


def test_connections_that_come_too_fast() -> None:
    clock = Clock("table <bad>\n" + SSH + "(max-src-conn-rate 3/5, overload <bad>)")
    for sport in range(6):
        assert not clock.connect(sport).reason
        clock.now += 2 * SECOND
    for sport in range(10, 13):
        found = clock.connect(sport)
    assert found.reason == "pf-limit"
    assert found.steps[-1].endswith("('max-src-conn-rate'))")


def test_states_end_when_the_file_says_how_long_they_live() -> None:
    clock = Clock("set timeout { tcp.established 60, tcp.opening 5 }\n" + SSH)
    clock.connect(1)
    clock.now += 59 * SECOND
    assert not clock.send(1, ACK).reason
    clock.now += 61 * SECOND
    assert clock.send(1, ACK).reason == "pf-block"
    clock.send(2)
    clock.send(2, SYN | ACK, True)
    clock.now += 6 * SECOND
    assert clock.send(2, ACK).reason == "pf-block"
    usual = Clock(SSH)
    usual.connect(1)
    usual.now += 80_000 * SECOND
    assert not usual.send(1, ACK).reason
    fast = Clock("set optimization aggressive\n" + SSH)
    fast.connect(1)
    fast.now += 18_001 * SECOND
    assert fast.send(1, ACK).reason == "pf-block"
    own = Clock(SSH + "(tcp.established 7)")
    own.connect(1)
    own.now += 8 * SECOND
    assert own.send(1, ACK).reason == "pf-block"


def test_a_limit_of_all_states() -> None:
    clock = Clock("set limit states 2\n" + SSH)
    assert not clock.connect(1).reason
    assert not clock.connect(2).reason
    assert clock.connect(3).reason == "pf-limit"
    assert not Clock("set limit states 100000\n" + SSH).filter.rules.follows_connections


def test_defaults_of_states() -> None:
    clock = Clock("set state-defaults max 1, if-bound\n" + SSH)
    assert not clock.connect(1).reason
    assert clock.connect(2).reason == "pf-limit"


def test_limits_in_a_run() -> None:
    """Of three connections that begin together the rule lets two in."""
    simulation = run(network("block all\npass out\npass in keep state (max 2)\n", flows=3, bytes='"200kB"'))
    assert simulation.topology.nodes["R"].drops["pf-limit"] > 0
    assert sum(flow.completed_at >= 0 for flow in simulation.flows) == 2


# --- A whole scenario -------------------------------------------------------------------------------


def test_interfaces_that_get_their_addresses_by_ifconfig() -> None:
    """rc.conf is read before ifconfig is typed; rules stand for what the beginning leaves behind."""
    text = network("block all\npass from em0:network to any\npass from em1:network", node="routers.R")
    text = text.replace('em0 = "192.168.1.1/24", ', "").replace(
        "[routers.R.freebsd.files]", '[routers.R.freebsd]\ncommands = "ifconfig em0 inet 192.168.1.1/24"\n'
        "[routers.R.freebsd.files]")  # fmt: skip
    assert run(text).topology.nodes["R"].drops.get("pf-block", 0) == 0


def test_lint_tells_of_words_that_are_passed_over(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "s.toml"
    path.write_text(network("scrub in all\nblock in log\npass in log quick all label x\n"))
    found = [f for f in lint(subject_of(path)) if f.rule.code == "N311"]
    assert [(finding.place.within, finding.problem.split(" ")[0]) for finding in found] == [
        (1, "'scrub'"), (2, "'log'"), (3, "'label'"),
    ]  # fmt: skip
    assert "as in 1 more" in found[1].problem


def test_pfctl_changes_tables_and_prints() -> None:
    text = network("table <bad> persist\nblock quick from <bad>\npass")
    text += (
        '[[routers.R.freebsd.later]]\nat = "1s"\n'
        'commands = """\npfctl -t bad -T add 192.168.1.0/24\npfctl -F states\npfctl -s rules\n'
        'pfctl -nf /etc/pf.conf\n"""\n'
    )
    simulation = run(text.replace("bytes", "duration").replace('"20kB"', '"3s"'))
    assert simulation.topology.nodes["R"].drops["pf-block"] > 0
    outputs = [note["output"] for _, note in simulation.notes if "output" in note]
    assert outputs[0].splitlines()[0] == "block quick from <bad> to any"
    with pytest.raises(ScenarioError, match="there is no table worse: known are bad"):
        loads(text.replace("-t bad", "-t worse"))
