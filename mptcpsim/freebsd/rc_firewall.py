"""What FreeBSD's /etc/rc.firewall makes of the variables of rc.conf: the rules of each ``firewall_type``.

Left out is what is for packets of which there are none here: ICMPv6's neighbour discovery,
multicast, DHCP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mptcpsim.freebsd.lines import Line

#: The variables that the rules depend on, by the type of firewall.
VARIABLES: Final[dict[str, tuple[str, ...]]] = {
    "open": (),
    "closed": (),
    "client": ("firewall_client_net", "firewall_client_net_ipv6"),
    "simple": (
        "firewall_simple_iif", "firewall_simple_inet", "firewall_simple_oif", "firewall_simple_onet",
        "firewall_simple_iif_ipv6", "firewall_simple_inet_ipv6", "firewall_simple_oif_ipv6",
        "firewall_simple_onet_ipv6",
    ),
    "workstation": (
        "firewall_myservices", "firewall_allowservices", "firewall_trusted", "firewall_nologports",
        "firewall_logdeny",
    ),
}  # fmt: skip
#: All of them.
NAMES: Final = tuple(name for names in VARIABLES.values() for name in names)

_LOOPBACK: Final = [
    "100 allow ip from any to any via lo0",
    "200 deny ip from any to 127.0.0.0/8",
    "300 deny ip from 127.0.0.0/8 to any",
    "400 deny ip from any to ::1",
    "500 deny ip from ::1 to any",
]
#: Networks of which no packet passes the outside interface (RFC 1918 and others).
_NOWHERE: Final = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "0.0.0.0/8", "169.254.0.0/16", "192.0.2.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
_QUERIES: Final = [f"allow udp from me to any {port} keep-state" for port in (53, 123)]
_MAIL: Final = ["allow tcp from any to any established", "allow tcp from any to me 25 setup"]


def rules_of(at: Line, kind: str, values: Mapping[str, str]) -> str:
    """Return the commands of a type of firewall, one a line.

    Args:
        at: the line of rc.conf that names the type.
        kind: the type.
        values: of the variables.

    Raises:
        DialectError: a variable that the type needs is not set.
    """
    if kind == "client":
        rules = _client(at, values)
    elif kind == "simple":
        rules = _simple(at, values)
    elif kind == "workstation":
        rules = _workstation(at, values)
    else:
        rules = ["65000 allow ip from any to any" if kind == "open" else "65000 deny ip from any to any"]
    return "\n".join(f"add {rule}" for rule in (*_LOOPBACK, *rules))


def _needed(at: Line, values: Mapping[str, str], name: str) -> str:
    if not values.get(name):
        raise at.error(f'the rules of this firewall_type need {name}: write {name}="VALUE" into rc.conf')
    return values[name]


def _client(at: Line, values: Mapping[str, str]) -> list[str]:
    rules = []
    for net in (_needed(at, values, "firewall_client_net"), values.get("firewall_client_net_ipv6", "")):
        rules += [f"allow ip from me to {net}", f"allow ip from {net} to me"] if net else []
    return [*rules, *_MAIL, "allow tcp from me to any setup", "deny tcp from any to any setup", *_QUERIES]


def _simple(at: Line, values: Mapping[str, str]) -> list[str]:
    inside, inside_net, outside, outside_net = (
        _needed(at, values, f"firewall_simple_{name}") for name in ("iif", "inet", "oif", "onet")
    )
    rules = [
        f"deny ip from {inside_net} to any in via {outside}",
        f"deny ip from {outside_net} to any in via {inside}",
    ]
    nowhere = ",".join(_NOWHERE)
    outside6 = values.get("firewall_simple_oif_ipv6") or outside
    rules += [f"deny ip from any to {nowhere} via {outside}", f"deny ip from {nowhere} to any via {outside}"]
    if inside_net6 := values.get("firewall_simple_inet_ipv6"):
        rules.append(f"deny ip from {inside_net6} to any in via {outside6}")
        if outside_net6 := values.get("firewall_simple_onet_ipv6"):
            inside6 = values.get("firewall_simple_iif_ipv6") or inside
            rules.append(f"deny ip from {outside_net6} to any in via {inside6}")
        rules += [
            f"deny ip from fc00::/7 to any via {outside6}",
            f"deny ip from any to fc00::/7 via {outside6}",
        ]
    return [
        *rules,
        *_MAIL,
        "allow tcp from any to me 53 setup",
        "allow udp from any to me 53",
        "allow udp from me 53 to any",
        "allow tcp from any to me 80 setup",
        f"deny ip4 from any to any in via {outside} setup proto tcp",
        *([f"deny ip6 from any to any in via {outside6} setup proto tcp"] if inside_net6 else []),
        "allow tcp from any to any setup",
        *_QUERIES,
    ]


def _workstation(at: Line, values: Mapping[str, str]) -> list[str]:
    rules = [
        "check-state",
        "allow tcp from me to any established",
        "allow tcp from me to any setup keep-state",
        "allow udp from me to any keep-state",
        "allow icmp from me to any keep-state",
        "allow icmp from any to any icmptypes 3,4,8,11",
    ]
    for client in values.get("firewall_allowservices", "").split():
        for service in values.get("firewall_myservices", "").split():
            match = re.fullmatch(r"([\w.,-]+?)(?:/(tcp|udp|proto))?", service, re.IGNORECASE)
            if match is None:
                raise at.error(
                    f"{service!r} in firewall_myservices: write ports and protocols, such as 22/tcp"
                )
            protocol = (match[2] or "tcp").lower()
            if protocol == "proto":
                rules.append(f"allow {match[1]} from {client} to me")
            else:
                rules.append(f"allow {protocol} from {client} to me {match[1]}")
    rules += [f"allow ip from {client} to me" for client in values.get("firewall_trusted", "").split()]
    return [*rules, "65000 count ip from any to any", "deny ip from any to any"]
