"""What a pipe is like: the one definition of each key of ``[[links]]`` that belongs to its pipes.

What a definition consists of, and what is derived from it, is in ``mptcpsim.settings``. The fields are in
the units in which a pipe computes; those without a definition are dummynet's alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mptcpsim.plugins import Value
from mptcpsim.settings import LOSS, OWN, PROBABILITY, QUEUE, RATE, SIZE, TIME, setting

#: The name of the discipline that adds nothing to the queue limit.
DROP_TAIL: Final = "droptail"


@dataclass(frozen=True)
class PipeSettings:
    """What a pipe is like. The defaults are dummynet's: no rate limit, no delay, 50 slots."""

    rate_bps: int = setting(
        0,
        "The rate at which packets are transmitted. 0 is unlimited.",
        key="rate",
        kind=RATE,
        source="dummynet: bw",
    )
    delay_ns: int = setting(
        0,
        "The constant one-way delay behind the transmitter.",
        key="delay",
        kind=TIME,
        source="dummynet: delay",
    )
    #: The delay is rounded up to a whole number of ticks, ns; 0: not at all.
    tick_ns: int = 0
    limit: int = setting(
        50,
        'The length of the queue, in packets ("50 packets" or 50) or in bytes ("30KiB").',
        key="queue",
        kind=QUEUE,
        needs="rate",
        source="dummynet: queue",
    )
    limit_in_bytes: bool = False
    qdisc: str = setting(
        DROP_TAIL,
        "The queue discipline, which drops or marks packets before the queue is full.",
        family="qdisc",
        needs="rate",
        source="RFC 7567; dummynet: red, codel and others",
    )
    qdisc_parameters: dict[str, Value] = field(default_factory=dict)
    #: K, p, H, r or p alone (``loss.random_loss``); nothing: no loss.
    plr: tuple[float, ...] = setting(
        (),
        "The packets that are lost: a probability, {k = 0.0, p = 0.01, h = 0.5, r = 0.2} (Gilbert-Elliott), "
        "{every = 100}, or {packets = [7]}.",
        key="loss",
        kind=LOSS,
        source="dummynet: plr",
    )
    jitter_ns: int = setting(
        0,
        "A random extra delay, uniform between 0 and this.",
        key="jitter",
        kind=TIME,
        source=OWN,
    )
    jitter_reorders: bool = setting(
        False, "Packets may overtake each other by their jitter.", needs="jitter", source=OWN
    )
    reorder: float = setting(
        0.0,
        "The probability that a packet is held back by reorder_delay while others overtake it.",
        kind=PROBABILITY,
        source="Linux: tc netem reorder",
    )
    reorder_ns: int = setting(
        0,
        "How long a packet is held back that others overtake.",
        key="reorder_delay",
        kind=TIME,
        needs="reorder",
        source=OWN,
    )
    duplicate: float = setting(
        0.0,
        "The probability that a packet is sent twice.",
        kind=PROBABILITY,
        source="Linux: tc netem duplicate",
    )
    corrupt: float = setting(
        0.0,
        "The probability that a bit of a packet is flipped.",
        kind=PROBABILITY,
        source="Linux: tc netem corrupt",
    )
    burst_bits: int = setting(
        0,
        "How much may pass at once after the pipe was idle.",
        key="burst",
        kind=SIZE,
        scale=8,
        needs="rate",
        source="dummynet: burst",
    )
    overhead_bytes: int = setting(
        0,
        "Added to the length of each IP packet while it is transmitted (Ethernet: 14, or 38 with preamble, "
        "checksum and gap).",
        unit="bytes",
        maximum=1000,
        of_each_way=False,
        source="IEEE 802.3",
    )
    #: A delay profile: each packet draws one of these times, ns, and occupies the transmitter for so
    #: long beyond its serialisation; those that draw the number ``profile_lost_from`` or a higher one
    #: are lost behind the transmitter.
    profile: tuple[int, ...] = ()
    profile_lost_from: int = 0
    down_drops_queue: bool = setting(
        True,
        "A link that goes down drops the packets that wait or are in service.",
        of_each_way=False,
        source=OWN,
    )
    down_drops_flight: bool = setting(
        False,
        "A link that goes down drops the packets that it has transmitted already.",
        of_each_way=False,
        source=OWN,
    )

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a value is out of range; the message names it.
        """
        for name in (
            "rate_bps",
            "delay_ns",
            "tick_ns",
            "burst_bits",
            "overhead_bytes",
            "jitter_ns",
            "reorder_ns",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is negative")
        check_limit(self.limit, self.limit_in_bytes)
        for name in ("reorder", "duplicate", "corrupt"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is no probability: it lies outside 0 to 1")
        if self.reorder > 0.0 and self.reorder_ns == 0:
            raise ValueError("reorder_ns: a packet that is overtaken needs a time to be held back")


def check_limit(limit: int, in_bytes: bool) -> None:
    """Check a queue limit.

    Raises:
        ValueError: it is less than a queue needs.
    """
    if limit < (0 if in_bytes else 1):
        raise ValueError("limit: a queue needs at least one slot, or 0 bytes")
