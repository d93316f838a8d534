"""Explicit congestion notification (RFC 3168 section 6.1)."""

from __future__ import annotations

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import CE, CWR, ECE, ECT0, NOT_ECT, Packet, Segment
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.tcp.pair import Pair
from tests.core.tcp.script import Script

MS = MILLISECOND
MSS = 1000


def server(**config: object) -> Script:
    """Return a script whose stack has accepted a connection with ECN."""
    script = Script(TcpConfig(ecn=True, ack_every=1, **config))  # type: ignore[arg-type]
    script.listen()
    script.inject("SEW", ts_val=UNKNOWN)
    script.expect("SAE", ecn=NOT_ECT)
    script.inject("A")
    return script


def sender(window: int = 20, **config: object) -> Script:
    """Return a script whose stack has connected with ECN, an RTT of 100 ms and segments of 1000 bytes."""
    values = {"congestion": "reno", "initial_window_segments": window, "ecn": True, **config}
    script = Script(TcpConfig(**values))  # type: ignore[arg-type]
    script.connect()
    script.expect("SEW", ecn=NOT_ECT)
    script.elapse(100)
    script.inject("SAE", mss=MSS, ts_val=UNKNOWN)
    script.expect("A", ecn=NOT_ECT)
    return script


# --- Negotiation (section 6.1.1) ------------------------------


@pytest.mark.parametrize("mine", [True, False])
@pytest.mark.parametrize("theirs", [True, False])
def test_negotiation(mine: bool, theirs: bool) -> None:
    pair = Pair(TcpConfig(ecn=mine), TcpConfig(ecn=theirs))
    client, accepted = pair.establish()
    syn, answer = pair.wire[0][2], pair.wire[1][2]
    assert isinstance(syn, Segment)
    assert isinstance(answer, Segment)
    assert syn.flags & (ECE | CWR) == (ECE | CWR if mine else 0)
    assert answer.flags & (ECE | CWR) == (ECE if mine and theirs else 0)
    client.write(5000, pair.now)
    accepted.write(5000, pair.now)
    pair.run(pair.now + SECOND)
    for way in ("c>s", "s>c"):
        marks = {segment.ecn for _, segment in pair.segments(way) if segment.length}
        assert marks == {ECT0 if mine and theirs else NOT_ECT}
        assert {segment.ecn for _, segment in pair.segments(way) if not segment.length} == {NOT_ECT}


def test_syn_ack_that_reflects_the_syn_is_no_agreement() -> None:
    """Both flags on a SYN,ACK: a broken host that copies the reserved bits."""
    script = Script(TcpConfig(ecn=True))
    script.connect()
    script.expect("SEW")
    script.inject("SAEW")
    script.expect("A")
    script.write(10)
    script.expect("A", length=10, ecn=NOT_ECT)


def test_syn_with_one_flag_is_no_offer() -> None:
    for letters in ("SE", "SW"):
        script = Script(TcpConfig(ecn=True))
        script.listen()
        script.inject(letters)
        script.expect("SA")


# --- The receiver (section 6.1.3) ------------------------------


def test_echo_until_cwr() -> None:
    script = server()
    script.inject(length=100)
    script.expect("A")
    script.inject(length=100, ecn=CE)
    script.expect("AE")
    script.inject(length=100)
    script.expect("AE")
    script.write(10)
    script.expect("AE", length=10)
    script.inject("AW", length=100)
    script.expect("A")


def test_mark_on_the_segment_with_cwr_counts() -> None:
    script = server()
    script.inject(length=100, ecn=CE)
    script.expect("AE")
    script.inject("AW", length=100, ecn=CE)
    script.expect("AE")


def test_no_echo_without_agreement() -> None:
    script = Script.accepted(TcpConfig(ack_every=1))
    script.inject(length=100, ecn=CE)
    script.expect("A")


# --- The sender (section 6.1.2) ------------------------------


def test_echo_halves_the_window_and_is_answered_with_cwr() -> None:
    script = sender()
    script.write(100 * MSS)
    first = script.fresh()
    assert {segment.flags & CWR for _, segment in first} == {0}
    script.elapse(100)
    script.inject("AE", ack=1 + MSS)
    congestion = script.tcp.sender.congestion
    assert congestion.ssthresh == congestion.cwnd == 10 * MSS
    script.quiet()
    script.inject("A", ack=1 + 11 * MSS)
    script.expect("AW", seq=1 + 20 * MSS, length=MSS)
    rest = script.fresh()
    assert rest == [] or {segment.flags & CWR for _, segment in rest} == {0}
    assert script.count("TcpExtTCPECNReduction") == 1


def test_once_a_window_of_data() -> None:
    script = sender()
    script.write(100 * MSS)
    script.fresh()
    script.elapse(100)
    for n in range(1, 20):
        script.inject("AE", ack=1 + n * MSS)
    assert script.tcp.sender.congestion.ssthresh == 10 * MSS
    # All that was out at the reduction is acknowledged: the next echo is of a new window.
    script.inject("A", ack=1 + 20 * MSS)
    script.elapse(100)
    script.inject("AE", ack=1 + 21 * MSS)
    assert script.tcp.sender.congestion.ssthresh == 5 * MSS
    assert script.count("TcpExtTCPECNReduction") == 2


def test_no_growth_on_an_echo() -> None:
    """Section 6.1.2: cwnd does not increase in response to an ECN-Echo ACK."""
    script = sender()
    script.write(100 * MSS)
    script.fresh()
    script.elapse(100)
    script.inject("AE", ack=1 + MSS)
    script.tcp.sender.congestion.ssthresh = 1 << 40  # as in slow start
    for n in range(2, 15):
        script.inject("AE", ack=1 + n * MSS)
        assert script.tcp.sender.congestion.cwnd == 10 * MSS
    script.inject("A", ack=1 + 15 * MSS)
    assert script.tcp.sender.congestion.cwnd == 11 * MSS


def test_echo_never_opens_the_window() -> None:
    """Down to one segment, though ssthresh is two at least (RFC 9438 section 4.6)."""
    script = sender(window=2)
    script.write(100 * MSS)
    script.fresh()
    script.elapse(100)
    script.inject("AE", ack=1 + MSS)
    congestion = script.tcp.sender.congestion
    assert congestion.cwnd == MSS
    assert congestion.ssthresh == 2 * MSS


def test_cwr_after_a_fast_retransmit() -> None:
    """Whatever reduces the window is announced; echoes of the same window reduce nothing more."""
    script = sender()
    script.write(100 * MSS)
    script.fresh()
    script.elapse(100)
    for right in range(2, 6):
        script.inject("AE", ack=1, sack=((1 + MSS, 1 + right * MSS),))
    ssthresh = script.tcp.sender.congestion.ssthresh
    sent = [segment for _, segment in script.fresh()]
    assert [segment.seq for segment in sent if segment.seq == 1] == [1]
    for right in range(6, 20):
        script.inject("AE", ack=1, sack=((1 + MSS, 1 + right * MSS),))
    sent += [segment for _, segment in script.fresh()]
    new = [segment for segment in sent if segment.seq > 20 * MSS]
    assert [bool(segment.flags & CWR) for segment in new].count(True) == 1
    assert script.tcp.sender.congestion.ssthresh == ssthresh


def test_an_echo_right_before_a_loss_is_one_reduction() -> None:
    """Drops and marks of one window of data count once."""
    script = sender()
    script.write(100 * MSS)
    script.fresh()
    script.elapse(100)
    for right in range(2, 6):
        script.inject("A", ack=1, sack=((1 + MSS, 1 + right * MSS),))
    ssthresh = script.tcp.sender.congestion.ssthresh
    nxt = script.tcp.sender.nxt
    script.fresh()
    script.elapse(100)
    script.inject("AE", ack=nxt)
    assert script.tcp.sender.recovery.ca_state == 0
    assert script.tcp.sender.congestion.ssthresh == ssthresh
    assert script.count("TcpExtTCPECNReduction") == 0


def test_cwr_after_a_time_out() -> None:
    script = sender(rack_tlp=False)
    script.write(3 * MSS)
    script.fresh()
    script.run(script.tcp.sender.rto_at)
    resent = script.expect("A", seq=1)
    assert resent.ecn == NOT_ECT
    script.inject("A", ack=1 + 3 * MSS)
    script.write(MSS)
    script.expect("AW", seq=1 + 3 * MSS)


# --- What is not ECN-capable (section 6.1.5, 6.1.6) ------------------------------


def test_retransmissions_acks_and_probes_are_not_ect() -> None:
    script = sender(rto_min=SECOND, rack_tlp=False)
    script.write(MSS)
    script.expect("A", ecn=ECT0)
    script.elapse(1_000)
    script.expect("A", seq=1, ecn=NOT_ECT)
    script.window = 0
    script.inject("A", ack=1 + MSS)
    script.write(10)
    script.run(script.tcp.sender.window_probe.at)
    script.expect("A", seq=1 + MSS, length=1, ecn=NOT_ECT)
    script.inject("A", ack=1 + MSS, length=10)
    script.elapse(40)
    script.expect("A", length=0, ecn=NOT_ECT)
    script.close()
    script.inject("A", ack=1 + MSS, window=5000)
    script.expect("FAW", ecn=ECT0, length=10)


# --- End to end ------------------------------


@pytest.mark.parametrize("congestion", ["reno", "cubic"])
def test_marks_instead_of_losses(congestion: str) -> None:
    """A path that marks every hundredth packet: many reductions, not one retransmission."""
    count = 0

    def hook(_: str, packet: Packet, __: int) -> list[Packet]:
        nonlocal count
        if packet.ecn != ECT0:
            return [packet]
        count += 1
        if count % 100:
            return [packet]
        marked = packet.clone()
        marked.ecn = CE
        return [marked]

    config = TcpConfig(ecn=True, congestion=congestion)
    pair = Pair(config, config, hook=hook)
    client, accepted = pair.establish()
    accepted.eager = True
    client.write(4_000_000, pair.now)
    pair.run(pair.now + 60 * SECOND)
    assert accepted.delivered == 4_000_000
    reductions = pair.client.counters["TcpExtTCPECNReduction"]
    assert 15 < reductions <= count // 100
    assert pair.client.counters["TcpRetransSegs"] == 0
    cwr = sum(1 for _, segment in pair.segments("c>s") if segment.flags & CWR and segment.length)
    assert cwr == reductions
