"""The FreeBSD systems of a scenario as lint looks at them: rules with the interfaces and addresses around."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from mptcpsim.core.segment import FourTuple
from mptcpsim.freebsd.dummynet_config import Config
from mptcpsim.freebsd.ipfw import ObjectCommand
from mptcpsim.freebsd.lines import Line
from mptcpsim.freebsd.pf_conf import PfConf, PfRule
from mptcpsim.freebsd.scripts import read_script
from mptcpsim.freebsd.system import System
from mptcpsim.lint.remark import Remark
from mptcpsim.net.forwarding import IpNode
from mptcpsim.scenario.errors import KeyPath
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.typed import COMMANDS, TABLE, later_label


class FreebsdNode:
    """A host or router to which commands of the seed's dialect were given.

    Interfaces are called by the system's names here (``em0``), as the rules call them.

    Attributes:
        name: of the node.
        node: in the network that was built.
        system: its firewalls and pipes.
        conf: the rules of pf; none unless pf is enabled.
    """

    def __init__(self, scenario: Scenario, system: System) -> None:
        assert isinstance(system.node, IpNode)
        self.node: IpNode = system.node
        self.name = system.node.name
        self.system = system
        self._scenario = scenario
        pf = system.firewall.pf
        self.conf: PfConf = pf.rules.conf if pf.enabled else PfConf()

    @cached_property
    def configs(self) -> list[Config]:
        """The commands that configure pipes, queues and schedulers at the beginning."""
        spec = self._scenario.nodes[self.name].freebsd
        commands = read_script(str(spec.commands), COMMANDS) if spec is not None else ()
        return [command for command in commands if isinstance(command, Config)]

    @cached_property
    def objects(self) -> list[Config | ObjectCommand]:
        """The commands about pipes, queues and schedulers, those that are typed later behind the others."""
        spec = self._scenario.nodes[self.name].freebsd
        if spec is None:
            return []
        texts = [(spec.commands, COMMANDS)]
        later = sorted(enumerate(spec.later), key=lambda entry: entry[1].at)
        texts += [(block.commands, later_label(index)) for index, block in later]
        return [
            command
            for text, label in texts
            for command in read_script(str(text), label)
            if isinstance(command, Config | ObjectCommand)
        ]

    @property
    def forwards(self) -> bool:
        """It is a router."""
        return self.node.FORWARDS

    @property
    def addresses(self) -> list[str]:
        """Its addresses, in the order of its interfaces."""
        return list(self.node.addresses)

    def scenario_name(self, interface: str) -> str:
        """Return what the scenario calls an interface."""
        return self.system.names.scenario_of(interface)

    def interface_of(self, address: str) -> str:
        """Return the interface that has an address."""
        return self.system.names.system_of(self.node.addresses[address].name)

    def addresses_at(self, interface: str) -> list[str]:
        """Return the addresses of an interface."""
        return [entry.address for entry in self.node.interfaces[self.scenario_name(interface)].addresses]

    def networks_at(self, interface: str) -> list[str]:
        """Return the networks of an interface."""
        entries = self.node.interfaces[self.scenario_name(interface)].addresses
        return list(dict.fromkeys(entry.prefix for entry in entries))

    def departures(self) -> Iterator[tuple[str, str]]:
        """Yield each own address with each interface that packets from it might leave by."""
        for address in self.node.addresses:
            for interface in self.system.names.system_names():
                if any((":" in other) == (":" in address) for other in self.addresses_at(interface)):
                    yield address, interface

    def leaves_by(self, remote: str) -> str:
        """Return the interface that routing chooses for an address; empty: none."""
        route = self.node.route_for(FourTuple("", 0, remote, 0)).route
        return "" if route is None else self.system.names.system_of(route.interface.name)

    def using(self, at: Line) -> list[PfRule]:
        """Return the rules of pf that are written at a line, or use the macro that is."""
        macros = [macro.name for macro in self.conf.macros if macro.at == at]
        return [
            rule
            for rule in self.conf.rules
            if rule.at == at or any(f"${name}" in rule.at.text for name in macros)
        ]

    def passed_over(self, in_files: bool) -> Iterator[Remark]:
        """Yield a remark about each word that changes nothing here, with the first line that has it.

        Args:
            in_files: of those in files of the node, or of those among its commands.
        """
        found: dict[tuple[str, str, str], list[Line]] = {}
        for note in self.system.passed_over:
            if (note.at.file in self.system.files) == in_files:
                found.setdefault((note.at.file, note.word, note.why), []).append(note.at)
        for (_, word, why), lines in found.items():
            numbers = sorted({at.number for at in lines})
            more = f" (as in {len(numbers) - 1} more lines)" if len(numbers) > 1 else ""
            problem = f"{word!r} is passed over{more}: {why}"
            yield self.remark(lines[0], problem, "nothing needs to be changed", cause=False)

    def remark(self, at: Line, problem: str, remedy: str, cause: bool = True) -> Remark:
        """Return a remark about a line of pf.conf or of the commands.

        Args:
            at: the line.
            problem: what is wrong.
            remedy: what to write instead.
            cause: packets go astray for this reason.
        """
        return Remark(self.place(at), problem, remedy, at, self.name if cause else "")

    def place(self, at: Line) -> KeyPath:
        """Return the key that holds the text of a line."""
        kind = "routers" if self.forwards else "hosts"
        # Of commands that are typed later the label of the line says which they are.
        key: KeyPath = ("files", at.file) if at.file in self.system.files else (COMMANDS,)
        return (kind, self.name, TABLE, *key)

    @property
    def types_later(self) -> bool:
        """Commands are typed while the run goes on: what is missing at the beginning may come."""
        return self._scenario.nodes[self.name].changes
