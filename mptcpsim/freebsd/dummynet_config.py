"""What ``ipfw pipe | queue | sched N config ...`` gives to an object of dummynet.

None stands for what was not given; the defaults are those of whoever carries it out.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.freebsd.addresses import FiveTuple, number_of
from mptcpsim.freebsd.lines import Line, quoted
from mptcpsim.units import MICROSECOND, MILLISECOND

#: Objects are numbered from 1 to this.
LARGEST_NUMBER: Final = 65535


#: Limits of ``queue``: the sysctls pipe_slot_limit and pipe_byte_limit, with their defaults.
SLOT_LIMIT: Final = 100


BYTE_LIMIT: Final = 1 << 20


#: Version, protocol, source address and port, destination address and port, as numbers.
FlowNumbers = tuple[int, int, int, int, int, int]


class Mask(NamedTuple):
    """Which bits of a packet tell one flow from another; numbers with ones where they count."""

    src_ip: int = 0
    dst_ip: int = 0
    src_ip6: int = 0
    dst_ip6: int = 0
    src_port: int = 0
    dst_port: int = 0
    flow_id: int = 0
    proto: int = 0

    def flow(self, packet: FiveTuple) -> FlowNumbers:
        """Return what packets of one flow have in common; flow labels of IPv6 are all 0 here."""
        version, source = number_of(packet.src)
        destination = number_of(packet.dst)[1]
        protocol = {"icmp": 1, "tcp": 6, "udp": 17, "icmp6": 58}.get(packet.protocol, 0)
        return self.narrowed((version, protocol, source, packet.sport, destination, packet.dport))

    def narrowed(self, flow: FlowNumbers) -> FlowNumbers:
        """Return what is left under this mask of a flow that is told from others by more."""
        version, protocol, source, sport, destination, dport = flow
        src, dst = (self.src_ip6, self.dst_ip6) if version == 6 else (self.src_ip, self.dst_ip)
        return (
            version,
            protocol & self.proto,
            source & src,
            sport & self.src_port,
            destination & dst,
            dport & self.dst_port,
        )

    def joined(self, other: Mask) -> Mask:
        """Return the mask under which flows differ that differ under this one or the other."""
        return Mask(*(one | more for one, more in zip(self, other, strict=True)))

    def __str__(self) -> str:
        if self == MASK_ALL:
            return "mask all"
        words = ["mask"]
        for (word, bits), value in zip(MASK_WORDS.items(), self, strict=True):
            if value:
                words += [word, f"/{value.bit_count()}" if bits == 128 else f"{value:#x}"]
        return " ".join(words)


MASK_WORDS: Final = {"src-ip": 32, "dst-ip": 32, "src-ip6": 128, "dst-ip6": 128, "src-port": 16,
                      "dst-port": 16, "flow-id": 20, "proto": 8}  # fmt: skip


MASK_ALL: Final = Mask(*((1 << bits) - 1 for bits in MASK_WORDS.values()))


class RedConfig(NamedTuple):
    """RED, or gentle RED. Thresholds in bytes when the queue is given in bytes, else in slots."""

    weight: float
    lowest: int
    highest: int
    probability: float
    gentle: bool = False
    ecn: bool = False

    def __str__(self) -> str:
        text = f"{'gred' if self.gentle else 'red'} {self.weight!r}/{self.lowest}/{self.highest}/"
        return text + f"{self.probability!r}{' ecn' if self.ecn else ''}"


class CodelConfig(NamedTuple):
    """CoDel; times in ns."""

    target: int = 5 * MILLISECOND
    interval: int = 100 * MILLISECOND
    ecn: bool = False

    def __str__(self) -> str:
        return " ".join(["codel", *self.words()])

    def words(self) -> list[str]:
        """Return the parameters as ipfw takes them."""
        return [f"target {time_text(self.target)}", f"interval {time_text(self.interval)}",
                "ecn" if self.ecn else "noecn"]  # fmt: skip


class PieConfig(NamedTuple):
    """PIE; times in ns. ``timestamps`` measures the delay of the queue instead of estimating it."""

    target: int = 15 * MILLISECOND
    tupdate: int = 15 * MILLISECOND
    alpha: float = 0.125
    beta: float = 1.25
    max_burst: int = 150 * MILLISECOND
    max_ecnth: float = 0.1
    ecn: bool = False
    capdrop: bool = True
    drand: bool = True
    onoff: bool = False
    timestamps: bool = False

    def __str__(self) -> str:
        return " ".join(["pie", *self.words()])

    def words(self) -> list[str]:
        """Return the parameters as ipfw takes them."""
        words = [f"{name} {time_text(getattr(self, name))}" for name in ("target", "tupdate", "max_burst")]
        words += [f"{name} {getattr(self, name)!r}" for name in ("alpha", "beta", "max_ecnth")]
        words += ["ecn" if self.ecn else "noecn", "capdrop" if self.capdrop else "nocapdrop"]
        words += ["drand" if self.drand else "nodrand", "ts" if self.timestamps else "dre"]
        return [*words, "onoff"] if self.onoff else words


class FlowQueues(NamedTuple):
    """What fq_codel and fq_pie have in common.

    Attributes:
        aqm: of each of the queues.
        quantum: bytes that a queue may send before the next one's turn.
        limit: packets in all the queues.
        flows: number of queues.
    """

    aqm: CodelConfig | PieConfig
    quantum: int = 1514
    limit: int = 10240
    flows: int = 1024

    def words(self) -> list[str]:
        """Return the parameters as ipfw takes them."""
        return [f"quantum {self.quantum}", f"limit {self.limit}", f"flows {self.flows}", *self.aqm.words()]


class Config(NamedTuple):
    """``ipfw pipe | queue | sched N config ...``.

    Attributes:
        at: the line.
        kind: "pipe", "queue" or "sched".
        number: of the object.
        bw: bit/s; 0 is unlimited.
        delay: ns.
        burst: bytes that may pass at once after idling.
        profile: name of the file with a delay profile.
        slots: limit of the queue in packets.
        octets: limit of the queue in bytes, if it is given so.
        plr: one loss probability, or four (K, p, H, r) for the model of Gilbert and Elliott.
        noerror: losses are reported to the sending host as success.
        mask: what makes flows of their own.
        buckets: size of the hash table.
        red: RED or gentle RED.
        aqm: CoDel or PIE.
        scheduler: one of ``SCHEDULERS``.
        flow_queues: of fq_codel and fq_pie.
        parent: of a queue or sched: the number of its sched or pipe.
        weight: of a queue's flows.
    """

    at: Line
    kind: str
    number: int
    bw: int | None = None
    delay: int | None = None
    burst: int | None = None
    profile: str | None = None
    slots: int | None = None
    octets: int | None = None
    plr: tuple[float, ...] | None = None
    noerror: bool = False
    mask: Mask | None = None
    buckets: int | None = None
    red: RedConfig | None = None
    aqm: CodelConfig | PieConfig | None = None
    scheduler: str | None = None
    flow_queues: FlowQueues | None = None
    parent: int | None = None
    weight: int | None = None

    def __str__(self) -> str:
        words = [f"ipfw {self.kind} {self.number} config"]
        words += [f"pipe {self.parent}"] if self.parent is not None else []
        words += [f"weight {self.weight}"] if self.weight is not None else []
        words += [f"bw {self.bw}bit/s"] if self.bw is not None else []
        words += [f"delay {self.delay // MILLISECOND}ms"] if self.delay is not None else []
        words += [f"burst {self.burst}"] if self.burst is not None else []
        words += [f"profile {quoted(self.profile)}"] if self.profile is not None else []
        words += [f"queue {self.slots}"] if self.slots is not None else []
        words += [f"queue {self.octets}bytes"] if self.octets is not None else []
        words += [f"plr {','.join(map(repr, self.plr))}"] if self.plr is not None else []
        words += ["noerror"] if self.noerror else []
        words += [f"buckets {self.buckets}"] if self.buckets is not None else []
        words += [str(self.mask)] if self.mask is not None else []
        words += [str(self.red)] if self.red is not None else []
        # The rest of the line is theirs, so that they come last.
        words += [str(self.aqm)] if self.aqm is not None else []
        words += [f"type {self.scheduler}"] if self.scheduler is not None else []
        words += self.flow_queues.words() if self.flow_queues is not None else []
        return " ".join(words)


def beyond_limits(config: Config, slots: int = SLOT_LIMIT, octets: int = BYTE_LIMIT) -> str:
    """Return what is wrong with the size of a queue, or nothing: the limits are sysctls."""
    if config.slots is not None and config.slots > slots:
        return f"queue {config.slots} is beyond net.inet.ip.dummynet.pipe_slot_limit={slots}: raise it first"
    if config.octets is not None and config.octets > octets:
        limit = f"net.inet.ip.dummynet.pipe_byte_limit={octets}"
        return f"a queue of {config.octets} bytes is beyond {limit}: raise it first"
    return ""


def time_text(ns: int) -> str:
    """Return a time as ``config`` takes it."""
    return f"{ns // MICROSECOND}us"
