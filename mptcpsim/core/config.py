"""Everything about a TCP end that is a choice, with its default and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field

from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.plugins import Value
from mptcpsim.units import MILLISECOND, MINUTE, SECOND


@dataclass(frozen=True)
class TcpConfig:
    """Behaviour of one TCP end. Times in ns, sizes in bytes.

    The defaults are Linux's where Linux and the RFCs leave a choice. The two that
    shape every stall: the minimum RTO is 200 ms (Linux; RFC 6298 has 1 s), delayed
    ACKs wait 40 ms (Linux; RFC 9293 allows 500 ms).
    """

    #: Largest segment to announce; 0 derives it from the MTU of the outgoing interface.
    mss: int = 0
    #: Congestion control plug-in and its parameters.
    congestion: str = "cubic"
    congestion_parameters: dict[str, Value] = field(default_factory=dict)
    #: Initial window in segments, at most (RFC 6928: min(10 MSS, max(2 MSS, 14600))).
    initial_window_segments: int = 10
    #: Initial slow-start threshold; 0 means arbitrarily high (RFC 5681 section 3.1).
    initial_ssthresh: int = 0
    #: Socket buffers.
    send_buffer: int = 4 * 1024 * 1024
    receive_buffer: int = 4 * 1024 * 1024
    #: The receive buffer grows with what the application reads in a round trip (Linux: DRS), up to so much.
    receive_autotune: bool = False
    receive_buffer_max: int = 32 * 1024 * 1024
    #: RFC 7323.
    window_scaling: bool = True
    #: Shift to offer; -1 takes the smallest with which the whole buffer can be offered. At most 14,
    #: and no more than leaves two units of the window in the buffer.
    window_scale: int = -1
    timestamps: bool = True
    #: RFC 2018, RFC 2883.
    sack: bool = True
    #: RFC 8985; needs SACK. Off: RFC 6675 alone, and no tail-loss probe.
    rack_tlp: bool = True
    #: RFC 3042.
    limited_transmit: bool = True
    #: RFC 3168 section 6.1.
    ecn: bool = False
    #: Nagle's algorithm (RFC 9293 section 3.7.4).
    nagle: bool = True
    #: Full-sized segments per ACK (RFC 5681 section 4.2); 1 acknowledges every segment.
    ack_every: int = 2
    #: Longest delay of an ACK.
    delayed_ack: int = 40 * MILLISECOND
    #: RFC 6298; initial and largest retransmission time-out, clock granularity.
    rto_initial: int = SECOND
    rto_min: int = 200 * MILLISECOND
    rto_max: int = 2 * MINUTE
    rto_granularity: int = MILLISECOND
    #: Time-outs in a row after which the connection is given up (RFC 9293 section 3.8.3).
    syn_retries: int = 6
    data_retries: int = 15
    #: Largest interval between zero-window probes.
    persist_max: int = 60 * SECOND
    #: What a zero-window probe is: "byte", one octet of new data (RFC 9293 section 3.8.6.1),
    #: or "empty", an old sequence number without data (Linux).
    zero_window_probe: str = "byte"
    #: Keepalive (RFC 9293 section 3.8.4); off by default, as the RFC demands.
    keepalive: bool = False
    keepalive_idle: int = 120 * MINUTE
    keepalive_interval: int = 75 * SECOND
    keepalive_probes: int = 9
    #: 2 MSL. The RFC's value is 4 minutes, Linux waits one.
    time_wait: int = MINUTE
    #: How long FIN-WAIT-2 lasts, at most, once the application has given up reading, too (Linux:
    #: ``tcp_fin_timeout``). After a half-close it lasts until the peer's FIN (RFC 9293 section 3.6).
    fin_timeout: int = MINUTE
    #: Path MTU discovery (RFC 1191, RFC 8201).
    path_mtu_discovery: bool = True
    #: Slow-start restart after an idle RTO (RFC 5681 section 4.1).
    slow_start_after_idle: bool = True
    #: Challenge ACKs in five seconds, at most (RFC 5961 section 7).
    challenge_ack_limit: int = 10
    #: First sequence number and timestamp on the wire; -1 draws them (RFC 9293 section 3.4.1).
    initial_sequence: int = -1
    initial_timestamp: int = -1
    #: Use the short path for the expected segment; off only to check that it changes nothing.
    header_prediction: bool = True
    #: Multipath TCP; not enabled by default.
    mptcp: MptcpConfig = field(default_factory=MptcpConfig)
