"""Mappings as a receiver keeps them: they may come in pieces, again, and never change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.mptcp.mappings import Mapping, ReceivedMappings
from mptcpsim.core.sequences import UNKNOWN


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
