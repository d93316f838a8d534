"""Scripts: what is typed at a host of the seed, one command a line, and its /etc/rc.conf.

A prompt (``#``, ``$`` or ``%``) may stand in front of a command. A line that begins with ``#`` is a comment
unless a space and a command that is known follow: ``# iperf -s`` is typed at root's prompt, ``#iperf -s`` and
``## iperf`` are comments. A line that ends in a backslash goes on in the next one. Variables and the
constructs of sh(1) are those of ``shell``; what becomes part of the ordinary model (addresses, routes,
variables of the kernel, applications) stands on lines of its own, outside of them.
"""

from __future__ import annotations

import re
from typing import Final

from mptcpsim.freebsd.commands import COMMANDS, NO_COMMANDS, Command, RcConf, Sysctl, Tcpdump
from mptcpsim.freebsd.ip_commands import IfconfigCommand, RouteCommand
from mptcpsim.freebsd.iperf import IperfClient, IperfServer
from mptcpsim.freebsd.lines import DialectError, Line, PassedOver, logical_lines, shell_words
from mptcpsim.freebsd.rc_firewall import NAMES
from mptcpsim.freebsd.shell import Shell, TypedCommand
from mptcpsim.suggest import did_you_mean, nearly

#: Variables of rc.conf(5) that are acted upon.
RC_NAMES: Final = ("pf_enable", "pf_rules", "gateway_enable", "firewall_enable", "firewall_script",
                   "firewall_type", *NAMES)  # fmt: skip
#: Those that change nothing here, and others that begin a service of which no packet comes.
_RC_NOTHING: Final = re.compile(
    r"(pflog|pfsync|firewall|pf|ipfw|dummynet)_(logging|logif|quiet|flags|program|coscripts|logfile|enable"
    r"|logmaxsize)|hostname|keymap|dumpdev|[a-z0-9]+_(enable|flags|program)"
)
_RC_REFUSED: Final = {
    **dict.fromkeys(
        ("natd_enable", "firewall_nat_enable", "natd_interface"),
        'addresses are not translated here: put a NAT on a link of the scenario, middleboxes = ["nat"]',
    ),
    **dict.fromkeys(
        ("ipv6_gateway_enable",), "a node that forwards stands under [routers] of a scenario: leave it out"
    ),
}
#: Directories of programs, which may stand in front of their names.
_DIRECTORIES: Final = re.compile(r"(/usr/local|/usr)?/s?bin/")
#: What becomes part of other tables of the scenario.
_DATA: Final = (IfconfigCommand, RouteCommand, Sysctl, IperfClient, IperfServer, Tcpdump, RcConf)


def read_script(text: str, file: str = "commands") -> tuple[Command, ...]:
    """Return the commands of a script, each with its line.

    Raises:
        DialectError: the first line that is not understood.
    """
    found: list[Command] = []
    lines = logical_lines(text, file)
    names = {match[1] for at in lines for match in re.finditer(r"\b([A-Za-z_]\w*)=", at.text)}
    # Without firewall_enable these are variables of a script such as /etc/rc.firewall.
    others = () if "firewall_enable" in names else ("firewall_script", "firewall_type", *NAMES)
    settings = [name for name in RC_NAMES if name not in others]
    shell = Shell(lambda typed: found.extend(_command(typed)), lambda name: name in settings)
    shell.defaults["fwcmd"] = "/sbin/ipfw"  # as /etc/rc.firewall has it
    try:
        shell.run([(at, unprompted) for at in lines if (unprompted := _unprompted(at, names))])
        for name, at in shell.unused.items():
            # Lines that have become part of the tables are comments in a scenario that was written down.
            if re.search(rf"\$\{{?{name}\b", text):
                continue
            close = nearly(name, RC_NAMES, 0.75)
            if close:
                raise at.error(f"{name!r} is asked for by no command: did you mean {close!r}?")
            found.append(PassedOver(at, f"{name}=", "no command asks for the variable"))
    except DialectError as error:
        if not error.text.lstrip().startswith("#"):
            raise
        problem = f"{error.problem}; if it is a comment, begin it with ##"
        raise DialectError(error.file, error.line, error.text, problem) from None
    return tuple(found)


def _unprompted(at: Line, names: set[str]) -> str:
    """Return a line without its prompt; nothing of a comment."""
    text = at.text.strip()
    sign, behind = text[:1], text[1:].strip()
    if sign == "#":
        typed = text[1:2].isspace() and bool(behind) and behind.split(maxsplit=1)[0] in (*COMMANDS, "sysrc")
        return behind if typed else ""
    if sign == "%":
        return behind
    if sign == "$":
        word = re.match(r"\w*", text[1:])
        assert word is not None
        if text[1:2].isspace() or (word.group() in COMMANDS and word.group() not in names):
            return behind
    return text


def _command(typed: TypedCommand) -> list[Command]:
    at, words = typed.at, typed.words
    name, equals, value = words[0].partition("=")
    if words[0] == "sysrc":
        found: list[Command] = [line for word in words[1:] for line in _sysrc(at, word)]
    elif equals and name in RC_NAMES:
        found = [_rc_conf(at, name, value, words[1:])]
    else:
        name = _DIRECTORIES.sub("", words[0], count=1) if _DIRECTORIES.match(words[0]) else words[0]
        if name in RC_NAMES:
            raise at.error(f'{name} is a name: write {name}="VALUE" without spaces around the sign')
        if name in NO_COMMANDS:
            raise at.error(f"{name!r} is not simulated: {NO_COMMANDS[name]}")
        if name not in COMMANDS:
            raise at.error(f"{name!r} is no command that is known here: {did_you_mean(name, COMMANDS)}")
        found = [*COMMANDS[name](at, words[1:])]
    if not typed.alone and any(isinstance(command, _DATA) for command in found):
        raise at.error(
            f"{name!r} becomes part of the scenario's tables: write it on a line of its own, outside of if, "
            "for, case and functions"
        )
    return found


# --- rc.conf -------------------------------------------------------------------------------------


def read_rc_conf(text: str, file: str) -> tuple[RcConf | PassedOver, ...]:
    """Return what an rc.conf says.

    Raises:
        DialectError: the first line that is not understood.
    """
    found: list[RcConf | PassedOver] = []
    for at in logical_lines(text, file):
        words = shell_words(at, at.text)
        if not words:
            continue
        name, equals, value = words[0].partition("=")
        if not equals or re.fullmatch(r"\w+", name) is None:
            raise at.error(f'this is no line of {file}: write NAME="VALUE", and commands elsewhere')
        if name in RC_NAMES:
            found.append(_rc_conf(at, name, value, words[1:]))
        else:
            found += _unknown(at, name, value)
    return tuple(found)


def _sysrc(at: Line, word: str) -> list[Command]:
    name, equals, value = word.partition("=")
    if word.startswith("-") or not equals:
        raise at.error("write 'sysrc NAME=VALUE'")
    return [_rc_conf(at, name, value, [])] if name in RC_NAMES else [*_unknown(at, name, value)]


def _rc_conf(at: Line, name: str, value: str, more: list[str]) -> RcConf:
    if more:
        raise at.error(f"{more[0]!r} is too much behind {name}=: put the value in quotes")
    if name.endswith("_enable"):
        if value.upper() not in ("YES", "NO"):
            raise at.error(f"{name} is YES or NO, not {value!r}")
        return RcConf(at, name, value.upper())
    return RcConf(at, name, value)


def _unknown(at: Line, name: str, value: str) -> list[PassedOver]:
    if name in _RC_REFUSED:
        if value.upper() == "NO":
            return []
        raise at.error(f"{name!r} of rc.conf: {_RC_REFUSED[name]}")
    if name.startswith("ifconfig_") or name in ("defaultrouter", "static_routes", "ipv6_defaultrouter"):
        raise at.error(
            f"{name!r} of rc.conf is not simulated: write addresses and routes in the tables of the host, or "
            "as commands, such as ifconfig em0 inet 192.168.0.1/24"
        )
    if _RC_NOTHING.fullmatch(name) is None or nearly(name, RC_NAMES, 0.9):
        raise at.error(f"{name!r} of rc.conf is not simulated: {did_you_mean(name, RC_NAMES)}")
    return [PassedOver(at, name, "no packet here depends on it")]
