"""dummynet: what ``ipfw pipe | queue | sched N config ...`` takes, and files with delay profiles.

Parameters as ipfw(8) has them; None stands for what was not given, and the defaults are the
executor's. Two things that the program ipfw takes in silence are errors here, since nobody means
them: decimals of a rate, a delay or a time (ipfw drops them together with the unit behind), and a
parameter that stands twice. As the program has it, and not the manual: ``bw``, ``delay``, ``burst``
and ``profile`` belong to pipes, schedulers do not take them; a mask ``/N`` of IPv4 addresses, ports
and protocols means the N *low* bits.

Whatever follows ``codel``, ``pie`` or ``type fq_codel | fq_pie`` is a parameter of theirs.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from mptcpsim.freebsd.addresses import FiveTuple, number_of
from mptcpsim.freebsd.lines import Line, LineCursor, fraction, quoted, whole_number
from mptcpsim.suggest import did_you_mean
from mptcpsim.units import MICROSECOND, MILLISECOND, NEVER, SECOND

#: Objects are numbered from 1 to this.
LARGEST_NUMBER: Final = 65535
LONGEST_DELAY: Final = 10_000 * MILLISECOND
#: Limits of ``queue``: the sysctls pipe_slot_limit and pipe_byte_limit, with their defaults.
SLOT_LIMIT: Final = 100
BYTE_LIMIT: Final = 1 << 20

SCHEDULERS: Final = ("fifo", "wf2q+", "rr", "qfq", "fq_codel", "fq_pie")


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
        for (word, bits), value in zip(_MASK_WORDS.items(), self, strict=True):
            if value:
                words += [word, f"/{value.bit_count()}" if bits == 128 else f"{value:#x}"]
        return " ".join(words)


_MASK_WORDS: Final = {"src-ip": 32, "dst-ip": 32, "src-ip6": 128, "dst-ip6": 128, "src-port": 16,
                      "dst-port": 16, "flow-id": 20, "proto": 8}  # fmt: skip
MASK_ALL: Final = Mask(*((1 << bits) - 1 for bits in _MASK_WORDS.values()))


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
        return [f"target {_time_text(self.target)}", f"interval {_time_text(self.interval)}",
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
        words = [f"{name} {_time_text(getattr(self, name))}" for name in ("target", "tupdate", "max_burst")]
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


# --- Quantities ----------------------------------------------------------------------------------


def _time_text(ns: int) -> str:
    return f"{ns // MICROSECOND}us"


def read_bandwidth(at: Line, word: str) -> int:
    """Return bit/s for ``8Mbps``, ``512Kbit/s`` or ``1MByte/s``; a number alone is bit/s.

    Raises:
        DialectError: it is no bandwidth; devices that give the clock are not simulated.
    """
    match = re.fullmatch(r"(?P<number>[0-9]{1,15})(?P<prefix>[kKmMgG]?)(?P<unit>[A-Za-z/]*)", word)
    if match is None:
        if re.match(r"[0-9]+\.", word):
            raise at.error(
                f"bw {word}: ipfw reads whole numbers only: write a smaller unit, such as 1500Kbit/s"
            )
        raise at.error(
            f"{word!r} is no bandwidth: write a number and a unit without a space, such as 8Mbit/s"
        )
    unit = match["unit"]
    # A capital B is a byte unless it begins Bit; so does ipfw tell them apart.
    if unit.lower() in ("bit/s", "bits/s", "bit", "bits") or unit in ("", "b", "bps", "b/s"):
        factor = 1
    elif unit.lower() in ("byte/s", "bytes/s", "byte", "bytes") or unit in ("B", "Bps", "B/s"):
        factor = 8
    else:
        raise at.error(f"bw {word}: unknown unit {unit!r}: write bit/s or Byte/s behind K, M or G")
    rate = (
        int(match["number"]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[match["prefix"].lower()] * factor
    )
    if rate >= NEVER:
        raise at.error(f"bw {word} is out of range")
    return rate


def _delay(at: Line, word: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})(?:ms)?", word, re.IGNORECASE)
    if match is None:
        raise at.error(f"delay {word}: ipfw reads whole milliseconds only: write 20 or 20ms")
    if int(match[1]) * MILLISECOND > LONGEST_DELAY:
        raise at.error(f"delay {word} is too long: ipfw takes at most 10000 ms")
    return int(match[1]) * MILLISECOND


def _aqm_time(at: Line, word: str, name: str, longest: int = 1000 * SECOND) -> int:
    match = re.fullmatch(r"([0-9]{1,9})(us|ms|s|)", word, re.IGNORECASE)
    if match is None:
        raise at.error(f"{name} {word}: write a whole number of us, ms or s, such as 5ms (ms is the default)")
    units = {"us": MICROSECOND, "ms": MILLISECOND, "": MILLISECOND, "s": SECOND}
    time = int(match[1]) * units[match[2].lower()]
    if time > longest:
        raise at.error(f"{name} {word} is too long: at most {longest // SECOND}s")
    return time


def _size(at: Line, word: str) -> tuple[int | None, int | None]:
    """Return (slots, None) or (None, bytes); K is 1024."""
    match = re.fullmatch(r"([0-9]{1,9})(?:(k)(?:b|bytes)?|(b|by|byte|bytes))?", word, re.IGNORECASE)
    if match is None:
        raise at.error(f"queue {word}: write a number of slots, such as 50, or a size such as 30KBytes")
    number = int(match[1])
    if match[2]:
        return None, number * 1024
    return (None, number) if match[3] else (number, None)


def _burst(at: Line, word: str) -> int:
    match = re.fullmatch(r"([0-9]{1,15})([kmgt]?)b?", word, re.IGNORECASE)
    size = int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[match[2].lower()] if match else -1
    if not 0 <= size < 1 << 48:
        raise at.error(f"burst {word}: write a number of bytes, such as 15000 or 64K, below 2^48")
    return size


def _plr(at: Line, word: str) -> tuple[float, ...]:
    values = tuple(fraction(at, part, "probability", 0, 1) for part in word.split(","))
    if len(values) not in (1, 4):
        raise at.error(f"plr {word} has {len(values)} numbers: write one, or four without spaces (K,p,H,r)")
    return values


def _red(at: Line, word: str, gentle: bool, ecn: bool) -> RedConfig:
    parts = word.split("/")
    if len(parts) != 4:
        raise at.error(f"red {word}: write w_q/min_th/max_th/max_p, such as 0.002/5/15/0.1")
    weight = fraction(at, parts[0], "weight of RED", 0, 1)
    thresholds = []
    for part in parts[1:3]:
        match = re.fullmatch(r"([0-9]{1,9})(k?)", part, re.IGNORECASE)
        if match is None:
            raise at.error(f"{part!r} is no threshold of RED: write a whole number of slots or bytes")
        thresholds.append(int(match[1]) * (1024 if match[2] else 1))
    low, high = thresholds
    probability = fraction(at, parts[3], "probability of RED", 0, 1)
    if weight == 0:
        raise at.error("the weight of RED must be more than 0: write one such as 0.002")
    if high == 0 or low > high or (low == high and not ecn):
        raise at.error(f"red {word}: min_th must be below max_th")
    return RedConfig(weight, low, high, probability, gentle, ecn)


# --- The command ---------------------------------------------------------------------------------

_QUEUE_WORDS: Final = (
    "queue",
    "plr",
    "noerror",
    "mask",
    "buckets",
    "red",
    "gred",
    "droptail",
    "codel",
    "pie",
)
_WORDS: Final = {
    "pipe": ("bw", "delay", "burst", "profile", *_QUEUE_WORDS, "type"),
    "queue": ("pipe", "sched", "weight", *_QUEUE_WORDS),
    "sched": ("pipe", "type", *_QUEUE_WORDS),
}
_OTHER_KINDS: Final = {
    "bw": "pipes", "delay": "pipes", "burst": "pipes", "profile": "pipes",
    "weight": "queues", "type": "schedulers",
}  # fmt: skip


def read_config(at: Line, kind: str, number: int, words: list[str]) -> Config:
    """Return the configuration that the words behind ``config`` give to an object.

    Raises:
        DialectError: a word that is not understood, or a value outside its limits.
    """
    rest = LineCursor(at, words)
    config = Config(at, kind, number)
    given: set[str] = set()
    while rest.left():
        word = rest.take().lower()
        name = {"gred": "red", "droptail": "red", "sched": "pipe"}.get(word, word)
        if word not in _WORDS[kind]:
            raise at.error(_unknown(kind, word, words[max(rest.next - 2, 0)]))
        if name in given:
            raise at.error(f"{word!r} is given twice: leave one of them out")
        given.add(name)
        config = _parameter(config, word, rest)
    if config.red is not None and config.aqm is not None:
        raise at.error("red and codel or pie exclude each other: leave one of them out")
    if kind == "queue" and config.parent is None:
        raise at.error(f"queue {number} has no pipe or sched to feed: write 'pipe N' behind config")
    return config


def _unknown(kind: str, word: str, before: str) -> str:
    if re.fullmatch(r"[kmg]?(bit|byte|b)(s?/s|ps|)", word):
        return f"the unit {word!r} must touch its number: write it without a space, such as 8Mbit/s"
    if word in ("target", "interval", "tupdate", "quantum", "limit", "flows", "noecn"):
        return f"{word!r} belongs behind codel, pie or type fq_codel|fq_pie, at the end of the line"
    if word == "ecn":
        return "'ecn' belongs behind red, gred, codel or pie: move it there"
    if word in _OTHER_KINDS:
        return f"{word!r} is for {_OTHER_KINDS[word]}: a {kind} does not take it"
    return f"{word!r} is no parameter of a {kind}: {did_you_mean(word, _WORDS[kind])}"


def _parameter(config: Config, word: str, rest: LineCursor) -> Config:
    at = config.at
    if word == "noerror":
        return config._replace(noerror=True)
    if word == "droptail":
        return config
    if word == "mask":
        return config._replace(mask=_mask(rest))
    if word == "codel":
        return config._replace(aqm=_codel(rest, CodelConfig()))
    if word == "pie":
        return config._replace(aqm=_pie(rest, PieConfig()))
    value = rest.take(f"the value of {word}")
    if word == "bw":
        return config._replace(bw=read_bandwidth(at, value))
    if word == "delay":
        return config._replace(delay=_delay(at, value))
    if word == "burst":
        return config._replace(burst=_burst(at, value))
    if word == "profile":
        return config._replace(profile=value)
    if word == "queue":
        slots, octets = _size(at, value)
        return config._replace(slots=slots, octets=octets)
    if word == "plr":
        return config._replace(plr=_plr(at, value))
    if word == "buckets":
        return config._replace(buckets=whole_number(at, value, "size of the hash table", 16, 65536))
    if word == "weight":
        return config._replace(weight=whole_number(at, value, "weight", 1, 100))
    if word in ("pipe", "sched"):
        return config._replace(parent=whole_number(at, value, f"number of a {word}", 1, LARGEST_NUMBER))
    if word in ("red", "gred"):
        ecn = rest.peek().lower() == "ecn"
        if ecn:
            rest.take()
        return config._replace(red=_red(at, value, word == "gred", ecn))
    return _scheduler(config, value.lower(), rest)


def _mask(rest: LineCursor) -> Mask:
    at = rest.at
    if rest.peek().lower() == "all":
        rest.take()
        return MASK_ALL
    values: dict[str, int] = {}
    while rest.peek().lower().replace("ipv6", "ip6") in _MASK_WORDS:
        word = rest.take().lower().replace("ipv6", "ip6")
        values[word.replace("-", "_")] = _mask_value(at, word, rest.take(f"the mask of {word}"))
    if not values:
        raise at.error(f"mask needs one of {', '.join(_MASK_WORDS)} with a value, or all")
    return Mask(**values)


def _mask_value(at: Line, word: str, value: str) -> int:
    bits = _MASK_WORDS[word]
    match = re.fullmatch(r"(/?)(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})", value)
    if match is None:
        raise at.error(f"{word} {value}: write a mask such as 0xffffffff, or /{bits} for all of its bits")
    number = int(match[2], 0) if match[2][:2] in ("0x", "0X") else int(match[2])
    if bits == 128 or match[1]:  # a number of bits
        if number > bits:
            raise at.error(f"{word} {value}: it has {bits} bits only")
        ones = (1 << number) - 1
        return ones << (128 - number) if bits == 128 else ones
    if number >> bits:
        raise at.error(f"{word} {value}: the mask has {bits} bits only")
    return number


def _codel(rest: LineCursor, codel: CodelConfig) -> CodelConfig:
    while rest.left():
        found = _codel_word(rest, codel, rest.take())
        if found is None:
            raise rest.at.error(_behind(rest, "codel", ("target", "interval", "ecn", "noecn")))
        codel = found
    return codel


def _codel_word(rest: LineCursor, codel: CodelConfig, word: str) -> CodelConfig | None:
    word = word.lower()
    if word in ("target", "interval"):
        change: dict[str, Any] = {word: _aqm_time(rest.at, rest.take(f"the value of {word}"), word)}
        return codel._replace(**change)
    return codel._replace(ecn=word == "ecn") if word in ("ecn", "noecn") else None


_PIE_WORDS: Final = (
    "target", "tupdate", "alpha", "beta", "max_burst", "max_ecnth", "ecn", "noecn",
    "capdrop", "nocapdrop", "drand", "nodrand", "onoff", "dre", "ts",
)  # fmt: skip


def _pie(rest: LineCursor, pie: PieConfig) -> PieConfig:
    while rest.left():
        found = _pie_word(rest, pie, rest.take())
        if found is None:
            raise rest.at.error(_behind(rest, "pie", _PIE_WORDS))
        pie = found
    return pie


def _pie_word(rest: LineCursor, pie: PieConfig, word: str) -> PieConfig | None:
    word = word.lower()
    change: dict[str, Any] = {}
    if word in ("target", "tupdate", "max_burst"):
        longest = 10 * SECOND if word == "max_burst" else 1000 * SECOND
        change[word] = _aqm_time(rest.at, rest.take(f"the value of {word}"), word, longest)
        return pie._replace(**change)
    if word in ("alpha", "beta", "max_ecnth"):
        highest = 1 if word == "max_ecnth" else 7
        change[word] = fraction(rest.at, rest.take(f"the value of {word}"), word, 0, highest)
        return pie._replace(**change)
    if word in ("ecn", "capdrop", "drand", "onoff"):
        return pie._replace(**{word: True})
    if word in ("noecn", "nocapdrop", "nodrand"):
        return pie._replace(**{word[2:]: False})
    return pie._replace(timestamps=word == "ts") if word in ("dre", "ts") else None


def _behind(rest: LineCursor, name: str, known: tuple[str, ...]) -> str:
    word = rest.words[rest.next - 1]
    if any(word.lower() in words for words in _WORDS.values()):
        return f"{word!r} stands behind {name}, which takes the rest of the line: write it in front of {name}"
    return f"{word!r} is no parameter of {name}: {did_you_mean(word, known)}"


def _scheduler(config: Config, name: str, rest: LineCursor) -> Config:
    if name not in SCHEDULERS:
        raise config.at.error(f"{name!r} is no scheduler: {did_you_mean(name, SCHEDULERS)}")
    config = config._replace(scheduler=name)
    if not name.startswith("fq_"):
        return config
    queues = FlowQueues(CodelConfig() if name == "fq_codel" else PieConfig())
    highest = {"quantum": 9000, "limit": 20480, "flows": 65536}
    while rest.left():
        word = rest.take()
        if word.lower() in highest:
            value = rest.take(f"the value of {word}")
            number = whole_number(config.at, value, word.lower(), 1, highest[word.lower()])
            change: dict[str, Any] = {word.lower(): number}
            queues = queues._replace(**change)
            continue
        aqm: CodelConfig | PieConfig | None
        if isinstance(queues.aqm, CodelConfig):
            aqm = _codel_word(rest, queues.aqm, word)
        else:
            aqm = _pie_word(rest, queues.aqm, word)
        if aqm is None:
            own = ("target", "interval", "ecn", "noecn") if name == "fq_codel" else _PIE_WORDS
            raise config.at.error(_behind(rest, name, (*highest, *own)))
        queues = queues._replace(aqm=aqm)
    return config._replace(flow_queues=queues)
