"""Commands: ifconfig, route, sysctl, ipfw, pfctl, iperf and tcpdump, each with what may stand behind it.

iperf is the program of the document: version 2.0.4 with CAIA's patch, which gives ``-k`` (receive
buffer of the socket) and ``-j`` (send buffer); ``-w`` sets both, and then they count no longer. Sizes
end in k, m or g for powers of 1000, in K, M or G for powers of 1024 (iperf(1)).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from mptcpsim.freebsd.addresses import (
    Prefix,
    is_address,
    prefix_of,
    read_address,
    read_netmask,
    read_prefix,
    version_of,
)
from mptcpsim.freebsd.ipfw import IpfwCommand, read_ipfw_command
from mptcpsim.freebsd.lines import Line, LineCursor, PassedOver, fraction, quoted, whole_number
from mptcpsim.freebsd.sysctls import SysctlValue, read_value
from mptcpsim.suggest import did_you_mean
from mptcpsim.units import SECOND

IPERF_PORT: Final = 5001
PF_CONF: Final = "/etc/pf.conf"


class IfconfigCommand(NamedTuple):
    """``ifconfig``.

    Attributes:
        at: the line.
        interface: a name of the document (A1) or of the system (em0).
        action: "set" (instead of the first address), "alias" (further address), "delete", or empty
            when there is no address.
        address: in canonical text form.
        length: of its prefix; -1 with "delete", where it may be absent.
        up: True for "up", False for "down", None when neither is said; an address brings it up.
        mtu: bytes, or 0.
    """

    at: Line
    interface: str
    action: str = ""
    address: str = ""
    length: int = -1
    up: bool | None = None
    mtu: int = 0

    def __str__(self) -> str:
        words = ["ifconfig", self.interface]
        if self.action:
            length = f"/{self.length}" if self.length >= 0 else ""
            words += ["inet6" if version_of(self.address) == 6 else "inet", self.address + length]
            words += [] if self.action == "set" else [self.action]
        words += [f"mtu {self.mtu}"] if self.mtu else []
        words += [] if self.up is None else ["up" if self.up else "down"]
        return " ".join(words)


class RouteCommand(NamedTuple):
    """``route add | delete``.

    Attributes:
        at: the line.
        action: "add" or "delete".
        destination: of length 0 for ``default``.
        gateway: next hop; empty with ``interface``, and where a delete names none.
        interface: the destination is on its link (``-interface``).
    """

    at: Line
    action: str
    destination: Prefix
    gateway: str = ""
    interface: str = ""

    def __str__(self) -> str:
        words = ["route", self.action]
        words += ["-inet6"] if self.destination.version == 6 else []
        words += ["-host" if self.destination.bare else "-net", str(self.destination)]
        words += ["-interface", self.interface] if self.interface else []
        return " ".join([*words, *([self.gateway] if self.gateway else [])])


class Sysctl(NamedTuple):
    """``sysctl NAME=VALUE``; the value is what ``sysctls.VARIABLES`` says of it."""

    at: Line
    name: str
    value: SysctlValue

    def __str__(self) -> str:
        text = " ".join(self.value) if isinstance(self.value, tuple) else str(self.value)
        return f'sysctl {self.name}="{text}"'


class Pfctl(NamedTuple):
    """``pfctl``.

    Attributes:
        at: the line.
        file: with the rules to load (-f), or empty.
        enable: True for -e, False for -d, None for neither.
        flush: "all", "rules" or "states" (-F), or empty.
        dry: the file is read and not loaded (-n).
        table: whose entries are changed (-t), or empty.
        verb: what is done with the table (-T): "add", "delete", "replace", "flush", "kill", "show".
        entries: of -T.
        show: what is printed (-s): "rules", "states" or "Tables"; or empty.
    """

    at: Line
    file: str = ""
    enable: bool | None = None
    flush: str = ""
    dry: bool = False
    table: str = ""
    verb: str = ""
    entries: tuple[str, ...] = ()
    show: str = ""

    def __str__(self) -> str:
        words = ["pfctl", "-n"] if self.dry else ["pfctl"]
        words += ["-t", self.table, "-T", self.verb, *map(quoted, self.entries)] if self.table else []
        words += ["-F", self.flush] if self.flush else []
        words += ["-f", quoted(self.file)] if self.file else []
        words += [] if self.enable is None else ["-e" if self.enable else "-d"]
        words += ["-s", self.show] if self.show else []
        return " ".join(words)


class RcConf(NamedTuple):
    """A line of rc.conf: ``pf_enable="YES"``."""

    at: Line
    name: str
    value: str

    def __str__(self) -> str:
        return f'{self.name}="{self.value}"'


class RunScript(NamedTuple):
    """``sh /etc/ipfw.rules``: a script among the files of the host."""

    at: Line
    name: str

    def __str__(self) -> str:
        return f"sh {quoted(self.name)}"


class Tcpdump(NamedTuple):
    """``tcpdump -w FILE -i IF``; ``snaplen`` is the length to which packets are cut, 0 for all of them."""

    at: Line
    file: str
    interface: str
    snaplen: int = 0

    def __str__(self) -> str:
        cut = f" -s {self.snaplen}" if self.snaplen else ""
        return f"tcpdump -w {quoted(self.file)} -i {self.interface}{cut}"


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


#: What a line of a script is; words that change nothing here come as what they are.
Command = (
    PassedOver
    | IfconfigCommand
    | RouteCommand
    | Sysctl
    | Pfctl
    | RcConf
    | Tcpdump
    | IperfServer
    | IperfClient
    | RunScript
    | IpfwCommand
)


# --- The commands --------------------------------------------------------------------------------


def _interface(at: Line, word: str) -> str:
    if re.fullmatch(r"[A-Za-z][\w.-]{0,31}", word) is None:
        raise at.error(f"{word!r} is no name of an interface: write one such as em0")
    return word


def _ifconfig(at: Line, words: list[str]) -> list[Command]:
    cursor = LineCursor(at, words)
    interface = _interface(at, cursor.take("the name of an interface"))
    family, action, address, length, mtu = 0, "set", "", -1, 0
    up: bool | None = None
    if not cursor.left():
        raise at.error("ifconfig without more shows an interface only: write an address, up or down")
    while cursor.left():
        word = cursor.take()
        if word in ("inet", "inet6"):
            family = 6 if word == "inet6" else 4
        elif word in ("alias", "add"):
            action = "alias"
        elif word in ("delete", "-alias", "remove"):
            action = "delete"
        elif word in ("up", "down"):
            up = word == "up"
        elif word == "mtu":
            mtu = whole_number(at, cursor.take("the MTU"), "MTU", 68, 65535)
        elif word in ("netmask", "prefixlen"):
            value = cursor.take(f"the value of {word}")
            if length >= 0:
                raise at.error(f"{word}: the address has a prefix length already: leave one of both out")
            bits = read_netmask(at, value) if word == "netmask" else whole_number(at, value, word, 0, 128)
            if not address or (word == "netmask") != (version_of(address) == 4):
                raise at.error(f"{word} belongs behind an {'IPv4' if word == 'netmask' else 'IPv6'} address")
            length = bits
        elif is_address(word.split("/")[0]):
            if address:
                raise at.error(f"{word!r} is a second address: write one command for each, with 'alias'")
            prefix = read_prefix(at, word)
            address, length = read_address(at, word.split("/")[0]), -1 if prefix.bare else prefix.length
        elif re.match(r"[0-9]", word):
            raise at.error(f"{word!r} is no address: write one such as 192.168.0.10/24")
        else:
            known = ["inet", "inet6", "alias", "delete", "netmask", "prefixlen", "mtu", "up", "down"]
            raise at.error(f"ifconfig does not know {word!r} here: {did_you_mean(word, known)}")
    if not address:
        if action != "set" or family:
            raise at.error("the address is missing: write one such as 192.168.0.10/24")
        return [IfconfigCommand(at, interface, up=up, mtu=mtu)]
    if family and version_of(address) != family:
        raise at.error(
            f"{address} is no address of {'inet6' if family == 6 else 'inet'}: write the other word"
        )
    if length < 0 and action != "delete":
        example = f"{address}/{64 if version_of(address) == 6 else 24}"
        raise at.error(
            f"{address} has no prefix length, and FreeBSD would guess one: write it, such as {example}"
        )
    return [IfconfigCommand(at, interface, action, address, length, up, mtu)]


def _route(at: Line, words: list[str]) -> list[Command]:
    cursor = LineCursor(at, [word for word in words if word not in ("-n", "-q")])
    action = cursor.take("'add' or 'delete'")
    if action not in ("add", "delete", "del"):
        raise at.error(f"'route {action}' is not known here: write add or delete")
    action = "delete" if action == "del" else action
    family, kind, interface, netmask = 4, "", False, ""
    plain: list[str] = []
    while cursor.left():
        word = cursor.take()
        if word in ("-inet", "-inet6", "-4", "-6"):
            family = 6 if word.endswith("6") else 4
        elif word in ("-net", "-host"):
            kind = word
        elif word in ("-interface", "-iface"):
            interface = True
        elif word in ("-netmask", "netmask"):
            netmask = cursor.take("the netmask")
        elif word.startswith("-"):
            known = ["-net", "-host", "-netmask", "-inet6", "-interface"]
            raise at.error(f"route does not know {word!r} here: {did_you_mean(word, known)}")
        else:
            plain.append(word)
    if not plain:
        raise at.error("the destination is missing: write 'route add -net 10.0.0.0/24 192.168.0.1'")
    if len(plain) > 2:
        raise at.error(f"{plain[2]!r} is too much: route takes a destination and a gateway")
    if len(plain) == 1 and action == "add":
        raise at.error("the gateway is missing: write it behind the destination")
    destination = _destination(at, plain[0], kind, netmask, family)
    if len(plain) == 1:
        return [RouteCommand(at, action, destination)]
    if interface:
        return [RouteCommand(at, action, destination, interface=_interface(at, plain[1]))]
    gateway = read_address(at, plain[1])
    if version_of(gateway) != destination.version:
        raise at.error(f"{gateway} is of another family than {plain[0]}: write a gateway of the same one")
    return [RouteCommand(at, action, destination, gateway)]


def _destination(at: Line, word: str, kind: str, netmask: str, family: int) -> Prefix:
    if word == "default":
        if kind == "-host" or netmask:
            raise at.error("'default' is every address: leave -host and -netmask out")
        return Prefix(family, 0, 0)
    if netmask:
        if "/" in word or kind == "-host":
            raise at.error("-netmask is for a network without a prefix length: leave one of them out")
        prefix = prefix_of(at, word, None)
        if prefix.version == 6:
            raise at.error("-netmask is for IPv4: write a prefix length, such as fd00::/64")
        return prefix_of(at, word, read_netmask(at, netmask))
    prefix = read_prefix(at, word)
    if prefix.bare and kind == "-net":
        raise at.error(f"the network {word} has no prefix length: write it, such as {word}/24")
    if not prefix.bare and kind == "-host":
        raise at.error(f"-host is for one address, and {word} is a network: write -net")
    return prefix


def _sysctl(at: Line, words: list[str]) -> list[Command]:
    found: list[Command] = []
    for word in words:
        if word in ("-w", "-n", "-q"):
            continue
        name, equals, value = word.partition("=")
        if word.startswith("-"):
            raise at.error(f"sysctl does not know {word!r} here: write 'sysctl NAME=VALUE'")
        if not equals:
            raise at.error(
                f"{word!r} sets nothing: write 'sysctl NAME=VALUE' in one piece, the value in quotes"
            )
        if name in ("net.inet.ip.fw.verbose", "net.inet.ip.fw.verbose_limit", "net.inet.ip.fw.debug"):
            found.append(PassedOver(at, name, "nothing is logged"))
            continue
        found.append(Sysctl(at, name, read_value(at, name, value)))
    if not found:
        raise at.error("nothing is set: write 'sysctl NAME=VALUE'")
    return found


def _kldload(at: Line, words: list[str]) -> list[Command]:
    why = "pf, ipfw and dummynet are there without it"
    return [PassedOver(at, "kldload", why)] if words else []


def _service(at: Line, words: list[str]) -> list[Command]:
    """Read ``service pf start``; what rc.conf has started runs already."""
    if len(words) != 2:
        raise at.error("write 'service NAME start', with pf, ipfw or pflog for the name")
    name, verb = words
    verb = {"onestart": "start", "onestop": "stop", "forcestart": "start"}.get(verb, verb)
    if name == "pf" and verb in ("start", "restart", "reload", "stop"):
        return [Pfctl(at, "" if verb == "stop" else PF_CONF, {"stop": False, "reload": None}.get(verb, True))]
    if name == "ipfw" and verb == "stop":
        return [Sysctl(at, "net.inet.ip.fw.enable", 0)]
    if name in ("pf", "ipfw") and verb not in ("start", "restart", "status"):
        raise at.error(f"service {name} {verb}: known are start, restart and stop")
    if name not in ("ipfw", "pf", "pflog", "dummynet"):
        raise at.error(f"service {name}: known are pf, ipfw and pflog")
    why = "firewall_enable and ipfw's first command start it" if name == "ipfw" else "no packet depends on it"
    return [PassedOver(at, f"service {name}", why)]


def _sh(at: Line, words: list[str]) -> list[Command]:
    names = [word for word in words if not word.startswith("-")]
    if len(names) != 1:
        raise at.error("write 'sh FILE' with the name of one of the host's files")
    return [RunScript(at, names[0])]


def _ipfw(at: Line, words: list[str]) -> list[Command]:
    notes: list[PassedOver] = []
    return [*read_ipfw_command(at, words, notes.append), *notes]


# --- Commands with switches ----------------------------------------------------------------------


def _switches(
    at: Line, command: str, words: list[str], flags: str, valued: str, hint: str = ""
) -> dict[str, str]:
    """Return the switches of a command, as getopt(3) reads them, with their values.

    Args:
        at: the line.
        command: its name.
        words: behind it.
        flags: letters of switches without a value, which may stand in one word.
        valued: letters of those with one, in the same word or in the next.
        hint: what to say of a word that belongs to no switch.
    """
    found: dict[str, str] = {}
    cursor = LineCursor(at, words)
    while cursor.left():
        word = cursor.take()
        if not word.startswith("-") or word == "-":
            raise at.error(
                f"{word!r} is not understood here: {hint}switches of {command} are {_letters(flags + valued)}"
            )
        if word.startswith("--"):
            raise at.error(
                f"{word!r}: write the switch with one letter; {command} has {_letters(flags + valued)}"
            )
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in flags + valued:
                raise at.error(
                    f"{command} has no switch -{letter} here: known are {_letters(flags + valued)}"
                )
            if letter in flags:
                found[letter] = ""  # again and again: -vv is usual
                continue
            if letter in found:
                raise at.error(f"-{letter} stands twice: leave one of them out")
            found[letter] = letters or cursor.take(f"the value of -{letter}")
            letters = ""
    return found


def _letters(letters: str) -> str:
    return " ".join(f"-{letter}" for letter in letters)


def _pfctl(at: Line, words: list[str]) -> list[Command]:
    words, entries = list(words), tuple[str, ...]()
    if "-T" in words:
        place = words.index("-T") + 2
        words, entries = words[:place], tuple(words[place:])
    found = _switches(at, "pfctl", words, "ednNOARqrvz", "fFstT")
    if "e" in found and "d" in found:
        raise at.error("-e and -d exclude each other: leave one of them out")
    enable = True if "e" in found else False if "d" in found else None
    flush = ""
    if (word := found.get("F")) is not None:
        # The beginning of a word is enough; capitals count, since pfctl(8) has Sources beside states.
        flush = next((known for known in ("all", "rules", "states") if known.startswith(word)), "")
        if not flush:
            raise at.error(f"pfctl -F {word}: known are all, rules and states")
    if not ({"e", "d", "f", "F", "s", "T"} & set(found)):
        raise at.error("pfctl does nothing without -f FILE, -F, -e or -d: write one of them")
    table, verb = found.get("t", ""), found.get("T", "")
    if bool(table) != bool(verb):
        raise at.error("a table is changed by 'pfctl -t NAME -T add|delete|replace|flush ADDRESS...'")
    if verb not in ("", "add", "delete", "replace", "flush", "kill", "show"):
        raise at.error(f"pfctl -T {verb}: known are add, delete, replace, flush, kill and show")
    show = found.get("s", "")
    if show:
        # A beginning is enough here, too.
        printed = ("rules", "states", "Tables")
        show = next((word for word in printed if word.startswith(show)), "")
        if not show:
            raise at.error(f"pfctl -s {found['s']}: known are {', '.join(printed)}")
    return [Pfctl(at, found.get("f", ""), enable, flush, "n" in found, table, verb, entries, show)]


def _tcpdump(at: Line, words: list[str]) -> list[Command]:
    # Most switches change only what is printed, and nothing is.
    hint = "there are no filters, a capture has all packets; "
    found = _switches(at, "tcpdump", words, "AeKlNnpqStUuvXx", "wis", hint)
    if "w" not in found:
        raise at.error("a capture needs a file: write 'tcpdump -w FILE -i IF'")
    if "i" not in found:
        raise at.error("a capture needs an interface: write 'tcpdump -w FILE -i IF'")
    snaplen = whole_number(at, found.get("s", "0"), "length to cut packets to", 0, 262144)
    return [Tcpdump(at, found["w"], _interface(at, found["i"]), snaplen)]


def _iperf(at: Line, words: list[str]) -> list[Command]:
    found = _switches(at, "iperf", words, "sD", "cpltnwkjiPB")
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


NO_COMMANDS: Final = {
    "sudo": "every command is root's here, leave 'sudo' out",
    "sleep": "write what comes after it into a block of 'later', with its time",
    "netstat": "'mptcpsim route' shows ways",
    "ping": "'mptcpsim route' shows ways",
    "setfib": "there is one routing table, use route-to of pf or fwd of ipfw",
}

COMMANDS: Final[dict[str, Callable[[Line, list[str]], list[Command]]]] = {
    "ifconfig": _ifconfig,
    "route": _route,
    "sysctl": _sysctl,
    "ipfw": _ipfw,
    "sh": _sh,
    "service": _service,
    "kldload": _kldload,
    "pfctl": _pfctl,
    "iperf": _iperf,
    "tcpdump": _tcpdump,
}
