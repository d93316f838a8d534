"""The commands that may be typed: sysctl, pfctl, service, sh and tcpdump, and the table of all of them.

ifconfig and route are in ``ip_commands``, ipfw in ``ipfw``, iperf in ``iperf``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from mptcpsim.freebsd.ip_commands import (
    IfconfigCommand,
    RouteCommand,
    read_ifconfig,
    read_interface,
    read_route_command,
)
from mptcpsim.freebsd.iperf import IperfClient, IperfServer, read_iperf
from mptcpsim.freebsd.ipfw import IpfwCommand, read_ipfw_command
from mptcpsim.freebsd.lines import Line, PassedOver, quoted, whole_number
from mptcpsim.freebsd.switches import read_switches
from mptcpsim.freebsd.sysctls import SysctlValue, read_value

PF_CONF: Final = "/etc/pf.conf"


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


def _pfctl(at: Line, words: list[str]) -> list[Command]:
    words, entries = list(words), tuple[str, ...]()
    if "-T" in words:
        place = words.index("-T") + 2
        words, entries = words[:place], tuple(words[place:])
    found = read_switches(at, "pfctl", words, "ednNOARqrvz", "fFstT")
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
    found = read_switches(at, "tcpdump", words, "AeKlNnpqStUuvXx", "wis", hint)
    if "w" not in found:
        raise at.error("a capture needs a file: write 'tcpdump -w FILE -i IF'")
    if "i" not in found:
        raise at.error("a capture needs an interface: write 'tcpdump -w FILE -i IF'")
    snaplen = whole_number(at, found.get("s", "0"), "length to cut packets to", 0, 262144)
    return [Tcpdump(at, found["w"], read_interface(at, found["i"]), snaplen)]


NO_COMMANDS: Final = {
    "sudo": "every command is root's here, leave 'sudo' out",
    "sleep": "write what comes after it into a block of 'later', with its time",
    "netstat": "'mptcpsim route' shows ways",
    "ping": "'mptcpsim route' shows ways",
    "setfib": "there is one routing table, use route-to of pf or fwd of ipfw",
}

COMMANDS: Final[dict[str, Callable[[Line, list[str]], Sequence[Command]]]] = {
    "ifconfig": read_ifconfig,
    "route": read_route_command,
    "sysctl": _sysctl,
    "ipfw": _ipfw,
    "sh": _sh,
    "service": _service,
    "kldload": _kldload,
    "pfctl": _pfctl,
    "iperf": read_iperf,
    "tcpdump": _tcpdump,
}
