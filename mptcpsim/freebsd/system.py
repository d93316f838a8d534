"""A FreeBSD host or router: what the commands that are typed at it do to a simulated node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from mptcpsim.freebsd.commands import PF_CONF, Command, Pfctl, RcConf, RunScript, Sysctl, Tcpdump
from mptcpsim.freebsd.dummynet_config import Config
from mptcpsim.freebsd.dummynet_host import Dummynet
from mptcpsim.freebsd.firewall import Firewall
from mptcpsim.freebsd.ip_commands import IfconfigCommand, RouteCommand
from mptcpsim.freebsd.iperf import IperfClient, IperfServer
from mptcpsim.freebsd.ipfw import (
    DeleteRules,
    IpfwCommand,
    IpfwRule,
    IpfwSwitch,
    ObjectCommand,
    ReadFile,
    SetCommand,
    TableCommand,
    read_ipfw,
)
from mptcpsim.freebsd.ipfw_filter import IpfwFilter
from mptcpsim.freebsd.lines import Line, PassedOver
from mptcpsim.freebsd.names import InterfaceNames
from mptcpsim.freebsd.network import NetworkCommands
from mptcpsim.freebsd.pf import read_pf
from mptcpsim.freebsd.pf_filter import PfFilter
from mptcpsim.freebsd.pf_hosts import Hosts, read_entries
from mptcpsim.freebsd.rc_firewall import VARIABLES, rules_of
from mptcpsim.freebsd.scripts import read_rc_conf, read_script
from mptcpsim.freebsd.settings import Settings
from mptcpsim.freebsd.site import Site
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.policy import Queue
from mptcpsim.suggest import did_you_mean

RC_CONF: Final = "/etc/rc.conf"

Application = IperfServer | IperfClient | Tcpdump


class Launch(NamedTuple):
    """An application that was started.

    Attributes:
        command: its command.
        tcp: the keys of TCP that sysctl had set by then.
        mptcp: those of MPTCP.
        accepts_ecn: ECN for connections that are accepted.
    """

    command: Application
    tcp: dict[str, object]
    mptcp: dict[str, object]
    accepts_ecn: bool


class System:
    """What commands change: addresses and routes, firewalls and pipes, variables.

    Applications are noted and not started: a scenario's flows and captures are made from them.

    Attributes:
        node: the host or router.
        names: of its interfaces.
        network: ifconfig and route.
        settings: sysctl.
        dummynet: pipes, queues and schedulers.
        firewall: pf and ipfw; a filter of the node.
        launched: applications, in their order.
    """

    def __init__(
        self,
        node: IpNode,
        names: InterfaceNames,
        files: Mapping[str, str],
        dummynet: Dummynet,
        draw: Callable[[], float] | None = None,
        default_to_accept: bool = False,
        forwards: bool = False,
    ) -> None:
        """Begin without any command.

        Args:
            node: the host or router.
            names: of its interfaces.
            files: text by name, such as ``/etc/pf.conf``.
            dummynet: without pipes yet.
            draw: random numbers for ipfw's ``prob``.
            default_to_accept: what ipfw's last rule does (net.inet.ip.fw.default_to_accept).
            forwards: it is a router.
        """
        self.node = node
        self.names = names
        self.files = dict(files)
        self.network = NetworkCommands(node, names)
        self.settings = Settings()
        self.dummynet = dummynet
        self.site = Site(node, names, self.files)
        self.firewall = Firewall(PfFilter(node, names, self.site, draw))
        #: Words of pf.conf and of commands that change nothing here.
        self.passed_over: list[PassedOver] = []
        #: The pf.conf that was loaded last, and the command that did it.
        self._loaded: Pfctl | None = None
        self.launched: list[Launch] = []
        self._forwards = forwards
        self._ipfw = IpfwFilter(node, names, self._queue, draw, default_to_accept, self.site)

    # --- Booting ---

    def begin(self, commands: Iterable[Command]) -> None:
        """Boot, and carry out what is typed at the beginning.

        Until its end names of interfaces in rules follow them; then they stand for the addresses that the
        interfaces have, as those that ifconfig has given are there at once in a run.

        Raises:
            DialectError: a line that is not understood, or cannot be done.
        """
        self.site.settled = False
        typed = list(commands)
        self.boot(typed)
        for command in typed:
            self.execute(command)
        self.site.settled = True
        if self._loaded is not None and self.site.deferred:
            self._load(self._loaded)

    def boot(self, typed: Iterable[Command] = ()) -> None:
        """Do what rc.conf says; lines of it may stand among the commands, too.

        Raises:
            DialectError: a line that is not understood, or cannot be done.
        """
        lines = read_rc_conf(self.files.get(RC_CONF, ""), RC_CONF)
        self.passed_over += [line for line in lines if isinstance(line, PassedOver)]
        said = {line.name: line for line in [*lines, *typed] if isinstance(line, RcConf)}
        if (forward := said.get("gateway_enable")) is not None:
            self._forward(forward.at, forward.value == "YES")
        if (pf := said.get("pf_enable")) is not None and pf.value == "YES":
            rules = said.get("pf_rules")
            self._pfctl(Pfctl(pf.at if rules is None else rules.at, rules.value if rules else PF_CONF, True))
        if (ipfw := said.get("firewall_enable")) is not None and ipfw.value == "YES":
            self._start_ipfw()
            self._boot_ipfw(said)

    def _boot_ipfw(self, said: Mapping[str, RcConf]) -> None:
        """Load the rules that rc.conf names by firewall_script or firewall_type (/etc/rc.firewall)."""
        if (script := said.get("firewall_script")) is not None:
            self._run_script(RunScript(script.at, script.value))
        elif (kind := said.get("firewall_type")) is not None:
            name = kind.value
            if name.startswith("/"):
                self._read_rules(ReadFile(kind.at, name))
                return
            if name.lower() == "unknown":
                return
            if name.lower() not in VARIABLES:
                raise kind.at.error(
                    f"firewall_type {name!r} is not simulated: known are {', '.join(VARIABLES)} and "
                    "the name of a file; write the rules of /etc/rc.firewall that are meant into such a file"
                )
            values = {variable: line.value for variable, line in said.items()}
            for rule in read_ipfw(rules_of(kind.at, name.lower(), values), RC_CONF):
                self._ipfw_command(rule._replace(at=kind.at))

    def _run_script(self, command: RunScript) -> None:
        """Carry out a script among the files of the host, which sets the firewalls up."""
        for inner in read_script(self._file(command.at, command.name), command.name):
            if not (firewalls(inner) or isinstance(inner, PassedOver)) or isinstance(inner, RunScript):
                raise inner.at.error(
                    "a script in a file sets firewalls up: write this among the commands of the host"
                )
            self.execute(inner)

    def leave_nothing_to_chance(self) -> None:
        """Let a rule with ``prob`` or ``probability`` match if that is likelier than not: that is usual."""
        self._ipfw.rules.draw = self.firewall.pf.rules.draw = lambda: 0.5

    # --- Commands ---

    def execute(self, command: Command) -> str:
        """Carry out a command and return what it prints (``ipfw show`` and the like).

        Raises:
            DialectError: it cannot be done; the message has the line.
        """
        if isinstance(command, IfconfigCommand):
            self.network.ifconfig(command)
        elif isinstance(command, RouteCommand):
            self.network.route(command)
        elif isinstance(command, Sysctl):
            self._sysctl(command)
        elif isinstance(command, Pfctl):
            return self._pfctl(command)
        elif isinstance(command, IperfServer | IperfClient | Tcpdump):
            self._launch(command)
        elif isinstance(command, RunScript):
            self._run_script(command)
        elif isinstance(command, PassedOver):
            self.passed_over.append(command)
        elif not isinstance(command, RcConf):
            return self._ipfw_command(command)
        return ""

    def _launch(self, command: Application) -> None:
        settings = self.settings
        if isinstance(command, Tcpdump):
            self.names.interface(command.at, command.interface)
        elif command.bind and command.bind not in self.node.addresses:
            raise command.at.error(
                f"{command.bind} is no address of this host (Can't assign requested address): it has "
                f"{', '.join(self.node.addresses) or 'none'}"
            )
        if self._forwards and not isinstance(command, Tcpdump):
            raise command.at.error("a router has no TCP here: start iperf at a host")
        if not isinstance(command, Tcpdump):
            for size in (command.receive_buffer, command.send_buffer):
                settings.buffer(command.at, "a buffer of", size)
        tcp, mptcp = dict(settings.tcp), dict(settings.mptcp)
        self.launched.append(Launch(command, tcp, mptcp, settings.accepts_ecn))

    def _sysctl(self, command: Sysctl) -> None:
        at, name, value = command.at, command.name, command.value
        if self.settings.set(command):
            if self._forwards and name.startswith("net.inet.tcp."):
                raise at.error(f"a router has no TCP here, and {name} no effect: leave it out")
            return
        if name.endswith(".forwarding"):
            self._forward(at, bool(value))
        elif name == "net.inet.ip.fw.enable":
            self._start_ipfw().enabled = bool(value)
            self._ipfw.changed()
        elif name == "net.inet.ip.fw.one_pass":
            self._ipfw.one_pass = bool(value)
            self._ipfw.changed()
        else:
            assert isinstance(value, int)
            self.dummynet.set_sysctl(at, name, value)

    def _forward(self, at: Line, on: bool) -> None:
        if on != self._forwards:
            kind, what = ("routers", "forwards") if on else ("hosts", "does not forward")
            raise at.error(
                f"a node that {what} stands under [{kind}] of a scenario: move {self.node.name} there"
            )

    # --- Firewalls ---

    def _pfctl(self, command: Pfctl) -> str:
        pf = self.firewall.pf
        if command.flush:
            pf.flush(command.flush)
            self._loaded = None
        if command.file:
            self._load(command)
            self._loaded = self._loaded if command.dry else command
        if command.table:
            return self._table(command)
        if command.enable is not None:
            pf.enable(command.enable)
        return pf.listing(command.show) if command.show else ""

    def _table(self, command: Pfctl) -> str:
        """Change a table (``pfctl -t NAME -T VERB ADDRESS...``)."""
        at, pf = command.at, self.firewall.pf
        table = pf.table(at, command.table)
        hosts = Hosts(self.site, self.passed_over.append)
        if command.entries[:1] == ("-f",):
            entries = [e for name in command.entries[1:] for e in hosts.entries_of_file(at, name)]
        else:
            entries = read_entries(at, list(command.entries), hosts)
        if table.constant and command.verb != "show":
            raise at.error(f"table {table.name} is const: take that word out of pf.conf")
        if command.verb in ("flush", "kill"):
            table.clear()
        elif command.verb == "replace":
            table.replace(entries)
        for prefix, belongs in entries:
            if command.verb == "add":
                table.add(prefix, belongs)
            elif command.verb == "delete" and not table.remove(prefix):
                raise at.error(f"{prefix} is not in table {table.name}: nothing is deleted")
        pf.changed()
        if command.verb == "show":
            return "\n".join(f"{'' if belongs else '!'}{prefix}" for prefix, belongs in table.entries())
        return ""

    def _load(self, command: Pfctl) -> None:
        file = command.file
        conf = read_pf(self._file(command.at, file), file, self.site)
        self.passed_over = [note for note in self.passed_over if note.at.file != file]
        self.passed_over += conf.passed_over
        if not command.dry:
            self.firewall.pf.load(conf)

    def _file(self, at: Line, name: str) -> str:
        if name not in self.files:
            known = did_you_mean(name, self.files) if self.files else "the host has no files"
            raise at.error(f"{name}: No such file: write its text under 'files' of the host; {known}")
        return self.files[name]

    def _start_ipfw(self) -> IpfwFilter:
        if self.firewall.ipfw is None:
            self.firewall.attach(self._ipfw)
        return self._ipfw

    def _ipfw_command(self, command: IpfwCommand) -> str:
        ipfw = self._start_ipfw()
        if isinstance(command, IpfwRule):
            ipfw.add(command)
        elif isinstance(command, DeleteRules):
            ipfw.delete(command)
        elif isinstance(command, IpfwSwitch):
            if command.name == "one_pass":
                ipfw.one_pass = command.on
            else:
                ipfw.enabled = command.on
            ipfw.changed()
        elif isinstance(command, ObjectCommand | Config):
            output = self.dummynet.execute(command)
            ipfw.changed()
            return output
        elif isinstance(command, SetCommand | TableCommand):
            return ipfw.change(command)
        elif isinstance(command, ReadFile):
            self._read_rules(command)
        else:
            return ipfw.rules.listing()
        return ""

    def _read_rules(self, command: ReadFile) -> None:
        """Carry out the commands of a file (``ipfw /etc/ipfw.rules``)."""
        text = self._file(command.at, command.name)
        for inner in read_ipfw(text, command.name, self.passed_over.append):
            if isinstance(inner, ReadFile):
                raise inner.at.error("a file of rules cannot name another one: write its rules here")
            self._ipfw_command(inner)

    def _queue(self, kind: str, number: int) -> Queue | None:
        return self.dummynet.queue(kind, number) if self.dummynet.configured(kind, number) else None


def firewalls(command: Command) -> bool:
    """Return whether a command has to do with pf, ipfw or dummynet."""
    if isinstance(command, Sysctl):
        return command.name.startswith(("net.inet.ip.fw.", "net.inet.ip.dummynet."))
    return not isinstance(command, IfconfigCommand | RouteCommand | RcConf | PassedOver | Application)
