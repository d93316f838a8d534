"""pf.conf: reading it, and what its rules and states decide."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.segment import ACK, FIN, RST, SYN
from mptcpsim.freebsd.addresses import FiveTuple, read_prefix
from mptcpsim.freebsd.lines import NOWHERE, DialectError, Line
from mptcpsim.freebsd.pf import read_pf
from mptcpsim.freebsd.pf_conf import FLAG_LETTERS, PfConf, PfEnd, PfRule, Ports, RouteOption
from mptcpsim.freebsd.pf_rules import MOST_TURNS, PfRules, PfVerdict
from tests.profiles import examples

# The rules of the seed document as they stand there, mistakes included.
MACROS = """
# the default interface, and the one whose address is in "mp_addresses"
def_if = "em0"
mp_if = "em1"
def_gw = "192.168.5.1"
mp_net = "192.168.0.0"
mp_gw = "192.168.0.1"
"""
RULES = """
pass out on $def_if route-to {($mp_if $mp_gw)} from $mp_net to any
pass out on $mp_if route-to {($def_if $def_gw)} from $mp_net to any
pass in on $mp_if reply-to {($mp_if $mp_gw)} from any to any keep state
pass in on $def_if reply-to {($def_if $def_gw)} from any to any keep state
"""
MENDED = MACROS.replace('"192.168.0.0"', '"192.168.0.0/24"') + 'def_net = "192.168.5.0/24"\n'
MENDED += RULES.replace("($def_if $def_gw)} from $mp_net", "($def_if $def_gw)} from $def_net")

A1, A2, B1 = "192.168.5.2", "192.168.0.2", "10.0.1.2"


def tcp(src: str, dst: str, sport: int = 1000, dport: int = 5001) -> FiveTuple:
    return FiveTuple("tcp", src, sport, dst, dport)


def lines(verdict: PfVerdict) -> list[int]:
    return [step.rule.at.number if step.rule else 0 for step in verdict.steps]


# --- Reading -------------------------------------------------------------------------------------


def test_the_document_s_file() -> None:
    conf = read_pf(MACROS + RULES, "pf.conf")
    assert [macro.name for macro in conf.macros] == ["def_if", "mp_if", "def_gw", "mp_net", "mp_gw"]
    assert conf.macros[3].value == "192.168.0.0"
    assert conf.macros[3].at == Line("pf.conf", 6, 'mp_net = "192.168.0.0"')
    first, second, third, fourth = conf.rules
    assert first.route == RouteOption("route-to", "em1", "192.168.0.1")
    assert first.interface == "em0"
    assert first.direction == "out"
    assert first.state
    assert first.source.prefix is not None
    assert first.source.prefix.length == 32  # mistake 4: no prefix length is one host
    assert first.source.prefix.bare
    assert second.route == RouteOption("route-to", "em0", "192.168.5.1")
    assert third.route == RouteOption("reply-to", "em1", "192.168.0.1")
    assert fourth.source == fourth.destination == PfEnd()
    assert [rule.at.number for rule in conf.rules] == [9, 10, 11, 12]


@pytest.mark.parametrize(
    "text",
    [
        "pass out on em0 route-to {(em1 192.168.0.1)} from 192.168.5.0 to any",
        "pass in on em1 reply-to {(em1 192.168.0.1)} from any to any keep state",
        "pass in on em0 reply-to {(em0 192.168.5.1)} from any to any keep state",
    ],
)
def test_the_document_s_single_rules(text: str) -> None:
    (rule,) = read_pf(text).rules
    assert rule.at == Line("pf.conf", 1, text)
    assert rule.flags == (SYN, SYN | ACK)


def test_a_macro_may_hold_a_list_and_be_made_of_macros() -> None:
    text = 'a = "em0"\nifs = "{" $a em1 "}"\nnets = "{ 10/8, 172.16/12 }"\n'
    conf = read_pf(text + "pass in on $ifs from $nets to any")
    assert [(rule.interface, str(rule.source)) for rule in conf.rules] == [
        ("em0", "10.0.0.0/8"),
        ("em0", "172.16.0.0/12"),
        ("em1", "10.0.0.0/8"),
        ("em1", "172.16.0.0/12"),
    ]


def test_lines_continue_and_braces_span_them() -> None:
    text = "pass in \\\n  on em0 # a comment \\\n that goes on\n"
    conf = read_pf(text + "block from {\n 10.0.0.1 # one\n 10.0.0.2\n} to any\n")
    assert [str(rule) for rule in conf.rules] == [
        "pass in on em0 from any to any flags S/SA keep state",
        "block inet from 10.0.0.1 to any",
        "block inet from 10.0.0.2 to any",
    ]
    assert [rule.at.number for rule in conf.rules] == [1, 4, 4]


def test_lists_of_hosts_may_stand_in_one_another() -> None:
    """As in pf's grammar (host_list), so that a macro with a list can be an item of another one."""
    conf = read_pf('nets = "{ 10.0.0.0/8, 172.16.0.0/12 }"\npass from { 10.0.1.2 $nets } to any')
    assert [str(rule.source) for rule in conf.rules] == ["10.0.1.2", "10.0.0.0/8", "172.16.0.0/12"]
    with pytest.raises(DialectError, match="is no address"):
        read_pf("pass from " + 5000 * "{ " + "10.0.0.1" + 5000 * " }")


def test_combinations_of_both_families_are_left_out() -> None:
    conf = read_pf("pass from { 10.0.0.0/8, fd00::/8 } to { 10.1.1.1, fd00::1 }")
    assert [(str(rule.source), str(rule.destination)) for rule in conf.rules] == [
        ("10.0.0.0/8", "10.1.1.1"),
        ("fd00::/8", "fd00::1"),
    ]


def test_options() -> None:
    conf = read_pf("set state-policy if-bound\nset skip on { lo0 em7 }\n")
    assert conf == PfConf(if_bound=True, skip=frozenset({"lo0", "em7"}))


MISTAKES = [
    ("pas in all", "did you mean 'pass'?"),
    ("pass in on $if all", "define it"),
    ('if = "em0"\npass in on $iff all', "did you mean 'if'?"),
    ('a = "em0"\nb = "$a"\npass in on $b all', "inside quotes"),
    ('a = "em0', "not closed"),
    ("pass in on { em0", "not closed"),
    ("block return-icmp (needfrag) in proto tcp", "known codes are"),
    ("pass out probability 110%", "between 0 and 100"),
    ("pass in all tagged X", "carry no tags"),
    ("match out on em0 nat-to (em0)", "put a NAT on the link"),
    ("pass in proto tcp all synproxy state", "write 'keep state'"),
    ("scrub in all max-mss 1400", "set mss under"),
    ("pass in proto tcp all keep state (overload <x>)", "write one of them"),
    ("anchor x { pass in all }", "in the file itself"),
    ("set timeout tcp.establishd 5", "'tcp.established'"),
    ("table <x> { any }", "0.0.0.0/0"),
    ('table <x> file "/etc/x"', "No such file"),
    ("antispoof for em9", "there is no interface em9"),
    ("pass in proto icmp all icmp-type echreq", "'echoreq'"),
    ("altq on em0 cbq bandwidth 2Mb queue { a b }", "a queue of dummynet"),
    ("pass in on any", "the name of an interface is missing"),
    ("pass in on em0 route-to (em1 192.168.0.1", "')' is missing"),
    ("pass out route-to em1 from any to any", "in parentheses"),
    ("pass route-to (em1 192.168.0.1) from any to any", "needs a direction"),
    ("pass out route-to {(em1 1.1.1.1) (em2 2.2.2.2)} all", "more than one"),
    ("block out route-to (em1 1.1.1.1) all", "sends nothing"),
    ("pass out route-to (em1 1.1.1.300) all", "no address"),
    ("pass in from 192.168.0 to any", "no whole address"),
    ("pass in from 192.168.0.0/33 to any", "between 0 and 32"),
    ("pass in from em0 to any", "not looked up"),
    ("pass in from em0:net to any", "is no address"),
    ("pass in from 10.0.0.1 to fd00::1", "mixes IPv4 and IPv6"),
    ("pass in inet6 from 10.0.0.1 to any", "mixes IPv4 and IPv6"),
    ("pass in from any to any port 80", "proto tcp"),
    ("pass in proto tcp to port htp", "no name of a service"),
    ("pass in proto tcp to port 70000", "between 0 and 65535"),
    ("pass in proto tcp to port 90:80", "exchange"),
    ("pass in proto stcp all", "no protocol"),
    ("pass in proto udp all flags S/SA", "tcp only"),
    ("pass in all flags SF/SA", "no packet"),
    ("pass in all flags X/SA", "no flag"),
    ("pass in all keep state no state", "twice"),
    ("block in all keep state", "keeps no state"),
    ("pass in all keep state (maxi 100)", "'max'"),
    ("pass in on em0 quick all", "wrong place"),
    ("pass in from any to any from any", "behind 'to'"),
    ("pass in from { } to any", "empty"),
    ("nat on em0 from any to any -> 1.1.1.1", "put a NAT on the link"),
    ("table x { 10.0.0.1 }", "'<' is missing"),
    ("set limit stats 5", "'states'"),
    ("pass in all\x00", "no character"),
    ("in = 5", "choose another name"),
    ("x =", "has no value"),
    ("pass in on", "missing"),
]


@pytest.mark.parametrize(("text", "remedy"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_is_one_message_with_the_line(text: str, remedy: str) -> None:
    padded = "pass in all\n\n" + text
    with pytest.raises(DialectError) as caught:
        read_pf(padded, "etc/pf.conf")
    error = caught.value
    assert remedy in str(error)
    assert str(error).startswith(f"etc/pf.conf, line {error.line}: ")
    assert "\n" not in str(error)
    assert error.file == "etc/pf.conf"
    assert 3 <= error.line <= 2 + len(text.splitlines())


def test_hostile_files_end_soon() -> None:
    doubling = 'a0 = "em0 em1"\n' + "".join(f"a{k + 1} = $a{k} $a{k}\n" for k in range(40))
    repeated = 'a = "' + "em0 " * 4000 + '"\n' + "pass in on { $a }\n" * 20_000
    product = "pass proto tcp from { " + "10.0.0.1 " * 9000 + "} port { " + "1 " * 9000 + "} to any"
    for text in (doubling, repeated, product, "{" + "\n" * 900_000, "a" * 900_000, "a=" * 400_000):
        with pytest.raises(DialectError) as caught:
            read_pf(text)
        assert len(str(caught.value)) < 1500


# --- Laws ----------------------------------------------------------------------------------------

interfaces = st.sampled_from(["em0", "em1", "A1"])
addresses4 = st.ip_addresses(v=4).map(str)
addresses6 = st.ip_addresses(v=6).map(str)
ports = st.integers(0, 65535)
port_tests = st.one_of(
    st.builds(Ports, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), ports, st.just(0)),
    st.builds(
        lambda o, a, b: Ports(o, min(a, b), max(a, b)), st.sampled_from([":", "><", "<>"]), ports, ports
    ),
)
letters = st.integers(0, 255)


@st.composite
def rules(draw: st.DrawFn) -> PfRule:
    """Rules as the reader returns them: one family, flags where they are allowed."""
    family = draw(st.sampled_from([0, 4, 6]))
    addresses = addresses4 if family == 4 else addresses6
    protocol = draw(st.sampled_from(["", "tcp", "udp"] + {0: [], 4: ["icmp"], 6: ["icmp6"]}[family]))

    def end() -> PfEnd:
        prefix = None
        if family and draw(st.booleans()):
            address = draw(addresses)
            length = draw(st.none() | st.integers(0, 32 if family == 4 else 128))
            prefix = read_prefix(NOWHERE, address if length is None else f"{address}/{length}")
        has_ports = protocol in ("tcp", "udp") and draw(st.booleans())
        return PfEnd(
            prefix, prefix is not None and draw(st.booleans()), draw(port_tests) if has_ports else None
        )

    action = draw(st.sampled_from(["pass", "block"]))
    route = None
    direction = draw(st.sampled_from(["in", "out", ""]))
    if action == "pass" and direction and draw(st.booleans()):
        gateway = draw(addresses) if family else ""
        route = RouteOption(draw(st.sampled_from(["route-to", "reply-to"])), draw(interfaces), gateway)
    state = action == "pass" and draw(st.booleans())
    flags = None
    if protocol in ("", "tcp") and draw(st.booleans()):
        looked_at = draw(letters)
        flags = (looked_at & draw(letters), looked_at) if looked_at else None
    interface = draw(interfaces | st.just(""))
    return PfRule(
        NOWHERE,
        action,
        action == "block" and draw(st.booleans()),
        direction,
        draw(st.booleans()),
        interface,
        bool(interface) and draw(st.booleans()),
        route,
        family,
        protocol,
        end(),
        end(),
        flags,
        state,
        draw(st.none() | st.booleans()) if state else None,
    )


@given(rules())
@examples(200)
def test_what_is_written_is_read_again(rule: PfRule) -> None:
    (found,) = read_pf(str(rule)).rules
    assert found._replace(at=NOWHERE) == rule


WORDS = [
    *["pass", "block", "in", "out", "on", "em0", "quick", "route-to", "reply-to", "(", ")", "{", "}", ","],
    *["!", "=", "$a", "a", "from", "to", "any", "all", "port", "80", "80:90", ">", "proto", "tcp", "udp"],
    *["inet", "inet6", "/", "10.0.0.0/8", "10.0.0.1", "fd00::1", "24", "keep", "no", "state", "flags"],
    *["S/SA", "set", "skip", "\\", "\n", "\n", "\n", "#", '"', "'", "><", "->", ";", "\x7f", "<", "$"],
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=200))
@examples(300)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(DialectError):
        read_pf(text)


@given(
    st.lists(rules(), max_size=6),
    st.booleans(),
    st.sampled_from(["in", "out"]),
    interfaces,
    addresses4,
    addresses4,
)
@examples(200)
def test_every_packet_gets_a_verdict(
    found: list[PfRule], bound: bool, direction: str, interface: str, src: str, dst: str
) -> None:
    pf = PfRules(PfConf(rules=tuple(found), if_bound=bound))
    for packet, flags in [(tcp(src, dst), SYN), (tcp(src, dst), ACK), (tcp(src, dst).reverse(), SYN | ACK)]:
        verdict = pf.evaluate(direction, interface, packet, flags)
        assert verdict.action in ("pass", "block")
        assert 1 <= len(verdict.steps) <= MOST_TURNS + 1
        assert str(verdict)


# --- Rules ---------------------------------------------------------------------------------------


def test_the_last_match_wins_and_quick_ends_the_search() -> None:
    pf = PfRules(
        read_pf("block all\npass in proto tcp to port 22\nblock in quick from 10.0.0.0/8\npass in all")
    )
    assert lines(pf.evaluate("in", "em0", tcp(A1, B1), SYN)) == [4]
    assert lines(pf.evaluate("in", "em0", tcp("10.1.1.1", B1), SYN)) == [3]
    assert lines(pf.evaluate("out", "em0", tcp(A1, B1, 7), SYN)) == [1]
    pf = PfRules(read_pf(""))
    assert pf.evaluate("in", "em0", tcp(A1, B1), SYN).rule is None
    assert pf.states() == []


def test_only_a_syn_makes_a_state_and_the_state_skips_the_rules() -> None:
    pf = PfRules(read_pf("block in all\npass out on em0 all"))
    assert pf.evaluate("out", "em0", tcp(A1, B1), ACK).rule is None
    assert pf.evaluate("in", "em0", tcp(B1, A1, 5001, 1000), SYN | ACK).action == "block"
    first = pf.evaluate("out", "em0", tcp(A1, B1), SYN)
    assert first.steps[0].created is not None
    reply = pf.evaluate("in", "em1", tcp(B1, A1, 5001, 1000), SYN | ACK)  # floating: on any interface
    assert reply.action == "pass"
    assert reply.steps[0].state == first.steps[0].created
    assert "the state of 192.168.5.2 > 10.0.1.2" in str(reply)
    # A forwarded packet needs a state for each direction: this one does not know it inbound.
    assert pf.evaluate("in", "em0", tcp(A1, B1), SYN).action == "block"
    pf.forget()
    assert pf.evaluate("in", "em1", tcp(B1, A1, 5001, 1000), SYN | ACK).action == "block"


def test_a_state_bound_to_an_interface_is_found_there_only() -> None:
    pf = PfRules(read_pf("set state-policy if-bound\nblock in all\npass out all"))
    pf.evaluate("out", "em0", tcp(A1, B1), SYN)
    assert pf.evaluate("in", "em0", tcp(B1, A1, 5001, 1000), ACK).action == "pass"
    assert pf.evaluate("in", "em1", tcp(B1, A1, 5001, 1000), ACK).action == "block"


def test_flags_are_for_tcp_and_no_state_looks_at_none() -> None:
    text = "block all\npass proto udp all\npass in proto tcp all flags any\n"
    pf = PfRules(read_pf(text + "pass out proto tcp all no state"))
    assert pf.evaluate("out", "em0", FiveTuple("udp", A1, 1, B1, 2)).action == "pass"
    assert pf.evaluate("in", "em0", FiveTuple("udp", B1, 2, A1, 1)).steps[0].state is not None
    assert pf.evaluate("out", "em0", tcp(A1, B1), RST).action == "pass"
    assert pf.evaluate("in", "em0", tcp(B1, A1), FIN | ACK).steps[0].created is not None
    assert pf.evaluate("in", "em0", FiveTuple("icmp", B1, 0, A1, 0)).action == "block"


def test_an_icmp_error_follows_the_state_of_the_packet_that_it_is_about() -> None:
    pf = PfRules(read_pf("block in all\npass out all"))
    pf.evaluate("out", "em0", tcp(A1, B1), SYN)
    error = FiveTuple("icmp", "192.168.5.1", 0, A1, 0)
    assert pf.evaluate("in", "em0", error).action == "block"
    assert pf.evaluate("in", "em0", error, quoted=tcp(A1, B1)).action == "pass"
    assert pf.evaluate("in", "em0", error, quoted=tcp(A2, B1)).action == "block"


def test_block_return_answers() -> None:
    pf = PfRules(read_pf("block return in all\nblock drop out all"))
    assert pf.evaluate("in", "em0", tcp(B1, A1), SYN).answers
    assert not pf.evaluate("out", "em0", tcp(A1, B1), SYN).answers


def test_skipped_interfaces_see_no_rule() -> None:
    pf = PfRules(read_pf("set skip on lo0\nblock all"))
    assert pf.evaluate("out", "lo0", tcp(A1, A2), SYN).action == "pass"


# --- The seed's host A: default route by em0 ------------------------------------------------------


def test_the_document_s_rules_send_nothing_over() -> None:
    """Mistakes 4 and 5: the network is one host, and no packet comes from it."""
    pf = PfRules(read_pf(MACROS + RULES))
    verdict = pf.evaluate("out", "em0", tcp(A2, B1), SYN)
    assert verdict == PfVerdict("pass", "em0", "", False, verdict.steps)
    assert verdict.rule is None


def test_route_to_sends_the_second_network_by_em1() -> None:
    pf = PfRules(read_pf(MENDED))
    verdict = pf.evaluate("out", "em0", tcp(A2, B1), SYN)
    assert (verdict.action, verdict.interface, verdict.gateway, verdict.routed) == (
        "pass",
        "em1",
        "192.168.0.1",
        True,
    )
    assert [(step.direction, step.interface) for step in verdict.steps] == [("out", "em0"), ("out", "em1")]
    assert "route-to em1 by 192.168.0.1" in str(verdict)
    later = pf.evaluate("out", "em0", tcp(A2, B1), ACK)  # the state goes on doing so
    assert (later.interface, later.gateway, later.routed) == ("em1", "192.168.0.1", True)
    back = pf.evaluate("in", "em1", tcp(B1, A2, 5001, 1000), SYN | ACK)  # replies are routed normally
    assert (back.action, back.routed) == ("pass", False)
    own = pf.evaluate("out", "em0", tcp(A1, B1), SYN)
    assert (own.interface, own.routed) == ("em0", False)


def test_reply_to_sends_the_answers_where_the_syn_came_in() -> None:
    pf = PfRules(read_pf(MACROS + RULES))
    join = tcp(B1, A2, 3000, 5001)
    assert not pf.evaluate("in", "em1", join, SYN).routed
    answer = pf.evaluate("out", "em0", join.reverse(), SYN | ACK)
    assert (answer.action, answer.interface, answer.gateway, answer.routed) == (
        "pass",
        "em1",
        "192.168.0.1",
        True,
    )
    assert not pf.evaluate("in", "em1", join, ACK).routed
    straight = pf.evaluate("out", "em1", join.reverse(), ACK)
    assert (straight.interface, straight.gateway) == ("em1", "192.168.0.1")
    assert lines(straight) == [11]


def test_reply_to_without_a_state_does_nothing() -> None:
    pf = PfRules(read_pf("pass in on em1 reply-to (em1 192.168.0.1) all no state"))
    pf.evaluate("in", "em1", tcp(B1, A2), SYN)
    assert not pf.evaluate("out", "em0", tcp(A2, B1, 5001, 1000), SYN | ACK).routed


FOUR_MENDED = MACROS.replace('"192.168.0.0"', '"192.168.0.0/24"') + RULES


def test_rules_that_send_a_packet_to_and_fro_end_after_four_turns() -> None:
    """Mistake 5 alone, with states that do not hold on the second interface, or no states at all."""
    for text in (FOUR_MENDED.replace("from $mp_net to any", "from $mp_net to any no state"),
                 "set state-policy if-bound\n" + FOUR_MENDED):  # fmt: skip
        verdict = PfRules(read_pf(text)).evaluate("out", "em0", tcp(A2, B1), SYN)
        assert verdict.action == "block"
        assert "loop" in verdict.reason
        assert [step.interface for step in verdict.steps] == ["em0", "em1", "em0", "em1", "em0"]
        assert not verdict.answers


def test_a_floating_state_ends_the_same_loop_at_its_first_turn() -> None:
    verdict = PfRules(read_pf(FOUR_MENDED)).evaluate("out", "em0", tcp(A2, B1), SYN)
    assert (verdict.action, verdict.interface) == ("pass", "em1")
    assert verdict.steps[1].state == verdict.steps[0].created
    # From em1, where the default route may lead one day, rule 2 sends it away.
    verdict = PfRules(read_pf(FOUR_MENDED)).evaluate("out", "em1", tcp(A2, B1), SYN)
    assert (verdict.action, verdict.interface, verdict.gateway) == ("pass", "em0", "192.168.5.1")


def test_every_letter_is_a_flag() -> None:
    assert sorted(FLAG_LETTERS.values()) == [1, 2, 4, 8, 16, 32, 64, 128]
