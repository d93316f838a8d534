"""Reads what stands behind ``ipfw pipe | queue | sched N config``, into a ``dummynet_config.Config``.

Parameters as ipfw(8) has them. Two things that the program ipfw takes in silence are errors here, since
nobody means them: decimals of a rate, a delay or a time (ipfw drops them together with the unit behind),
and a parameter that stands twice. As the program has it, and not the manual: ``bw``, ``delay``,
``burst`` and ``profile`` belong to pipes, schedulers do not take them; a mask ``/N`` of IPv4 addresses,
ports and protocols means the N *low* bits.

Whatever follows ``codel``, ``pie`` or ``type fq_codel | fq_pie`` is a parameter of theirs.
"""

from __future__ import annotations

import re
from typing import Any, Final

from mptcpsim.freebsd.dummynet_config import (
    LARGEST_NUMBER,
    MASK_ALL,
    MASK_WORDS,
    CodelConfig,
    Config,
    FlowQueues,
    Mask,
    PieConfig,
    RedConfig,
)
from mptcpsim.freebsd.lines import Line, LineCursor, fraction, whole_number
from mptcpsim.suggest import did_you_mean
from mptcpsim.units import MICROSECOND, MILLISECOND, NEVER, SECOND

LONGEST_DELAY: Final = 10_000 * MILLISECOND

SCHEDULERS: Final = ("fifo", "wf2q+", "rr", "qfq", "fq_codel", "fq_pie")


# --- Quantities ----------------------------------------------------------------------------------


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
    while rest.peek().lower().replace("ipv6", "ip6") in MASK_WORDS:
        word = rest.take().lower().replace("ipv6", "ip6")
        values[word.replace("-", "_")] = _mask_value(at, word, rest.take(f"the mask of {word}"))
    if not values:
        raise at.error(f"mask needs one of {', '.join(MASK_WORDS)} with a value, or all")
    return Mask(**values)


def _mask_value(at: Line, word: str, value: str) -> int:
    bits = MASK_WORDS[word]
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
