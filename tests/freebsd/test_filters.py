"""pf and ipfw as filters of a node: verdicts, how long they last, and the order of both."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.segment import (
    ACK,
    FIN,
    ICMP_HOST_UNREACHABLE,
    NOT_ECT,
    PSH,
    RST,
    SYN,
    FourTuple,
    IcmpError,
    Packet,
    Segment,
)
from mptcpsim.core.sequences import SequenceMap
from mptcpsim.freebsd.firewall import Firewall
from mptcpsim.freebsd.ipfw import DeleteRules, IpfwRule, read_ipfw
from mptcpsim.freebsd.ipfw_filter import IpfwFilter
from mptcpsim.freebsd.lines import NOWHERE, DialectError
from mptcpsim.freebsd.names import InterfaceNames
from mptcpsim.freebsd.pf import read_pf
from mptcpsim.freebsd.pf_filter import PfFilter
from mptcpsim.net.policy import PASSES, PacketFilter, Queue, Verdict
from mptcpsim.net.router import Router
from mptcpsim.sim.loop import Loop
from tests.profiles import examples

A1, A2, B1 = "192.168.5.2", "192.168.0.2", "10.0.1.2"
MENDED = """
pass out on em0 route-to (em1 192.168.0.1) from 192.168.0.0/24 to any
pass out on em1 route-to (em0 192.168.5.1) from 192.168.5.0/24 to any
pass in on em1 reply-to (em1 192.168.0.1) from any to any keep state
pass in on em0 reply-to (em0 192.168.5.1) from any to any keep state
"""


def node() -> Router:
    """Return A of the seed's third topology; nothing is linked to it."""
    router = Router(Loop(), "A")
    router.add_interface("A1", [f"{A1}/24"])
    router.add_interface("A2", [f"{A2}/24"])
    router.routes.add("192.168.5.0/24", router.interfaces["A1"])
    router.routes.add("192.168.0.0/24", router.interfaces["A2"])
    router.routes.add("default", router.interfaces["A1"], "192.168.5.1")
    return router


NAMES = {"A1": "em0", "A2": "em1"}


def names_of(router: Router) -> InterfaceNames:
    return InterfaceNames(router.interfaces, NAMES)


def pf(text: str, router: Router | None = None) -> PfFilter:
    router = router or node()
    found = PfFilter(router, names_of(router))
    found.load(read_pf(text))
    found.enable(True)
    return found


class Pipe(Queue):
    """Keeps what enters, until ``release`` is called."""

    def __init__(self) -> None:
        self.inside: list[tuple[Packet, Callable[[Packet], None]]] = []

    def enter(self, packet: Packet, onward: Callable[[Packet], None]) -> None:
        self.inside.append((packet, onward))


PIPES = {("pipe", 1): Pipe(), ("queue", 2): Pipe()}


def find(kind: str, number: int) -> Queue | None:
    return PIPES.get((kind, number))


def ipfw(
    text: str, router: Router | None = None, *, accept: bool = True, draw: Callable[[], float] | None = None
) -> IpfwFilter:
    router = router or node()
    found = IpfwFilter(router, names_of(router), find, draw, accept)
    for rule in read_ipfw(text):
        assert isinstance(rule, IpfwRule)
        found.add(rule)
    return found


def segment(flow: FourTuple, flags: int = ACK) -> Segment:
    return Segment(flow, 40, SequenceMap(), flags, 0, 0, 0, 0, -1, -1, None, NOT_ECT)


OUT1, OUT2 = FourTuple(A1, 1000, B1, 5001), FourTuple(A2, 1000, B1, 5001)


def out(filter_: PacketFilter, packet: Packet, interface: str = "A1", received: str = "") -> Verdict:
    router = filter_.node if isinstance(filter_, PfFilter | IpfwFilter) else filter_.pf.node  # type: ignore[attr-defined]
    arrived = router.interfaces[received] if received else None
    return filter_.outbound(packet, router.interfaces[interface], "192.168.5.1", arrived)


def into(filter_: PacketFilter, packet: Packet, interface: str = "A1") -> Verdict:
    router = filter_.node if isinstance(filter_, PfFilter | IpfwFilter) else filter_.pf.node  # type: ignore[attr-defined]
    return filter_.inbound(packet, router.interfaces[interface])


def where(verdict: Verdict) -> tuple[str, str, str]:
    return verdict.reason, verdict.interface.name if verdict.interface else "", verdict.gateway


# --- pf ------------------------------------------------------------------------------------------


def test_pf_is_silent_until_it_is_enabled() -> None:
    found = pf("block all")
    found.enable(False)
    assert out(found, segment(OUT1, SYN)) is PASSES
    found.enable(True)
    assert where(out(found, segment(OUT1, SYN)))[0] == "pf-block"


def test_pf_sends_the_second_address_to_its_own_interface() -> None:
    found = pf(MENDED)
    verdict = out(found, segment(OUT2, SYN))
    assert where(verdict) == ("", "A2", "192.168.0.1")
    assert verdict.steps == (
        "pf, out on em0: rule in line 2 (pass out on em0 route-to (em1 192.168.0.1) from 192.168.0.0/24 to "
        "any): pass, keeps state, route-to em1 by 192.168.0.1",
        "pf, out on em1: the state of 192.168.0.2 > 10.0.1.2, made outbound by line 2 (pass out on em0 "
        "route-to (em1 192.168.0.1) from 192.168.0.0/24 to any): pass, route-to em1 by 192.168.0.1",
    )
    assert where(out(found, segment(OUT1, SYN))) == ("", "", "")


def test_pf_answers_on_the_interface_on_which_the_connection_came_in() -> None:
    found = pf(MENDED)
    assert where(into(found, segment(OUT2.reverse(), SYN), "A2"))[0] == ""
    for flags in (SYN | ACK, ACK, ACK | PSH, FIN | ACK):
        assert where(out(found, segment(OUT2, flags))) == ("", "A2", "192.168.0.1")
    found.flush("states")
    # Without its state the SYN/ACK matches no rule: all of them want S/SA.
    assert where(out(found, segment(OUT2, SYN | ACK))) == ("", "", "")


def test_a_state_that_comes_or_goes_is_a_change() -> None:
    found = pf(MENDED)
    changes: list[int] = []
    found.on_change = lambda: changes.append(1)
    # A SYN of which nothing is kept yet makes a state; so do the SYN again, and the third ACK, meet it.
    assert not out(found, segment(OUT2, SYN)).lasting
    assert out(found, segment(OUT2, SYN)).lasting
    assert out(found, segment(OUT2)).lasting
    assert changes == []
    found.flush("states")
    assert len(changes) == 1
    # Now the rules have let a packet pass, and a node has kept that: the state makes a difference.
    assert out(found, segment(OUT2)).lasting
    out(found, segment(OUT2, SYN))
    assert len(changes) == 2


def test_states_outlive_a_reload_and_not_a_flush_of_everything() -> None:
    found = pf("pass out on em0 route-to (em1 192.168.0.1) all")
    out(found, segment(OUT1, SYN))
    found.load(read_pf("block all"))
    assert where(out(found, segment(OUT1))) == ("", "A2", "192.168.0.1")
    assert where(out(found, segment(OUT2, SYN)))[0] == "pf-block"
    found.flush("rules")
    assert where(out(found, segment(OUT1))) == ("", "A2", "192.168.0.1")
    found.flush("all")
    assert where(out(found, segment(OUT1))) == ("", "", "")


def test_block_return_answers_and_block_drop_does_not() -> None:
    assert out(pf("block return all"), segment(OUT1, SYN)).answer
    verdict = into(pf("block drop in all"), segment(OUT1.reverse(), SYN))
    assert (verdict.reason, verdict.answer) == ("pf-block", False)


def test_rules_that_send_a_packet_back_and_forth_are_a_loop() -> None:
    text = "set state-policy if-bound\n" + "\n".join(
        f"pass out on em{here} route-to (em{there} 192.168.{net}.1) no state"
        for here, there, net in ((0, 1, 0), (1, 0, 5))
    )
    verdict = out(pf(text), segment(OUT1))
    assert (verdict.reason, verdict.answer) == ("pf-loop", False)


def test_an_icmp_error_follows_the_state_of_what_it_is_about() -> None:
    found = pf("block in all\npass out all")
    error = IcmpError("10.9.9.9", segment(OUT1, SYN), ICMP_HOST_UNREACHABLE)
    assert where(into(found, error))[0] == "pf-block"
    out(found, segment(OUT1, SYN))
    assert where(into(found, error))[0] == ""


def test_pf_names_interfaces_by_both_names_and_refuses_others() -> None:
    found = pf("set skip on { lo0 A2 }\nblock out on A1 all")
    assert where(out(found, segment(OUT1)))[0] == "pf-block"
    assert where(out(found, segment(OUT1), "A2"))[0] == ""
    assert where(out(pf("set skip on A1\nblock all"), segment(OUT1)))[0] == ""
    assert where(out(pf("set skip on em0\nblock all"), segment(OUT1)))[0] == ""
    assert where(out(pf("set skip on A1\nblock all"), segment(OUT1), "A2"))[0] == "pf-block"
    assert pf("set skip on em").rules.conf.skip >= {"em0", "em1"}
    with pytest.raises(DialectError, match="line 2: there is no interface em7: did you mean"):
        pf("pass\nblock out on em7 all")
    with pytest.raises(DialectError, match="there is no interface lo0"):
        pf("pass out on em0 route-to (lo0 127.0.0.1) all")


# --- ipfw ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [True, False])
def test_the_default_rule(accept: bool) -> None:
    verdict = out(ipfw("", accept=accept), segment(OUT1, SYN))
    assert verdict.reason == ("" if accept else "ipfw-deny")
    assert verdict.steps == (f"ipfw rule 65535, the last one: {'allow' if accept else 'deny'}",)


def test_fwd_looks_its_next_hop_up() -> None:
    found = ipfw("add fwd 192.168.0.1 tcp from 192.168.0.2 to any\nadd fwd 10.7.0.1 tcp from any to any 80")
    verdict = out(found, segment(OUT2, SYN))
    assert where(verdict) == ("", "A2", "192.168.0.1")
    assert verdict.lasting
    assert verdict.steps[-1] == "192.168.0.1 is reached by em1"
    # A next hop that is not on a link is reached over that of the route to it.
    verdict = out(found, segment(OUT1._replace(dport=80)))
    assert where(verdict) == ("", "A1", "192.168.5.1")
    assert verdict.steps[-1] == "10.7.0.1 is reached by em0 over 192.168.5.1"
    found.node.routes.remove("default")
    assert where(out(found, segment(OUT1._replace(dport=80))))[0] == "no-route"


def test_fwd_of_arriving_packets() -> None:
    found = ipfw("add fwd 192.168.0.1 tcp from any to any in recv A1")
    assert where(into(found, segment(OUT1.reverse()))) == ("", "A2", "192.168.0.1")
    assert where(into(found, segment(OUT1.reverse()), "A2")) == ("", "", "")


def test_fwd_to_the_node_itself() -> None:
    found = ipfw(f"add fwd {A2} tcp from any to any in")
    assert where(into(found, segment(OUT1.reverse()))) == ("", "", "")
    verdict = into(found, segment(FourTuple(B1, 5001, "10.8.8.8", 80)))
    assert verdict.reason == "ipfw-no-proxy"
    assert verdict.steps[-1] == f"{A2} is an address of this node, and no proxy waits there: dropped"


def test_pipes_with_one_pass_and_without() -> None:
    actions = ("100 pipe 1", "200 queue 2", "300 deny")
    found = ipfw("\n".join(f"add {what} ip from any to any" for what in actions))
    verdict = out(found, segment(OUT1))
    assert verdict.queue is PIPES["pipe", 1]
    assert verdict.resume is None
    found.one_pass = False
    first = out(found, segment(OUT1))
    assert first.resume is not None
    second = first.resume(segment(OUT1))
    assert second.queue is PIPES["queue", 2]
    assert second.resume is not None
    assert second.resume(segment(OUT1)).reason == "ipfw-deny"


def test_a_pipe_that_is_not_configured_swallows_its_packets() -> None:
    verdict = out(ipfw("add pipe 7 ip from any to any"), segment(OUT1))
    assert verdict.reason == "ipfw-no-pipe"
    assert verdict.steps[-1] == "ipfw: there is no pipe 7: dropped"


def test_where_a_packet_is_on_its_way() -> None:
    found = ipfw(
        "add 100 deny ip from any to any out recv em1 xmit A1\nadd 200 deny ip from any to me in via em*"
    )
    assert out(found, segment(OUT1), "A1", "A2").reason == "ipfw-deny"
    assert out(found, segment(OUT1), "A1", "A1").reason == ""
    assert out(found, segment(OUT1)).reason == ""
    assert into(found, segment(OUT1.reverse())).reason == "ipfw-deny"
    assert into(found, segment(OUT1)).reason == ""
    with pytest.raises(DialectError, match="there is no interface em5"):
        ipfw("add deny ip from any to any via em5")
    with pytest.raises(DialectError, match="no interface begins with igb"):
        ipfw("add deny ip from any to any via igb*")


def test_counted_rules_stand_among_the_steps() -> None:
    actions = ("100 count", "200 skipto 400", "300 deny", "400 allow")
    found = ipfw("\n".join(f"add {what} ip from any to any" for what in actions))
    steps = out(found, segment(OUT1)).steps
    assert [step.split(",")[0] for step in steps] == ["ipfw rule 100", "ipfw rule 200", "ipfw rule 400"]


def test_a_rule_that_comes_or_goes_is_a_change() -> None:
    found = ipfw("add 100 deny ip from any to any")
    changes: list[int] = []
    found.on_change = lambda: changes.append(1)
    assert out(found, segment(OUT1)).reason == "ipfw-deny"
    found.delete(DeleteRules(NOWHERE, (100,)))
    assert (len(changes), out(found, segment(OUT1)).reason) == (1, "")
    found.enabled = False
    assert out(found, segment(OUT1)) is PASSES


def test_chance_and_flags_make_no_lasting_verdict() -> None:
    rng = random.Random(7)
    found = ipfw("add prob 0.5 deny tcp from any to any", draw=rng.random)
    verdicts = [out(found, segment(OUT1)) for _ in range(100)]
    assert {verdict.reason for verdict in verdicts} == {"", "ipfw-deny"}
    assert not any(verdict.lasting for verdict in verdicts)
    assert not out(ipfw("add allow tcp from any to any established"), segment(OUT1)).lasting
    found = ipfw("add deny tcp from any to any setup")
    assert not out(found, segment(OUT1, SYN)).lasting
    assert out(found, segment(OUT1)).lasting


# --- Both ----------------------------------------------------------------------------------------


def both(pf_text: str, ipfw_text: str) -> Firewall:
    router = node()
    found = Firewall(pf(pf_text, router))
    found.attach(ipfw(ipfw_text, router))
    return found


def test_arriving_packets_meet_ipfw_first_and_leaving_ones_pf() -> None:
    found = both("block all", "add deny ip from any to any")
    assert into(found, segment(OUT1.reverse())).reason == "ipfw-deny"
    assert out(found, segment(OUT1)).reason == "pf-block"
    found = both("pass all no state", "add allow ip from any to any")
    assert [step.split()[0] for step in into(found, segment(OUT1.reverse())).steps] == ["ipfw", "pf,"]
    assert [step.split()[0] for step in out(found, segment(OUT1)).steps] == ["pf,", "ipfw"]


def test_what_one_filter_sends_away_the_other_does_not_see() -> None:
    found = both("pass out on em0 route-to (em1 192.168.0.1) all no state", "add deny ip from any to any")
    assert where(out(found, segment(OUT1))) == ("", "A2", "192.168.0.1")
    found = both("block in all", "add fwd 192.168.0.1 ip from any to any in")
    assert where(into(found, segment(OUT1.reverse()))) == ("", "A2", "192.168.0.1")


def test_pf_waits_behind_a_pipe_of_arriving_packets() -> None:
    found = both("block in all", "add pipe 1 ip from any to any in")
    verdict = into(found, segment(OUT1.reverse()))
    assert verdict.queue is PIPES["pipe", 1]
    assert verdict.resume is not None
    assert verdict.resume(segment(OUT1.reverse())).reason == "pf-block"


def test_a_change_of_either_is_a_change() -> None:
    found = both("pass all", "add allow ip from any to any")
    changes: list[int] = []
    found.on_change = lambda: changes.append(1)
    found.pf.flush("states")
    assert found.ipfw is not None
    found.ipfw.delete(DeleteRules(NOWHERE))
    assert len(changes) == 2


# --- The law -------------------------------------------------------------------------------------

PF_RULES = [
    "pass out all", "pass in all", "pass all no state", "pass proto tcp flags any",
    "pass out on em0 route-to (em1 192.168.0.1) from 192.168.0.0/24 to any",
    "pass out on em1 route-to (em0 192.168.5.1) no state",
    "pass in on em1 reply-to (em1 192.168.0.1) keep state (if-bound)",
    "block return in proto tcp flags F/F", "block out proto tcp flags FA/FA", "block in proto tcp flags P/PS",
    "block in quick from 10.0.1.0/24 to any", "pass out proto tcp flags /S no state",
    "block out proto tcp flags S/SA",
]  # fmt: skip
IPFW_RULES = [
    "add deny tcp from any to any setup", "add allow tcp from any to any established",
    "add fwd 192.168.0.1 tcp from 192.168.0.2 to any", "add prob 0.5 pipe 1 ip from any to any in",
    "add 300 skipto 700 tcp from any to me", "add 500 deny tcp from any to any out",
    "add 700 queue 2 ip from any to any", "add count ip from any to any",
]  # fmt: skip
FLAGS = st.sampled_from([SYN, SYN, ACK, ACK, ACK, SYN | ACK, ACK | PSH, FIN | ACK, RST, FIN, 0])
# Few of them, so that what happens to one bears upon the next.
FLOWS = [(OUT2, "out"), (OUT2.reverse(), "in")]


@examples(300)
@given(
    rules=st.lists(st.sampled_from(PF_RULES), min_size=1, max_size=4),
    commands=st.lists(st.sampled_from(IPFW_RULES), max_size=3),
    walk=st.lists(
        st.tuples(st.sampled_from(FLOWS), st.sampled_from(["A1", "A1", "A2"]), FLAGS), min_size=8, max_size=25
    ),
    seed=st.integers(0, 9),
)
def test_lasting_verdicts_last(
    rules: list[str],
    commands: list[str],
    walk: list[tuple[tuple[FourTuple, str], str, int]],
    seed: int,
) -> None:
    """What a node keeps for a flow is what it would have been told again."""
    router = node()
    found = Firewall(pf("\n".join(rules), router))
    if commands:
        found.attach(ipfw("\n".join(commands), router, draw=random.Random(seed).random))
    kept: dict[object, tuple[object, ...]] = {}
    found.on_change = kept.clear
    for (flow, direction), interface, flags in walk:
        ask = out if direction == "out" else into
        verdict = ask(found, segment(flow, flags), interface)
        outcome = (*where(verdict), verdict.queue, verdict.answer)
        key = flow, direction, interface
        if not flags & SYN and key in kept:
            assert outcome == kept[key]
        if verdict.lasting:
            kept[key] = outcome


@pytest.mark.parametrize(
    ("interfaces", "aliases", "text"),
    [
        (["A1"], {"A2": "em0"}, "neither is an interface"),
        (["A1", "em0"], {"A1": "em0"}, "both are interfaces"),
        (["A1", "A2"], {"A1": "em0", "A2": "em0"}, "given twice"),
        (["A1"], {"A1": "lo0"}, "given twice"),
        (["A1"], {"A1": ""}, "'' is no name of an interface"),
        (["A1"], {"A1": "em 0"}, "'em 0' is no name of an interface"),
    ],
)
def test_aliases_that_say_nothing_sensible(interfaces: list[str], aliases: dict[str, str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        InterfaceNames(interfaces, aliases)


def test_both_names_mean_one_interface_whichever_the_scenario_has() -> None:
    for scenario in ("A1", "em0"):
        names = InterfaceNames([scenario], {"A1": "em0"})
        assert {names.interface(NOWHERE, word) for word in ("A1", "em0")} == {scenario}
        assert {names.system(NOWHERE, word) for word in ("A1", "em0")} == {"em0"}
        assert names.scenario_of("em0") == scenario
