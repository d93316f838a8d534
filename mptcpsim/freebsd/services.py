"""Names of services and protocols as FreeBSD's /etc/services and /etc/protocols have them.

The files of the machine that runs the simulation are not asked: a scenario means the same everywhere.
Listed is what rules of firewalls name; a name has one number here, as it has for TCP and UDP there.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from mptcpsim.freebsd.lines import Line, whole_number
from mptcpsim.suggest import did_you_mean

_TEXT: Final = """
tcpmux 1 echo 7 discard 9 sink 9 systat 11 users 11 daytime 13 qotd 17 quote 17 chargen 19 ttytst 19
ftp-data 20 ftp 21 ssh 22 telnet 23 smtp 25 mail 25 time 37 timserver 37 nameserver 42 name 42 whois 43
nicname 43 tacacs 49 domain 53 bootps 67 dhcps 67 bootpc 68 dhcpc 68 tftp 69 gopher 70 finger 79 http 80
www 80 www-http 80 kerberos 88 kerberos-sec 88 hostname 101 iso-tsap 102 csnet-ns 105 rtelnet 107 pop2 109
pop3 110 pop-3 110 sunrpc 111 rpcbind 111 portmapper 111 auth 113 ident 113 tap 113 sftp 115 nntp 119
usenet 119 ntp 123 epmap 135 loc-srv 135 netbios-ns 137 netbios-dgm 138 netbios-ssn 139 imap 143 imap2 143
imap4 143 snmp 161 snmptrap 162 snmp-trap 162 xdmcp 177 bgp 179 irc 194 at-rtmp 201 qmtp 209 z3950 210
ipx 213 imap3 220 ldap 389 https 443 snpp 444 microsoft-ds 445 kpasswd 464 kpasswd5 464 smtps 465
submissions 465 isakmp 500 exec 512 biff 512 login 513 who 513 shell 514 cmd 514 syslog 514 printer 515
spooler 515 talk 517 ntalk 518 route 520 router 520 efs 520 timed 525 timeserver 525 tempo 526 uucp 540
klogin 543 kshell 544 dhcpv6-client 546 dhcpv6-server 547 rtsp 554 remotefs 556 nntps 563 snntp 563
submission 587 http-alt 591 ipp 631 ldaps 636 sldap 636 ldp 646 asipregistry 687 rndc 953 ftps-data 989
ftps 990 telnets 992 imaps 993 ircs 994 pop3s 995 spop3 995 socks 1080 openvpn 1194 kazaa 1214
ms-sql-s 1433 ms-sql-m 1434 ingreslock 1524 wins 1512 l2f 1701 l2tp 1701 pptp 1723 radius 1812
radius-acct 1813 radacct 1813 ssdp 1900 nfsd 2049 nfs 2049 cvsup 5999 eppc 3031 mysql 3306
rdp 3389 ms-wbt-server 3389 svn 3690 rwhois 4321 ipsec-nat-t 4500 sae-urn 4500 krb524 4444 sip 5060
sips 5061 sip-tls 5061 xmpp-client 5222 jabber-client 5222 xmpp-server 5269 jabber-server 5269
postgresql 5432 rfb 5900 vnc-server 5900 x11 6000 ircd 6667 ircu 6667 afs3-fileserver 7000 font-service 7100
http-proxy 8080 webcache 8080 http-alt-8080 8080 iperf 5001 commplex-link 5001 git 9418 munin 4949
zabbix-agent 10050 amanda 10080 bacula-fd 9102 distcc 3632 rsync 873 nut 3493 mdns 5353 hotline 5500
cvspserver 2401 kpop 1109 aol 5190 icpv2 3130 sieve 4190 silc 706
ftp-proxy 8021 spamd 8025 spamd-cfg 8026 spamd-sync 8025 pflogd 6343 sane-port 6566 wireguard 51820
"""
_WORDS: Final = _TEXT.split()

#: Ports by the names of their services.
SERVICES: Final = {name: int(port) for name, port in zip(_WORDS[::2], _WORDS[1::2], strict=True)}

#: Protocols of which there are packets here.
SIMULATED: Final = {
    "tcp": "tcp", "udp": "udp", "icmp": "icmp", "icmp6": "icmp6", "ipv6-icmp": "icmp6",
    "6": "tcp", "17": "udp", "1": "icmp", "58": "icmp6",
}  # fmt: skip

#: Names of protocols of which there are none: rules about them are read and match nothing.
OTHERS: Final = frozenset(
    ("igmp", "ggp", "ipencap", "st2", "egp", "igp", "ipv6", "rsvp", "gre", "esp", "ah", "skip", "eigrp",
     "ospf", "ospfigp", "ipip", "etherip", "encap", "pim", "ipcomp", "vrrp", "carp", "l2tp", "sctp", "pfsync",
     "udplite", "ipv6-route", "ipv6-frag", "ipv6-nonxt", "ipv6-opts", "dccp", "idrp", "swipe", "hip")
)  # fmt: skip


def read_protocol(at: Line, word: str, known: Collection[str] = SIMULATED) -> str:
    """Return the protocol that a name or a number stands for; of which there are no packets, it itself.

    Raises:
        DialectError: it is none.
    """
    name = word.lower()
    if name in SIMULATED:
        return SIMULATED[name]
    if name in OTHERS or (name.isdigit() and len(name) <= 3 and int(name) <= 255):
        return name
    raise at.error(f"{word!r} is no protocol that is known here: {did_you_mean(word, known)}")


def read_port(at: Line, word: str) -> int:
    """Return the port that a number or the name of a service stands for.

    Raises:
        DialectError: it is none.
    """
    name = word.replace("\\", "").lower()
    if name in SERVICES:
        return SERVICES[name]
    if name[:1].isalpha():
        hint = did_you_mean(name, SERVICES) if len(name) < 30 else ""
        hint = f"{hint} Else write" if hint.startswith("did") else "write"
        raise at.error(f"{word!r} is no name of a service that is known here: {hint} the number of the port")
    return whole_number(at, word, "port", 0, 65535)
