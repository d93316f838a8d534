"""What the parameters of ``ipfw pipe | queue | sched N config`` come to, with dummynet's defaults."""

from __future__ import annotations

from typing import Final

from mptcpsim.core.segment import Packet, Segment, is_ipv6
from mptcpsim.freebsd.addresses import FiveTuple
from mptcpsim.freebsd.dummynet import Codel, Config, Mask, Red, beyond_limits
from mptcpsim.net.pipe import DROP_TAIL, PipeSettings
from mptcpsim.net.shared import FlowKey
from mptcpsim.plugins import Value
from mptcpsim.qdiscs import CoDel, Gred
from mptcpsim.qdiscs import Red as RedQueue

#: Slots of a queue whose length is not given, and the least length in bytes that dummynet takes.
DEFAULT_SLOTS: Final = 50
LEAST_OCTETS: Final = 1500

#: What ``sysctl net.inet.ip.dummynet`` says at first; those that are not here have no effect.
SYSCTLS: Final = {
    "io_fast": 0,
    "pipe_slot_limit": 100,
    "pipe_byte_limit": 1 << 20,
    "red_avg_pkt_size": 512,
    "red_max_pkt_size": 1500,
}

#: ``kern.hz``: io_fast lets through what the bandwidth brings in one tick of this clock.
HZ: Final = 1000

Discipline = tuple[str, dict[str, Value]]


def flow_key(mask: Mask, packet: Packet) -> FlowKey:
    """Return what is left of a packet under a mask."""
    flow = packet.flow
    protocol = "tcp" if isinstance(packet, Segment) else "icmp6" if is_ipv6(flow.src) else "icmp"
    return mask.flow(FiveTuple(protocol, *flow))


def queue_limit(config: Config, sysctls: dict[str, int]) -> tuple[int, bool]:
    """Return the limit of a queue, and whether it is in bytes.

    Raises:
        DialectError: it is below what a queue needs, or beyond what the sysctls allow.
    """
    problem = beyond_limits(config, sysctls["pipe_slot_limit"], sysctls["pipe_byte_limit"])
    if problem:
        raise config.at.error(problem)
    if config.octets is not None:
        if config.octets < LEAST_OCTETS:
            raise config.at.error(
                f"a queue of {config.octets} bytes: dummynet takes {LEAST_OCTETS} at least: make it longer"
            )
        return config.octets, True
    if config.slots == 0:
        raise config.at.error("a queue of 0 slots: dummynet takes 1 at least: make it longer")
    return config.slots or DEFAULT_SLOTS, False


def discipline(config: Config, sysctls: dict[str, int]) -> Discipline:
    """Return the queue discipline of a pipe or queue, and its parameters."""
    if config.red is not None:
        return (Gred if config.red.gentle else RedQueue).NAME, _red_values(config.red, sysctls)
    if isinstance(config.aqm, Codel):
        return CoDel.NAME, dict(config.aqm._asdict())
    if config.aqm is not None:
        raise config.at.error("pie is not there yet: write codel, or red with its thresholds")
    return DROP_TAIL, {}


def _red_values(red: Red, sysctls: dict[str, int]) -> dict[str, Value]:
    return {
        "w_q": red.weight,
        "min_th": float(red.lowest),
        # Equal thresholds are allowed with ecn, which marks all that is above the lower one.
        "max_th": float(max(red.highest, red.lowest + 1)),
        "max_p": red.probability,
        "ecn": red.ecn,
        "ecn_always": red.ecn,
        "small_packet": sysctls["red_avg_pkt_size"],
        "large_packet": sysctls["red_max_pkt_size"],
    }


def pipe_settings(config: Config, sysctls: dict[str, int], tick_ns: int) -> PipeSettings:
    """Return the settings of a pipe.

    Raises:
        DialectError: a value is out of its range.
    """
    limit, in_bytes = queue_limit(config, sysctls)
    qdisc, values = discipline(config, sysctls)
    rate = config.bw or 0
    return PipeSettings(
        rate_bps=rate,
        delay_ns=config.delay or 0,
        tick_ns=tick_ns,
        limit=limit,
        limit_in_bytes=in_bytes,
        burst_bits=8 * (config.burst or 0) + (rate // HZ if sysctls["io_fast"] else 0),
        plr=config.plr or (),
        qdisc=qdisc,
        qdisc_parameters=values,
    )
