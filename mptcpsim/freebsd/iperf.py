"""iperf: the program of the document, version 2.0.4 with CAIA's patch.

The patch gives ``-k`` (receive buffer of the socket) and ``-j`` (send buffer); ``-w`` sets both, and then
they count no longer. Sizes end in k, m or g for powers of 1000, in K, M or G for powers of 1024 (iperf(1)).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mptcpsim.freebsd.addresses import (
    read_address,
    version_of,
)
from mptcpsim.freebsd.lines import Line, fraction, whole_number
from mptcpsim.freebsd.switches import read_switches
from mptcpsim.units import SECOND

IPERF_PORT: Final = 5001


class IperfServer(NamedTuple):
    """``iperf -s``; sizes in bytes, 0 where nothing was said.

    Attributes:
        at: the line.
        port: that it listens on.
        length: that it reads at once (-l).
        receive_buffer: of its sockets (-k, or -w).
        send_buffer: of its sockets (-j, or -w).
        interval: of its reports, ns.
        bind: its address (-B), or empty for all.
    """

    at: Line
    port: int = IPERF_PORT
    length: int = 0
    receive_buffer: int = 0
    send_buffer: int = 0
    interval: int = 0
    bind: str = ""

    def __str__(self) -> str:
        words = ["iperf -s"]
        words += [f"-p {self.port}"] if self.port != IPERF_PORT else []
        return " ".join([*words, *_iperf_words(self)])


class IperfClient(NamedTuple):
    """``iperf -c``; sizes in bytes, 0 where nothing was said.

    Attributes:
        at: the line.
        server: its address.
        port: of the server.
        time: how long it sends, ns; 0 when ``amount`` ends it.
        amount: how much it sends (-n); 0 when ``time`` ends it.
        length: that it writes at once (-l).
        receive_buffer: of its sockets (-k, or -w).
        send_buffer: of its sockets (-j, or -w).
        interval: of its reports, ns.
        parallel: connections at the same time (-P).
        bind: its own address (-B), or empty.
    """

    at: Line
    server: str
    port: int = IPERF_PORT
    time: int = 10 * SECOND
    amount: int = 0
    length: int = 0
    receive_buffer: int = 0
    send_buffer: int = 0
    interval: int = 0
    parallel: int = 1
    bind: str = ""

    def __str__(self) -> str:
        words = [f"iperf -c {self.server}"]
        words += [f"-p {self.port}"] if self.port != IPERF_PORT else []
        words += [f"-n {self.amount}"] if self.amount else [f"-t {_seconds(self.time)}"]
        words += [f"-P {self.parallel}"] if self.parallel != 1 else []
        return " ".join([*words, *_iperf_words(self)])


def read_iperf(at: Line, words: list[str]) -> list[IperfServer | IperfClient]:
    """Return the command that stands behind the word ``iperf``.

    Raises:
        DialectError: it is not understood, or is neither a server nor a client.
    """
    found = read_switches(at, "iperf", words, "sD", "cpltnwkjiPB")
    if ("s" in found) == ("c" in found):
        raise at.error("iperf is either a server or a client: write -s, or -c and the server's address")
    port = whole_number(at, found["p"], "port", 1, 65535) if "p" in found else IPERF_PORT
    length = _iperf_size(at, found, "l")
    # -w sets both buffers and cancels -j and -k (the notes of CAIA's patch).
    receive, send = (_iperf_size(at, found, "w" if "w" in found else letter) for letter in "kj")
    interval = _iperf_time(at, found["i"], "i") if "i" in found else 0
    bind = read_address(at, found["B"]) if "B" in found else ""
    if "s" in found:
        for letter in "tnP":
            if letter in found:
                raise at.error(f"-{letter} is the client's: leave it out of the server's command")
        return [IperfServer(at, port, length, receive, send, interval, bind)]
    if "D" in found:
        raise at.error("-D is the server's: leave it out of the client's command")
    if "t" in found and "n" in found:
        raise at.error("-t and -n both end the transfer: leave one of them out")
    server = read_address(at, found["c"])
    amount = _iperf_size(at, found, "n")
    time = 0 if amount else _iperf_time(at, found["t"], "t") if "t" in found else 10 * SECOND
    parallel = whole_number(at, found["P"], "number of connections", 1, 1000) if "P" in found else 1
    if bind and version_of(bind) != version_of(server):
        raise at.error(f"{bind} cannot reach {server}: write two addresses of the same family")
    return [IperfClient(at, server, port, time, amount, length, receive, send, interval, parallel, bind)]


def _iperf_size(at: Line, found: dict[str, str], letter: str) -> int:
    if letter not in found:
        return 0
    word = found[letter]
    match = re.fullmatch(r"([0-9]{1,12})([kmgKMG]?)", word)
    if match is None:
        raise at.error(f"-{letter} {word}: write a number of bytes, such as 512k (1000) or 1M (1024 x 1024)")
    factors = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    size = int(match[1]) * factors[match[2]]
    if not 1 <= size < 1 << 50:
        raise at.error(f"-{letter} {word} is out of range: write a size of one byte or more")
    return size


def _iperf_time(at: Line, word: str, letter: str) -> int:
    seconds = fraction(at, word, f"time of -{letter} in seconds", 0, 10**6)
    if round(seconds * SECOND) < 1:
        raise at.error(f"-{letter} {word}: write a time of more than 0 seconds")
    return round(seconds * SECOND)


def _seconds(ns: int) -> str:
    whole, part = divmod(ns, SECOND)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".")


def _iperf_words(iperf: IperfServer | IperfClient) -> list[str]:
    words = [f"-l {iperf.length}"] if iperf.length else []
    words += [f"-k {iperf.receive_buffer}"] if iperf.receive_buffer else []
    words += [f"-j {iperf.send_buffer}"] if iperf.send_buffer else []
    words += [f"-i {_seconds(iperf.interval)}"] if iperf.interval else []
    return [*words, *([f"-B {iperf.bind}"] if iperf.bind else [])]
