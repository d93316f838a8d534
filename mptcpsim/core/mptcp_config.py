"""Everything about MPTCP at one end that is a choice: the one definition of each key of ``mptcp``.

The defaults are those of RFC 8684; the named sets of switches are in ``core.mptcp.profiles``. What a
definition consists of, and what is derived from it, is in ``mptcpsim.settings``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mptcpsim.plugins import Value
from mptcpsim.settings import CLIENT, OWN, PROFILE, RECEIVER, SENDER, SIZE, TIME, setting
from mptcpsim.units import MINUTE, SECOND


@dataclass(frozen=True)
class MptcpConfig:
    """Behaviour of one MPTCP end. Times in ns."""

    enabled: bool = setting(
        False,
        "The end speaks MPTCP; without it the end is plain TCP. Any other key of the table enables it.",
        source=OWN,
    )
    profile: str = setting(
        "rfc8684",
        "The profile that the keys come from that are not written by hand.",
        kind=PROFILE,
        source=OWN,
    )
    versions: tuple[int, ...] = setting(
        (1,),
        "The versions that the end speaks: 1 (RFC 8684), 0 (RFC 6824). The first one is offered.",
        choices=(0, 1),
        single="version",
        source="RFC 8684 section 3.1",
    )
    checksum: bool = setting(
        False,
        "The end demands DSS checksums by flag A of MP_CAPABLE.",
        source="RFC 8684 section 3.1",
    )
    deny_join_initial: bool = setting(
        False,
        "The end asks its peer by flag C not to open subflows to the address of the first one; version 1 "
        "only.",
        source="RFC 8684 section 3.1",
    )
    scheduler: str = setting(
        "minrtt",
        "The scheduler decides on which subflow data goes out.",
        family="scheduler",
        used_by=SENDER,
        source="Linux: net.mptcp.scheduler",
    )
    scheduler_parameters: dict[str, Value] = field(default_factory=dict)
    path_manager: str = setting(
        "endpoints",
        "The path manager decides which subflows to open and which addresses to announce.",
        family="pathmanager",
        source="Linux: net.mptcp.path_manager",
    )
    path_manager_parameters: dict[str, Value] = field(default_factory=dict)
    join_after: str = setting(
        "dss",
        'When the end may open a further subflow: "dss", once a DSS was received (RFC 8684); "add-addr", '
        'also once an ADD_ADDR was received (Linux); "at-once", as soon as the connection is established '
        "(the FreeBSD patch).",
        choices=("dss", "add-addr", "at-once"),
        source="RFC 8684 section 3.1",
    )
    max_subflows: int = setting(
        8,
        "Subflows that a connection may have at this end, the first one included.",
        unit="subflows",
        minimum=1,
        maximum=255,
        source="Linux: ip mptcp limits",
    )
    initial_key: int = setting(
        -1,
        "The key of this end. -1 draws it. A further connection at the same time falls back to plain TCP.",
        minimum=-1,
        maximum=(1 << 64) - 1,
        source="RFC 8684 section 3.1",
    )
    initial_dsn: int = setting(
        -1,
        "The initial data sequence number of both directions, to test numbers that wrap. -1 derives it from "
        "the keys, as RFC 8684 has it; any other value must be the same at both ends.",
        minimum=-1,
        maximum=(1 << 64) - 1,
        source="RFC 8684 section 3.1",
    )
    dsn_octets: int = setting(
        8,
        "The length of the data sequence numbers that are sent, in octets.",
        choices=(4, 8),
        source="RFC 8684 section 3.3.1",
    )
    data_ack_octets: int = setting(
        4,
        "The length of a DATA_ACK, in octets, until data with 8 octets arrives, which is answered with 8.",
        choices=(4, 8),
        source="RFC 8684 section 3.3.2",
    )
    mapping_segments: int = setting(
        1,
        "Segments that one mapping covers at most; each of them repeats the mapping.",
        unit="segments",
        minimum=1,
        maximum=64,
        used_by=SENDER,
        source="RFC 8684 section 3.3.1",
    )
    syns_with_option: int = setting(
        3,
        "SYNs that carry MP_CAPABLE before it is left out, the first one included. Linux sends 1 + 2.",
        unit="segments",
        minimum=1,
        maximum=128,
        used_by=CLIENT,
        source="RFC 8684 section 3.7; Linux: net.mptcp.syn_retrans_before_tcp_fallback",
    )
    validate_hmac: bool = setting(
        True,
        "The HMACs of MP_JOIN and ADD_ADDR are checked; without it they are only exchanged.",
        source="RFC 8684 sections 3.2 and 3.4.1",
    )
    hold_unmapped: bool = setting(
        True, "Data whose mapping has not arrived yet is kept.", source="RFC 8684 section 3.3.1"
    )
    infinite_mapping: bool = setting(
        True,
        "The end falls back to an infinite mapping; without it a reset ends the connection.",
        source="RFC 8684 section 3.7",
    )
    keep_until_acked: bool = setting(
        True,
        "Data leaves the send buffer only when it is also acknowledged on every subflow that carried it. "
        "Linux lets it go with the DATA_ACK.",
        used_by=SENDER,
        source="RFC 8684 section 3.3.2",
    )
    share_send_window: bool = setting(
        False,
        "The window of the connection may stretch that of a subflow (Linux). In RFC 8684 both hold.",
        used_by=SENDER,
        source="RFC 8684 section 3.3.4",
    )
    window_update: str = setting(
        "all",
        'Where a window update is sent after a read: on every subflow ("all"), on one of them by turns '
        '("one"), or nowhere ("none": the next segment announces the window). No RFC asks for any of them.',
        choices=("all", "one", "none"),
        used_by=RECEIVER,
        source=OWN,
    )
    window_update_rule: str = setting(
        "rfc",
        'When a read is worth a window update: "rfc", a segment or half of the buffer (RFC 9293); "bsd", two '
        'segments and a quarter of the buffer, or half of the buffer; "linux", when the window comes to '
        "twice what the peer still has of it.",
        choices=("rfc", "bsd", "linux"),
        used_by=RECEIVER,
        source="RFC 9293 section 3.8.6.2.2; FreeBSD: tcp_output; Linux: tcp_cleanup_rbuf",
    )
    receive_window: str = setting(
        "connection",
        'What a subflow announces: "connection", the one window relative to the DATA_ACK (RFC 8684); '
        '"subflow", the room in the shared buffer by the sequence numbers of the subflow; "own", the room in '
        "a buffer of the subflow, which is always empty, so that the connection has no flow control.",
        choices=("connection", "subflow", "own"),
        used_by=RECEIVER,
        source="RFC 8684 section 3.3.1",
    )
    data_ack_on_updates: bool = setting(
        True,
        "Window updates and answers to probes carry a DATA_ACK. Without one they mean nothing to the window "
        "of the connection.",
        used_by=RECEIVER,
        source="RFC 8684 section 3.3.5",
    )
    data_ack_lag: int = setting(
        0,
        "How long a read of 32 KiB keeps the connection from taking what arrives meanwhile. The subflow "
        "acknowledges it; the DATA_ACK stays behind, and is not repeated until another segment is due.",
        kind=TIME,
        used_by=RECEIVER,
        source="Linux, as measured",
    )
    connection_window: bool = setting(
        True,
        "The sender keeps to the window of the connection; without it only to those of the subflows.",
        used_by=SENDER,
        source="RFC 8684 section 3.3.4",
    )
    fill_window: bool = setting(
        False,
        "A rest of the window that is less than a segment is used at once, one at a time (Linux), and not "
        "only if it is half of the largest window (RFC 9293).",
        used_by=SENDER,
        source="RFC 9293 section 3.8.6.2.1",
    )
    wake_on_window: bool = setting(
        True,
        "A segment that only moves a window has the connection look for data to send.",
        used_by=SENDER,
        source=OWN,
    )
    map_ahead: bool = setting(
        False,
        "Data is mapped onto a subflow, a mapping at a time, before the subflow may send it.",
        used_by=SENDER,
        source="FreeBSD: the MPTCP patch",
    )
    subflow_probe: str = setting(
        "empty",
        'How a subflow probes a closed window: "empty", an old sequence number without data; "byte", a byte '
        'of what is mapped onto it; "none", not at all.',
        choices=("empty", "byte", "none"),
        used_by=SENDER,
        source="RFC 9293 section 3.8.6.1",
    )
    persist_min: int = setting(
        0,
        "The least interval between two zero-window probes.",
        kind=TIME,
        used_by=SENDER,
        source="FreeBSD: TCPTV_PERSMIN",
    )
    persist_shift: int = setting(
        0,
        "How often the interval before the first zero-window probe is doubled already.",
        unit="doublings",
        maximum=16,
        used_by=SENDER,
        source="Linux, as measured",
    )
    persist_blocks: bool = setting(
        False,
        "A subflow whose window is being probed gets no new data.",
        used_by=SENDER,
        source="FreeBSD: the MPTCP patch",
    )
    data_probe: bool = setting(
        False,
        "When the closed window of the connection opens, a byte that was acknowledged before goes first, on "
        "every subflow.",
        used_by=SENDER,
        source="Linux: MPTcpExtWinProbe",
    )
    invalid_ratelimit: int = setting(
        0,
        "The least time between two answers to segments without data that lie outside of the window or fail "
        "PAWS. 0 answers all of them; Linux has 500 ms.",
        kind=TIME,
        source="Linux: net.ipv4.tcp_invalid_ratelimit",
    )
    data_timeout: int = setting(
        0,
        "The retransmission time-out of the connection. 0 follows those of the subflows; any other value is "
        "fixed, and the timer runs while anything waits, a closed window included.",
        kind=TIME,
        source="RFC 8684 section 3.3.6; FreeBSD: the MPTCP patch",
    )
    data_retries: int = setting(
        -1,
        "Retransmissions of the connection in a row, without an answer, after which it is given up. -1: as "
        "many as of TCP.",
        unit="retransmissions",
        minimum=-1,
        maximum=127,
        source="FreeBSD: the MPTCP patch",
    )
    data_retransmit: int = setting(
        1460,
        "How much the first retransmission of the connection repeats.",
        kind=SIZE,
        minimum=1,
        used_by=SENDER,
        source=OWN,
    )
    add_addr_timeout: int = setting(
        2 * MINUTE,
        "The time without an echo after which an ADD_ADDR is sent again.",
        kind=TIME,
        minimum=1,
        source="RFC 8684 section 3.4.1; Linux: net.mptcp.add_addr_timeout",
    )
    add_addr_retries: int = setting(
        3,
        "How often an ADD_ADDR without an echo is sent again.",
        unit="retransmissions",
        maximum=127,
        source="RFC 8684 section 3.4.1; Linux: ADD_ADDR_RETRANS_MAX",
    )
    fail_timeout: int = setting(
        2 * MINUTE,
        "The time without an answer after which an MP_FAIL on the only subflow ends that subflow.",
        kind=TIME,
        minimum=1,
        source="RFC 8684 section 3.7; Linux: TCP_RTO_MAX",
    )
    subflow_retries: int = setting(
        7,
        "Retransmission time-outs in a row after which a subflow is given up, if another one works.",
        unit="retransmissions",
        minimum=1,
        maximum=127,
        source=OWN,
    )
    stale_timeouts: int = setting(
        4,
        "Retransmission time-outs in a row after which a subflow counts as stale.",
        unit="retransmissions",
        minimum=1,
        maximum=127,
        source="Linux: net.mptcp.stale_loss_cnt",
    )
    path_probe: int = setting(
        SECOND,
        "The interval between probes of the path of a subflow in time-out. 0: only its retransmissions, "
        "whose intervals double, find out whether the path works again.",
        kind=TIME,
        source=OWN,
    )
    close_timeout: int = setting(
        MINUTE,
        "How long a connection without any subflow is kept (break before make).",
        kind=TIME,
        source="RFC 8684 section 3.3.3; Linux: net.mptcp.close_timeout",
    )
    fastclose: str = setting(
        "rst",
        'How an abort is signalled: "ack" or "rst", options A and R of RFC 8684.',
        choices=("ack", "rst"),
        source="RFC 8684 section 3.5",
    )
    cache_versions: bool = setting(
        True,
        "The end remembers which peers do not speak the version that was offered first, and offers them the "
        "next one.",
        used_by=CLIENT,
        source="RFC 8684 section 3.1",
    )
