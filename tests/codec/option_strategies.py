"""Options of MPTCP for the tests of the codec: any that a segment with given control bits may carry."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from mptcpsim.core.mptcp_options import (
    AddAddr,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MptcpOption,
    MpTcprst,
    RemoveAddr,
    padded_length,
)
from mptcpsim.core.segment import ACK, SYN
from mptcpsim.core.sequences import UNKNOWN

bits_8, bits_16 = st.integers(0, 2**8 - 1), st.integers(0, 2**16 - 1)
bits_32, bits_64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
hmac_8, hmac_20 = st.binary(min_size=8, max_size=8), st.binary(min_size=20, max_size=20)
maybe_16 = st.one_of(st.just(UNKNOWN), bits_16)
nibble = st.integers(0, 7).map(lambda bits: bits << 1)
twelve = st.integers(0, 0xFFF)
addresses = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))


@st.composite
def capables(draw: st.DrawFn, handshake: int) -> MptcpOption:
    version, flags = draw(st.integers(0, 15)), draw(bits_8)
    if handshake == SYN:
        count = 0 if version else 1
    elif handshake == SYN | ACK:
        count = 1
    else:
        count = draw(st.integers(2, 4)) if version else 2
    fields = [draw(bits_64), draw(bits_64), draw(bits_16), draw(bits_16)]
    return MpCapable(version, flags, *fields[:count])


@st.composite
def signals(draw: st.DrawFn) -> Dss:
    data_ack_octets, dsn_octets = draw(st.sampled_from([0, 4, 8])), draw(st.sampled_from([0, 4, 8]))
    mapping: dict[str, Any] = {}
    reserved = draw(st.integers(0, 127)) << 5
    if dsn_octets:
        mapping = {
            "dsn": draw(st.integers(0, (1 << 8 * dsn_octets) - 1)),
            "ssn": draw(bits_32),
            "data_level_length": draw(bits_16),
            "checksum": draw(maybe_16),
            "data_fin": draw(st.booleans()),
        }
    else:
        reserved |= draw(st.sampled_from([0, 8]))
    if not data_ack_octets:
        reserved |= draw(st.sampled_from([0, 2]))
    data_ack = draw(st.integers(0, (1 << 8 * data_ack_octets) - 1))
    return Dss(data_ack_octets, data_ack, dsn_octets, reserved=reserved, **mapping)


@st.composite
def add_addrs(draw: st.DrawFn) -> MptcpOption:
    kind = draw(st.sampled_from(["version 0", "hmac", "echo"]))
    hmac = draw(hmac_8) if kind == "hmac" else b""
    reserved = 0 if kind == "version 0" else draw(nibble)
    return AddAddr(draw(bits_8), draw(addresses), draw(maybe_16), hmac, kind == "echo", reserved)


_ANYWHERE: Final[tuple[st.SearchStrategy[MptcpOption], ...]] = (
    signals(),
    add_addrs(),
    st.builds(RemoveAddr, st.lists(bits_8, min_size=1, max_size=37).map(tuple), st.integers(0, 15)),
    st.builds(MpPrio, st.booleans(), st.one_of(st.just(UNKNOWN), bits_8), nibble),
    st.builds(MpFail, bits_64, twelve),
    st.builds(MpFastclose, bits_64, twelve),
    st.builds(MpTcprst, bits_8, st.booleans(), nibble),
)

#: By the bits SYN and ACK, on which the layouts of MP_CAPABLE and MP_JOIN depend.
_BY_HANDSHAKE: Final[dict[int, st.SearchStrategy[MptcpOption]]] = {
    0: st.one_of(*_ANYWHERE),
    SYN: st.one_of(
        *_ANYWHERE,
        capables(SYN),
        st.builds(MpJoinSyn, bits_8, bits_32, bits_32, st.booleans(), nibble),
    ),
    SYN | ACK: st.one_of(
        *_ANYWHERE,
        capables(SYN | ACK),
        st.builds(MpJoinSynAck, bits_8, hmac_8, bits_32, st.booleans(), nibble),
    ),
    ACK: st.one_of(*_ANYWHERE, capables(ACK), st.builds(MpJoinAck, hmac_20, twelve)),
}


def mptcp_options(flags: int) -> st.SearchStrategy[MptcpOption]:
    """Return the options that a segment with these control bits is read with."""
    return _BY_HANDSHAKE[flags & (SYN | ACK)]


@st.composite
def options_that_fit(
    draw: st.DrawFn, flags: int, room: int
) -> tuple[Dss | None, tuple[MptcpOption, ...] | None]:
    """Return a DSS and other options, either of them possibly None, in at most ``room`` bytes."""
    dss: Dss | None = None
    others: list[MptcpOption] = []
    for option in draw(st.lists(mptcp_options(flags), max_size=4)):
        if padded_length(option) > room:
            continue
        room -= padded_length(option)
        if isinstance(option, Dss) and dss is None:
            dss = option
        else:
            others.append(option)
    return dss, tuple(others) or None
