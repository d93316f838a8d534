"""Everything about a TCP end that is a choice: the one definition of each key of ``tcp``.

What a definition consists of, and what is derived from it, is in ``mptcpsim.settings``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.plugins import Value
from mptcpsim.settings import OWN, RECEIVER, SENDER, SIZE, TIME, setting
from mptcpsim.units import MILLISECOND, MINUTE, SECOND


@dataclass(frozen=True)
class TcpConfig:
    """Behaviour of one TCP end. Times in ns, sizes in bytes.

    The defaults are Linux's where Linux and the RFCs leave a choice. The two that
    shape every stall: the minimum RTO is 200 ms (Linux; RFC 6298 has 1 s), delayed
    ACKs wait 40 ms (Linux; RFC 9293 allows 500 ms).
    """

    mss: int = setting(
        0,
        "The largest segment to announce. 0 derives it from the MTU of the outgoing interface.",
        unit="bytes",
        maximum=65495,
        source="RFC 9293 section 3.7.1",
    )
    congestion: str = setting(
        "cubic",
        "The congestion control.",
        family="congestion",
        used_by=SENDER,
        source="RFC 9438; Linux: net.ipv4.tcp_congestion_control",
    )
    congestion_parameters: dict[str, Value] = field(default_factory=dict)
    initial_window_segments: int = setting(
        10,
        "The largest initial window. RFC 6928 has min(10 MSS, max(2 MSS, 14600)).",
        unit="segments",
        minimum=1,
        maximum=1000,
        used_by=SENDER,
        source="RFC 6928 section 2",
    )
    initial_ssthresh: int = setting(
        0,
        "The initial slow-start threshold. 0 means arbitrarily high.",
        kind=SIZE,
        used_by=SENDER,
        source="RFC 5681 section 3.1",
    )
    send_buffer: int = setting(
        4 * 1024 * 1024,
        "The send buffer of the socket.",
        kind=SIZE,
        minimum=1,
        used_by=SENDER,
        source="Linux: net.ipv4.tcp_wmem",
    )
    receive_buffer: int = setting(
        4 * 1024 * 1024,
        "The receive buffer of the socket.",
        kind=SIZE,
        minimum=1,
        used_by=RECEIVER,
        source="Linux: net.ipv4.tcp_rmem",
    )
    receive_autotune: bool = setting(
        False,
        "The receive buffer grows with what the application reads in a round trip.",
        used_by=RECEIVER,
        source="Linux: net.ipv4.tcp_moderate_rcvbuf",
    )
    receive_buffer_max: int = setting(
        32 * 1024 * 1024,
        "The size up to which the receive buffer grows.",
        kind=SIZE,
        minimum=1,
        needs="receive_autotune",
        used_by=RECEIVER,
        source="Linux: net.ipv4.tcp_rmem",
    )
    payload: str = setting(
        "pattern",
        'What connections carry: "pattern", bytes that follow from their position and that the receiver '
        'compares, or "bytes", whatever the application writes.',
        choices=("pattern", "bytes"),
        source=OWN,
    )
    window_scaling: bool = setting(
        True, "The SYN offers the window scale option.", source="RFC 7323 section 2"
    )
    window_scale: int = setting(
        -1,
        "The shift to offer. -1 takes the smallest one with which the whole buffer can be offered. A shift "
        "that leaves less than two units of the window in the buffer is reduced.",
        unit="bits",
        minimum=-1,
        maximum=14,
        needs="window_scaling",
        source="RFC 7323 section 2.3",
    )
    timestamps: bool = setting(True, "The SYN offers the timestamps option.", source="RFC 7323 section 3")
    sack: bool = setting(
        True,
        "Selective acknowledgments, those of duplicate segments included.",
        source="RFC 2018, RFC 2883",
    )
    rack_tlp: bool = setting(
        True,
        "Losses are detected by RACK, and a tail loss by a probe; both need SACK. Without it losses are "
        "detected by RFC 6675 alone.",
        source="RFC 8985",
    )
    limited_transmit: bool = setting(
        True,
        "The first two duplicate ACKs release a new segment each.",
        used_by=SENDER,
        source="RFC 3042",
    )
    ecn: bool = setting(
        False, "The SYN negotiates Explicit Congestion Notification.", source="RFC 3168 section 6.1"
    )
    nagle: bool = setting(
        True,
        "Nagle's algorithm: a segment that is not full waits while data is unacknowledged.",
        used_by=SENDER,
        source="RFC 9293 section 3.7.4",
    )
    ack_every: int = setting(
        2,
        "Full-sized segments that one ACK covers. 1 acknowledges every segment.",
        unit="segments",
        minimum=1,
        maximum=1000,
        used_by=RECEIVER,
        source="RFC 5681 section 4.2",
    )
    delayed_ack: int = setting(
        40 * MILLISECOND,
        "The longest delay of an ACK. RFC 9293 allows 500 ms.",
        kind=TIME,
        used_by=RECEIVER,
        source="RFC 9293 section 3.8.6.3; Linux: TCP_DELACK_MIN",
    )
    rto_initial: int = setting(
        SECOND,
        "The retransmission time-out before the first round-trip time is measured.",
        kind=TIME,
        minimum=1,
        source="RFC 6298 section 2.1",
    )
    rto_min: int = setting(
        200 * MILLISECOND,
        "The least retransmission time-out. RFC 6298 has 1 s.",
        kind=TIME,
        minimum=1,
        source="RFC 6298 section 2.4; Linux: TCP_RTO_MIN",
    )
    rto_max: int = setting(
        2 * MINUTE,
        "The largest retransmission time-out, at which doubling ends.",
        kind=TIME,
        minimum=1,
        source="RFC 6298 section 2.5; Linux: TCP_RTO_MAX",
    )
    rto_granularity: int = setting(
        MILLISECOND,
        "The clock granularity G of the retransmission timer.",
        kind=TIME,
        minimum=1,
        source="RFC 6298 section 2.3",
    )
    syn_retries: int = setting(
        6,
        "Retransmissions of a SYN or SYN/ACK after which the connection is given up.",
        unit="retransmissions",
        maximum=127,
        source="RFC 9293 section 3.8.3; Linux: net.ipv4.tcp_syn_retries",
    )
    data_retries: int = setting(
        15,
        "Retransmission time-outs in a row after which the connection is given up.",
        unit="retransmissions",
        maximum=127,
        source="RFC 9293 section 3.8.3; Linux: net.ipv4.tcp_retries2",
    )
    persist_max: int = setting(
        60 * SECOND,
        "The largest interval between zero-window probes.",
        kind=TIME,
        minimum=1,
        used_by=SENDER,
        source="RFC 9293 section 3.8.6.1; FreeBSD: TCPTV_PERSMAX",
    )
    zero_window_probe: str = setting(
        "byte",
        'What a zero-window probe is: "byte", one octet of new data (RFC 9293), or "empty", an old sequence '
        "number without data (Linux).",
        choices=("byte", "empty"),
        used_by=SENDER,
        source="RFC 9293 section 3.8.6.1",
    )
    keepalive: bool = setting(
        False,
        "An idle connection is probed. RFC 9293 demands that this is off by default.",
        source="RFC 9293 section 3.8.4",
    )
    keepalive_idle: int = setting(
        120 * MINUTE,
        "The time without a segment after which the first keepalive probe is sent.",
        kind=TIME,
        minimum=1,
        needs="keepalive",
        source="RFC 9293 section 3.8.4",
    )
    keepalive_interval: int = setting(
        75 * SECOND,
        "The time between two keepalive probes that get no answer.",
        kind=TIME,
        minimum=1,
        needs="keepalive",
        source="Linux: net.ipv4.tcp_keepalive_intvl",
    )
    keepalive_probes: int = setting(
        9,
        "Keepalive probes without an answer after which the connection is given up.",
        unit="probes",
        minimum=1,
        maximum=127,
        needs="keepalive",
        source="Linux: net.ipv4.tcp_keepalive_probes",
    )
    time_wait: int = setting(
        MINUTE,
        "The duration of TIME-WAIT, 2 MSL. The RFC's value is 4 minutes, Linux waits one.",
        kind=TIME,
        source="RFC 9293 section 3.4.2; Linux: TCP_TIMEWAIT_LEN",
    )
    fin_timeout: int = setting(
        MINUTE,
        "The longest duration of FIN-WAIT-2 once the application has given up reading, too. After a "
        "half-close FIN-WAIT-2 lasts until the peer's FIN (RFC 9293 section 3.6).",
        kind=TIME,
        source="Linux: net.ipv4.tcp_fin_timeout",
    )
    path_mtu_discovery: bool = setting(
        True, "The size of segments follows the path MTU.", source="RFC 1191, RFC 8201"
    )
    slow_start_after_idle: bool = setting(
        True,
        "After an idle time of an RTO the congestion window restarts from the initial one.",
        used_by=SENDER,
        source="RFC 5681 section 4.1",
    )
    challenge_ack_limit: int = setting(
        10,
        "The most challenge ACKs in five seconds.",
        unit="segments",
        source="RFC 5961 section 7",
    )
    initial_sequence: int = setting(
        -1,
        "The initial sequence number. -1 draws it.",
        minimum=-1,
        maximum=(1 << 32) - 1,
        source="RFC 9293 section 3.4.1",
    )
    initial_timestamp: int = setting(
        -1,
        "The first timestamp on the wire. -1 draws it.",
        minimum=-1,
        maximum=(1 << 32) - 1,
        source="RFC 7323 section 5.4",
    )
    header_prediction: bool = setting(
        True,
        "The expected segment takes a short path through the code. Off, nothing may change but the speed.",
        source=OWN,
    )
    #: Multipath TCP has tables of its own; it is not enabled by default.
    mptcp: MptcpConfig = field(default_factory=MptcpConfig)
