"""One rule of ipfw: ``add`` and all that may follow (ipfw(8), RULE FORMAT).

Words that change nothing here are noted; what would change the result and is not simulated is refused
with what to write instead.
"""

from __future__ import annotations

import re
from typing import Final

from mptcpsim.freebsd.addresses import (
    Prefix,
    is_address,
    number_of,
    prefix_of,
    read_address,
    read_prefix,
    version_of,
)
from mptcpsim.freebsd.dummynet_config import LARGEST_NUMBER
from mptcpsim.freebsd.ipfw_objects import (
    DEFAULT_FLOW,
    LARGEST_RULE,
    TCP_FLAGS,
    IpfwEnd,
    IpfwRule,
    Option,
    PortRanges,
)
from mptcpsim.freebsd.lines import LineCursor, Note, PassedOver, fraction, whole_number
from mptcpsim.freebsd.services import SERVICES, SIMULATED, read_port, read_protocol
from mptcpsim.suggest import did_you_mean

#: Numbers of sets; the rules of the last one cannot be disabled, nor flushed.
LARGEST_SET: Final = 31

_ACTIONS: Final = {
    "allow": "allow", "accept": "allow", "pass": "allow", "permit": "allow", "deny": "deny", "drop": "deny",
    "count": "count", "pipe": "pipe", "queue": "queue", "fwd": "fwd", "forward": "fwd", "skipto": "skipto",
    "reset": "reset", "reset6": "reset", "reject": "unreach", "unreach": "unreach", "unreach6": "unreach",
    "check-state": "check-state",
}  # fmt: skip
_NAT: Final = (
    'addresses are not translated here: put a NAT on a link of the scenario, middleboxes = ["nat"] under '
    "its [[links]] (the first end is inside), and leave the rule out"
)
_NO_ACTIONS: Final = {
    "divert": "there are no divert sockets: " + _NAT,
    "tee": "there are no divert sockets: leave the rule out",
    "nat": _NAT,
    **dict.fromkeys(("nat64lsn", "nat64stl", "nat64clat", "nptv6"), _NAT),
    "setfib": "there is one routing table here: use fwd with the gateway",
    **dict.fromkeys(("netgraph", "ngtee"), "there is no netgraph here: leave the rule out"),
    **dict.fromkeys(("call", "return"), "rules are not called here: use skipto"),
    "tcp-setmss": "segments are not changed here: set mss under the tcp table of a host",
    "abort": "SCTP is not simulated: leave the rule out",
    "log": "it stands behind the action: write 'allow log ...'",
}  # fmt: skip
#: Actions after which the search goes on, and nothing here is different.
_NOTHING_ACTIONS: Final = {
    "reass": ("packets are never fragmented here", False),
    "setdscp": ("nothing here looks at the DSCP", True),
}
_PROTOCOLS: Final = {
    "ip": "ip", "all": "ip", "ip4": "ip4", "ipv4": "ip4", "ip6": "ip6", "ipv6": "ip6", **SIMULATED,
}  # fmt: skip
#: The ICMP codes of ``unreach``, by number where they have one (ipfw(8)).
UNREACH_CODES: Final = (
    "net", "host", "protocol", "port", "needfrag", "srcfail", "net-unknown", "host-unknown", "isolated",
    "net-prohib", "host-prohib", "tosnet", "toshost", "filter-prohib", "host-precedence",
    "precedence-cutoff",
)  # fmt: skip
_UNREACH6_CODES: Final = ("no-route", "admin-prohib", "address", "port")

#: Options without a value.
_PLAIN: Final = ("in", "out", "established", "setup", "frag", "layer2", "bridged", "ipsec", "diverted",
                 "verrevpath", "versrcreach", "antispoof")  # fmt: skip
_VALUED: Final = ("via", "recv", "xmit", "src-ip", "dst-ip", "src-ip6", "dst-ip6", "src-port", "dst-port",
                  "proto", "tcpflags", "icmptypes", "icmp6types", "ipoptions", "ipversion",
                  "keep-state", "limit", "record-state", "set-limit")  # fmt: skip
_ALIASES: Final = {"ipopt": "ipoptions", "ipver": "ipversion", "icmptype": "icmptypes",
                   "icmp6type": "icmp6types", "tcpflgs": "tcpflags"}  # fmt: skip
_OPTIONS: Final = (*_PLAIN, *_VALUED, *_ALIASES)
_ONLY_ADDRESSES: Final = "rules here know addresses, ports and flags: write them, and leave it out"
_NO_OPTIONS: Final = {
    "port": "write the number behind the address, or 'dst-port' and the number",
    "or": "alternatives stand in braces: { A or B }",
    **dict.fromkeys(("uid", "gid", "jail", "prison"), "packets have no owner here: write ports"),
    **dict.fromkeys(("MAC", "mac", "mac-type"), "packets are seen at the IP layer only: write addresses"),
    **dict.fromkeys(("iplen", "ipid", "ipttl", "iptos", "ipprecedence", "dscp", "tcpack", "tcpseq", "tcpwin",
                     "tcpmss", "tcpdatalen", "tcpoptions", "fib", "sockarg", "lookup", "flow", "flow-id",
                     "ext6hdr"), _ONLY_ADDRESSES),
    "tagged": "packets carry no tags here: write the addresses and interfaces that the tag stands for",
    "defer-immediate-action": "write check-state in its place",
    "defer-action": "write check-state in its place",
    "in-recv": "write 'in recv'",
}  # fmt: skip
_NOT_THERE: Final = {
    "frag": "packets are never fragmented here",
    "ipoptions": "packets have no IP options here",
    "layer2": "packets are seen at the IP layer only",
    "bridged": "packets are seen at the IP layer only",
    "ipsec": "there is no IPsec here",
    "diverted": "there are no divert sockets here",
}
_LIMIT_PARTS: Final = ("src-addr", "src-port", "dst-addr", "dst-port")
_NAME: Final = re.compile(r"[A-Za-z][\w.-]{0,31}\*?")
_WHOLE_RULE: Final = "a rule is '... PROTO from ADDR to ADDR ...'"


class IpfwRuleReader:
    """Reads what stands behind ``add``."""

    def __init__(self, words: LineCursor, note: Note) -> None:
        self.words = words
        self.at = words.at
        self._note = note
        self._keeps = ""
        self._flow = DEFAULT_FLOW
        self._limit: tuple[tuple[str, ...], int] = ((), 0)

    def read(self) -> IpfwRule:
        """Return the rule.

        Raises:
            DialectError: it is not understood, or not simulated.
        """
        words, at = self.words, self.at
        number = group = 0
        if words.peek().isdigit():
            number = whole_number(at, words.take(), "number of a rule", 1, LARGEST_RULE)
        if words.maybe("set"):
            group = whole_number(at, words.take("the number of a set"), "number of a set", 0, LARGEST_SET)
        probability = 1.0
        if words.maybe("prob"):
            probability = fraction(at, words.take("a probability"), "probability", 0, 1)
        action, argument, gateway, code = self._action()
        self._modifiers()
        rule = IpfwRule(at, number, probability, action, argument, gateway, set=group, code=code)
        if action == "check-state":
            self._name_of_flow()
            options, comment = self._options()
            if options:
                raise at.error(f"{options[0].name!r}: check-state takes packets of any kind: leave it out")
            return rule._replace(flow=self._flow, comment=comment)
        # "ip from any to any" may be left out, but not everything (ipfw(8), RULE BODY).
        first = words.peek(1) if words.peek() == "not" else words.peek()
        if not self._is_option(first):
            protocols = self._protocols()
            words.expect("from", remedy=_WHOLE_RULE)
            source = self._end_of_packet(protocols)
            words.expect("to", remedy=_WHOLE_RULE)
            destination = self._end_of_packet(protocols)
            rule = rule._replace(
                protocol=protocols[0], protocols=protocols[1:], source=source, destination=destination
            )
        options, comment = self._options()
        return rule._replace(
            options=options, comment=comment, keeps=self._keeps, flow=self._flow, limit=self._limit
        )

    def _is_option(self, word: str) -> bool:
        if word in ("{", "(", "{("):
            return not any(name in _PROTOCOLS for name in (self.words.peek(1), self.words.peek(2)))
        return word.replace("ipv6", "ip6") in (*_OPTIONS, *_NO_OPTIONS)

    # --- Action and modifiers ---

    def _action(self) -> tuple[str, int, str, str]:
        words, at = self.words, self.at
        word = words.take("what to do with the packets, such as allow or pipe 1")
        if word in _NOTHING_ACTIONS:
            why, valued = _NOTHING_ACTIONS[word]
            if valued:
                words.take(f"the value of {word}")
            self._note(PassedOver(at, word, f"{why}; the search goes on behind the rule"))
            return "count", 0, "", ""
        if word in _NO_ACTIONS:
            raise at.error(f"{word!r}: {_NO_ACTIONS[word]}")
        if word not in _ACTIONS:
            raise at.error(f"{word!r} is no action that is known here: {did_you_mean(word, _ACTIONS)}")
        action = _ACTIONS[word]
        if words.peek() == "tablearg" or words.peek().startswith("tablearg"):
            raise at.error("'tablearg': tables have no values here: write a rule for each")
        if action in ("pipe", "queue"):
            text = words.take(f"the number of the {action}")
            return action, whole_number(at, text, f"number of a {action}", 1, LARGEST_NUMBER), "", ""
        if action == "skipto":
            text = words.take("the number of a rule")
            return action, whole_number(at, text, "number of a rule", 1, LARGEST_RULE + 1), "", ""
        if action == "fwd":
            text = words.take("the address of the next hop")
            if "," in text:
                raise at.error(
                    "fwd with a port hands packets to a proxy, and there is none: leave the port out"
                )
            return action, 0, read_address(at, text), ""
        if action == "unreach":
            return action, 0, "", "host" if word == "reject" else self._code(word)
        return action, 0, "", ""

    def _code(self, word: str) -> str:
        codes = _UNREACH6_CODES if word == "unreach6" else UNREACH_CODES
        text = self.words.take("a code of ICMP, such as host,").partition(",")[0]
        if text.isdigit() and int(text) < len(codes):
            text = codes[int(text)]
        if text not in codes:
            raise self.at.error(f"{text!r} is no code of ICMP: {did_you_mean(text, codes)}")
        if text == "needfrag":
            raise self.at.error("'needfrag': set the mtu of a link instead, and its router answers so")
        return text

    def _modifiers(self) -> None:
        words = self.words
        while (word := words.peek()) in ("log", "tag", "untag", "altq"):
            words.next += 1
            if word == "log":
                if words.maybe("logamount"):
                    words.take("a number")
                why = "nothing is logged: captures and 'mptcpsim route' show what happened"
            else:
                words.take(f"the value of {word}")
                why = "there is no ALTQ here" if word == "altq" else "no rule can ask for the tag"
            self._note(PassedOver(self.at, word, why))

    # --- Protocol, from, to ---

    def _protocols(self) -> tuple[str, ...]:
        words = self.words
        closing = {"{": "}", "(": ")"}.get(words.peek(), "")
        if not closing:
            return (self._protocol(),)
        words.next += 1
        found = [self._protocol()]
        while words.maybe("or"):
            found.append(self._protocol())
        if not words.maybe(closing):
            raise self.at.error(f"{words.peek()!r} stands where 'or' or {closing!r} is missing")
        return tuple(found)

    def _protocol(self) -> str:
        word = self.words.take("a protocol, such as ip or tcp,")
        if word == "from":
            raise self.at.error(f"{word!r} is no protocol: write ip, tcp or udp in front of it")
        return _PROTOCOLS[word] if word in _PROTOCOLS else read_protocol(self.at, word, _PROTOCOLS)

    def _end_of_packet(self, protocols: tuple[str, ...]) -> IpfwEnd:
        words = self.words
        closing = {"{": "}", "(": ")"}.get(words.peek(), "")
        if closing:
            words.next += 1
            found = [self._address()]
            while words.maybe("or"):
                found.append(self._address())
            if not words.maybe(closing):
                raise self.at.error(f"{words.peek()!r} stands where 'or' or {closing!r} is missing")
            end = found[0]._replace(others=tuple(found[1:]))
        else:
            end = self._address()
        negated = words.peek() == "not" and _begins_ports(words.peek(1))
        if negated:
            words.next += 1
        if not negated and not _begins_ports(words.peek()):
            return end
        for protocol in protocols:
            if protocol not in ("tcp", "udp", "ip", "ip4", "ip6"):
                raise self.at.error(f"{protocol} has no ports: leave them out, or write tcp or udp")
        return end._replace(ports=self._ports(words.take()), ports_negated=negated)

    def _address(self) -> IpfwEnd:
        negated = self.words.maybe("not")
        word = self.words.take("an address, such as any,")
        if word == "any":
            if negated:
                raise self.at.error("'not any' matches no packet: write the addresses that are meant")
            return IpfwEnd()
        if word in ("me", "me6"):
            return IpfwEnd(me=word, negated=negated)
        if word.startswith("table"):
            return IpfwEnd(table=self._table(word), negated=negated)
        return IpfwEnd(self._prefixes(word), negated=negated)

    def _table(self, word: str) -> str:
        if word == "table" and self.words.peek() in ("(", "\\("):
            self.words.next += 1
            word = f"table({self.words.take('the name of a table')})"
            self.words.maybe(")")
        match = re.fullmatch(r"table\\?\(([\w.-]+)(,[^)]*)?\\?\)", word)
        if match is None:
            raise self.at.error(f"{word!r}: write table(NAME)")
        if match[2]:
            raise self.at.error(f"{word!r}: entries of tables have no values here: write table({match[1]})")
        return match[1]

    def _prefixes(self, word: str) -> tuple[Prefix, ...]:
        found: list[Prefix] = []
        # Commas inside braces belong to a set of addresses: 10.0.0.0/24{1,3-5}.
        for part in re.split(r",(?![^{]*\})", word):
            base, brace, inside = part.partition("{")
            if brace:
                found += self._set(base, inside)
            else:
                found.append(self._prefix(part))
        return tuple(found)

    def _set(self, base: str, inside: str) -> list[Prefix]:
        at = self.at
        around = read_prefix(at, base if "/" in base else f"{base}/24")
        if not inside.endswith("}") or around.version != 4 or around.length < 24:
            raise at.error(f"{base}{{{inside}: write a set such as 10.0.0.0/24{{1,3-5}}")
        found: list[Prefix] = []
        for item in inside[:-1].split(","):
            low, _, high = item.partition("-")
            first = whole_number(at, low, "number of a set of addresses", 0, 255)
            last = whole_number(at, high or low, "number of a set of addresses", 0, 255)
            ones = (1 << 32) - 1
            found += [
                Prefix(4, around.network & ~0xFF | number, ones, bare=True)
                for number in range(first, last + 1)
            ]
        return found

    def _prefix(self, word: str) -> Prefix:
        address, colon, mask = word.rpartition(":")
        if colon and is_address(address) and version_of(address) == 4:
            if not is_address(mask) or version_of(mask) == 6:
                raise self.at.error(
                    f"{mask!r} is no mask: write one such as 255.255.255.0, or a prefix length"
                )
            ones = number_of(mask)[1]
            return Prefix(4, number_of(address)[1] & ones, ones)
        if "/" in word:
            return read_prefix(self.at, word)
        return prefix_of(self.at, word, None)

    def _ports(self, word: str) -> PortRanges:
        if re.fullmatch(r"[\w.,\\-]+", word) is None:
            raise self.at.error(
                f"{word!r} are no ports: write numbers and ranges with commas, such as 80,5000-5010"
            )
        found = []
        for part in word.split(","):
            low, high = part, ""
            if part.replace("\\", "") not in SERVICES:
                low, _, high = part.partition("-")
            first, last = read_port(self.at, low), read_port(self.at, high or low)
            if first > last:
                raise self.at.error(f"the range of ports {part} runs backwards: exchange its ends")
            found.append((first, last))
        if len(found) > 30:
            raise self.at.error(
                "ipfw takes at most 30 ports or ranges in one list: use ranges, or several rules"
            )
        return tuple(found)

    # --- Options ---

    def _options(self) -> tuple[tuple[Option, ...], str]:
        words = self.words
        options: list[Option] = []
        while words.peek():
            if words.maybe("//"):
                return self._checked(options), " ".join(words.rest())
            closing = {"{": "}", "(": ")"}.get(words.peek(), "")
            if closing:
                options.append(self._alternatives(closing))
            elif words.peek() in ("keep-state", "limit", "record-state", "set-limit"):
                self._state()
            else:
                options.append(self._option())
        return self._checked(options), ""

    def _alternatives(self, closing: str) -> Option:
        words = self.words
        words.next += 1
        found = [self._option()]
        while words.maybe("or"):
            found.append(self._option())
        if not words.maybe(closing):
            raise self.at.error(f"{words.peek()!r} stands where 'or' or {closing!r} is missing")
        return Option("or", alternatives=tuple(found))

    def _option(self) -> Option:
        words, at = self.words, self.at
        negated = words.maybe("not")
        name = words.take("an option").replace("ipv6", "ip6")
        if name in _NO_OPTIONS:
            raise at.error(f"{name!r}: {_NO_OPTIONS[name]}")
        if name not in _OPTIONS:
            raise at.error(f"{name!r} is no option that is known here: {did_you_mean(name, _OPTIONS)}")
        if name in ("keep-state", "limit", "record-state", "set-limit"):
            raise at.error(f"{name!r} stands by itself: leave 'not' and braces out")
        name = _ALIASES.get(name, name)
        if name in _NOT_THERE and name != "layer2":
            self._note(PassedOver(at, name, f"{_NOT_THERE[name]}, so that no packet has it"))
        if name in _PLAIN:
            return Option(name, negated)
        value = words.take(f"the value of {name}")
        if name in ("via", "recv", "xmit"):
            if not is_address(value) and _NAME.fullmatch(value) is None:
                raise at.error(f"{name} {value}: write the name of an interface, such as em0")
            return Option(name, negated, value)
        if name == "proto":
            if value not in _PROTOCOLS or _PROTOCOLS[value].startswith("ip"):
                raise at.error(f"proto {value}: known are tcp, udp, icmp and icmp6")
            return Option(name, negated, _PROTOCOLS[value])
        if name == "ipversion":
            return Option(name, negated, str(whole_number(at, value, "version of IP", 4, 6)))
        if name == "ipoptions":
            return Option(name, negated, value)
        if name == "tcpflags":
            return Option(name, negated, flags=self._flags(value))
        if name.endswith("types"):
            numbers = [whole_number(at, part, "type of ICMP", 0, 255) for part in value.split(",")]
            return Option(name, negated, numbers=tuple(numbers))
        if name.endswith("-port"):
            return Option(name, negated, ports=self._ports(value))
        name = name.removesuffix("6")
        if value.startswith("table"):
            return Option(name, negated, table=self._table(value))
        if value in ("any", "me", "me6"):
            return Option(name, negated, "" if value == "any" else value)
        return Option(name, negated, prefixes=self._prefixes(value))

    def _flags(self, value: str) -> tuple[int, int]:
        wanted = unwanted = 0
        for part in value.split(","):
            name = part.removeprefix("!")
            if name not in TCP_FLAGS:
                raise self.at.error(f"{part!r} is no flag of TCP: known are {', '.join(TCP_FLAGS)}")
            if part.startswith("!"):
                unwanted |= TCP_FLAGS[name]
            else:
                wanted |= TCP_FLAGS[name]
        if wanted & unwanted:
            raise self.at.error(f"tcpflags {value}: a flag cannot be set and not set: leave one of both out")
        return wanted, unwanted

    def _state(self) -> None:
        words, at = self.words, self.at
        name = words.take()
        if name in ("record-state", "set-limit"):
            usual = "limit" if name == "set-limit" else "keep-state"
            raise at.error(f"{name!r}: write {usual}, with a name of its own such as :{name}")
        if self._keeps:
            raise at.error("the rule speaks twice of its states: leave one of both out")
        self._keeps = name
        if name == "limit":
            parts = []
            while words.peek() in _LIMIT_PARTS:
                parts.append(words.take())
            if not parts:
                raise at.error(f"limit of what: write {', '.join(_LIMIT_PARTS)}, and a number")
            self._limit = tuple(parts), whole_number(at, words.take("a number"), "number of states", 1, 65535)
        self._name_of_flow()

    def _name_of_flow(self) -> None:
        if self.words.peek().startswith(":"):
            self._flow = self.words.take()[1:]
            if re.fullmatch(r"[\w.-]{1,63}", self._flow) is None:
                raise self.at.error(f"':{self._flow}' is no name of states: write letters and digits")

    def _checked(self, options: list[Option]) -> tuple[Option, ...]:
        """Refuse what no packet can match (ipfw(8), ``recv | xmit | via``)."""
        # `out` is `not in`, and the other way round.
        inbound = {
            (option.name == "in") != option.negated for option in options if option.name in ("in", "out")
        }
        if len(inbound) > 1:
            raise self.at.error("'in' and 'out' exclude each other: leave one of them out")
        if any(option.name == "xmit" for option in options) and inbound != {False}:
            raise self.at.error("'xmit' is known of packets on their way out only: write 'out xmit IF'")
        return tuple(options)


def _begins_ports(word: str) -> bool:
    """Return whether a word is a list of ports: numbers or names of services."""
    first = word.split(",")[0].replace("\\", "")
    return word[:1].isdigit() or first in SERVICES or first.split("-")[0] in SERVICES
