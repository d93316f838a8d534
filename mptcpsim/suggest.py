"""What a message says of an unknown word: the words that may be meant, or all that are known.

Typing errors are found by letters, other orders by parts (``min_rto``: ``rto_min``), and other words
for the same thing by a table: those of Linux, iperf, ``tc``, dummynet, ns-3 and textbooks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache
from typing import Final

#: Names that a message lists in full; of more it shows those most alike.
MOST_NAMES: Final = 64

#: From this likeness on a name is what was meant; from the lower one on it may be, and the others are
#: listed, too (``direction`` is written nearly like ``duration``).
_SURE: Final = 0.86
_POSSIBLE: Final = 0.6

#: That of another order of the parts, of another word for the same, and of one letter that is wrong.
_REORDERED: Final = 0.96
_CALLED_SO: Final = 0.95
_ONE_LETTER: Final = 0.9

#: That of another word for the same with a letter wrong, and how long that word is at least.
_NEARLY_CALLED_SO: Final = 0.88
_LONG_ENOUGH: Final = 5

#: Names that a message suggests, at most.
_MOST_MEANT: Final = 3

#: A name is suggested beside the best one if it is nearly as like.
_NEARLY: Final = 0.03

#: What a thing is called here, by the words that people know it by; those count that may stand at a place.
_CALLED: Final[dict[str, str]] = {
    "direction dir": "reverse forward backward direction",
    "download downstream downlink": "reverse backward",
    "upload upstream uplink": "reverse forward",
    "bandwidth bw capacity speed bitrate datarate throughput": "rate",
    "latency propagation propagation_delay rtt one_way_delay owd lag": "delay",
    "plr loss_rate loss_probability packet_loss drop drop_rate error_rate": "loss",
    "ber bit_errors": "corrupt",
    "gemodel gilbert gilbert_elliott": "loss",
    "buffer buffer_size queue_size queue_length queue_limit qlen qsize limit slots txqueuelen maxpackets":
        "queue receive_buffer send_buffer",
    "aqm discipline queue_discipline queue_type": "qdisc",
    "nodes between from_to connects": "ends",
    "rcvbuf rcv_buf rmem so_rcvbuf recv_buffer receive_window rwnd rwin window window_size recvspace":
        "receive_buffer",
    "sndbuf snd_buf wmem so_sndbuf sendspace": "send_buffer",
    "autotune autotuning moderate_rcvbuf drs": "receive_autotune",
    "cc cca congestion_control congestion_algorithm algorithm variant": "congestion",
    "cwnd congestion_window": "initial_window_segments congestion",
    "rto min_rtt": "rto_min rto_initial rto_max",
    "iw initcwnd init_cwnd initial_cwnd initial_window": "initial_window_segments",
    "ssthresh initssthresh init_ssthresh": "initial_ssthresh",
    "delack delack_time ack_delay delayed_ack_timeout": "delayed_ack",
    "acks_every ack_frequency": "ack_every",
    "nodelay no_delay": "nagle",
    "tail_loss_probe tlp rack": "rack_tlp",
    "pmtud pmtu mtu_discovery": "path_mtu_discovery",
    "retries2 retries": "data_retries",
    "syn_attempts": "syn_retries",
    "msl": "time_wait",
    "maxseg max_segment_size segment_size mtu": "mss",
    "keepalive_time keepidle": "keepalive_idle",
    "keepintvl": "keepalive_interval",
    "keepcnt keepalive_count": "keepalive_probes",
    "isn iss": "initial_sequence",
    "pm pathmanager": "path_manager",
    "sched": "scheduler",
    "stale_loss_cnt stale": "stale_timeouts",
    "allow_join_initial_addr_port allow_join_initial": "deny_join_initial",
    "subflows subflow_limit limits": "max_subflows",
    "csum checksums checksum_enabled dss_checksum": "checksum",
    "src source sender from": "client",
    "dst dest destination receiver sink target to": "server",
    "src_address source_address local_address bind_address": "client_address",
    "dst_address destination_address remote_address": "server_address",
    "dport server_port destination_port": "port",
    "size length volume amount num total transfer file_size": "bytes",
    "time end stop until runtime simtime sim_time seconds": "duration",
    "begin at start_time": "start",
    "when time_s start": "at",
    "type kind application traffic": "app action",
    "block_size chunk": "write_size message",
    "msg_size message_size packet_size": "message",
    "interval period": "every",
    "repeat requests": "count",
    "gw gateway next_hop nexthop": "via default_route",
    "dst_net prefix network": "to",
    "if iface device interface": "dev",
    "ifaces nics ports address addresses ip": "interfaces",
    "address ip_address ips ip": "addresses",
    "random_seed rng": "seed",
    "host": "hosts",
    "connections traffic_flows": "flows",
    "edges": "links",
    "timeline changes": "events",
    "runs repetitions trials": "replicates",
    "boxes middlebox": "middleboxes",
}  # fmt: skip

_SYNONYMS: Final[dict[str, set[str]]] = {}
for _words, _names in _CALLED.items():
    for _word in _words.split():
        _SYNONYMS.setdefault(_word, set()).update(_names.split())

#: What names of system settings begin with, and names here do not.
_PREFIXES: Final = ("net", "inet", "ipv4", "tcp", "mptcp")

#: Parts of names that mean the same.
_PARTS: Final = {
    part: row[0]
    for row in (
        ("maximum", "max", "most", "largest", "limit"),
        ("minimum", "min", "least", "smallest", "floor"),
        ("initial", "init", "first", "start"),
        ("window", "wnd", "win", "cwnd"),
        ("buffer", "buf", "mem"),
        ("receive", "recv", "rcv", "rx"),
        ("send", "snd", "tx"),
        ("timeout", "time-out", "to"),
        ("retries", "retransmits", "retransmissions", "attempts", "tries"),
        ("address", "addr"),
        ("interface", "iface", "if"),
        ("congestion", "cong"),
        ("connection", "conn"),
        ("acknowledgment", "ack", "acks"),
        ("segments", "segs", "packets", "pkts"),
        ("probability", "prob"),
    )
    for part in row
}


def did_you_mean(word: str, known: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
    """Return ``did you mean 'x'?`` or the list of what is known.

    Args:
        word: what was written.
        known: what could have been written.
        elsewhere: what is suggested if it is sure to be meant, and not listed otherwise.
    """
    names = list(dict.fromkeys(known))
    scores = {name: likeness(word, name) for name in names}
    meant = _sure(scores) or _sure({name: likeness(word, name.rpartition(".")[2]) for name in elsewhere})
    if meant:
        return f"did you mean {_either(meant)}?"
    if not names:
        return "there are none"
    alike = sorted(names, key=lambda name: -scores[name])
    shown = names if len(names) <= MOST_NAMES else alike[:MOST_NAMES]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    listed = f"known are {', '.join(shown)}{more}"
    return f"did you mean {alike[0]!r}? ({listed})" if scores[alike[0]] >= _POSSIBLE else listed


def nearly(word: str, known: Iterable[str], likeness: float) -> str:
    """Return the name that a word is but for a few letters, or nothing.

    For places where any word may stand, so that only what is nearly a name is told to be wrong.

    Args:
        word: what was written.
        known: the names.
        likeness: from which on it is that name, 0 to 1.
    """
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=likeness)), "")


def _sure(scores: dict[str, float]) -> list[str]:
    """Return the names that are sure to be meant, the best one first; several that are about as good."""
    least = max(_SURE, max(scores.values(), default=0.0) - _NEARLY)
    found = [name for name in scores if scores[name] >= least]
    return sorted(found, key=lambda name: -scores[name])[:_MOST_MEANT]


def likeness(word: str, name: str) -> float:
    """Return how likely it is that ``name`` was meant by ``word``: 0 to 1."""
    one, other = _parts(word), _parts(name)
    if one == other:
        return 1.0
    if not one or not other:
        return SequenceMatcher(None, word, name).ratio() * _ONE_LETTER
    if sorted(map(_common, one)) == sorted(map(_common, other)):
        return _REORDERED
    written, meant = "_".join(one), "_".join(other)
    if name in _SYNONYMS.get(written, ()):
        return _CALLED_SO
    if _one_letter_off(written, meant):
        return _ONE_LETTER
    if len(written) >= _LONG_ENOUGH and any(
        name in names and _one_letter_off(written, called) for called, names in _SYNONYMS.items()
    ):
        return _NEARLY_CALLED_SO
    return max(SequenceMatcher(None, written, meant).ratio(), _CALLED_SO * _by_parts(one, other))


def _one_letter_off(one: str, other: str) -> bool:
    """Return whether a letter is missing, too many, another one, or has changed places with the next one."""
    if len(one) > len(other):
        one, other = other, one
    if len(one) < 3 or len(other) - len(one) > 1:
        return False
    at = next((index for index in range(len(one)) if one[index] != other[index]), len(one))
    if len(one) < len(other):
        return one[at:] == other[at + 1 :]
    swapped = one[at + 1 : at + 2] + one[at : at + 1] + one[at + 2 :]
    return one[at + 1 :] == other[at + 1 :] or swapped == other[at:]


def _by_parts(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """Return how many of the parts of two names have a counterpart in the other one."""
    if len(one) == len(other) == 1:
        return 0.0  # letters tell
    found = sum(max(_alike(a, b) for b in other) for a in one)
    found += sum(max(_alike(a, b) for a in one) for b in other)
    return found / (len(one) + len(other))


def _alike(one: str, other: str) -> float:
    if _common(one) == _common(other):
        return 1.0
    if min(len(one), len(other)) >= 3 and (one.startswith(other) or other.startswith(one)):
        return 0.9
    ratio = SequenceMatcher(None, one, other).ratio()
    return ratio if ratio >= 0.75 else 0.0


def _common(part: str) -> str:
    return _PARTS.get(part, part)


@lru_cache(4096)
def _parts(word: str) -> tuple[str, ...]:
    """Return the parts of a name in small letters: of ``min_rto``, ``min-rto``, ``minRto``, ``min.rto``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word[:200])
    parts = [part for part in re.split(r"[^0-9a-z]+", spaced.casefold()) if part]
    while len(parts) > 1 and parts[0] in _PREFIXES:
        del parts[0]
    return tuple(parts)


def _either(names: list[str]) -> str:
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
