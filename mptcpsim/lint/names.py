"""Rules about names and addresses: in keys that the check lets pass, and in what is written for people."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from mptcpsim.lint.finding import Family
from mptcpsim.lint.remark import Remark
from mptcpsim.lint.subject import Subject

FAMILY: Final = Family()

_IPV4: Final = r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d/]|\.\d)"
#: "A1 (192.168.0.2)", "A1 = 192.168.0.10", "A1: 192.168.5.2", "A1 is 192.168.0.2".
_NAMED: Final = re.compile(rf"\b([A-Za-z]\w*)\s?(?:\(|=|:|is|has)\s?({_IPV4})")
#: "192.168.5.2 (em0)", "(192.168.0.2, em1)"
_LOCATED: Final = re.compile(rf"({_IPV4})(?:/\d+)?\s?(?:\(|,|on)\s?([A-Za-z]\w*)\b")
#: "A1 (em1)", "{em1, 192.168.0.5}".
_ALIASED: Final = re.compile(r"\b([A-Za-z]\w*) \(([A-Za-z]\w*)\)")
_HOST: Final = re.compile(r"\b[Hh]ost ([A-Za-z]+)(\d+)\b")
_ADDRESS: Final = re.compile(_IPV4)


@FAMILY.rule("W101", "name-of-another")
def name_of_another(subject: Subject) -> Iterator[Remark]:
    """A comment or description gives a name to what has another one.

    Nothing in a run depends on a comment, but people do: whoever reads "A1 (192.168.0.2)" where A2 has
    that address configures the wrong interface next time. Looked at are comments, titles and descriptions
    that put the name of an interface, or of a host with one address, beside an address or an interface.
    """
    for text in subject.texts:
        for line, words in text.prose:
            told: set[str] = set()
            for match in _NAMED.finditer(words):
                told.update(_disagree(subject, match[1], match[2]))
            for match in _LOCATED.finditer(words):
                told.update(_disagree(subject, match[2], match[1]))
            for match in _ALIASED.finditer(words):
                first, second = (subject.ports_called(name) for name in match.groups())
                if first and second and not first & second:
                    others = " or ".join(sorted(subject.names_of(first) - {match[1]}))
                    told.add(
                        f"{match[1]} is {others}, not {match[2]}"
                        if others
                        else f"{match[1]} is not {match[2]}"
                    )
            for problem in sorted(told):
                yield text.remark(line, problem, "write what belongs together")


def _disagree(subject: Subject, name: str, address: str) -> Iterator[str]:
    ports, owner = subject.ports_called(name), subject.owner(address)
    if ports and owner is not None and owner not in ports:
        yield f"{address} is the address of {subject.called(owner)}, not of {name}"


@FAMILY.rule("W102", "nobody-called-that")
def nobody_called_that(subject: Subject) -> Iterator[Remark]:
    """A comment or description speaks of a host that does not exist.

    Such as "Host B2" where there is a host B with an interface B1. Somebody who reads it looks for a
    second machine.
    """
    known = {*subject.scenario.hosts, *subject.scenario.routers, *subject.scenario.switches}
    known |= {name for names in subject.port_names.values() for name in names}
    stems = {name.rstrip("0123456789") for name in known}
    for text in subject.texts:
        for line, words in text.prose:
            for match in _HOST.finditer(words):
                name = match[1] + match[2]
                if name not in known and match[1] in stems:
                    like = sorted(other for other in known if other.rstrip("0123456789") == match[1])
                    yield text.remark(line, f"the text speaks of host {name!r}, which does not exist",
                                      f"write {' or '.join(like)}, whichever is meant")  # fmt: skip


@FAMILY.rule("W103", "nobody-has-it")
def nobody_has_it(subject: Subject) -> Iterator[Remark]:
    """A comment or description speaks of an address that nobody has.

    Only addresses inside the networks of the scenario are looked at: others are outside of it on purpose.
    """
    for text in subject.texts:
        for line, words in text.prose:
            for address in dict.fromkeys(_ADDRESS.findall(words)):
                network = subject.network_around(address)
                if network is None or subject.is_known(address) or _is_whole(network, address):
                    continue
                yield text.remark(line, f"the text speaks of {address}, and nobody has that address",
                                  f"addresses in {network} are {subject.listed(network)}: write the one that "
                                  "is meant")  # fmt: skip


def _is_whole(network: ipaddress.IPv4Network | ipaddress.IPv6Network, address: str) -> bool:
    """Return whether an address stands for its network, or for all in it."""
    return ipaddress.ip_address(address) in (network.network_address, network.broadcast_address)
