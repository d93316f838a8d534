"""The options of MPTCP to bytes and back (RFC 8684 section 3, RFC 6824 section 3).

A body is what follows kind and length, as ``option_list.split_options`` yields it. Which
layout it has is decided by its subtype, its length, and:

* MP_CAPABLE and MP_JOIN: the SYN and ACK flags of the segment; MP_CAPABLE also by the
  version that it names itself;
* ADD_ADDR: with an HMAC it is always of version 1. Without one, the E bit makes it an
  echo of version 1; in version 0 the same four bits are 4 or 6 and say the length of
  the address, so that E is never set there;
* MP_PRIO: 4 bytes are version 0, 3 bytes are either version.

So nothing has to be known about the connection; whether an option belongs to its
version is for the receiver to say (``mptcp_options.exists_in``). Neither is it judged
here whether a segment may carry the option otherwise, or flags of MP_CAPABLE.

Reserved bits are kept, so what was read is written again to the last bit.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from mptcpsim.codec.errors import DecodeError, EncodeError
from mptcpsim.codec.option_list import MPTCP, NO_OPERATION
from mptcpsim.codec.raw import address_bytes
from mptcpsim.core.mptcp_options import (
    LONG_HMAC,
    SHORT_HMAC,
    SUBTYPE_ADD_ADDR,
    SUBTYPE_DSS,
    SUBTYPE_MP_CAPABLE,
    SUBTYPE_MP_FAIL,
    SUBTYPE_MP_FASTCLOSE,
    SUBTYPE_MP_JOIN,
    SUBTYPE_MP_PRIO,
    SUBTYPE_MP_TCPRST,
    SUBTYPE_NAMES,
    SUBTYPE_REMOVE_ADDR,
    VERSION_0,
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
)
from mptcpsim.core.options import OPTION_SPACE
from mptcpsim.core.segment import ACK, SYN
from mptcpsim.core.sequences import UNKNOWN

# The bits of the second byte of a DSS (RFC 8684 Figure 9).
_DATA_FIN: Final = 0x10
_DSN_8: Final = 0x08
_MAPPING: Final = 0x04
_DATA_ACK_8: Final = 0x02
_DATA_ACK: Final = 0x01

#: B of MP_JOIN and MP_PRIO, E of ADD_ADDR, T of MP_TCPRST: the low bit of the first byte.
_LOW_BIT: Final = 0x01

# The bits that are reserved beside these, counted from the end of the field after the subtype.
_THREE_BITS: Final = 0xE
_FOUR_BITS: Final = 0xF
_TWELVE_BITS: Final = 0xFFF
_DSS_RESERVED: Final = 0xFE0

_ALIGNMENT: Final = bytes((NO_OPERATION,)) * 3

_64_BITS: Final = struct.Struct("!Q")
_JOIN_SYN: Final = struct.Struct("!BBII")
_JOIN_SYN_ACK: Final = struct.Struct("!BB8sI")
_MAPPING_END: Final = struct.Struct("!IH")
_OCTETS: Final = (0, 4, 8)


# --- Option to bytes --------------------------------------------------------------------------


def write_mptcp(option: MptcpOption) -> bytes:
    """Return the body of an option, the bytes after kind and length.

    Raises:
        EncodeError: a field is out of its range, or the fields that are there make up
            no layout of the option.
    """
    try:
        body = _WRITERS[type(option)](option)
    except (struct.error, ValueError, OverflowError) as problem:
        # An EncodeError is a ValueError, and says by itself what is wrong.
        if isinstance(problem, EncodeError):
            raise
        raise EncodeError(f"{option!r}: a field does not fit into its place ({problem})") from None
    return body


def write_padded(option: MptcpOption) -> bytes:
    """Return a whole option, followed by as many NOPs as fill it up to a multiple of four.

    Raises:
        EncodeError: see ``write_mptcp``.
    """
    body = write_mptcp(option)
    return bytes((MPTCP, len(body) + 2)) + body + _ALIGNMENT[: -(len(body) + 2) & 3]


def _write_capable(option: MpCapable) -> bytes:
    # Without the sender's key there is no receiver's key, and so on to the checksum.
    absent = [field == UNKNOWN for field in option[2:]]
    if absent != sorted(absent):
        raise EncodeError(f"{option!r} leaves out a field, and has one that comes after it")
    if option.version == VERSION_0 and (absent[0] or not absent[2]):
        raise EncodeError(f"{option!r} has a layout of version 1")
    if not 0 <= option.version <= 15:
        raise EncodeError(f"{option!r}: the version has four bits")
    body = bytes((SUBTYPE_MP_CAPABLE << 4 | option.version, option.flags))
    if not absent[0]:
        body += _64_BITS.pack(option.sender_key)
    if not absent[1]:
        body += _64_BITS.pack(option.receiver_key)
    if not absent[2]:
        body += struct.pack("!H", option.data_level_length)
    if not absent[3]:
        body += struct.pack("!H", option.checksum)
    return body


def _head(option: MptcpOption, subtype: int, low: int, reserved: int, mask: int) -> int:
    """Return the byte with the subtype; ``low`` are its other bits, of which ``mask`` are reserved."""
    if reserved & ~mask:
        raise EncodeError(f"{option!r}: {reserved:#x} has other bits than the reserved ones, {mask:#x}")
    return subtype << 4 | low | reserved


def _wide_head(option: MptcpOption, subtype: int, low: int, reserved: int, mask: int) -> bytes:
    """Return the byte with the subtype and the next one, as ``_head``."""
    if reserved & ~mask:
        raise EncodeError(f"{option!r}: {reserved:#x} has other bits than the reserved ones, {mask:#x}")
    return (subtype << 12 | low | reserved).to_bytes(2, "big")


def _require(option: MptcpOption, hmac: bytes, length: int) -> None:
    if len(hmac) != length:
        raise EncodeError(f"{option!r} has an HMAC of {len(hmac)} bytes, it must be {length}")


def _write_join_syn(option: MpJoinSyn) -> bytes:
    first = _head(option, SUBTYPE_MP_JOIN, option.backup, option.reserved, _THREE_BITS)
    return _JOIN_SYN.pack(first, option.address_id, option.token, option.nonce)


def _write_join_syn_ack(option: MpJoinSynAck) -> bytes:
    _require(option, option.hmac, SHORT_HMAC)
    first = _head(option, SUBTYPE_MP_JOIN, option.backup, option.reserved, _THREE_BITS)
    return _JOIN_SYN_ACK.pack(first, option.address_id, option.hmac, option.nonce)


def _write_join_ack(option: MpJoinAck) -> bytes:
    _require(option, option.hmac, LONG_HMAC)
    return _wide_head(option, SUBTYPE_MP_JOIN, 0, option.reserved, _TWELVE_BITS) + option.hmac


def _write_dss(option: Dss) -> bytes:
    data_ack_octets, dsn_octets = option.data_ack_octets, option.dsn_octets
    if data_ack_octets not in _OCTETS or dsn_octets not in _OCTETS:
        raise EncodeError(f"{option!r}: numbers have 4 or 8 octets, or are absent")
    flags = 0
    mask = _DSS_RESERVED
    numbers = b""
    if data_ack_octets:
        flags |= _DATA_ACK | (_DATA_ACK_8 if data_ack_octets == 8 else 0)
        numbers += option.data_ack.to_bytes(data_ack_octets, "big")
    else:
        mask |= _DATA_ACK_8
    if dsn_octets:
        flags |= _MAPPING | (_DSN_8 if dsn_octets == 8 else 0) | (_DATA_FIN if option.data_fin else 0)
        numbers += option.dsn.to_bytes(dsn_octets, "big")
        numbers += _MAPPING_END.pack(option.ssn, option.data_level_length)
        if option.checksum != UNKNOWN:
            numbers += option.checksum.to_bytes(2, "big")
    elif option.data_fin or option.checksum != UNKNOWN:
        raise EncodeError(f"{option!r} has no mapping, and parts of one")
    else:
        mask |= _DSN_8
    return _wide_head(option, SUBTYPE_DSS, flags, option.reserved, mask) + numbers


def _write_add_addr(option: AddAddr) -> bytes:
    if option.echo and option.hmac:
        raise EncodeError(f"{option!r}: an echo has no HMAC")
    if option.hmac:
        _require(option, option.hmac, SHORT_HMAC)
    address = address_bytes(option.address)
    if option.version() == VERSION_0:
        low, mask = (6 if len(address) == 16 else 4), 0
    else:
        low, mask = int(option.echo), _THREE_BITS
    first = _head(option, SUBTYPE_ADD_ADDR, low, option.reserved, mask)
    port = b"" if option.port == UNKNOWN else option.port.to_bytes(2, "big")
    return bytes((first, option.address_id)) + address + port + option.hmac


def _write_remove_addr(option: RemoveAddr) -> bytes:
    if not 0 < len(option.address_ids) <= OPTION_SPACE - 3:
        raise EncodeError(f"a REMOVE_ADDR of {len(option.address_ids)} addresses: 1 to {OPTION_SPACE - 3}")
    first = _head(option, SUBTYPE_REMOVE_ADDR, 0, option.reserved, _FOUR_BITS)
    return bytes((first, *option.address_ids))


def _write_prio(option: MpPrio) -> bytes:
    first = _head(option, SUBTYPE_MP_PRIO, option.backup, option.reserved, _THREE_BITS)
    return bytes((first,)) if option.address_id == UNKNOWN else bytes((first, option.address_id))


def _write_fail(option: MpFail) -> bytes:
    return _wide_head(option, SUBTYPE_MP_FAIL, 0, option.reserved, _TWELVE_BITS) + _64_BITS.pack(option.dsn)


def _write_fastclose(option: MpFastclose) -> bytes:
    head = _wide_head(option, SUBTYPE_MP_FASTCLOSE, 0, option.reserved, _TWELVE_BITS)
    return head + _64_BITS.pack(option.receiver_key)


def _write_tcprst(option: MpTcprst) -> bytes:
    first = _head(option, SUBTYPE_MP_TCPRST, option.transient, option.reserved, _THREE_BITS)
    return bytes((first, option.reason))


#: Each function takes the class that it stands at.
_WRITERS: Final[dict[type, Callable[[Any], bytes]]] = {
    MpCapable: _write_capable,
    MpJoinSyn: _write_join_syn,
    MpJoinSynAck: _write_join_syn_ack,
    MpJoinAck: _write_join_ack,
    Dss: _write_dss,
    AddAddr: _write_add_addr,
    RemoveAddr: _write_remove_addr,
    MpPrio: _write_prio,
    MpFail: _write_fail,
    MpFastclose: _write_fastclose,
    MpTcprst: _write_tcprst,
}


# --- Bytes to option --------------------------------------------------------------------------


def read_mptcp(body: bytes, flags: int) -> MptcpOption:
    """Return the option in a body, the bytes after kind and length.

    Args:
        body: as ``split_options`` yields it for kind ``MPTCP``.
        flags: the control bits of the segment that carries it; only SYN and ACK count.

    Raises:
        DecodeError: the subtype is unassigned, or the length is that of none of its
            layouts. The receiver then acts as if the option were not there. No other
            exception comes from bytes.
    """
    if not body:
        raise DecodeError("an MPTCP option without a subtype")
    reader = _READERS.get(body[0] >> 4)
    if reader is None:
        raise DecodeError(f"MPTCP subtype {body[0] >> 4:#x} is unassigned")
    return reader(body, flags)


def _wrong_length(body: bytes) -> DecodeError:
    name = SUBTYPE_NAMES[body[0] >> 4]
    return DecodeError(f"no layout of {name} has the bytes {body.hex()}, {len(body) + 2} in all")


def _number(body: bytes, start: int, octets: int) -> int:
    return int.from_bytes(body[start : start + octets], "big")


def _read_capable(body: bytes, flags: int) -> MpCapable:
    length = len(body) + 2
    version = body[0] & 15
    handshake = flags & (SYN | ACK)
    if handshake == SYN:
        fits = length == (12 if version == VERSION_0 else 4)
    elif handshake == SYN | ACK:
        fits = length == 12
    else:
        fits = handshake == ACK and (length == 20 or (length in (22, 24) and version != VERSION_0))
    if not fits:
        raise _wrong_length(body)
    return MpCapable(
        version,
        body[1],
        _number(body, 2, 8) if length >= 12 else UNKNOWN,
        _number(body, 10, 8) if length >= 20 else UNKNOWN,
        _number(body, 18, 2) if length >= 22 else UNKNOWN,
        _number(body, 20, 2) if length == 24 else UNKNOWN,
    )


def _read_join(body: bytes, flags: int) -> MptcpOption:
    length = len(body) + 2
    handshake = flags & (SYN | ACK)
    backup = bool(body[0] & _LOW_BIT)
    if handshake == SYN and length == 12:
        _, address_id, token, nonce = _JOIN_SYN.unpack(body)
        return MpJoinSyn(address_id, token, nonce, backup, body[0] & _THREE_BITS)
    if handshake == SYN | ACK and length == 16:
        _, address_id, hmac, nonce = _JOIN_SYN_ACK.unpack(body)
        return MpJoinSynAck(address_id, hmac, nonce, backup, body[0] & _THREE_BITS)
    if handshake == ACK and length == 4 + LONG_HMAC:
        return MpJoinAck(body[2:], _number(body, 0, 2) & _TWELVE_BITS)
    raise _wrong_length(body)


def _read_dss(body: bytes, flags: int) -> Dss:
    if len(body) < 2:
        raise _wrong_length(body)
    bits = _number(body, 0, 2) & _TWELVE_BITS
    reserved = bits & _DSS_RESERVED
    data_ack_octets = 0
    if bits & _DATA_ACK:
        data_ack_octets = 8 if bits & _DATA_ACK_8 else 4
    else:
        reserved |= bits & _DATA_ACK_8
    position = 2 + data_ack_octets
    data_ack = _number(body, 2, data_ack_octets)
    if not bits & _MAPPING:
        # A DATA_FIN is the end of a mapping.
        if len(body) != position or bits & _DATA_FIN:
            raise _wrong_length(body)
        return Dss(data_ack_octets, data_ack, reserved=reserved | bits & _DSN_8)
    dsn_octets = 8 if bits & _DSN_8 else 4
    rest = len(body) - position - dsn_octets - _MAPPING_END.size
    if rest not in (0, 2):
        raise _wrong_length(body)
    dsn = _number(body, position, dsn_octets)
    position += dsn_octets
    ssn, length = _MAPPING_END.unpack_from(body, position)
    checksum = _number(body, position + _MAPPING_END.size, 2) if rest else UNKNOWN
    data_fin = bool(bits & _DATA_FIN)
    return Dss(data_ack_octets, data_ack, dsn_octets, dsn, ssn, length, checksum, data_fin, reserved)


def _read_add_addr(body: bytes, flags: int) -> AddAddr:
    length = len(body) + 2
    low = body[0] & _FOUR_BITS
    echo = bool(low & _LOW_BIT)
    hmac_length = SHORT_HMAC if length in (16, 18, 28, 30) else 0
    bare = length - hmac_length
    if bare not in (8, 10, 20, 22) or (echo and hmac_length):
        raise _wrong_length(body)
    octets = 4 if bare < 20 else 16
    reserved = low & _THREE_BITS
    if not echo and not hmac_length:
        if low != (4 if octets == 4 else 6):
            raise _wrong_length(body)
        reserved = 0
    packed = body[2 : 2 + octets]
    address = str(IPv4Address(packed) if octets == 4 else IPv6Address(packed))
    port = _number(body, 2 + octets, 2) if bare in (10, 22) else UNKNOWN
    return AddAddr(body[1], address, port, body[len(body) - hmac_length :], echo, reserved)


def _read_remove_addr(body: bytes, flags: int) -> RemoveAddr:
    if len(body) < 2:
        raise _wrong_length(body)
    return RemoveAddr(tuple(body[1:]), body[0] & _FOUR_BITS)


def _read_prio(body: bytes, flags: int) -> MpPrio:
    if len(body) > 2:
        raise _wrong_length(body)
    address_id = body[1] if len(body) == 2 else UNKNOWN
    return MpPrio(bool(body[0] & _LOW_BIT), address_id, body[0] & _THREE_BITS)


def _read_fail(body: bytes, flags: int) -> MpFail:
    if len(body) != 10:
        raise _wrong_length(body)
    return MpFail(_number(body, 2, 8), _number(body, 0, 2) & _TWELVE_BITS)


def _read_fastclose(body: bytes, flags: int) -> MpFastclose:
    if len(body) != 10:
        raise _wrong_length(body)
    return MpFastclose(_number(body, 2, 8), _number(body, 0, 2) & _TWELVE_BITS)


def _read_tcprst(body: bytes, flags: int) -> MpTcprst:
    if len(body) != 2:
        raise _wrong_length(body)
    return MpTcprst(body[1], bool(body[0] & _LOW_BIT), body[0] & _THREE_BITS)


_READERS: Final[dict[int, Callable[[bytes, int], MptcpOption]]] = {
    SUBTYPE_MP_CAPABLE: _read_capable,
    SUBTYPE_MP_JOIN: _read_join,
    SUBTYPE_DSS: _read_dss,
    SUBTYPE_ADD_ADDR: _read_add_addr,
    SUBTYPE_REMOVE_ADDR: _read_remove_addr,
    SUBTYPE_MP_PRIO: _read_prio,
    SUBTYPE_MP_FAIL: _read_fail,
    SUBTYPE_MP_FASTCLOSE: _read_fastclose,
    SUBTYPE_MP_TCPRST: _read_tcprst,
}
