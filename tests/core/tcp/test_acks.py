"""When the receiver acknowledges, and what its SACK option says (RFC 9293, 5681, 2018, 2883)."""

from __future__ import annotations

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import MILLISECOND
from tests.core.tcp.script import Script

MS = MILLISECOND


def receiver(timestamps: bool = False, **config: object) -> Script:
    return Script.accepted(TcpConfig(**config), ts_val=1000 if timestamps else UNKNOWN)  # type: ignore[arg-type]


def arrive(script: Script, left: int, right: int) -> None:
    """Let bytes arrive, named as in the RFCs by their position from 0: [left, right)."""
    script.inject("A", seq=1 + left, length=right - left)


def answer(script: Script, ack: int, *blocks: tuple[int, int]) -> None:
    """Check the ACK and its SACK blocks, positions from 0 likewise."""
    shifted = tuple((1 + left, 1 + right) for left, right in blocks)
    script.expect("A", ack=1 + ack, sack=shifted or None)
    script.quiet()


# --- Delayed ACKs (RFC 5681 section 4.2) ------------------------------------------------------------


def test_a_single_segment_is_acknowledged_after_the_delay() -> None:
    script = receiver(delayed_ack=40 * MS)
    script.elapse(1_000)
    script.inject(length=1448)
    script.elapse(39.999)
    script.quiet()
    script.elapse(0.001)
    script.expect("A", at=1_040 * MS, ack=1449)
    script.elapse(1_000)
    script.quiet()


def test_the_delay_counts_from_the_first_unacknowledged_segment() -> None:
    script = receiver(delayed_ack=40 * MS)
    script.inject(length=1448)
    script.elapse(30)
    script.inject(length=100)
    script.elapse(10)
    script.expect("A", at=40 * MS, ack=1549)


def test_every_second_segment_is_acknowledged_at_once() -> None:
    script = receiver()
    for n in range(1, 7):
        script.inject(length=1448)
        if n % 2:
            script.quiet()
        else:
            script.expect("A", ack=1 + n * 1448)


@pytest.mark.parametrize("every", [1, 3, 8])
def test_ack_every(every: int) -> None:
    script = receiver(ack_every=every, delayed_ack=400 * MS)
    for n in range(1, 25):
        script.inject(length=1000)
        if n % every == 0:
            script.expect("A", ack=1 + n * 1000)
        script.quiet()


def test_small_segments_count_by_their_bytes() -> None:
    """Two full-sized segments' worth (RFC 5681 section 4.2), not two segments."""
    script = receiver()
    script.inject(length=1000)
    script.inject(length=1000)
    script.expect("A", ack=2001)
    for _ in range(19):
        script.inject(length=100)
    script.quiet()
    script.inject(length=100)
    script.expect("A", ack=4001)


def test_data_of_our_own_carries_the_ack() -> None:
    script = receiver()
    script.inject(length=1000)
    script.write(10)
    script.expect("A", ack=1001, length=10)
    script.elapse(100)
    script.quiet()


def test_reading_does_not_acknowledge() -> None:
    script = receiver(receive_buffer=60_000)
    script.inject(length=1000)
    script.read(1000)
    script.quiet()


def test_fin_is_acknowledged_at_once() -> None:
    script = receiver()
    script.inject("FA", length=10)
    script.expect("A", ack=12)


# --- Out of order -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sack", [True, False])
def test_out_of_order_is_acknowledged_at_once(sack: bool) -> None:
    script = receiver(sack=sack)
    arrive(script, 1000, 2000)
    answer(script, 0, *([(1000, 2000)] if sack else []))
    arrive(script, 2000, 3000)
    answer(script, 0, *([(1000, 3000)] if sack else []))


def test_filling_a_gap_is_acknowledged_at_once() -> None:
    """RFC 5681 section 4.2: all or part of it."""
    script = receiver()
    arrive(script, 3000, 4000)
    answer(script, 0, (3000, 4000))
    arrive(script, 0, 1000)
    answer(script, 1000, (3000, 4000))
    arrive(script, 1000, 3000)
    answer(script, 4000)
    arrive(script, 4000, 5000)
    script.quiet()


def test_sack_needs_both_ends() -> None:
    script = Script.accepted(sack_permitted=False)
    arrive(script, 1000, 2000)
    answer(script, 0)


# --- SACK (RFC 2018) ----------------------------------------------------------------------------------


def test_rfc_2018_case_2() -> None:
    """The first of eight segments is lost, the rest arrives."""
    script = receiver()
    for n in range(1, 8):
        arrive(script, n * 500, n * 500 + 500)
        answer(script, 0, (500, n * 500 + 500))


def test_rfc_2018_case_3() -> None:
    """The second, fourth, sixth and eighth are lost; then the fourth, and then the second arrive."""
    script = receiver()
    arrive(script, 0, 500)
    script.elapse(40)
    answer(script, 500)
    arrive(script, 1000, 1500)
    answer(script, 500, (1000, 1500))
    arrive(script, 2000, 2500)
    answer(script, 500, (2000, 2500), (1000, 1500))
    arrive(script, 3000, 3500)
    answer(script, 500, (3000, 3500), (2000, 2500), (1000, 1500))
    arrive(script, 1500, 2000)
    answer(script, 500, (1000, 2500), (3000, 3500))
    arrive(script, 500, 1000)
    answer(script, 2500, (3000, 3500))


@pytest.mark.parametrize(("timestamps", "most"), [(False, 4), (True, 3)])
def test_number_of_blocks(timestamps: bool, most: int) -> None:
    """As many as 40 bytes of options hold, the newest first."""
    script = receiver(timestamps)
    blocks = [(1000 * n, 1000 * n + 500) for n in range(1, 7)]
    for index, block in enumerate(blocks):
        arrive(script, *block)
        answer(script, 0, *reversed(blocks[max(0, index + 1 - most) : index + 1]))


def test_as_many_blocks_as_there_is_room_for() -> None:
    """RFC 2018 section 4: blocks pushed out by newer ones are reported again when there is room."""
    script = receiver()
    for n in range(1, 7):
        arrive(script, 1000 * n, 1000 * n + 500)
    for n in range(3, 6):
        arrive(script, 1000 * n + 500, 1000 * n + 1000)
    script.fresh()
    arrive(script, 6500, 6600)
    segment = script.expect("A", ack=1)
    assert segment.sack is not None
    assert segment.sack[0] == (3001, 6601)
    assert set(segment.sack[1:]) == {(1001, 1501), (2001, 2501)}


def test_data_segments_carry_sack_too_and_still_fit() -> None:
    script = receiver(timestamps=True, nagle=False)
    for n in range(1, 5):
        arrive(script, 1000 * n, 1000 * n + 500)
    script.fresh()
    script.write(20_000)
    sent = [segment for _, segment in script.fresh()]
    assert {segment.size for segment in sent} == {1500}
    assert all(segment.sack is not None and len(segment.sack) == 3 for segment in sent)


# --- D-SACK (RFC 2883 section 4) --------------------------------------------------------------------------


def received(script: Script, upto: int) -> None:
    """Let [0, upto) arrive in order and be acknowledged."""
    for left in range(0, upto, 500):
        arrive(script, left, left + 500)
    script.elapse(40)
    script.fresh()


def test_example_1_a_duplicate_segment() -> None:
    script = receiver()
    received(script, 4000)
    arrive(script, 3000, 3500)
    answer(script, 4000, (3000, 3500))
    arrive(script, 4000, 4500)
    script.elapse(40)
    answer(script, 4500)


def test_example_2_an_out_of_order_segment_and_a_duplicate() -> None:
    script = receiver()
    received(script, 4000)
    arrive(script, 4500, 5000)
    answer(script, 4000, (4500, 5000))
    arrive(script, 3000, 3500)
    answer(script, 4000, (3000, 3500), (4500, 5000))


def test_example_3_a_duplicate_of_an_out_of_order_segment() -> None:
    script = receiver()
    received(script, 4000)
    arrive(script, 4500, 5000)
    answer(script, 4000, (4500, 5000))
    arrive(script, 5000, 5500)
    answer(script, 4000, (4500, 5500))
    arrive(script, 5000, 5500)
    answer(script, 4000, (5000, 5500), (4500, 5500))


def test_example_4_a_single_duplicate_subsegment() -> None:
    script = receiver()
    received(script, 1000)
    arrive(script, 2000, 2500)
    answer(script, 1000, (2000, 2500))
    arrive(script, 1000, 1500)
    answer(script, 1500, (2000, 2500))
    arrive(script, 1000, 2000)
    answer(script, 2500, (1000, 1500))


def test_example_5_two_duplicates_below_the_acknowledgment() -> None:
    script = receiver()
    received(script, 1000)
    arrive(script, 3000, 3500)
    answer(script, 1000, (3000, 3500))
    arrive(script, 1000, 1500)
    answer(script, 1500, (3000, 3500))
    arrive(script, 2000, 2500)
    answer(script, 1500, (2000, 2500), (3000, 3500))
    arrive(script, 1000, 2500)
    answer(script, 2500, (1000, 1500), (3000, 3500))


def test_example_6_two_duplicates_above_the_acknowledgment() -> None:
    script = receiver()
    received(script, 1000)
    arrive(script, 3500, 4000)
    answer(script, 1000, (3500, 4000))
    arrive(script, 1500, 2000)
    answer(script, 1000, (1500, 2000), (3500, 4000))
    arrive(script, 2000, 2500)
    # (The RFC's figure has 2000-2500 and 1500-2000 apart; adjacent data is one block.)
    answer(script, 1000, (1500, 2500), (3500, 4000))
    arrive(script, 2500, 3000)
    answer(script, 1000, (1500, 3000), (3500, 4000))
    arrive(script, 1500, 3000)
    answer(script, 1000, (1500, 3000), (1500, 3000), (3500, 4000))


def test_only_the_duplicate_part_is_reported() -> None:
    """Guideline (1): of a segment that fills a gap, what had arrived before."""
    script = receiver()
    received(script, 1000)
    arrive(script, 2000, 2500)
    answer(script, 1000, (2000, 2500))
    arrive(script, 1000, 3000)
    answer(script, 3000, (2000, 2500))
    assert script.tcp.receiver.duplicate_bytes == 500


def test_of_several_duplicate_parts_the_first_is_reported() -> None:
    script = receiver()
    received(script, 1000)
    arrive(script, 2000, 2500)
    arrive(script, 3000, 3500)
    script.fresh()
    arrive(script, 1000, 4000)
    answer(script, 4000, (2000, 2500))
    assert script.tcp.receiver.duplicate_bytes == 1000


def test_duplicates_are_counted_exactly() -> None:
    script = receiver()
    received(script, 2000)
    arrive(script, 0, 2500)
    arrive(script, 3000, 4000)
    arrive(script, 3500, 4500)
    assert script.tcp.receiver.duplicate_bytes == 2000 + 500
    assert script.stack.connections[0].delivered == 2500


def test_no_duplicate_report_without_sack() -> None:
    script = receiver(sack=False)
    received(script, 2000)
    arrive(script, 0, 500)
    answer(script, 2000)
