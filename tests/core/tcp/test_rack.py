"""RACK-TLP (RFC 8985): detection by time, the reordering window, loss probes."""

from __future__ import annotations

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import Packet, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.core.tcp.rack import Rack
from mptcpsim.core.tcp.recovery import LOSS, OPEN, RECOVERY
from mptcpsim.core.tcp.scoreboard import Scoreboard, Sent
from mptcpsim.units import MILLISECOND, NEVER, SECOND
from tests.core.tcp.pair import Hook, Pair
from tests.core.tcp.script import Script

MS = MILLISECOND
MSS = 1000
RTT = 100


def start(timestamps: bool = False, **config: object) -> Script:
    """Return a connected script with an RTT of 100 ms; segments are 1000 bytes."""
    values = {"congestion": "reno", "initial_window_segments": 20, **config}
    stamps = {} if timestamps else {"ts_val": UNKNOWN}
    mss = MSS + 12 if timestamps else MSS
    return Script.connected(TcpConfig(**values), rtt=RTT * MS, mss=mss, **stamps)  # type: ignore[arg-type]


def write(script: Script, segments: int, apart_ms: float = 0) -> None:
    """Send so many full segments, some time apart."""
    for _ in range(segments):
        script.write(MSS)
        script.elapse(apart_ms)


def numbers(script: Script) -> list[int]:
    return [(segment.seq - 1) // MSS for _, segment in script.fresh()]


def ack(script: Script, upto: int, *received: tuple[int, int], **fields: int) -> list[int]:
    blocks = tuple((1 + left * MSS, 1 + right * MSS) for left, right in received)
    script.inject("A", ack=1 + upto * MSS, sack=blocks or None, **fields)
    return numbers(script)


# --- Detection (section 6.2) -----------------------------------


def test_three_sacked_segments_need_no_waiting() -> None:
    script = start()
    write(script, 10)
    script.elapse(RTT)
    assert numbers(script) == list(range(10))
    assert ack(script, 0, (1, 2)) == []
    assert ack(script, 0, (1, 3)) == []
    assert ack(script, 0, (1, 4)) == [0]


def test_three_small_segments_too() -> None:
    """Step 4 counts segments, not bytes."""
    script = start(nagle=False)
    for _ in range(6):
        script.write(100)
    script.elapse(RTT)
    script.fresh()
    for n in range(2, 5):
        script.inject("A", ack=1, sack=((101, 1 + 100 * n),))
    script.expect("A", seq=1, length=100)


def test_fewer_wait_for_the_reordering_window() -> None:
    """A quarter of the minimum RTT after the SACK; then the timer finds the loss."""
    script = start()
    write(script, 2)
    script.elapse(RTT)
    script.fresh()
    ack(script, 0, (1, 2))
    sacked_at = script.now
    script.elapse(24.999)
    script.quiet()
    script.elapse(0.001)
    script.expect("A", at=sacked_at + 25 * MS, seq=1, length=MSS)
    assert script.tcp.sender.recovery.ca_state == RECOVERY


def test_example_1_losses_at_the_tail() -> None:
    """Section 9.1: P1 and P3 of three are lost; R1 after the SACK of P2, R3 after the ACK of R1."""
    script = start()
    write(script, 3, apart_ms=30)
    script.fresh()
    script.elapse(40)
    # P2 was sent 30 ms after P1, more than the reordering window.
    assert ack(script, 0, (1, 2)) == [0]
    script.elapse(RTT)
    assert ack(script, 2) == [2]
    script.elapse(RTT)
    assert ack(script, 3) == []
    assert script.tcp.sender.recovery.ca_state == OPEN
    assert script.count("TcpExtTCPTimeouts") == 0


@pytest.mark.parametrize("timestamps", [True, False])
def test_example_2_a_lost_retransmission(timestamps: bool) -> None:
    """Section 9.1: P1 and P2 are lost, and R1 again: the SACK of R2 shows it."""
    script = start(timestamps)
    write(script, 8, apart_ms=10)
    script.elapse(80)
    script.fresh()
    # PRR sends one for each that arrived.
    sent = ack(script, 0, (2, 6))
    script.elapse(10)
    sent += ack(script, 0, (2, 7))
    script.elapse(10)
    sent += ack(script, 0, (2, 8))
    assert sent == [0, 1]
    script.elapse(RTT)
    assert ack(script, 0, (1, 8)) == [0]
    assert script.count("TcpExtTCPTimeouts") == 0


def test_reordering_is_noticed() -> None:
    """Step 3: once a late original arrived, three SACKs are no proof, time is."""
    script = start()
    write(script, 10)
    script.elapse(RTT)
    script.fresh()
    ack(script, 0, (1, 2))
    assert not script.tcp.sender.recovery.rack.reordering_seen  # type: ignore[union-attr]
    ack(script, 2)
    rack = script.tcp.sender.recovery.rack
    assert rack is not None
    assert rack.reordering_seen
    for right in range(4, 9):
        assert ack(script, 2, (3, right)) == []
    ack(script, 8)
    assert script.tcp.sender.recovery.ca_state == OPEN
    assert script.count("TcpRetransSegs") == 0


def test_blocks_of_a_lost_ack_are_no_reordering() -> None:
    """Step 3 goes by sequence, whatever the order of the SACK blocks."""
    script = start()
    write(script, 10)
    script.elapse(RTT)
    script.fresh()
    # The ACK that reported segment 2 first was lost.
    ack(script, 0, (4, 5), (2, 3))
    rack = script.tcp.sender.recovery.rack
    assert rack is not None
    assert not rack.reordering_seen


def test_a_retransmission_is_no_reordering() -> None:
    script = start()
    write(script, 10)
    script.elapse(RTT)
    script.fresh()
    for right in range(2, 5):
        ack(script, 0, (1, right))
    script.elapse(RTT)
    ack(script, 10)
    rack = script.tcp.sender.recovery.rack
    assert rack is not None
    assert not rack.reordering_seen


def test_rtt_of_a_late_arrival_makes_patient() -> None:
    """Step 2: RACK.rtt is the sample of the latest ACK, though a later sent segment came before."""
    board = Scoreboard()
    rack = Rack(board)
    records = [Sent(1 + n, 2 + n, 10 * n, 1 + n, False) for n in range(3)]
    rack.on_delivered(records[2], 100, 50, False)
    assert rack.rtt == 80
    rack.on_delivered(records[0], 130, 50, False)
    assert rack.rtt == 130
    assert rack.order == 3
    # Of one ACK the newest counts.
    rack.on_delivered(records[0], 200, 50, False)
    rack.on_delivered(records[1], 200, 50, False)
    assert rack.rtt == 190


@pytest.mark.parametrize("older", [True, False])
def test_ack_of_the_original_says_nothing_of_the_retransmission(older: bool) -> None:
    """Step 2: told by the timestamp, or by an RTT shorter than any."""
    rack = Rack(Scoreboard())
    record = Sent(1, 2, 0, 1, False)
    record.retransmissions = 1
    record.sent_at, record.order = 100, 7
    rack.on_delivered(record, 160 if older else 120, 50, older)
    assert rack.order == 0
    rack.on_delivered(record, 160, 50, False)
    assert rack.order == 7
    assert rack.rtt == 60


def test_retransmission_at_the_instant_of_new_data() -> None:
    """What was sent before it in the same nanosecond does not show that it is lost."""
    script = start()
    write(script, 30)
    script.elapse(RTT)
    assert numbers(script) == list(range(20))
    assert ack(script, 0, (1, 2)) == [20]
    assert ack(script, 0, (1, 3)) == [21]
    assert ack(script, 0, (1, 4)) == [0]
    for right in range(5, 20):
        ack(script, 0, (1, right))
    script.elapse(RTT)
    ack(script, 0, (1, 21))
    ack(script, 0, (1, 22))
    assert script.count("TcpRetransSegs") == 1


# --- The reordering window (section 6.2 step 4) -----------------------------------


def test_window() -> None:
    rack = Rack(Scoreboard())
    assert rack.window(False, 100, 80) == 20
    assert rack.window(True, 100, 80) == 0
    rack.reordering_seen = True
    assert rack.window(True, 100, 80) == 20
    rack.reo_wnd_mult = 4
    assert rack.window(True, 100, 80) == 80
    rack.reo_wnd_mult = 40
    assert rack.window(True, 100, 80) == 100


def test_window_widens_once_a_round_trip_with_dsack() -> None:
    rack = Rack(Scoreboard())
    rack.on_dsack(1000, 5000)
    rack.on_dsack(4999, 8000)
    assert rack.reo_wnd_mult == 2
    rack.on_dsack(5000, 9000)
    assert rack.reo_wnd_mult == 3


def test_window_shrinks_after_16_recoveries_without_dsack() -> None:
    rack = Rack(Scoreboard())
    rack.on_dsack(1000, 5000)
    rack.on_dsack(5000, 9000)
    for _ in range(15):
        rack.on_recovery_over()
    assert rack.reo_wnd_mult == 3
    rack.on_dsack(9000, 9500)
    for _ in range(15):
        rack.on_recovery_over()
    assert rack.reo_wnd_mult == 4
    rack.on_recovery_over()
    assert rack.reo_wnd_mult == 1


def test_dsack_adapts_the_window_end_to_end() -> None:
    """A path that holds every fifth packet back for half a round trip: spurious recoveries become rare."""
    count = 0

    def hook(direction: str, packet: Packet, _: int) -> list[tuple[int, Packet]]:
        nonlocal count
        late = 0
        if isinstance(packet, Segment) and packet.length:
            count += 1
            late = 45 * MS if count % 5 == 0 else 0
        return [(late, packet)]

    pair = Pair(TcpConfig(), TcpConfig(ack_every=1), hook=hook)
    client, server = pair.establish()
    server.eager = True
    for _ in range(60):
        client.write(20 * 1448, pair.now)
        pair.run(pair.now + 500 * MS)
    resent = [when for when, segment in pair.segments("c>s") if segment.length]
    rack = client.subflows[0].sender.recovery.rack
    assert rack is not None
    assert rack.reordering_seen
    assert rack.reo_wnd_mult > 1
    assert pair.client.counters["TcpExtTCPDSACKRecv"] > 0
    assert server.delivered == 60 * 20 * 1448
    extra = len(resent) - 60 * 20
    assert 0 < extra < 60


# --- Time-out (section 6.3) -----------------------------------


def test_time_out_marks_the_first_and_what_is_overdue() -> None:
    script = start(rto_min=200 * MS)
    write(script, 1)
    script.elapse(RTT)
    script.inject("A", ack=1 + MSS)
    script.fresh()
    write(script, 3)
    sender = script.tcp.sender
    sender.recovery.tlp_at = NEVER  # a probe would put the time-out off
    script.run(sender.rto_at - 50 * MS)
    sender.recovery.tlp_sampled = False
    write(script, 2)
    script.run(sender.rto_at)
    assert sender.recovery.ca_state == LOSS
    lost = [record.lost for record in sender.board.records[sender.board.head :]]
    assert lost == [True, True, True, False, False]


# --- Loss probes (section 7) -----------------------------------


def test_probe_after_two_round_trips() -> None:
    """No new data: the last segment again; its SACK repairs the rest without a time-out."""
    script = start(rto_min=SECOND)
    write(script, 5)
    begin = script.now
    assert numbers(script) == [0, 1, 2, 3, 4]
    script.elapse(3 * RTT)
    script.expect("A", at=begin + 2 * RTT * MS, seq=1 + 4 * MSS, length=MSS)
    script.quiet()
    assert ack(script, 0, (4, 5)) == [0]
    script.elapse(1)
    assert script.count("TcpExtTCPTimeouts") == 0
    assert script.count("TcpExtTCPLossProbes") == 1


def test_probe_of_a_single_segment_allows_for_a_delayed_ack() -> None:
    script = start(rto_min=SECOND)
    write(script, 1)
    begin = script.now
    script.fresh()
    script.elapse(900)
    script.expect("A", at=begin + (2 * RTT + 200) * MS, seq=1, length=MSS)


def test_probe_at_the_time_of_the_time_out() -> None:
    """Section 7.2: an RTO that would come first becomes the time of the probe."""
    script = start(rto_min=200 * MS)
    write(script, 1)
    begin = script.now
    script.fresh()
    assert script.tcp.sender.rtt.rto == 300 * MS
    script.run(begin + 300 * MS)
    script.expect("A", at=begin + 300 * MS, seq=1, length=MSS)
    assert script.count("TcpExtTCPTimeouts") == 0
    script.run(begin + 600 * MS)
    script.expect("A", at=begin + 600 * MS, seq=1, length=MSS)
    assert script.count("TcpExtTCPTimeouts") == 1


def test_probe_without_a_round_trip_time() -> None:
    """1 s, or the RTO: after a lost SYN there is no sample."""
    script = Script()
    script.connect()
    script.elapse(1_000)
    script.fresh()
    script.inject("SA", mss=MSS, ts_val=UNKNOWN)
    script.fresh()
    begin = script.now
    write(script, 3)
    script.fresh()
    assert script.tcp.sender.rtt.srtt == 0
    script.elapse(1_500)
    script.expect("A", at=begin + SECOND, seq=1 + 2 * MSS)


def test_probe_takes_new_data_first() -> None:
    """Beyond the congestion window by one segment."""
    script = start(rto_min=SECOND, initial_window_segments=4)
    write(script, 10)
    assert numbers(script) == [0, 1, 2, 3]
    script.elapse(2 * RTT)
    assert numbers(script) == [4]
    assert script.tcp.sender.nxt - script.tcp.sender.una == 5 * MSS
    assert script.tcp.sender.recovery.ca_state == OPEN


def test_probe_respects_the_receive_window() -> None:
    script = start(rto_min=SECOND)
    script.inject("A", window=4 * MSS)
    write(script, 10)
    assert numbers(script) == [0, 1, 2, 3]
    script.elapse(2 * RTT)
    assert numbers(script) == [3]


def test_no_second_probe_in_a_row() -> None:
    """One probe at a time, then the time-out."""
    script = start(rto_min=SECOND)
    write(script, 3)
    begin = script.now
    script.fresh()
    script.run(begin + 3 * SECOND)
    sent = [((when - begin) // MS, (segment.seq - 1) // MSS) for when, segment in script.fresh()]
    assert sent[0] == (200, 2)
    assert sent[1] == (1200, 0)
    assert script.count("TcpExtTCPLossProbes") == 1


def test_no_probe_while_something_is_sacked() -> None:
    script = start(rto_min=SECOND)
    write(script, 3)
    script.fresh()
    ack(script, 0, (2, 3))
    assert script.tcp.sender.recovery.tlp_at == NEVER


def test_spurious_probe_costs_nothing() -> None:
    """Section 7.4.2, case 1: a D-SACK says that both copies arrived."""
    script = start(rto_min=SECOND)
    write(script, 3)
    script.elapse(2 * RTT)
    assert numbers(script) == [0, 1, 2, 2]
    cwnd = script.tcp.sender.congestion.cwnd
    ack(script, 3)
    script.inject("A", ack=1 + 3 * MSS, sack=((1 + 2 * MSS, 1 + 3 * MSS),))
    assert script.tcp.sender.recovery.tlp_end == -1
    write(script, 1)
    ack(script, 4)
    assert script.tcp.sender.congestion.cwnd >= cwnd
    assert script.count("TcpExtTCPLossProbeRecovery") == 0


def test_spurious_probe_without_dsack() -> None:
    """Case 2: a duplicate ACK without SACK."""
    script = start(rto_min=SECOND)
    write(script, 3)
    script.elapse(2 * RTT)
    script.fresh()
    ack(script, 3)
    ack(script, 3)
    assert script.tcp.sender.recovery.tlp_end == -1
    assert script.count("TcpExtTCPLossProbeRecovery") == 0


def test_a_dsack_of_something_else_is_no_proof() -> None:
    """The D-SACK has to match the probe."""
    script = start(rto_min=SECOND)
    write(script, 3)
    script.elapse(2 * RTT)
    script.fresh()
    ack(script, 3)
    script.inject("A", ack=1 + 3 * MSS, sack=((1, 1 + MSS),))
    assert script.tcp.sender.recovery.tlp_end == 1 + 3 * MSS


def test_repaired_loss_reduces_the_window() -> None:
    """The probe's ACK acknowledges it and no duplicate is reported: a loss, and a sign of congestion."""
    script = start(rto_min=SECOND)
    write(script, 12)
    script.elapse(2 * RTT)
    script.fresh()
    ack(script, 12)
    assert script.tcp.sender.recovery.tlp_end == 1 + 12 * MSS
    write(script, 4)
    script.fresh()
    script.elapse(RTT)
    ack(script, 13)
    assert script.tcp.sender.recovery.tlp_end == -1
    assert script.count("TcpExtTCPLossProbeRecovery") == 1
    assert script.tcp.sender.congestion.cwnd == 2 * MSS  # half of 4 segments in flight


def test_repaired_loss_never_opens_the_window() -> None:
    """A window below the floor of ssthresh grows as in slow start, and not to ssthresh at once."""
    script = start(rto_min=SECOND)
    write(script, 1)
    script.run(script.tcp.sender.recovery.tlp_at)
    assert numbers(script) == [0, 0]
    ack(script, 1)
    write(script, 1)
    script.tcp.sender.congestion.cwnd = MSS // 2
    ack(script, 2)
    assert script.count("TcpExtTCPLossProbeRecovery") == 1
    assert script.tcp.sender.congestion.ssthresh == 2 * MSS
    assert script.tcp.sender.congestion.cwnd == MSS // 2 + MSS


def test_probe_of_new_data_is_no_loss() -> None:
    script = start(rto_min=SECOND, initial_window_segments=4)
    write(script, 10)
    script.elapse(2 * RTT)
    script.fresh()
    ack(script, 5)
    assert script.tcp.sender.recovery.tlp_end == -1
    ack(script, 6)
    assert script.count("TcpExtTCPLossProbeRecovery") == 0


def test_no_probe_without_an_rtt_sample_since_the_last() -> None:
    """Section 7.3, condition 2."""
    script = start(rto_min=SECOND)
    write(script, 3)
    script.elapse(2 * RTT)
    script.fresh()
    sender = script.tcp.sender
    assert sender.recovery.tlp_sampled is False
    # Both copies arrive; the ACK covers a retransmission: no sample without timestamps.
    script.inject("A", ack=1 + 3 * MSS)
    script.inject("A", ack=1 + 3 * MSS)
    write(script, 2)
    assert sender.recovery.tlp_at == NEVER
    ack(script, 5)
    write(script, 2)
    assert sender.recovery.tlp_at < NEVER


@pytest.mark.parametrize("timestamps", [True, False])
def test_tail_loss_end_to_end(timestamps: bool) -> None:
    """The last two segments of a transfer are lost: repaired in a few round trips, not by the RTO."""
    times = {}
    for rack in (True, False):
        config = TcpConfig(rack_tlp=rack, rto_min=SECOND, ack_every=1, timestamps=timestamps)
        pair = Pair(config, config, hook=lose_once({48, 49}))
        client, server = pair.establish()
        server.eager = True
        total = 50 * client.subflows[0].sender.mss
        begin = pair.now
        client.write(total, begin)
        while client.acked < total:
            assert pair.step()
        times[rack] = pair.now - begin
        assert (pair.client.counters["TcpExtTCPTimeouts"] == 0) is rack
    assert times[True] < times[False] - 500 * MS


def lose_once(lost: set[int]) -> Hook:
    """Return a hook that loses the first transmission of some segments of the client."""
    left = set(lost)

    def hook(direction: str, packet: Packet, _: int) -> list[Packet]:
        if isinstance(packet, Segment) and packet.length and direction == "c>s":
            number = (packet.seq - 1) // packet.length
            if number in left:
                left.remove(number)
                return []
        return [packet]

    return hook
