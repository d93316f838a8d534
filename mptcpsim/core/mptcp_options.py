"""The options of Multipath TCP, version 1 (RFC 8684) and version 0 (RFC 6824).

One class for each layout, named like the option, its fields like those of the RFC.
Numbers stand here as they do on the wire: a data sequence number in its 4-octet form
is the lower half, and who receives it widens it. A ``Dss``, which nearly every segment
carries, works that form out only when somebody looks. ``UNKNOWN`` is an optional number
that is absent. ``reserved`` are the bits after the subtype that mean nothing, at their
places: a sender leaves them zero, a receiver passes them over, and they are kept so that
what was read can be written again. Options are immutable, compare by value, and say
with ``wire_length()`` how many bytes they take, kind and length included.

The two versions differ in five places: what a SYN with MP_CAPABLE carries, the data
parameters of MP_CAPABLE, HMAC and echo of ADD_ADDR, the address of MP_PRIO, and
MP_TCPRST. ``exists_in`` tells the layouts of one from those of the other.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mypy_extensions import mypyc_attr

from mptcpsim.core.sequences import UNKNOWN, DataNumbers

#: RFC 6824 and RFC 8684, as they stand in the version field of MP_CAPABLE.
VERSION_0: Final = 0
VERSION_1: Final = 1

# RFC 8684 section 7.2: the subtypes of TCP option 30.
SUBTYPE_MP_CAPABLE: Final = 0x0
SUBTYPE_MP_JOIN: Final = 0x1
SUBTYPE_DSS: Final = 0x2
SUBTYPE_ADD_ADDR: Final = 0x3
SUBTYPE_REMOVE_ADDR: Final = 0x4
SUBTYPE_MP_PRIO: Final = 0x5
SUBTYPE_MP_FAIL: Final = 0x6
SUBTYPE_MP_FASTCLOSE: Final = 0x7
SUBTYPE_MP_TCPRST: Final = 0x8
SUBTYPE_EXPERIMENTAL: Final = 0xF

#: Names by subtype; 0x9 to 0xe are unassigned, and in version 0 so is 0x8.
SUBTYPE_NAMES: Final[dict[int, str]] = {
    SUBTYPE_MP_CAPABLE: "MP_CAPABLE",
    SUBTYPE_MP_JOIN: "MP_JOIN",
    SUBTYPE_DSS: "DSS",
    SUBTYPE_ADD_ADDR: "ADD_ADDR",
    SUBTYPE_REMOVE_ADDR: "REMOVE_ADDR",
    SUBTYPE_MP_PRIO: "MP_PRIO",
    SUBTYPE_MP_FAIL: "MP_FAIL",
    SUBTYPE_MP_FASTCLOSE: "MP_FASTCLOSE",
    SUBTYPE_MP_TCPRST: "MP_TCPRST",
}

# RFC 8684 section 3.1: the flags of MP_CAPABLE. C is a crypto bit in version 0.
CHECKSUM_REQUIRED: Final = 0x80
EXTENSIBILITY: Final = 0x40
NO_MORE_SUBFLOWS: Final = 0x20
#: HMAC-SHA256 in version 1, HMAC-SHA1 in version 0.
HMAC_SHA: Final = 0x01
_CRYPTO_BITS_V0: Final = 0x3F
_CRYPTO_BITS_V1: Final = 0x1F

# RFC 8684 section 3.6: why a subflow was reset.
REASON_UNSPECIFIED: Final = 0x00
REASON_MPTCP_SPECIFIC: Final = 0x01
REASON_LACK_OF_RESOURCES: Final = 0x02
REASON_PROHIBITED: Final = 0x03
REASON_TOO_MUCH_OUTSTANDING: Final = 0x04
REASON_UNACCEPTABLE_PERFORMANCE: Final = 0x05
REASON_MIDDLEBOX: Final = 0x06

REASON_NAMES: Final[dict[int, str]] = {
    REASON_UNSPECIFIED: "unspecified error",
    REASON_MPTCP_SPECIFIC: "MPTCP-specific error",
    REASON_LACK_OF_RESOURCES: "lack of resources",
    REASON_PROHIBITED: "administratively prohibited",
    REASON_TOO_MUCH_OUTSTANDING: "too much outstanding data",
    REASON_UNACCEPTABLE_PERFORMANCE: "unacceptable performance",
    REASON_MIDDLEBOX: "middlebox interference",
}

#: Bytes of the HMACs: in a SYN/ACK and in ADD_ADDR, and in the third ACK of a join.
SHORT_HMAC: Final = 8
LONG_HMAC: Final = 20


#: The fields of a DSS by name, in their order.
_DSS_FIELDS: Final = (
    "data_ack_octets",
    "data_ack",
    "dsn_octets",
    "dsn",
    "ssn",
    "data_level_length",
    "checksum",
    "data_fin",
    "reserved",
)


class MpCapable(NamedTuple):
    """MP_CAPABLE of all packets (RFC 8684 section 3.1, RFC 6824 section 3.1).

    Attributes:
        version: the version that the sender offers or chose.
        flags: the bits A (``CHECKSUM_REQUIRED``) to H (``HMAC_SHA``) of one byte.
        sender_key: 64-bit key of the sender of the packet; absent from a version 1 SYN.
        receiver_key: 64-bit key of its receiver; from the third packet on.
        data_level_length: bytes of the mapping that stands in for a DSS, version 1 only.
        checksum: the 16-bit checksum of that mapping, if checksums are in use.
    """

    version: int
    flags: int
    sender_key: int = UNKNOWN
    receiver_key: int = UNKNOWN
    data_level_length: int = UNKNOWN
    checksum: int = UNKNOWN

    def wire_length(self) -> int:
        """Return 4, 12, 20, 22 or 24 bytes."""
        if self.sender_key == UNKNOWN:
            return 4
        if self.receiver_key == UNKNOWN:
            return 12
        if self.data_level_length == UNKNOWN:
            return 20
        return 22 if self.checksum == UNKNOWN else 24

    def crypto_bits(self) -> int:
        """Return the flags that name algorithms; without any of them the option is invalid."""
        return self.flags & (_CRYPTO_BITS_V0 if self.version == VERSION_0 else _CRYPTO_BITS_V1)


class MpJoinSyn(NamedTuple):
    """MP_JOIN of a SYN (RFC 8684 section 3.2).

    Attributes:
        address_id: identifier of the source address.
        token: 32-bit token by which the receiver knows the connection.
        nonce: the sender's 32-bit random number.
        backup: the sender wants the subflow to be used as a backup only (B).
        reserved: up to three bits, 0xE.
    """

    address_id: int
    token: int
    nonce: int
    backup: bool = False
    reserved: int = 0

    def wire_length(self) -> int:
        """Return 12 bytes."""
        return 12


class MpJoinSynAck(NamedTuple):
    """MP_JOIN of a SYN/ACK (RFC 8684 section 3.2).

    Attributes:
        address_id: identifier of the source address.
        hmac: the leftmost 8 bytes of the sender's HMAC.
        nonce: the sender's 32-bit random number.
        backup: the sender wants the subflow to be used as a backup only (B).
        reserved: up to three bits, 0xE.
    """

    address_id: int
    hmac: bytes
    nonce: int
    backup: bool = False
    reserved: int = 0

    def wire_length(self) -> int:
        """Return 16 bytes."""
        return 16


class MpJoinAck(NamedTuple):
    """MP_JOIN of the third packet of a join (RFC 8684 section 3.2).

    Attributes:
        hmac: the leftmost 20 bytes of the sender's HMAC.
        reserved: up to twelve bits; some hosts repeat the bit B here, 0x100.
    """

    hmac: bytes
    reserved: int = 0

    def wire_length(self) -> int:
        """Return 24 bytes."""
        return 24


@mypyc_attr(free_list_len=1)
class Dss:
    """Data Sequence Signal: a DATA_ACK, a mapping, or both (RFC 8684 section 3.3).

    Its sender gives the relative numbers that it counts with, and with them the form that they have on the
    wire. A receiver that knows this form takes them as they are, and nothing is narrowed or widened. Without
    a form, as in a DSS that was decoded from bytes or changed on its way, the numbers are those of the wire.

    Attributes:
        data_ack_octets: 8 or 4, the form of the DATA_ACK; 0 if there is none.
        data_ack: the next data sequence number expected, in that form.
        dsn_octets: 8 or 4, the form of the data sequence number; 0 if there is no mapping.
        dsn: data sequence number of the first byte that is mapped, in that form.
        ssn: its subflow sequence number, where the SYN is 0; 0 for a DATA_FIN alone.
        data_level_length: data-level bytes mapped, DATA_FIN included; 0 is the infinite mapping.
        checksum: 16 bits over pseudo header and data; ``UNKNOWN`` if checksums are not in use.
        data_fin: the mapping ends with the end of the sender's stream (F).
        reserved: up to seven bits, 0xFE0, and the form bit of a number that is absent
            (0x008 for ``dsn``, 0x002 for ``data_ack``).
        ack, first: ``data_ack`` and ``dsn`` as they were given.
        ack_numbers, dsn_numbers: if these are relative numbers, the form that they have on the wire; else
            None.
    """

    __slots__ = (
        "ack",
        "ack_numbers",
        "checksum",
        "data_ack_octets",
        "data_fin",
        "data_level_length",
        "dsn_numbers",
        "dsn_octets",
        "first",
        "reserved",
        "ssn",
    )

    def __init__(
        self,
        data_ack_octets: int = 0,
        data_ack: int = 0,
        dsn_octets: int = 0,
        dsn: int = 0,
        ssn: int = 0,
        data_level_length: int = 0,
        checksum: int = UNKNOWN,
        data_fin: bool = False,
        reserved: int = 0,
        ack_numbers: DataNumbers | None = None,
        dsn_numbers: DataNumbers | None = None,
    ) -> None:
        self.data_ack_octets = data_ack_octets
        self.ack = data_ack
        self.dsn_octets = dsn_octets
        self.first = dsn
        self.ssn = ssn
        self.data_level_length = data_level_length
        self.checksum = checksum
        self.data_fin = data_fin
        self.reserved = reserved
        self.ack_numbers = ack_numbers
        self.dsn_numbers = dsn_numbers

    @property
    def data_ack(self) -> int:
        """The DATA_ACK as on the wire."""
        return self.ack if self.ack_numbers is None else self.ack_numbers.wire(self.ack)

    @property
    def dsn(self) -> int:
        """The data sequence number as on the wire."""
        return self.first if self.dsn_numbers is None else self.dsn_numbers.wire(self.first)

    def repeats_ack_of(self, other: Dss) -> bool:
        """Return whether the DATA_ACK is that of another DSS."""
        if self.ack_numbers is other.ack_numbers:
            return self.ack == other.ack
        return self.data_ack == other.data_ack

    def wire_length(self) -> int:
        """Return 4 to 28 bytes."""
        length = 4 + self.data_ack_octets
        octets = self.dsn_octets
        if octets:
            length += octets + (6 if self.checksum == UNKNOWN else 8)
        return length

    def is_infinite(self) -> bool:
        """Return whether everything from ``ssn`` on is mapped (RFC 8684 section 3.3.1)."""
        return self.dsn_octets != 0 and self.data_level_length == 0

    # --- A value, as the other options are --------------------------------------------------------

    def _values(self) -> tuple[object, ...]:
        return (
            self.data_ack_octets,
            self.data_ack,
            self.dsn_octets,
            self.dsn,
            self.ssn,
            self.data_level_length,
            self.checksum,
            self.data_fin,
            self.reserved,
        )

    def __eq__(self, other: object) -> bool:
        """Compare what is on the wire."""
        return isinstance(other, Dss) and self._values() == other._values()

    def __hash__(self) -> int:
        """Return the hash of what is on the wire."""
        return hash(self._values())

    def __repr__(self) -> str:
        """Print the fields by name."""
        fields = zip(_DSS_FIELDS, self._values(), strict=True)
        return f"Dss({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def _replace(self, **changes: Any) -> Dss:
        """Return a DSS with other values in some fields, its numbers as on the wire.

        Raises:
            TypeError: there is no field of such a name.
        """
        fields: dict[str, Any] = dict(zip(_DSS_FIELDS, self._values(), strict=True))
        for name in changes:
            if name not in fields:
                raise TypeError(f"Dss has no field {name!r}; known are {', '.join(_DSS_FIELDS)}")
        fields.update(changes)
        return Dss(**fields)


class AddAddr(NamedTuple):
    """ADD_ADDR of both versions (RFC 8684 section 3.4.1, RFC 6824 section 3.4.1).

    Version 1 has an HMAC, or says with ``echo`` that it only returns what it got;
    version 0 has neither.

    Attributes:
        address_id: identifier of the address.
        address: an IPv4 or IPv6 address in canonical text form.
        port: TCP port; ``UNKNOWN`` if the option names none.
        hmac: the rightmost 8 bytes of the sender's HMAC, or no bytes.
        echo: this is the receipt for an ADD_ADDR (E).
        reserved: up to three bits, 0xE, in version 1.
    """

    address_id: int
    address: str
    port: int = UNKNOWN
    hmac: bytes = b""
    echo: bool = False
    reserved: int = 0

    def wire_length(self) -> int:
        """Return 8 to 18 bytes for IPv4, 20 to 30 bytes for IPv6."""
        length = 20 if ":" in self.address else 8
        return length + (0 if self.port == UNKNOWN else 2) + len(self.hmac)

    def version(self) -> int:
        """Return the version of MPTCP that the layout belongs to."""
        return VERSION_1 if self.echo or self.hmac else VERSION_0


class RemoveAddr(NamedTuple):
    """REMOVE_ADDR (RFC 8684 section 3.4.2).

    Attributes:
        address_ids: the identifiers of the addresses, at least one.
        reserved: up to four bits.
    """

    address_ids: tuple[int, ...]
    reserved: int = 0

    def wire_length(self) -> int:
        """Return 3 bytes and one for each address."""
        return 3 + len(self.address_ids)


class MpPrio(NamedTuple):
    """MP_PRIO (RFC 8684 section 3.3.8, RFC 6824 section 3.3.8).

    Attributes:
        backup: the sender wants to get data here only if nowhere else (B).
        address_id: version 0: all subflows that use this address; ``UNKNOWN``: the
            subflow that the option arrives on, as always in version 1.
        reserved: up to three bits, 0xE.
    """

    backup: bool
    address_id: int = UNKNOWN
    reserved: int = 0

    def wire_length(self) -> int:
        """Return 3 bytes, 4 with an address."""
        return 3 if self.address_id == UNKNOWN else 4


class MpFail(NamedTuple):
    """MP_FAIL (RFC 8684 section 3.7, RFC 6824 section 3.6).

    Attributes:
        dsn: 64-bit data sequence number where the mapping starts whose checksum is wrong.
        reserved: up to twelve bits.
    """

    dsn: int
    reserved: int = 0

    def wire_length(self) -> int:
        """Return 12 bytes."""
        return 12


class MpFastclose(NamedTuple):
    """MP_FASTCLOSE (RFC 8684 section 3.5, RFC 6824 section 3.5).

    Attributes:
        receiver_key: 64-bit key of the host that gets it.
        reserved: up to twelve bits.
    """

    receiver_key: int
    reserved: int = 0

    def wire_length(self) -> int:
        """Return 12 bytes."""
        return 12


class MpTcprst(NamedTuple):
    """MP_TCPRST, version 1 only (RFC 8684 section 3.6).

    Attributes:
        reason: why the subflow was reset, one of the ``REASON_...`` constants.
        transient: the path may be tried again later (T).
        reserved: the bits U, V and W, 0xE.
    """

    reason: int
    transient: bool = False
    reserved: int = 0

    def wire_length(self) -> int:
        """Return 4 bytes."""
        return 4


class FurtherMptcpOption:
    """An option of MPTCP beyond those of the RFCs: see ``core.mptcp.further_options``."""

    __slots__ = ()

    def wire_length(self) -> int:
        """Return its bytes, kind and length included, padding excluded."""
        raise NotImplementedError


MptcpOption = (
    MpCapable
    | MpJoinSyn
    | MpJoinSynAck
    | MpJoinAck
    | Dss
    | AddAddr
    | RemoveAddr
    | MpPrio
    | MpFail
    | MpFastclose
    | MpTcprst
    | FurtherMptcpOption
)


def exists_in(option: MptcpOption, version: int) -> bool:
    """Return whether a connection of this version knows the layout of an option.

    What does not exist is to be passed over like an unknown option. MP_CAPABLE is
    judged by the negotiation of the version itself, and exists in both.
    """
    if isinstance(option, AddAddr):
        return option.version() == version
    if isinstance(option, MpPrio):
        return version == VERSION_0 or option.address_id == UNKNOWN
    if isinstance(option, MpTcprst):
        return version >= VERSION_1
    return True


def padded_length(option: MptcpOption) -> int:
    """Return the bytes that an option takes when it is padded to a multiple of four."""
    return (option.wire_length() + 3) & ~3


def mptcp_length(dss: Dss | None, options: tuple[MptcpOption, ...] | None) -> int:
    """Return the bytes of the options of MPTCP on a segment, each padded to a multiple of four."""
    length = 0 if dss is None else padded_length(dss)
    if options is not None:
        for option in options:
            length += padded_length(option)
    return length
