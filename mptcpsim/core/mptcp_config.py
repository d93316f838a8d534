"""Everything about MPTCP at one end that is a choice, with its default and where it comes from.

The defaults are those of RFC 8684; the named sets of switches are in ``core.mptcp.profiles``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mptcpsim.plugins import Value
from mptcpsim.units import MINUTE, SECOND


@dataclass(frozen=True)
class MptcpConfig:
    """Behaviour of one MPTCP end. Times in ns."""

    #: Without it the end is plain TCP.
    enabled: bool = False
    #: Name of the profile that the other fields come from; only for people to read.
    profile: str = "rfc8684"
    #: Versions spoken: 1 (RFC 8684), 0 (RFC 6824). The first one is offered.
    versions: tuple[int, ...] = (1,)
    #: Demand DSS checksums: flag A of MP_CAPABLE (RFC 8684 section 3.1).
    checksum: bool = False
    #: Ask the peer not to open subflows to the address of the first one: flag C (version 1 only).
    deny_join_initial: bool = False
    #: Plug-ins and their parameters.
    scheduler: str = "minrtt"
    scheduler_parameters: dict[str, Value] = field(default_factory=dict)
    path_manager: str = "endpoints"
    path_manager_parameters: dict[str, Value] = field(default_factory=dict)
    #: When this end may open a further subflow: "dss", once a DSS was received (RFC 8684 section
    #: 3.1); "add-addr", also once an ADD_ADDR was received (Linux); "at-once", as soon as the
    #: connection is established (the seed's implementation).
    join_after: str = "dss"
    #: Subflows that a connection may have at this end, the first one included.
    max_subflows: int = 8
    #: The key of this end; -1 draws it. A further connection at the same time falls back to plain TCP.
    initial_key: int = -1
    #: IDSN of both directions; -1 derives them from the keys, as the RFC has it. For tests of numbers
    #: that wrap: both ends have to have the same one, and nobody else can know it.
    initial_dsn: int = -1
    #: Octets of a data sequence number that is sent, 4 or 8 (RFC 8684 section 3.3.1).
    dsn_octets: int = 8
    #: Octets of a DATA_ACK until data with 8 octets arrives, which is answered with 8.
    data_ack_octets: int = 4
    #: Segments that one mapping covers, at most; every one of them repeats the mapping.
    mapping_segments: int = 1
    #: SYNs that carry MP_CAPABLE before it is left out, the first one included (Linux: 1 + 2).
    syns_with_option: int = 3
    #: Check the HMACs of MP_JOIN and ADD_ADDR; without it they are exchanged only.
    validate_hmac: bool = True
    #: Keep data whose mapping has not arrived yet (RFC 8684 section 3.3.1: "SHOULD").
    hold_unmapped: bool = True
    #: Fall back to an infinite mapping (RFC 8684 section 3.7) instead of a reset.
    infinite_mapping: bool = True
    #: Data leaves the send buffer only when it is also acknowledged on every subflow that carried it
    #: (RFC 8684 section 3.3.2: "MUST NOT"); Linux lets it go with the DATA_ACK.
    keep_until_acked: bool = True
    #: A subflow's own window may be stretched by that of the connection (Linux); the RFC has both hold.
    share_send_window: bool = False
    #: Window updates after a read: on every subflow ("all"), on one, by turns ("one"), or none: the window
    #: is only named when something else is to be said ("none"). No RFC asks for any of them.
    window_update: str = "all"
    #: When a read is worth an update: "rfc", a segment or half of the buffer (RFC 9293 section 3.8.6.2.2);
    #: "bsd", two segments and a quarter of the buffer, or half of the buffer; "linux", when the window
    #: comes to twice of what the peer still has of it.
    window_update_rule: str = "rfc"
    #: What a subflow announces: "connection", the one window relative to the DATA_ACK (RFC 8684 section
    #: 3.3.1); "subflow", the room in the shared buffer by books of its own; "own", the room in a buffer of
    #: its own, which is always empty: no flow control at the connection at all.
    receive_window: str = "connection"
    #: Window updates and answers to probes carry a DATA_ACK; without one they mean nothing to the
    #: connection's window (section 3.3.5).
    data_ack_on_updates: bool = True
    #: How long a read of 32 KiB keeps the connection from taking what arrives meanwhile: the subflow
    #: acknowledges it, the DATA_ACK stays behind, and is not repeated until there is something else to say.
    data_ack_lag: int = 0
    #: The sender keeps to the window of the connection; else to those of the subflows only.
    connection_window: bool = True
    #: What the window leaves of a segment is sent at once (Linux), not only if it is half of the largest
    #: window (RFC 9293 section 3.8.6.2.1).
    fill_window: bool = False
    #: What moves a window only has the connection look for data to send.
    wake_on_window: bool = True
    #: Data is mapped onto a subflow, a mapping at a time, before the subflow may send it.
    map_ahead: bool = False
    #: How a subflow probes a closed window: "empty", an old sequence number without data; "byte", a byte
    #: of what is mapped onto it; "none": not at all.
    subflow_probe: str = "empty"
    #: The least interval between two probes, and how often the first ones are doubled already.
    persist_min: int = 0
    persist_shift: int = 0
    #: A subflow whose window is being probed gets no new data.
    persist_blocks: bool = False
    #: Where the window of the connection is closed: the first to go when it opens is a byte that was
    #: acknowledged before, on every subflow (Linux: WinProbe).
    data_probe: bool = False
    #: Answers to segments without data that lie outside of the window or fail PAWS: one in so long a time
    #: (Linux: 500 ms; 0: all).
    invalid_ratelimit: int = 0
    #: Retransmission time-out of the connection: 0 follows those of the subflows; else it is fixed, and
    #: runs while anything waits, a closed window included.
    data_timeout: int = 0
    #: Retransmissions of the connection in a row that get no answer (-1: as many as of TCP).
    data_retries: int = -1
    #: Bytes that the first of them repeats.
    data_retransmit: int = 1460
    #: ADD_ADDR without an echo is sent again after this long, so often (Linux: 120 s, 3).
    add_addr_timeout: int = 2 * MINUTE
    add_addr_retries: int = 3
    #: MP_FAIL on the only subflow that gets no answer for so long ends it (Linux: TCP_RTO_MAX, 120 s).
    fail_timeout: int = 2 * MINUTE
    #: Retransmission time-outs in a row after which a subflow is given up, if another one works.
    subflow_retries: int = 7
    #: Time-outs in a row after which a subflow counts as stale (Linux: ``stale_loss_cnt``).
    stale_timeouts: int = 4
    #: A subflow in time-out is asked this often whether its path is there again (0: only its own
    #: retransmissions, whose intervals double, find out).
    path_probe: int = SECOND
    #: How long a connection without any subflow is kept (RFC 8684 section 3.3.3, break before make).
    close_timeout: int = MINUTE
    #: How an abort is signalled: "ack" or "rst", variants A and R of RFC 8684 section 3.5.
    fastclose: str = "rst"
    #: Remember which peers do not speak the version that was offered first, and offer the next one.
    cache_versions: bool = True
