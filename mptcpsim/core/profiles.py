"""Behaviour profiles: named sets of switches over the one core.

Each entry says where its behaviour is known from. A scenario may change any switch of
the profile that it names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.units import MINUTE

#: RFC 8684 as it is written.
_RFC8684: Final = MptcpConfig(enabled=True)

PROFILES: Final[dict[str, MptcpConfig]] = {
    "rfc8684": _RFC8684,
    # RFC 6824 as it is written. There is no echo: ADD_ADDR is sent once.
    "rfc6824": replace(_RFC8684, profile="rfc6824", versions=(0,), fastclose="ack"),
    # The FreeBSD patch of the seed. Known from the notes of its v0.51: version 0, full mesh from
    # mp_addresses, round robin, 32-bit numbers, HMACs not validated, one mapping a segment, nothing
    # kept without a mapping, no infinite mapping. Four subflows: its tests use as many. The window
    # update on one subflow is inferred from the source of a later port (mechanism M1).
    "caia-v0.4": replace(
        _RFC8684,
        profile="caia-v0.4",
        versions=(0,),
        scheduler="roundrobin",
        path_manager="mp_addresses",
        join_after="at-once",
        max_subflows=4,
        dsn_octets=4,
        data_ack_octets=4,
        validate_hmac=False,
        hold_unmapped=False,
        infinite_mapping=False,
        window_update="one",
        path_probe=0,
        fastclose="ack",
        cache_versions=False,
    ),
    # Linux 6.18, measured against its captures.
    "linux-6.18": replace(
        _RFC8684,
        profile="linux-6.18",
        join_after="add-addr",
        share_send_window=True,
        keep_until_acked=False,
        path_probe=0,
        add_addr_timeout=2 * MINUTE,
        close_timeout=MINUTE,
        cache_versions=False,
    ),
}

#: What each profile is, in a sentence for people.
SUMMARIES: Final[dict[str, str]] = {
    "rfc8684": "MPTCP version 1 as RFC 8684 has it: what `mptcp = true` means",
    "rfc6824": "MPTCP version 0 as RFC 6824 has it: HMAC-SHA1, ADD_ADDR without echo",
    "caia-v0.4": "the FreeBSD patch of 2014: version 0, full mesh of mp_addresses, round robin, "
    "32-bit numbers, no check of HMACs, no infinite mapping",
    "linux-6.18": "the Linux kernel: endpoints, joins after an ADD_ADDR, a subflow may use the window of the "
    "connection",
}


def profile(name: str) -> MptcpConfig:
    """Return the configuration of a profile.

    Raises:
        KeyError: no such profile; ``PROFILES`` has them all.
    """
    return PROFILES[name]
