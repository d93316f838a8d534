"""What the parameters of ``ipfw pipe | queue | sched N config`` come to, with dummynet's defaults."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mptcpsim.core.segment import Packet
from mptcpsim.freebsd.delay_profile import DelayProfile
from mptcpsim.freebsd.dummynet_config import CodelConfig, Config, Mask, PieConfig, RedConfig, beyond_limits
from mptcpsim.freebsd.passages import seen
from mptcpsim.net.pipe import DROP_TAIL, PipeSettings
from mptcpsim.net.shared import FlowKey
from mptcpsim.plugins import Value
from mptcpsim.qdiscs import CoDel, Drr, FqCoDel, FqPie, Gred, Wf2qPlus
from mptcpsim.qdiscs import Pie as PieQueue
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


def narrowed(mask: Mask, key: FlowKey) -> FlowKey:
    """Return what is left of a flow under a mask that tells fewer flows apart."""
    version, protocol, source, sport, destination, dport = key
    return mask.narrowed((version, protocol, source, sport, destination, dport))


def flow_key(mask: Mask, packet: Packet) -> FlowKey:
    """Return what is left of a packet under a mask."""
    return mask.flow(seen(packet).packet)


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
    """Return the queue discipline of a queue, and its parameters."""
    if config.red is not None:
        return (Gred if config.red.gentle else RedQueue).NAME, _red_values(config.red, sysctls)
    if config.aqm is not None:
        return (CoDel if isinstance(config.aqm, CodelConfig) else PieQueue).NAME, _aqm_values(config.aqm)
    return DROP_TAIL, {}


def scheduler(config: Config, kind: str) -> Discipline:
    """Return the scheduler of a type as a queue discipline, and its parameters; fifo is none.

    Raises:
        DialectError: there is none of this type.
    """
    if kind == "qfq":
        raise config.at.error(
            "qfq is not simulated: write wf2q+, whose shares are the same and at least as even"
        )
    if config.flow_queues is not None:
        queues = config.flow_queues
        values: dict[str, Value] = {"quantum": queues.quantum, "limit": queues.limit, "flows": queues.flows}
        fq = FqCoDel if isinstance(queues.aqm, CodelConfig) else FqPie
        return fq.NAME, values | _aqm_values(queues.aqm)
    return (Drr if kind == "rr" else Wf2qPlus).NAME, {}


def _aqm_values(aqm: CodelConfig | PieConfig) -> dict[str, Value]:
    values: dict[str, Value] = dict(aqm._asdict())
    if isinstance(aqm, PieConfig):
        values["dre"] = not values.pop("timestamps")
    return values


def _red_values(red: RedConfig, sysctls: dict[str, int]) -> dict[str, Value]:
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


def link_settings(
    config: Config | None, sysctls: dict[str, int], tick_ns: int, profile: DelayProfile | None
) -> PipeSettings:
    """Return the settings of a pipe without those of its queue; without a configuration it has no limits.

    Raises:
        DialectError: the bandwidth is missing, or said twice.
    """
    if config is None:
        return PipeSettings(tick_ns=tick_ns)
    rate = config.bw or 0
    if profile is not None:
        if profile.bw is not None and config.bw is not None:
            raise config.at.error(
                f"the profile has a bandwidth, and the line has another: leave bw {config.bw}bit/s out"
            )
        rate = rate or profile.bw or 0
        if rate == 0:
            raise config.at.error("a profile has no effect on a link without a bandwidth: write bw")
    return PipeSettings(
        rate_bps=rate,
        delay_ns=config.delay or 0,
        tick_ns=tick_ns,
        burst_bits=8 * (config.burst or 0) + (rate // HZ if sysctls["io_fast"] else 0),
        profile=profile.table() if profile is not None else (),
        profile_lost_from=profile.lost_from() if profile is not None else 0,
    )


def with_queue(link: PipeSettings, config: Config, sysctls: dict[str, int]) -> PipeSettings:
    """Return the settings of a link with those of a FIFO queue in front of it.

    Raises:
        DialectError: a value is out of its range.
    """
    limit, in_bytes = queue_limit(config, sysctls)
    qdisc, values = discipline(config, sysctls)
    return replace(
        link,
        limit=limit,
        limit_in_bytes=in_bytes,
        plr=config.plr or (),
        qdisc=qdisc,
        qdisc_parameters=values,
    )
