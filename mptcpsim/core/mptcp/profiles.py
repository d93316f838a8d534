"""Behaviour profiles: named sets of settings of the one core.

Each profile is a table of the settings that differ from RFC 8684. Each entry names the source of
the behaviour and how certain it is. A scenario may change any setting of the profile that it names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, NamedTuple

from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.units import MILLISECOND, MINUTE, SECOND


class ProfileSetting(NamedTuple):
    """A field of ``MptcpConfig``, its value in a profile, and the source of that value."""

    key: str
    value: Any
    known: str


#: How certain a value is.
MEASURED: Final = "measured on a live kernel: "
READ: Final = "read in source or notes: "
INFERRED: Final = "inferred: "

_VERSION_0: Final = (
    ProfileSetting("versions", (0,), READ + "RFC 6824"),
    ProfileSetting("fastclose", "ack", READ + "RFC 6824 section 3.5 has no other variant"),
)

_CAIA: Final = (
    *_VERSION_0,
    ProfileSetting("scheduler", "roundrobin", READ + "notes of v0.51"),
    ProfileSetting("path_manager", "mp_addresses", READ + "notes of v0.51: a full mesh of mp_addresses"),
    ProfileSetting(
        "join_after", "at-once", READ + "the seed: ADD_ADDR as soon as the connection is established"
    ),
    ProfileSetting("dsn_octets", 4, READ + "notes of v0.51: 32-bit numbers on the wire"),
    ProfileSetting("data_ack_octets", 4, READ + "notes of v0.51"),
    ProfileSetting("validate_hmac", False, READ + "notes of v0.51: HMACs exchanged, not validated"),
    ProfileSetting("hold_unmapped", False, READ + "notes of v0.51: nothing kept without a mapping"),
    ProfileSetting("infinite_mapping", False, READ + "notes of v0.51"),
    ProfileSetting("path_probe", 0, INFERRED + "TCP of FreeBSD knows no such thing"),
    ProfileSetting("cache_versions", False, INFERRED + "it speaks one version only"),
    ProfileSetting("persist_min", 5 * SECOND, READ + "FreeBSD: the persist timer runs 5 to 60 s"),
    ProfileSetting("subflow_probe", "byte", READ + "FreeBSD probes with a byte of what waits"),
)

#: What each profile changes; "rfc8684" has the default of every setting.
TABLE: Final[dict[str, tuple[ProfileSetting, ...]]] = {
    "rfc8684": (),
    "rfc6824": _VERSION_0,
    "caia-v0.4": (
        *_CAIA,
        ProfileSetting("max_subflows", 4, READ + "the test documents of its successors use four"),
        ProfileSetting(
            "receive_window",
            "subflow",
            INFERRED + "a later port: one buffer, but rcv_adv and rcv_nxt of each subflow",
        ),
        ProfileSetting(
            "window_update",
            "one",
            INFERRED + "a later port: a read drives the one subflow that the scheduler chooses",
        ),
        ProfileSetting("window_update_rule", "bsd", READ + "tcp_output of FreeBSD"),
        ProfileSetting(
            "map_ahead",
            True,
            INFERRED + "a later port: maps are allocated before tcp_output looks at windows",
        ),
        ProfileSetting(
            "connection_window",
            False,
            INFERRED + "a later port never calls the functions that compute the connection's window",
        ),
    ),
    "caia-v0.51": (
        *_CAIA,
        ProfileSetting("max_subflows", 2, READ + "notes of v0.51: at most two in practice"),
        ProfileSetting(
            "receive_window",
            "own",
            READ + "a subflow announces its own, empty socket; reassembly appends without a check of space",
        ),
        ProfileSetting(
            "window_update",
            "none",
            READ + "output returns without a segment when there is no new map and no flag is set",
        ),
        ProfileSetting(
            "data_ack_on_updates", False, READ + "a DATA_ACK goes out only when a flag asks for one"
        ),
        ProfileSetting("connection_window", False, READ + "the functions that compute it are never called"),
        ProfileSetting("wake_on_window", False, READ + "the scheduler runs when the DATA_ACK advances"),
        ProfileSetting(
            "persist_blocks", True, READ + "the scheduler skips subflows whose t_rxtshift is not 0"
        ),
        ProfileSetting(
            "data_timeout", 4 * SECOND, READ + "its data retransmission timer, back-off 1, 1, 1, 1"
        ),
        ProfileSetting("data_retries", 3, READ + "three shifts, then every subflow is reset: ETIMEDOUT"),
    ),
    "linux-6.18": (
        ProfileSetting("join_after", "add-addr", MEASURED + "joins follow a DATA_ACK or an ADD_ADDR"),
        ProfileSetting(
            "scheduler_parameters",
            {"opportunistic": False, "penalise": False},
            READ + "upstream's scheduler has neither; the out-of-tree kernel had both",
        ),
        ProfileSetting("share_send_window", True, MEASURED + "an update on one subflow resumes all"),
        ProfileSetting("keep_until_acked", False, READ + "data leaves the send buffer with the DATA_ACK"),
        ProfileSetting("path_probe", 0, MEASURED + "its own retransmissions only"),
        ProfileSetting("add_addr_timeout", 2 * MINUTE, READ + "net.mptcp.add_addr_timeout"),
        ProfileSetting("close_timeout", MINUTE, READ + "net.mptcp.close_timeout"),
        ProfileSetting("cache_versions", False, MEASURED + "it speaks version 1 only"),
        ProfileSetting("persist_shift", 1, MEASURED + "probes after two RTOs, two, four, eight and so on"),
        ProfileSetting("window_update_rule", "linux", READ + "tcp_cleanup_rbuf"),
        ProfileSetting("fill_window", True, MEASURED + "what is left of the window is sent at once"),
        ProfileSetting(
            "invalid_ratelimit", 500 * MILLISECOND, MEASURED + "an early second probe gets no answer"
        ),
        ProfileSetting(
            "data_probe", True, MEASURED + "a byte with DSN = DATA_ACK - 1 goes first; counter WinProbe"
        ),
        ProfileSetting(
            "data_ack_lag",
            MILLISECOND,
            MEASURED + "data that arrives in the wake of a read is acknowledged without a new DATA_ACK; "
            "for how long is fitted: 0.5 to 2 ms repeat as many bytes as was measured",
        ),
        ProfileSetting(
            "data_retransmit", 32 * 1024, INFERRED + "the first fragment of its queue is repeated"
        ),
    ),
}
TABLE["linux-6.17-noprobe"] = (
    *(setting for setting in TABLE["linux-6.18"] if setting.key != "data_probe"),
    ProfileSetting("data_probe", False, READ + 'netdev, October 2025: the probe "had been always disabled"'),
    ProfileSetting(
        "subflow_probe", "none", INFERRED + "TCP probes only for what is in its queue, and that is empty"
    ),
)


def _config(name: str, settings: tuple[ProfileSetting, ...]) -> MptcpConfig:
    values = {setting.key: setting.value for setting in settings}
    return replace(MptcpConfig(enabled=True), profile=name, **values)


PROFILES: Final[dict[str, MptcpConfig]] = {name: _config(name, settings) for name, settings in TABLE.items()}

#: What each profile is, in a sentence for people.
SUMMARIES: Final[dict[str, str]] = {
    "rfc8684": "MPTCP version 1 as RFC 8684 has it: what `mptcp = true` means",
    "rfc6824": "MPTCP version 0 as RFC 6824 has it: HMAC-SHA1, ADD_ADDR without echo",
    "caia-v0.4": "the FreeBSD patch of 2014: version 0, full mesh of mp_addresses, round robin, "
    "32-bit numbers, window updates on one subflow",
    "caia-v0.51": "its successor of 2015: no flow control at the connection, no window updates, "
    "no data-level persist",
    "linux-6.18": "the Linux kernel: endpoints, joins after an ADD_ADDR, a subflow may use the window of the "
    "connection, a byte of old data probes a window that reopens",
    "linux-6.17-noprobe": "the Linux kernel before the probe of the connection's window was restored",
}


def profile(name: str) -> MptcpConfig:
    """Return the configuration of a profile.

    Raises:
        KeyError: no such profile; ``PROFILES`` has them all.
    """
    return PROFILES[name]
