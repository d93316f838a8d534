"""Mappings as a receiver keeps them: they may come in pieces, again, and never change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.mptcp.mappings import Mapping, ReceivedMappings, SentMappings
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import NEVER


def kept(received: ReceivedMappings) -> list[tuple[int, int, int]]:
    return [(m.ssn, m.dsn, m.length) for m in received.mappings]


def mapping(ssn: int, dsn: int, length: int, checksum: int = UNKNOWN) -> Mapping:
    return Mapping(ssn, dsn, length, False, checksum)


def test_what_overlaps_and_says_the_same_is_taken() -> None:
    received = ReceivedMappings()
    assert received.add(mapping(101, 1001, 100))
    assert received.add(mapping(301, 1201, 100))
    assert received.add(mapping(51, 951, 400))
    assert kept(received) == [
        (51, 951, 50),
        (101, 1001, 100),
        (201, 1101, 100),
        (301, 1201, 100),
        (401, 1301, 50),
    ]
    assert received.add(mapping(51, 951, 400)), "again, and nothing new"
    assert len(received) == 5


@pytest.mark.parametrize("other", [(101, 1002, 100), (150, 1051, 10), (50, 949, 100), (150, 2000, 400)])
def test_what_overlaps_and_says_something_else_is_refused(other: tuple[int, int, int]) -> None:
    received = ReceivedMappings()
    assert received.add(mapping(101, 1001, 100))
    assert not received.add(mapping(*other))
    assert kept(received) == [(101, 1001, 100)]


def test_with_checksums_a_mapping_is_one_thing() -> None:
    received = ReceivedMappings()
    assert received.add(mapping(101, 1001, 100, 7))
    assert received.add(mapping(101, 1001, 100, 7))
    assert not received.add(mapping(101, 1001, 50, 7))


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 20)), max_size=12),
    st.integers(-30, 30),
)
def test_every_byte_is_where_some_mapping_put_it(pieces: list[tuple[int, int]], shift: int) -> None:
    received = ReceivedMappings()
    covered: set[int] = set()
    for ssn, length in pieces:
        assert received.add(mapping(ssn, ssn + shift, length))
        covered.update(range(ssn, ssn + length))
    for seq in range(1, 90):
        found = received.at(seq)
        assert (found is not None) == (seq in covered)
        assert found is None or found.dsn - found.ssn == shift
    assert sum(m.length for m in received.mappings) == len(covered), "no byte twice"


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.booleans(), st.integers(0, 200), st.integers(0, 400)), max_size=80
    )
)
def test_what_was_sent_is_found(steps: list[tuple[int, bool, int, int]]) -> None:
    """New data and repeated data in any order, against a plain list."""
    sent = SentMappings()
    plain: list[Mapping] = []
    ssn = new = 1
    acknowledged = 0
    for length, repeats, back, ack in steps:
        one = Mapping(ssn, max(new - back, 1) if repeats else new, length, False)
        sent.append(one)
        plain.append(one)
        ssn += length
        new = max(new, one.dsn + length)
        acknowledged = max(acknowledged, min(ack, ssn))
        sent.acknowledge(acknowledged, 0)
        plain = [m for m in plain if m.ssn + m.length > acknowledged]
        assert sent.outstanding() == plain
        assert sent.lowest() == min((m.dsn for m in plain), default=NEVER)
        for m in plain:
            assert sent.at(m.ssn) is sent.at(m.ssn + m.length - 1) is m
        for dsn in range(0, new + 2, 7):
            assert sent.carries(dsn) == any(m.dsn <= dsn < m.dsn + m.length for m in plain)
            below = sum(max(0, min(m.dsn + m.length, dsn) - m.dsn) for m in plain)
            assert sent.bytes_below(dsn) == below


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30), st.integers(0, 60)), max_size=60))
def test_what_was_delivered_is_forgotten(steps: list[tuple[int, int, int]]) -> None:
    """However mappings come and go, those that are kept are found, and what begins where is known."""
    received = ReceivedMappings()
    bottom = 1
    for ssn, length, delivered in steps:
        left = max(ssn, bottom)
        assert received.add(mapping(left, left + 7, length))
        bottom = max(bottom, min(delivered, bottom + 20))
        received.forget_below(bottom)
        kept_now = received.mappings
        assert len(received) == len(kept_now)
        assert [m.ssn for m in kept_now] == sorted({m.ssn for m in kept_now})
        assert all(m.ssn + m.length > bottom for m in kept_now)
        for seq in range(bottom, 95, 3):
            expected = [m for m in kept_now if m.ssn <= seq < m.ssn + m.length]
            assert received.at(seq) is (expected[0] if expected else None)
            assert received.begin_at(seq) == all(m.ssn >= seq for m in kept_now)
