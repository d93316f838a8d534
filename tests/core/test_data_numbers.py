"""Data sequence numbers: relative ones inside, those of the wire where somebody looks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.mptcp_options import Dss, MpPrio
from mptcpsim.core.sequences import UNKNOWN, DataNumbers, NumberReader, narrow, widen

IDSNS = st.integers(0, 2**64 - 1)
OCTETS = st.sampled_from([4, 8])
NUMBERS = st.integers(1, 2**40)


@given(IDSNS, st.integers(1, 2**70), st.integers(-(2**31) + 1, 2**31 - 1), OCTETS)
def test_a_number_is_widened_to_the_nearest(idsn: int, near: int, distance: int, octets: int) -> None:
    number = near + distance
    assert widen(narrow(number, octets, idsn), octets, idsn, near) == number


@given(IDSNS, st.lists(st.tuples(IDSNS, OCTETS, NUMBERS, NUMBERS), min_size=1), st.data())
def test_a_relative_number_is_read_as_the_one_on_the_wire(
    idsn: int, arriving: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    """Whoever sends it, however far away it is, and whatever was read before."""
    reader = NumberReader(idsn)
    own = [DataNumbers(idsn, 4), DataNumbers(idsn, 8)]
    for other, octets, number, near in arriving:
        numbers = data.draw(st.sampled_from([*own, DataNumbers(idsn, octets), DataNumbers(other, octets)]))
        wire = numbers.wire(number)
        expected = widen(wire, numbers.octets, idsn, near)
        assert reader.read(number, numbers, numbers.octets, near) == expected
        assert reader.read(wire, None, numbers.octets, near) == expected


@given(IDSNS, IDSNS, OCTETS, OCTETS, NUMBERS, NUMBERS)
def test_a_dss_compares_by_what_is_on_the_wire(
    idsn: int, other: int, ack_octets: int, octets: int, ack: int, dsn: int
) -> None:
    relative = Dss(
        ack_octets,
        ack,
        octets,
        dsn,
        7,
        9,
        5,
        True,
        0,
        DataNumbers(other, ack_octets),
        DataNumbers(idsn, octets),
    )
    wire = Dss(ack_octets, narrow(ack, ack_octets, other), octets, narrow(dsn, octets, idsn), 7, 9, 5, True)
    assert relative == wire
    assert hash(relative) == hash(wire)
    assert repr(relative) == repr(wire)
    assert relative.repeats_ack_of(wire)
    assert wire.repeats_ack_of(relative)
    assert relative != wire._replace(dsn=wire.dsn ^ 1)
    assert relative._replace(dsn=wire.dsn ^ 1) == wire._replace(dsn=wire.dsn ^ 1)
    assert not relative.repeats_ack_of(wire._replace(data_ack=wire.data_ack ^ 1))


def test_a_dss_is_a_value() -> None:
    dss = Dss(4, 5, 8, 6, 7, 9)
    assert dss == Dss(data_ack_octets=4, data_ack=5, dsn_octets=8, dsn=6, ssn=7, data_level_length=9)
    assert dss != MpPrio(True)
    assert (dss == 5) is False
    assert repr(dss) == (
        "Dss(data_ack_octets=4, data_ack=5, dsn_octets=8, dsn=6, ssn=7, data_level_length=9, "
        f"checksum={UNKNOWN}, data_fin=False, reserved=0)"
    )
    assert dss._replace(data_fin=True).data_fin
    assert not dss.data_fin
    with pytest.raises(TypeError, match="no field 'window'"):
        dss._replace(window=1)
