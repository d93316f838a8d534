"""Rules about ipfw and dummynet: pipes that are missing or in vain, gateways, rules that never decide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mptcpsim.freebsd.dummynet_config import Config
from mptcpsim.freebsd.ipfw import IpfwEnd, IpfwRule, ObjectCommand
from mptcpsim.freebsd.ipfw_filter import DENIED
from mptcpsim.freebsd.ipfw_rules import DEFAULT_RULE
from mptcpsim.freebsd.lines import NOWHERE
from mptcpsim.lint.finding import Family
from mptcpsim.lint.firewalls import FreebsdNode
from mptcpsim.lint.remark import Remark
from mptcpsim.lint.subject import Subject

FAMILY: Final = Family()


def _rules(host: FreebsdNode) -> list[IpfwRule]:
    """Return the rules of a node, in the order in which they are tried."""
    ipfw = host.system.firewall.ipfw
    return [] if ipfw is None or not ipfw.enabled else ipfw.rules.rules()


def _missing(host: FreebsdNode, rule: IpfwRule) -> bool:
    """Return whether a rule sends packets to a pipe or queue that is not there."""
    kind, number = rule.action, rule.argument
    return kind in ("pipe", "queue") and not host.system.dummynet.configured(kind, number)


@FAMILY.rule("E401", "no-such-pipe")
def no_such_pipe(subject: Subject) -> Iterator[Remark]:
    """An ipfw rule sends packets to a pipe or queue that is not configured.

    They are dropped there, all of them.
    """
    for host in subject.systems:
        for rule in _rules(host):
            if _missing(host, rule):
                queue = next(
                    (c for c in host.configs if (c.kind, c.number) == (rule.action, rule.argument)), None
                )
                if queue is not None and queue.parent is not None:
                    yield host.remark(
                        rule.at,
                        f"queue {queue.number} feeds pipe {queue.parent}, which is not configured",
                        f"type ipfw pipe {queue.parent} config ..., or let the queue feed another one",
                    )
                    continue
                known = [str(config.number) for config in host.configs if config.kind == rule.action]
                listed = ", ".join(known) or "none"
                yield host.remark(
                    rule.at,
                    f"there is no {rule.action} {rule.argument}: {rule.action}s are {listed}",
                    f"type ipfw {rule.action} {rule.argument} config ... before, or name one of those",
                )


@FAMILY.rule("W402", "unused-pipe")
def unused_pipe(subject: Subject) -> Iterator[Remark]:
    """A pipe, a queue or a scheduler is configured, and no packets come to it.

    Its rate and its delay have no effect. Most often the rule names another number, or comes behind one
    that decides about all packets. A scheduler gets packets from queues alone: those of a rule "pipe 1" pass
    a FIFO, whatever the type of scheduler 1.
    """
    for host in subject.systems:
        if host.types_later or any(_missing(host, rule) for rule in _rules(host)):
            continue  # E401 tells of a rule that names another number
        used = {(rule.action, rule.argument) for rule in _rules(host)}
        for config in host.configs:
            if config.parent is not None:
                used.add(("pipe", config.parent))
        fed = {config.parent for config in host.configs if config.kind == "queue"}
        for config in host.configs:
            kind, number = config.kind, config.number
            if config.scheduler and number not in fed and host.system.dummynet.show("sched", (number,)):
                fed.add(number)
                yield host.remark(
                    config.at,
                    f"no queue feeds sched {number} of {host.name} ({config.scheduler}): packets of rules "
                    f"'pipe {number}' pass a FIFO instead",
                    f"type ipfw queue {number} config sched {number}, and let rules name that queue",
                    cause=False,
                )
            if kind == "sched" or (kind, number) in used or not host.system.dummynet.configured(kind, number):
                continue
            used.add((kind, number))
            yield host.remark(
                config.at,
                f"{kind} {number} of {host.name} is configured, and no rule sends packets to it",
                f"type ipfw add {kind} {number} ip from any to any, or leave it out",
                cause=False,
            )


#: What a configuration states, the fields of each, and what it has without them.
_STATED: Final = {
    "bw": (("bw",), "is unlimited"),
    "delay": (("delay",), "has no delay"),
    "burst": (("burst",), "has no burst"),
    "profile": (("profile",), "has no profile"),
    "queue": (("slots", "octets"), "has 50 slots"),
    "plr": (("plr",), "loses nothing"),
    "mask": (("mask",), "is one for all flows"),
    "red": (("red", "aqm"), "drops at its end"),
    "weight": (("weight",), "has weight 1"),
}


@FAMILY.rule("W407", "configured-anew")
def configured_anew(subject: Subject) -> Iterator[Remark]:
    """A pipe or queue is configured a second time, and loses what is not said again.

    Each ``config`` states the object anew: a second one with the delay only takes the bandwidth away. That
    holds for commands that are typed later, too.
    """
    for host in subject.systems:
        known: dict[tuple[str, int], Config] = {}
        for command in host.objects:
            if isinstance(command, ObjectCommand):
                if command.verb == "flush":
                    known.clear()
                elif command.verb == "delete":
                    for number in command.numbers:
                        known.pop((command.kind, number), None)
                continue
            before = known.get((command.kind, command.number))
            known[command.kind, command.number] = command
            if before is None:
                continue
            lost = [
                (word, without)
                for word, (fields, without) in _STATED.items()
                if any(getattr(before, field) is not None for field in fields)
                and all(getattr(command, field) is None for field in fields)
            ]
            if lost:
                words = " and ".join(word for word, _ in lost)
                yield host.remark(
                    command.at,
                    f"{command.kind} {command.number} of {host.name} is configured anew without the {words} "
                    f"that line {before.at.number} gives it: it {' and '.join(each for _, each in lost)} now",
                    f"say the {words} again in this line",
                    cause=False,
                )


@FAMILY.rule("E403", "denied-by-default")
def denied_by_default(subject: Subject) -> Iterator[Remark]:
    """Ipfw drops packets of a flow because no rule is for them.

    FreeBSD's last rule, 65535, denies everything unless net.inet.ip.fw.default_to_accept is set. The
    first command of ipfw loads it, rules for pipes included, and from then on whatever they do not match
    is dropped.
    """
    told: set[str] = set()
    for talk in subject.talks:
        for pair in talk.pairs:
            loss = pair.loss
            if loss is None or loss.way.reason != DENIED or loss.node in told:
                continue
            last = loss.way.hops[-1].steps[-1]
            host = next((system for system in subject.systems if system.name == loss.node), None)
            if host is None or not last.startswith(f"ipfw rule {DEFAULT_RULE}"):
                continue
            told.add(loss.node)
            flow = loss.way.flow
            yield Remark(
                host.place(NOWHERE),
                f"ipfw at {loss.node} drops {loss.what} of flow {talk.spec.name!r} from {flow.src} to "
                f"{flow.dst}: no rule is for it, and rule {DEFAULT_RULE} denies the rest",
                "type ipfw add 65000 allow ip from any to any, or write default_to_accept = true",
                node=loss.node,
            )


@FAMILY.rule("W404", "ipfw-shadowed")
def ipfw_shadowed(subject: Subject) -> Iterator[Remark]:
    """An ipfw rule never decides, because one above it is for all packets.

    The first rule that matches decides. Numbers give the order; without one a rule comes behind all
    others.
    """
    for host in subject.systems:
        above: IpfwRule | None = None
        jumps: list[int] = []
        for rule in _rules(host):
            if above is None and rule.action == "skipto":
                jumps.append(rule.argument)
            if above is not None and any(above.number < target <= rule.number for target in jumps):
                break  # skipto has gone past the rule for all packets
            if above is not None and not _resumed(host, above):
                yield host.remark(
                    rule.at,
                    f"the rule never decides: rule {above.number} ({above.at.text.strip()}) is for all "
                    "packets, and the first match decides",
                    f"give the rule a number below {above.number}",
                    cause=rule.action == "fwd",
                )
            elif above is None and _is_for_all(rule):
                above = rule


@FAMILY.rule("N408", "command-passed-over")
def command_passed_over(subject: Subject) -> Iterator[Remark]:
    """A word of a command changes nothing in a simulation, and is passed over.

    It is typed at a real system, and may stay. What would change the fate of packets and is not simulated,
    such as divert, is an error instead.
    """
    for host in subject.systems:
        yield from host.passed_over(in_files=False)


def _is_for_all(rule: IpfwRule) -> bool:
    anything = IpfwEnd()
    return (
        rule.action not in ("count", "skipto", "check-state")
        and not rule.set
        and rule.protocol == "ip"
        and rule.probability == 1.0
        and (rule.source, rule.destination) == (anything, anything)
        and not rule.options
    )


def _resumed(host: FreebsdNode, rule: IpfwRule) -> bool:
    """Return whether packets go on behind a rule when they come out of its pipe."""
    ipfw = host.system.firewall.ipfw
    return rule.action in ("pipe", "queue") and ipfw is not None and not ipfw.one_pass


@FAMILY.rule("E405", "fwd-gateway")
def fwd_gateway(subject: Subject) -> Iterator[Remark]:
    """The next hop of an ipfw fwd rule is not to be found.

    It has to be a router on a link of the node.
    """
    for host in subject.systems:
        for rule in _rules(host):
            if rule.action != "fwd" or rule.gateway in host.addresses:
                continue
            interface = host.leaves_by(rule.gateway)
            name = host.scenario_name(interface) if interface else ""
            wrong = subject.gateway_problem(host.name, name, rule.gateway)
            if wrong is not None:
                yield host.remark(rule.at, f"fwd: {wrong[0]}", wrong[1])


@FAMILY.rule("W406", "ipfw-never-matches")
def ipfw_never_matches(subject: Subject) -> Iterator[Remark]:
    """An ipfw rule is for packets from or to an address that nobody has.

    Only single addresses inside the networks of the scenario are looked at.
    """
    for host in subject.systems:
        for rule in _rules(host):
            for end in (rule.source, rule.destination):
                if end.negated or len(end.prefixes) != 1 or end.prefixes[0].length != end.prefixes[0].bits:
                    continue
                address = str(end.prefixes[0]).partition("/")[0]
                network = subject.network_around(address)
                if network is None or subject.is_known(address):
                    continue
                yield host.remark(
                    rule.at,
                    f"nobody has the address {address}, and so the rule matches no packet",
                    f"write the length behind it: {network}"
                    if address == str(network.network_address)
                    else f"addresses in {network} are {subject.listed(network)}: write the one that is meant",
                    cause=rule.action == "fwd",
                )
