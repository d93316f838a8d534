"""The bytes of simulated payload: one stream, in which every place looks different."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.payload import BLOCK, pattern

offsets = st.one_of(
    st.integers(0, 100),
    st.integers(0, 1 << 62),
    st.integers(-100, 100).map(lambda n: BLOCK * 7 + n),
    st.integers(-100, 0),
)
lengths = st.integers(0, 3000)


def plain(offset: int, length: int) -> bytes:
    """Return what ``pattern`` should, a word at a time and without numpy."""
    mask = (1 << 64) - 1
    words = []
    for number in range(offset // 8, (offset + length) // 8 + 1):
        word = (number + 1) * 0x9E3779B97F4A7C15 & mask
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & mask
        word = (word ^ word >> 27) * 0x94D049BB133111EB & mask
        words.append((word ^ word >> 31).to_bytes(8, "big"))
    return b"".join(words)[offset % 8 : offset % 8 + length]


@given(offsets, lengths)
def test_the_bytes_are_a_function_of_their_place(offset: int, length: int) -> None:
    assert pattern(offset, length) == plain(offset, length)


@given(offsets, lengths, lengths)
def test_pieces_make_the_whole(offset: int, first: int, second: int) -> None:
    assert pattern(offset, first) + pattern(offset + first, second) == pattern(offset, first + second)


def test_long_pieces_cross_blocks() -> None:
    data = pattern(0, 3 * BLOCK + 5)
    assert len(data) == 3 * BLOCK + 5
    assert pattern(10, 2 * BLOCK) == data[10 : 2 * BLOCK + 10]


def test_no_two_words_are_equal() -> None:
    data = pattern(0, 8 << 16)
    assert len({data[n : n + 8] for n in range(0, len(data), 8)}) == 1 << 16


@given(offsets, st.integers(-3000, 3000).filter(bool), st.integers(8, 1448))
def test_a_shift_shows(offset: int, shift: int, length: int) -> None:
    assert pattern(offset, length) != pattern(offset + shift, length)


def test_two_streams_begin_alike() -> None:
    # A golden value: captures of different versions can be compared.
    assert pattern(0, 16).hex() == "e220a8397b1dcdaf6e789e6aa1b965f4"
    assert pattern(1, 1).hex() == "20"
