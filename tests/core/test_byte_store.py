"""The pages of a stream against the plain version: one long array that forgets nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.byte_store import PAGE, ByteStore
from mptcpsim.core.errors import IntegrityError
from tests.profiles import examples

LENGTHS = st.one_of(st.integers(0, 40), st.sampled_from((1_448, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 5)))
#: Puts somewhere behind what was read, takes what is there, and reads on, by so many bytes each.
STEPS = st.lists(
    st.tuples(st.sampled_from(("put", "append", "take", "forget")), LENGTHS, LENGTHS), max_size=30
)


def content(seed: int, length: int) -> bytes:
    return bytes((seed * 7 + index) & 0xFF for index in range(length))


@examples(300)
@given(start=st.sampled_from((0, 5, PAGE - 3, (1 << 33) - 7)), steps=STEPS)
def test_what_is_put_is_taken(start: int, steps: list[tuple[str, int, int]]) -> None:
    store = ByteStore()
    store.put(start, b"")
    store.forget_below(start)
    plain = bytearray()
    known: set[int] = set()
    done = 0
    for seed, (what, one, other) in enumerate(steps):
        if what in ("put", "append"):
            place = len(plain) if what == "append" else done + one
            data = content(seed, other)
            if what == "append":
                store.append(data)
            elif data:
                store.put(start + place, data)
            plain.extend(bytes(max(0, place + len(data) - len(plain)) if data else 0))
            plain[place : place + len(data)] = data
            known |= set(range(place, place + len(data)))
        elif what == "take":
            place = done + one
            length = min(other, len(plain) - place)
            if length > 0 and known.issuperset(range(place, place + length)):
                assert store.take(start + place, length) == plain[place : place + length]
        else:
            done = min(done + one, len(plain))
            store.forget_below(start + done)
        assert store.end == start + len(plain)
        # Whole pages are forgotten, and the last one with its last byte.
        assert len(store) <= len(plain) - done + PAGE + (start & (PAGE - 1))
    store.clear()
    assert len(store) == 0


def test_bytes_that_are_not_there() -> None:
    store = ByteStore()
    store.append(bytes(3 * PAGE))
    store.forget_below(2 * PAGE)
    for offset, length in ((0, 1), (2 * PAGE - 1, 2), (3 * PAGE - 1, 2), (10 * PAGE, 1)):
        with pytest.raises(IntegrityError, match="are not kept any more"):
            store.take(offset, length)
    assert store.take(3 * PAGE - 1, 1) == b"\0"
    assert store.take(10 * PAGE, 0) == b""


def test_forgetting_what_comes_later() -> None:
    """Of a stream that has broken off only what is in order stays."""
    store = ByteStore()
    store.append(b"x" * (PAGE + 10))
    store.put(PAGE + 20, b"z")
    store.put(5 * PAGE, b"y" * 10)
    store.forget_from(PAGE + 10)
    assert (store.end, len(store)) == (PAGE + 10, PAGE + 10)
    assert store.take(0, PAGE + 10) == b"x" * (PAGE + 10)
    store.forget_below(PAGE + 10)
    assert len(store) == 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_kinds_of_bytes(kind: type) -> None:
    """What is put is copied: a buffer that its owner changes afterwards changes nothing."""
    source = bytearray(content(1, 2 * PAGE))
    store = ByteStore()
    store.append(kind(source))
    source[:] = bytes(len(source))
    assert store.take(0, 2 * PAGE) == content(1, 2 * PAGE)
