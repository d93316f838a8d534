"""Congestion control: Reno (RFC 5681), CUBIC (RFC 9438), and the contract of every plug-in."""

from __future__ import annotations

import random
from math import cbrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim import plugins
from mptcpsim.congestion.cubic import Cubic
from mptcpsim.congestion.reno import Reno
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import Packet, Segment
from mptcpsim.plugins import CongestionControl, Parameter, PluginError
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.tcp.pair import Pair
from tests.profiles import examples

MS = MILLISECOND
MSS = 1448
RTT = 100 * MS

FAMILY = plugins.families()["congestion"]


def make(name: str, window: int = 10, ssthresh: int = 1 << 50, **parameters: Any) -> CongestionControl:
    cls = plugins.find("congestion", name)
    control = cls()
    assert isinstance(control, CongestionControl)
    control.configure(plugins.complete(cls, parameters))
    control.start(MSS, window * MSS, ssthresh, 0)
    return control


def cubic(window: int, ssthresh: int = 0, **parameters: Any) -> Cubic:
    control = make("cubic", window, ssthresh or MSS, **parameters)
    assert isinstance(control, Cubic)
    return control


# --- Reno ------------------------------


def test_reno_slow_start() -> None:
    """RFC 5681 equation (2): min(N, SMSS) for each ACK."""
    control = make("reno")
    control.on_ack(MSS, 0, RTT, 10 * MSS)
    assert control.cwnd == 11 * MSS
    control.on_ack(5 * MSS, 0, RTT, 10 * MSS)
    assert control.cwnd == 12 * MSS
    control.on_ack(100, 0, RTT, 10 * MSS)
    assert control.cwnd == 12 * MSS + 100


def test_reno_one_segment_a_round_trip() -> None:
    control = make("reno", 20, MSS)
    for count in range(20, 60):
        assert control.cwnd == count * MSS
        for _ in range(count):
            control.on_ack(MSS, 0, RTT, control.cwnd)
    control = make("reno", 20, MSS)
    for _ in range(10):
        control.on_ack(2 * MSS, 0, RTT, control.cwnd)
    assert control.cwnd == 21 * MSS


def test_reno_halves() -> None:
    """Equation (4)."""
    control = make("reno", 20)
    assert control.ssthresh_after_loss(20 * MSS, 0) == 10 * MSS
    assert control.ssthresh_after_loss(3 * MSS, 0) == 2 * MSS
    assert control.ssthresh_after_loss(0, 0) == 2 * MSS


@pytest.mark.parametrize("limit", [1, 2, 8])
def test_reno_byte_counting(limit: int) -> None:
    control = make("reno", abc_limit=limit)
    control.on_ack(4 * MSS, 0, RTT, 10 * MSS)
    assert control.cwnd == (10 + min(4, limit)) * MSS


# --- CUBIC ------------------------------


def lose(control: Cubic, now: int = 0) -> None:
    """Let a loss happen at the full window, and the recovery be over."""
    control.ssthresh = control.ssthresh_after_loss(control.cwnd, now)
    control.cwnd = control.ssthresh
    control.on_recovered(now)


def test_cubic_decrease() -> None:
    """Section 4.6: ssthresh = flight size * 0.7, two segments at least; W_max is the window."""
    control = cubic(100)
    lose(control)
    assert control.ssthresh == int(100 * MSS * 0.7)
    assert control.w_max == 100
    assert control.ssthresh_after_loss(MSS, 0) == 2 * MSS


def grow(control: Cubic, start: int, seconds: float, rtt: int = RTT) -> list[tuple[float, float]]:
    """Acknowledge a window a round trip; return (seconds, window in segments) after each ACK."""
    seen = []
    now = start
    end = start + round(seconds * 1e9)
    while now < end:
        window = max(1, control.cwnd // MSS)
        for n in range(window):
            at = now + n * rtt // window
            control.on_ack(MSS, at, rtt, control.cwnd)
            seen.append(((at - start) / 1e9, control.cwnd / MSS))
        now += rtt
    return seen


def test_cubic_follows_its_curve() -> None:
    """Figures 1 and 2: W(t) = C (t - K)^3 + W_max, K = cbrt((W_max - cwnd_epoch) / C)."""
    w_max = 500
    control = cubic(w_max)
    lose(control)
    assert grow(control, 0, 0.05)
    k = cbrt((w_max - control.ssthresh / MSS) / 0.4)
    assert control.k == pytest.approx(k, rel=1e-3)
    for t, window in grow(control, 50 * MS, 1.6 * k):
        expected = 0.4 * (t + 0.05 - k) ** 3 + w_max
        # The window after an ACK lags by up to a round trip: the curve is aimed at one ahead.
        assert window == pytest.approx(expected, rel=0.01)


def test_cubic_plateau_is_at_w_max() -> None:
    control = cubic(1000)
    lose(control)
    k = cbrt(300 / 0.4)
    windows = dict(grow(control, 0, 2 * k))
    middle = [window for t, window in windows.items() if 0.9 * k < t < 1.1 * k]
    assert max(middle) - min(middle) < 0.02 * 1000
    assert max(windows.values()) > 1250


def test_cubic_growth_is_bounded() -> None:
    """Section 4.2: the target is 1.5 cwnd at most, cwnd at least, in each round trip."""
    control = cubic(10, c=1000.0)
    control.on_ack(MSS, 0, RTT, control.cwnd)
    now = 0
    for _ in range(30):
        before = control.cwnd
        now += RTT
        window = before // MSS
        for _ in range(window):
            control.on_ack(MSS, now, RTT, before)
            assert control.cwnd >= before
        # Each of the window's ACKs adds (target - cwnd) / cwnd <= 0.5 segments.
        assert control.cwnd <= before + 0.5 * window * MSS + MSS


def test_cubic_one_ack_of_two_windows() -> None:
    """However much one ACK acknowledges, the window does not pass the target."""
    control = cubic(10)
    control.on_ack(MSS, 0, RTT, control.cwnd)
    before = control.cwnd
    control.on_ack(20 * MSS, 10 * SECOND, 5 * SECOND, before)
    assert control.cwnd <= 1.5 * before + MSS // 10


def test_cubic_reno_friendly_region() -> None:
    """Section 4.3: with a short RTT W_est is the larger one; 0.53 segments a round trip, then one."""
    control = cubic(40)
    lose(control)
    rtt = 5 * MS
    prior, window = 40, control.cwnd / MSS
    alpha = 3 * 0.3 / 1.7
    estimate = window
    now = 0
    control.on_ack(MSS, now, rtt, control.cwnd)
    estimate += alpha / window
    for _ in range(3000):
        now += rtt // max(1, control.cwnd // MSS)
        slope = 1.0 if estimate >= prior else alpha
        estimate += slope / (control.cwnd / MSS)
        control.on_ack(MSS, now, rtt, control.cwnd)
        assert control.w_est == pytest.approx(estimate, rel=0.01)
        assert control.cwnd / MSS >= estimate - 1.001
    assert control.cwnd / MSS == pytest.approx(estimate, rel=0.02)


def test_cubic_fast_convergence() -> None:
    """Section 4.7: a loss below W_max lowers W_max to cwnd (1 + beta) / 2."""
    control = cubic(100)
    lose(control)
    control.cwnd = 80 * MSS
    lose(control)
    assert control.w_max == pytest.approx(80 * 1.7 / 2)
    control = cubic(100, fast_convergence=False)
    lose(control)
    control.cwnd = 80 * MSS
    lose(control)
    assert control.w_max == 80


def test_cubic_after_a_time_out() -> None:
    """Section 4.8: K = 0, W_max is the window where congestion avoidance begins."""
    control = cubic(100)
    control.ssthresh = control.ssthresh_after_loss(100 * MSS, 0)
    control.cwnd = MSS
    control.on_timeout(0)
    while control.cwnd < control.ssthresh:
        control.on_ack(MSS, SECOND, RTT, control.cwnd)
    begin = control.cwnd / MSS
    control.on_ack(MSS, 2 * SECOND, RTT, control.cwnd)
    assert control.k == 0
    assert control.w_max == pytest.approx(begin)


def test_cubic_slow_start() -> None:
    control = make("cubic")
    control.on_ack(MSS, 0, RTT, 10 * MSS)
    control.on_ack(3 * MSS, 0, RTT, 10 * MSS)
    assert control.cwnd == 12 * MSS


def test_cubic_time_stands_still_while_the_application_limits() -> None:
    """Section 4.2: t MUST NOT include periods in which cwnd was not updated for lack of data."""
    busy, idle = cubic(1000), cubic(1000)
    for control in (busy, idle):
        lose(control)
        grow(control, 0, 2)
        assert control.cwnd < 1000 * MSS
    grow(busy, 2 * SECOND, 1)
    grow(idle, 302 * SECOND, 1)
    assert idle.cwnd == pytest.approx(busy.cwnd, rel=0.02)


@pytest.mark.parametrize(
    ("p", "rtt_ms", "window"),
    [(1e-3, 100, 38), (1e-4, 100, 187), (1e-4, 10, 120)],
)
def test_cubic_average_window(p: float, rtt_ms: int, window: int) -> None:
    """RFC 9438 table 1: one loss every 1 / p segments, C = 0.4; the control alone, no network."""
    control = cubic(window)
    rtt = rtt_ms * MS
    now, since, total, rounds = 0, 0, 0.0, 0
    period = round(1 / p)
    losses = 0
    while losses < 25:
        count = control.cwnd // MSS
        for n in range(count):
            since += 1
            if since == period:
                since = 0
                losses += 1
                lose(control, now)
                break
            control.on_ack(MSS, now + n * rtt // count, rtt, control.cwnd)
        now += rtt
        if losses >= 5:
            total += count
            rounds += 1
    assert total / rounds == pytest.approx(window, rel=0.1)


# --- The contract ------------------------------

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("ack"), st.integers(1, 100_000), st.integers(1, 2_000)),
        st.tuples(st.just("loss"), st.integers(0, 10_000_000), st.integers(1, 2_000)),
        st.tuples(st.just("timeout"), st.integers(0, 10_000_000), st.integers(1, 2_000)),
        st.tuples(st.just("mss"), st.integers(88, 9_000), st.integers(1, 2_000)),
    ),
    max_size=80,
)


def replay(control: CongestionControl, events: list[tuple[str, int, int]]) -> list[tuple[int, int]]:
    """Do what a sender does with a congestion control; return (cwnd, ssthresh) after each event."""
    now = 0
    seen = []
    for what, amount, wait in events:
        now += wait * MS
        if what == "ack":
            control.on_ack(amount, now, RTT, control.cwnd)
        elif what == "mss":
            control.on_mss(amount)
        else:
            control.ssthresh = control.ssthresh_after_loss(amount, now)
            if what == "loss":
                control.cwnd = control.ssthresh
                control.on_recovered(now)
            else:
                control.cwnd = control.mss
                control.on_timeout(now)
        seen.append((control.cwnd, control.ssthresh))
    return seen


@pytest.mark.parametrize("name", sorted(FAMILY))
class TestContract:
    """What the sender relies on, for every registered congestion control."""

    @examples(60)
    @given(events=EVENTS)
    def test_windows_stay_sane(self, name: str, events: list[tuple[str, int, int]]) -> None:
        control = make(name)
        mss = MSS
        for (what, amount, _), (cwnd, ssthresh) in zip(events, replay(control, events), strict=True):
            mss = amount if what == "mss" else mss
            assert type(cwnd) is int
            assert type(ssthresh) is int
            assert cwnd > 0
            if what in ("loss", "timeout"):
                assert ssthresh >= 2 * mss
            if what == "mss":
                assert cwnd >= mss

    @examples(30)
    @given(events=EVENTS)
    def test_deterministic(self, name: str, events: list[tuple[str, int, int]]) -> None:
        assert replay(make(name), events) == replay(make(name), events)

    @examples(30)
    @given(acked=st.integers(1, 1_000_000), window=st.integers(1, 1_000))
    def test_an_ack_never_shrinks_the_window(self, name: str, acked: int, window: int) -> None:
        for ssthresh in (MSS, 1 << 50):
            control = make(name, window, ssthresh)
            before = control.cwnd
            control.on_ack(acked, SECOND, RTT, before)
            assert control.cwnd >= before
            # Slow start at most: by what was acknowledged.
            assert control.cwnd <= before + acked

    def test_describes_itself(self, name: str) -> None:
        cls = FAMILY[name]
        assert name == cls.NAME
        assert cls.SUMMARY
        for parameter in cls.PARAMETERS:
            assert parameter.help
            with pytest.raises(PluginError):
                plugins.complete(cls, {parameter.name: "nonsense"})

    def test_transfers_over_a_lossy_path(self, name: str) -> None:
        rng = random.Random(3)

        def hook(_: str, packet: Packet, __: int) -> list[Packet]:
            return [] if isinstance(packet, Segment) and rng.random() < 0.02 else [packet]

        config = TcpConfig(congestion=name)
        pair = Pair(config, config, hook=hook)
        client, server = pair.establish()
        server.eager = True
        client.write(1_000_000, pair.now)
        while server.delivered < 1_000_000:
            assert pair.step()
        assert pair.now < 60 * SECOND


def test_a_subclass_of_a_user() -> None:
    """A user's class works like a built-in one: registered under its name, configured, called."""

    class Timid(Reno):
        """Reno that never has more than a few segments in flight."""

        NAME = "timid"
        PARAMETERS = (*Reno.PARAMETERS, Parameter("most", 5, "largest window, segments", 1, 100))

        def __init__(self) -> None:
            super().__init__()
            self.most = 5

        def configure(self, values: dict[str, plugins.Value]) -> None:
            super().configure(values)
            self.most = int(values["most"])

        def on_ack(self, acked: int, now: int, srtt: int, in_flight: int) -> None:
            super().on_ack(acked, now, srtt, in_flight)
            self.cwnd = min(self.cwnd, self.most * self.mss)

    plugins.register(Timid)
    try:
        config = TcpConfig(congestion="timid", congestion_parameters={"most": 7}, initial_window_segments=2)
        pair = Pair(config)
        client, server = pair.establish()
        server.eager = True
        client.write(500 * MSS, pair.now)
        while server.delivered < 500 * MSS:
            assert pair.step()
            sender = client.subflows[0].sender
            assert sender.nxt - sender.una <= 7 * MSS
        assert sender.congestion.cwnd == 7 * MSS
        with pytest.raises(PluginError):
            Pair(TcpConfig(congestion="timid", congestion_parameters={"most": 0})).connect()
    finally:
        del plugins._registry["congestion"]["timid"]


def test_unknown_name() -> None:
    with pytest.raises(PluginError, match="cubic"):
        Pair(TcpConfig(congestion="vegas")).connect()
