"""Middleboxes on a link: where they stand, what is counted, ``drop`` and ``hold``, which packets match."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from mptcpsim.core.mptcp_options import MpJoinSyn
from mptcpsim.core.segment import ACK, SYN, IcmpError, Packet, Segment
from mptcpsim.net.middlebox import HELD, Middlebox
from mptcpsim.plugins import register
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.build import build
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.load import dumps, loads
from mptcpsim.scenario.run import sampler_of
from mptcpsim.scenario.summarise import summarise
from mptcpsim.units import MILLISECOND, SECOND
from tests.middleboxes.boxes import TWO_PATHS, Run, run, text

MPTCP = 'mptcp = "rfc8684"'
#: A reader that lets the window close again and again.
SLOW = 'bytes = "200kB"\nreader = { read_size = "16KiB", every = "100ms" }'
PAUSED = 'bytes = "200kB"\nreader = { read_size = "1MiB", every = "5s" }'
SMALL = 'tcp = { receive_buffer = "32KiB" }'


@register
class Recording(Middlebox):
    """Notes what passes."""

    NAME = "test-recording"

    def start(self) -> None:
        self.noted: list[tuple[Packet, bool, int]] = []

    def on_packet(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        self.noted.append((packet, forward, now))
        return packet


@register
class Answering(Middlebox):
    """Sends the first ACKs of the second end back to it before they go on."""

    NAME = "test-answering"

    def on_packet(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        assert isinstance(packet, Segment)
        if not forward and packet.flags == ACK and self.backward.packets < 5:
            echo = packet.clone()
            echo.flow = packet.flow.reverse()
            self.send(echo, True)
        return packet


@register
class Doubling(Middlebox):
    """Takes a packet and sends it twice."""

    NAME = "test-doubling"

    def on_packet(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        self.send(packet.clone(), forward)
        self.send_at(now + MILLISECOND, packet, forward)
        return HELD


def counts(result: Run, number: int = 0, link: str = "one") -> tuple[tuple[int, ...], tuple[int, ...]]:
    box = result.box(number, link)
    return tuple(
        (side.packets, side.changed, side.dropped, side.sent) for side in (box.forward, box.backward)
    )  # type: ignore[return-value]


# --- Where they stand ------------------------------------------------------------------------------


def test_boxes_stand_at_the_second_end_in_the_order_of_the_list() -> None:
    result = run('"test-recording", { name = "drop", match = "data", nth = [2] }, "test-recording"')
    first, _, last = result.link().middleboxes
    assert isinstance(first, Recording)
    assert isinstance(last, Recording)
    sent = {id(packet): at for at, end, outgoing, packet in result.seen if outgoing and end == "a:eth0"}
    forward = [(id(packet), now) for packet, forward, now in first.noted if forward]
    # Forward behind queue and delay, backward before them.
    assert all(now - sent[key] >= 10 * MILLISECOND for key, now in forward)
    back = [(packet, now) for packet, forward, now in last.noted if not forward]
    assert back == [(s.packet, s.at) for s in result.seen if s.end == "b:eth0" and s.outgoing]
    assert len(forward) == sum(1 for _, forward, _ in last.noted if forward) + 1
    assert [p for p, forward, _ in last.noted if forward] == result.segments("b:eth0", False)
    assert result.delivered() == 200_000


def test_a_link_without_boxes_is_as_before() -> None:
    """Nothing stands between the pipes and the interfaces."""
    link = build(loads(text())).topology.links["one"]
    assert link.middleboxes == []
    assert (link.forward.sink, link.backward.sink) == (link.b.deliver, link.a.deliver)
    assert (link.a.send, link.b.send) == (link.forward.send, link.backward.send)
    with_box = build(loads(text('"test-recording"'))).topology.links["one"]
    assert with_box.forward.sink != with_box.b.deliver
    assert (with_box.a.send, with_box.backward.sink) == (with_box.forward.send, with_box.a.deliver)


def test_what_a_box_drops_backward_takes_no_room_in_the_queue() -> None:
    result = run('{ name = "drop", direction = "backward", match = "pure-ack", after = 1, first = 5 }')
    sent = len(result.segments("b:eth0", True))
    assert result.link().backward.packets == sent - 5
    assert result.delivered() == 200_000


def test_counts_and_summary(tmp_path: Any) -> None:
    result = run('{ name = "drop", match = "data", nth = [1, 3] }, "test-doubling"')
    (packets, changed, dropped, sent), _ = counts(result, 0)
    assert (changed, dropped) == (0, 2)
    assert packets == sent + dropped == result.link().forward.packets
    assert counts(result, 1)[0] == (sent, 0, 0, 2 * sent)
    with SeriesRecorder(tmp_path / "series.parquet") as recorder:
        link = summarise(result.simulation, sampler_of(result.simulation, recorder)).as_dict()["links"]["one"]
    assert link["forward"]["drops"] == {"middlebox drop": 2}
    assert link["drops"] == {"middlebox drop": 2}
    assert link["middleboxes"][0] == {
        "name": "drop",
        "forward": {"packets": packets, "changed": 0, "dropped": 2, "sent": sent},
        "backward": dict(zip(("packets", "changed", "dropped", "sent"), counts(result, 0)[1], strict=True)),
    }
    assert result.delivered() == 200_000


def test_an_answer_reaches_an_end_that_is_sending_when_it_has_sent() -> None:
    """The second end is handed nothing in the midst of sending."""
    result = run('"test-answering"')
    assert result.delivered() == 200_000
    forward, _ = counts(result)
    assert forward[3] == forward[0] + 3


def test_roundtrip_is_identical() -> None:
    boxes = (
        '{ name = "drop", match = ["probe", "window-update"], every = 2 },'
        '{ name = "hold", match = "pure-ack", time = "3ms" }'
    )
    one = run(boxes, flow=SLOW, a=MPTCP, b=MPTCP)
    two = run(boxes, flow=SLOW, a=MPTCP, b=MPTCP, roundtrip=True)
    assert [(s.at, s.end, s.outgoing, repr(s.packet)) for s in one.seen] == [
        (s.at, s.end, s.outgoing, repr(s.packet)) for s in two.seen
    ]
    assert counts(one)[1][2] > 0


# --- Which packets ---------------------------------------------------------------------------------


def dropped_by(match: str, **given: Any) -> list[Segment]:
    """Return what a box drops on the way from b to a, and on the way from a to b."""
    result = run(f'"test-recording", {{ name = "drop", match = "{match}" }}, "test-recording"', **given)
    first, _, last = result.link().middleboxes
    assert isinstance(first, Recording)
    assert isinstance(last, Recording)
    kept = {id(packet) for packet, forward, _ in last.noted if forward}
    lost: list[Any] = [p for p, forward, _ in first.noted if forward and id(p) not in kept]
    kept = {id(packet) for packet, forward, _ in first.noted if not forward}
    return lost + [p for p, forward, _ in last.noted if not forward and id(p) not in kept]


def test_syn() -> None:
    lost = dropped_by("syn")
    assert lost
    assert all(segment.flags & SYN for segment in lost)


def test_syn_with_options_spares_a_plain_one() -> None:
    assert dropped_by("syn-with-options") == []
    lost = dropped_by("syn-with-options", a=MPTCP, b=MPTCP, flow='bytes = "1kB"')
    assert lost
    assert all(segment.options for segment in lost)


def test_mp_join_goes_and_the_first_subflow_stays() -> None:
    result = run(two='{ name = "drop", match = "mp_join" }', **TWO_PATHS)
    box = result.box(0, "two")
    assert box.forward.dropped == box.forward.packets > 0
    assert all(isinstance(s.options[0], MpJoinSyn) for s in result.segments("a:eth1", True) if s.options)
    assert result.delivered() == 200_000


def test_window_updates() -> None:
    lost = dropped_by("window-update", flow=SLOW, b=SMALL)
    assert lost
    for segment in lost:
        assert segment.flags == ACK
        assert segment.length == 0
        assert segment.window > 0
    # Each opens a window that was smaller, and acknowledges nothing.
    sent = run(flow=SLOW, b=SMALL).segments("b:eth0", True)
    updates = [
        late
        for early, late in pairwise(sent)
        if late.ack == early.ack and late.window > early.window and not early.flags & SYN
    ]
    assert lost[0].ack == updates[0].ack


def test_zero_windows_and_probes() -> None:
    lost = dropped_by("zero-window", flow=PAUSED, b=SMALL)
    assert lost
    assert all(segment.window == 0 for segment in lost)
    for tcp in ('zero_window_probe = "byte"', 'zero_window_probe = "empty"'):
        tcp = f"tcp = {{ {tcp} }}"
        result = run('{ name = "drop", match = "probe", first = 3 }', flow=PAUSED, a=tcp, b=SMALL)
        probes = result.simulation.hosts["a"].stack.counters.as_dict()["TcpExtTCPWinProbe"]
        assert result.box().forward.dropped == 3
        assert probes >= 3
        every = run('{ name = "drop", match = "probe" }', flow=PAUSED, a=tcp, b=SMALL)
        sent = every.simulation.hosts["a"].stack.counters.as_dict()["TcpExtTCPWinProbe"]
        assert every.box().forward.dropped == sent


def test_probes_of_mptcp() -> None:
    result = run('{ name = "drop", match = "probe" }', flow=PAUSED, a=MPTCP, b=f"{MPTCP}\n{SMALL}")
    sent = result.simulation.hosts["a"].stack.counters.as_dict()["TcpExtTCPWinProbe"]
    assert result.box().forward.dropped == sent > 0


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ("nth = [1, 3]", {1, 3}),
        ("first = 2", {1, 2}),
        ("after = 2, first = 2", {3, 4}),
        ("after = 1, nth = [2]", {3}),
        ("every = 4, first = 8", {4, 8}),
        ('until = "1ms"', set()),
        ('until = "1ms", subflow = "10.0.1.1"', set()),
        ('direction = "backward"', set()),
        ('subflow = ["10.0.1.1", "10.0.2.2"]', set()),
        ('subflow = ["10.0.1.2", "10.0.1.1"], nth = [7]', {7}),
    ],
)
def test_numbers(given: str, numbers: set[int]) -> None:
    result = run(f'"test-recording", {{ name = "drop", match = "data", {given} }}')
    recorder = result.box(0)
    assert isinstance(recorder, Recording)
    data = [p for p, forward, _ in recorder.noted if forward and isinstance(p, Segment) and p.length]
    passed = [segment for segment in result.segments("b:eth0", False) if segment.length]
    lost = {n for n, segment in enumerate(data, 1) if all(segment is not other for other in passed)}
    assert lost == numbers
    assert result.delivered() == 200_000


def test_times() -> None:
    dark = run('{ name = "drop", from = "100ms", until = "2s" }', flow='bytes = "1MB"')
    lost_in = [s.at for s in dark.seen if s.end == "b:eth0" and not s.outgoing]
    assert not any(100 * MILLISECOND <= at < 2 * SECOND for at in lost_in)
    assert max(lost_in) > 2 * SECOND
    assert dark.delivered() == 1_000_000


def test_hold_keeps_order_and_lets_others_overtake() -> None:
    result = run(
        '"test-recording", { name = "hold", match = "data", nth = [5], time = "7ms" }, "test-recording"',
        flow='bytes = "30kB"',
    )
    first, _, last = result.link().middleboxes
    assert isinstance(first, Recording)
    assert isinstance(last, Recording)
    came = {id(p): now for p, forward, now in first.noted if forward}
    delays = [now - came[id(p)] for p, forward, now in last.noted if forward]
    assert sorted(delays)[-2:] == [0, 7 * MILLISECOND]
    assert result.delivered() == 30_000


def test_hold_until_an_instant() -> None:
    result = run('{ name = "hold", match = "pure-ack", release = "2s" }', flow='bytes = "200kB"')
    acks = [s.at for s in result.seen if s.end == "a:eth0" and not s.outgoing]
    assert next(at for at in acks if at > 25 * MILLISECOND) > 2 * SECOND
    assert counts(result)[1][2] == 0
    assert result.delivered() == 200_000


def test_what_was_held_meets_an_interface_that_has_gone_down_meanwhile() -> None:
    more = '[[events]]\nat = "500ms"\naction = "interface-down"\ninterface = "b:eth0"\n'
    result = run(
        '{ name = "hold", match = "data", time = "400ms", from = "200ms" }', flow='bytes = "9MB"', more=more
    )
    assert max(s.at for s in result.seen if s.end == "b:eth0") <= 500 * MILLISECOND
    assert result.simulation.hosts["b"].drops["interface-down"] > 0


def test_icmp_errors_are_packets_too() -> None:
    box = Middlebox()
    segment = run(flow='bytes = "1kB"').segments("a:eth0", True)[0]
    error = IcmpError("10.0.1.2", segment, "net-unreachable")
    assert box.take(error, True, 0) is error
    assert box.forward.packets == 1


# --- In a scenario ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ('"dorp"', "links.0.middleboxes.0: unknown middlebox 'dorp'; did you mean 'drop'?"),
        ('{ name = "drop", match = "sin" }', "match 'sin' is none of any, syn,"),
        ('{ name = "drop", nth = [0] }', "nth '0' is no list such as [1, 3]"),
        ('{ name = "drop", subflow = "10.0.0" }', "subflow: '10.0.0' does not appear to be"),
        ('{ name = "drop", mtach = "syn" }', "has no parameter 'mtach'"),
        ('{ name = "drop", direction = "up" }', "direction 'up' is none of both, forward, backward"),
        ('{ name = "drop", every = 0 }', "outside its range"),
        ('{ name = "drop", from = "5s", until = "5s" }', "until is not after from"),
        ('{ name = "drop", nth = [1, 3], every = 2 }', "first and every leave none of nth"),
        ('{ name = "drop", nth = [4], first = 3 }', "first and every leave none of nth"),
        ('{ name = "drop", first = 2, every = 3 }', "first is below every"),
        ('{ name = "drop", subflow = "10.0.0.1 10.0.0.2 10.0.0.3" }', "name one or two in subflow"),
        ('"hold"', "holds nothing: give time or release"),
    ],
)
def test_mistakes(box: str, told: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        loads(text(box))
    assert "links.0.middleboxes.0" in str(caught.value)
    assert told in str(caught.value)


def test_a_scenario_is_written_and_read_again() -> None:
    scenario = loads(text('"test-recording", { name = "drop", nth = [1, 3], until = "5s" }'))
    assert loads(dumps(scenario)) == scenario


def test_boxes_are_placed_once() -> None:
    link = run('"test-recording"').link()
    with pytest.raises(ValueError, match="has its middleboxes already"):
        link.place([Recording()])
