"""The two names that an interface has: the scenario's and the system's (``A1`` and ``em0``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from mptcpsim.freebsd.lines import Line
from mptcpsim.suggest import did_you_mean

#: Every FreeBSD system has it. No simulated packet passes it.
LOOPBACK: Final = "lo0"


class InterfaceNames:
    """Which interface of a node a word means; rules and their explanations speak of the system's names.

    Attributes:
        interfaces: the scenario's names.
    """

    def __init__(self, interfaces: Iterable[str], aliases: Mapping[str, str] | None = None) -> None:
        """Take the names.

        Args:
            interfaces: the scenario's names.
            aliases: the system's name for each name of the document; one of both is the scenario's.

        Raises:
            ValueError: an alias is of no interface, or a name stands for two of them.
        """
        self.interfaces = tuple(interfaces)
        self._scenario = {name: name for name in self.interfaces}
        self._system = {name: name for name in self.interfaces}
        for name, system in (aliases or {}).items():
            for word in (name, system):
                if re.fullmatch(r"[A-Za-z][\w.-]{0,31}", word) is None:
                    raise ValueError(f"{word!r} is no name of an interface: write one such as em0")
            known = [word for word in (name, system) if word in self.interfaces]
            if len(known) != 1 and name != system:
                reason = "both are interfaces" if known else "neither is an interface"
                raise ValueError(
                    f"{name} = {system!r}: {reason} of this node, which has {', '.join(self.interfaces)}: "
                    "one of the two names is that of an interface, the other one is new"
                )
            if name == system:
                continue
            other = system if known[0] == name else name
            if other in self._scenario or other == LOOPBACK or self._system[known[0]] != known[0]:
                raise ValueError(f"{name} = {system!r}: one of the names is given twice: leave one line out")
            self._scenario[other] = known[0]
            self._system[known[0]] = system

    def interface(self, at: Line, word: str) -> str:
        """Return the scenario's name of the interface that a word means.

        Raises:
            DialectError: the node has none of that name.
        """
        if word not in self._scenario:
            raise at.error(f"there is no interface {word}: {did_you_mean(word, self._scenario)}")
        return self._scenario[word]

    def system(self, at: Line, word: str) -> str:
        """Return the system's name of the interface that a word means, which may be the loopback.

        Raises:
            DialectError: the node has none of that name.
        """
        return LOOPBACK if word == LOOPBACK else self.system_of(self.interface(at, word))

    def system_of(self, interface: str) -> str:
        """Return the system's name of an interface of the scenario."""
        return self._system.get(interface, interface)

    def scenario_of(self, system: str) -> str:
        """Return the scenario's name for a name of the system's."""
        return self._scenario[system]

    def system_names(self) -> list[str]:
        """Return the system's name of each interface."""
        return [self.system_of(name) for name in self.interfaces]
