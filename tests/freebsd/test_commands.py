"""Scripts of commands as they are typed at a host of the seed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.freebsd.addresses import Prefix, prefix_of, read_prefix
from mptcpsim.freebsd.commands import Command, Pfctl, RcConf, Sysctl, Tcpdump
from mptcpsim.freebsd.dummynet_config import Config
from mptcpsim.freebsd.ip_commands import IfconfigCommand, RouteCommand
from mptcpsim.freebsd.iperf import IperfClient, IperfServer
from mptcpsim.freebsd.lines import NOWHERE, DialectError
from mptcpsim.freebsd.scripts import read_script
from mptcpsim.freebsd.sysctls import VARIABLES
from mptcpsim.units import SECOND
from tests.profiles import examples

MP_ADDRESSES = "net.inet.tcp.mptcp.mp_addresses"


def read(text: str) -> Command:
    (command,) = read_script(text)
    return command._replace(at=NOWHERE)


def net(text: str) -> Prefix:
    return read_prefix(NOWHERE, text)


COMMANDS: list[tuple[str, Command]] = [
    # Those of the seed document.
    ("ifconfig A1 inet 192.168.0.10/24", IfconfigCommand(NOWHERE, "A1", "set", "192.168.0.10", 24)),
    ("ifconfig A2 inet 192.168.0.11/24", IfconfigCommand(NOWHERE, "A2", "set", "192.168.0.11", 24)),
    ("ifconfig B1 inet 192.168.0.20/24", IfconfigCommand(NOWHERE, "B1", "set", "192.168.0.20", 24)),
    ("iperf -s", IperfServer(NOWHERE)),
    ("iperf -c 192.168.0.20 -t 5", IperfClient(NOWHERE, "192.168.0.20", time=5 * SECOND)),
    ("iperf -s -l 512k -k 1M", IperfServer(NOWHERE, length=512_000, receive_buffer=1 << 20)),
    (f'sysctl {MP_ADDRESSES}="192.168.0.11"', Sysctl(NOWHERE, MP_ADDRESSES, ("192.168.0.11",))),
    ('pf_enable="YES"', RcConf(NOWHERE, "pf_enable", "YES")),
    # And more.
    ("ifconfig em0 10.0.0.1 netmask 255.255.255.0", IfconfigCommand(NOWHERE, "em0", "set", "10.0.0.1", 24)),
    (
        "ifconfig em0 inet 10.0.0.1 netmask 0xffffff00 up",
        IfconfigCommand(NOWHERE, "em0", "set", "10.0.0.1", 24, True),
    ),
    ("ifconfig em0 inet 10.0.0.2/32 alias", IfconfigCommand(NOWHERE, "em0", "alias", "10.0.0.2", 32)),
    ("ifconfig em0 alias 10.0.0.2/32", IfconfigCommand(NOWHERE, "em0", "alias", "10.0.0.2", 32)),
    ("ifconfig em0 inet 10.0.0.2 delete", IfconfigCommand(NOWHERE, "em0", "delete", "10.0.0.2")),
    ("ifconfig em0 inet6 fd00::1 prefixlen 64", IfconfigCommand(NOWHERE, "em0", "set", "fd00::1", 64)),
    ("ifconfig em0 down", IfconfigCommand(NOWHERE, "em0", up=False)),
    ("ifconfig em0 mtu 9000", IfconfigCommand(NOWHERE, "em0", mtu=9000)),
    ("route add default 192.168.5.1", RouteCommand(NOWHERE, "add", Prefix(4, 0, 0), "192.168.5.1")),
    (
        "route add -net 172.16.3.0/24 172.16.1.1",
        RouteCommand(NOWHERE, "add", net("172.16.3.0/24"), "172.16.1.1"),
    ),
    (
        "route add -net 172.16.3.0 -netmask 255.255.255.0 172.16.1.1",
        RouteCommand(NOWHERE, "add", net("172.16.3.0/24"), "172.16.1.1"),
    ),
    ("route add -host 10.0.1.2 192.168.0.1", RouteCommand(NOWHERE, "add", net("10.0.1.2"), "192.168.0.1")),
    ("route add 10.0.1.2 192.168.0.1", RouteCommand(NOWHERE, "add", net("10.0.1.2"), "192.168.0.1")),
    ("route -n add -inet6 default fd00::1", RouteCommand(NOWHERE, "add", Prefix(6, 0, 0), "fd00::1")),
    (
        "route add -net 10.0.0.0/8 -interface em1",
        RouteCommand(NOWHERE, "add", net("10.0.0.0/8"), interface="em1"),
    ),
    ("route delete default", RouteCommand(NOWHERE, "delete", Prefix(4, 0, 0))),
    (
        f'sysctl {MP_ADDRESSES}="192.168.0.11 10.0.0.20"',
        Sysctl(NOWHERE, MP_ADDRESSES, ("192.168.0.11", "10.0.0.20")),
    ),
    (f"sysctl -w {MP_ADDRESSES}=0", Sysctl(NOWHERE, MP_ADDRESSES, ())),
    ("sysctl net.inet.ip.fw.one_pass=0", Sysctl(NOWHERE, "net.inet.ip.fw.one_pass", 0)),
    ("sysctl net.inet.tcp.cc.algorithm=cubic", Sysctl(NOWHERE, "net.inet.tcp.cc.algorithm", "cubic")),
    ("pfctl -f /etc/pf.conf", Pfctl(NOWHERE, "/etc/pf.conf")),
    ("pfctl -e", Pfctl(NOWHERE, enable=True)),
    ("pfctl -ef /etc/pf.conf", Pfctl(NOWHERE, "/etc/pf.conf", True)),
    ("pfctl -F states", Pfctl(NOWHERE, flush="states")),
    ("pfctl -Fa -f /etc/pf.conf", Pfctl(NOWHERE, "/etc/pf.conf", flush="all")),
    ("pfctl -Fr", Pfctl(NOWHERE, flush="rules")),
    ("pfctl -F s", Pfctl(NOWHERE, flush="states")),
    ("tcpdump -nn -vv -i A1 -w file", Tcpdump(NOWHERE, "file", "A1")),
    ("tcpdump -nnvvXSs 1514 -i em0 -w file", Tcpdump(NOWHERE, "file", "em0", 1514)),
    ("tcpdump -w file -i A1", Tcpdump(NOWHERE, "file", "A1")),
    ("tcpdump -n -i em0 -s 96 -w 'a file.pcap' &", Tcpdump(NOWHERE, "a file.pcap", "em0", 96)),
    ("ipfw pipe 1 config bw 8Mbps", Config(NOWHERE, "pipe", 1, bw=8_000_000)),
    (
        "iperf -c 10.0.0.1 -n 10M -l 8K -w 256K -p 5002 -i 1 -P 2",
        IperfClient(
            NOWHERE,
            "10.0.0.1",
            5002,
            time=0,
            amount=10 << 20,
            length=8192,
            receive_buffer=256 << 10,
            send_buffer=256 << 10,
            interval=SECOND,
            parallel=2,
        ),
    ),
    ("iperf -c10.0.0.1 -t0.5", IperfClient(NOWHERE, "10.0.0.1", time=SECOND // 2)),
    ("iperf -s -w 64K -k 1M -j 1M", IperfServer(NOWHERE, receive_buffer=65536, send_buffer=65536)),
    ("iperf -sD -B 10.0.0.1", IperfServer(NOWHERE, bind="10.0.0.1")),
]


@pytest.mark.parametrize(("text", "command"), COMMANDS, ids=[text for text, _ in COMMANDS])
def test_commands(text: str, command: Command) -> None:
    assert read(text) == command
    assert read(str(command)) == command
    for prompt in "$%" if isinstance(command, RcConf) else "#$%":
        assert read(f"  {prompt} {text}") == command


def test_a_script() -> None:
    text = (
        "# Host A, two addresses\n"
        "ifconfig A1 inet 192.168.0.10/24   # the first one\n"
        "ifconfig A2 \\\n"
        "    inet 192.168.0.11/24\n"
        "\n"
        "## iperf comes later\n"
        "#\n"
        "#ifconfig A3 down\n"
        "# route add default 192.168.0.1\n"
        f'$ sysctl {MP_ADDRESSES}="192.168.0.11" net.inet.tcp.mptcp.max_subflows=2\r\n'
        "% iperf -c 192.168.0.20 -t 5 &\n"
    )
    commands = read_script(text, "A.sh")
    assert [(command.at.number, type(command)) for command in commands] == [
        (2, IfconfigCommand),
        (3, IfconfigCommand),
        (9, RouteCommand),
        (10, Sysctl),
        (10, Sysctl),
        (11, IperfClient),
    ]
    assert {command.at.file for command in commands} == {"A.sh"}
    assert commands[1].at.text.split() == ["ifconfig", "A2", "inet", "192.168.0.11/24"]


MISTAKES = [
    ("ifconfg A1 inet 192.168.0.10/24", "did you mean 'ifconfig'?"),
    ("ifconfig", "name of an interface is missing"),
    ("ifconfig A1", "shows an interface only"),
    ("ifconfig A1 inet", "the address is missing"),
    ("ifconfig A1 inet 192.168.0.10", "such as 192.168.0.10/24"),
    ("ifconfig A1 inet 192.168.0.300/24", "no address"),
    ("ifconfig A1 inet 192.168.0.10/33", "between 0 and 32"),
    ("ifconfig A1 inet fd00::1/64", "no address of inet"),
    ("ifconfig A1 inet 10.0.0.1 netmask 255.0.255.0", "no run of ones"),
    ("ifconfig A1 10.0.0.1/24 netmask 255.255.255.0", "already"),
    ("ifconfig A1 10.0.0.1/24 10.0.0.2/24", "one command for each"),
    ("ifconfig A1 10.0.0.1/24 broadcst 10.0.0.255", "does not know 'broadcst'"),
    ("ifconfig A1 mtu 10", "between 68 and 65535"),
    ("route", "'add' or 'delete'"),
    ("route change default 10.0.0.1", "write add or delete"),
    ("route add default", "gateway is missing"),
    ("route add -net 10.0.0.0 10.1.0.1", "such as 10.0.0.0/24"),
    ("route add -host 10.0.0.0/24 10.1.0.1", "write -net"),
    ("route add -net 10.0.0.0/24 fd00::1", "another family"),
    ("route add 10.0.0.0/24 10.1.0.1 em0", "too much"),
    ("route add -netwrk 10.0.0.0/24 10.1.0.1", "did you mean '-net"),
    ("sysctl net.inet.tcp.mptcp.mp_adresses=1.1.1.1", MP_ADDRESSES),
    ("sysctl net.inet.tcp.mptcp.mp_addresses", "in one piece"),
    (f"sysctl {MP_ADDRESSES} = 1.1.1.1", "in one piece"),
    (f"sysctl {MP_ADDRESSES}=A2", "no address"),
    ("sysctl net.inet.tcp.sack.enable=yes", "0 or 1"),
    ("sysctl net.inet.tcp.mptcp.max_subflows=0", "between 1 and 255"),
    ("sysctl", "nothing is set"),
    ("pfctl", "does nothing"),
    ("pfctl -e -d", "exclude"),
    ("pfctl -s queue", "known are rules"),
    ("pfctl -f", "value of -f is missing"),
    ("pf_enabled=YES", "did you mean 'pf_enable'?"),
    ("pf_enable=maybe", "YES or NO"),
    ("tcpdump -i em0", "needs a file"),
    ("tcpdump -w file", "needs an interface"),
    ("tcpdump -w file -i em0 tcp port 80", "'tcp' is not understood here: there are no filters"),
    ("tcpdump -w file -w file -i em0", "stands twice"),
    ('pf_enable = "YES"', "without spaces around the sign"),
    ("sleep 5", "into a block of 'later', with its time"),
    ("service natd start", "known are"),
    ("service pf begin", "known are start"),
    ("pfctl -F Sources", "known are all, rules and states"),
    ("# route for the second network", "if it is a comment, begin it with ##"),
    ("iperf", "-s, or -c"),
    ("iperf -s -c 10.0.0.1", "-s, or -c"),
    ("iperf -s -t 5", "client's"),
    ("iperf -c server -t 5", "no address"),
    ("iperf -c 10.0.0.1 -t 5 -n 10M", "leave one of them out"),
    ("iperf -c 10.0.0.1 -t five", "write a number"),
    ("iperf -c 10.0.0.1 -t 0", "more than 0"),
    ("iperf -c 10.0.0.1 -u", "no switch -u"),
    ("iperf -c 10.0.0.1 --time 5", "one letter"),
    ("iperf -s -l 512kB", "such as 512k"),
    ("iperf -s -p 70000", "between 1 and 65535"),
    ("iperf -c 10.0.0.1 -t 5 -t 6", "twice"),
    ("iperf -s > log", "needs a shell"),
    ("iperf -c $HOST", "is not set above"),
    ("sudo iperf -s", "leave 'sudo' out"),
    ('iperf -c "10.0.0.1', "close it"),
    ("ipfw pipe 1 config bw 8Mbaud", "unknown unit"),
]


@pytest.mark.parametrize(("text", "remedy"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_is_one_message_with_the_line(text: str, remedy: str) -> None:
    with pytest.raises(DialectError) as caught:
        read_script(f"ifconfig A1 up\n\n{text}\n", "hosts.A.commands")
    error = caught.value
    assert remedy in error.problem
    assert (error.file, error.line, error.text) == ("hosts.A.commands", 3, text)
    assert str(error).startswith("hosts.A.commands, line 3: ")
    assert text in str(error)
    assert "\n" not in str(error)


def test_an_unknown_sysctl_names_those_that_are_known() -> None:
    with pytest.raises(DialectError) as caught:
        read_script("sysctl kern.hz=1000")
    assert all(name in caught.value.problem for name in VARIABLES)


@pytest.mark.parametrize(
    "text", ["ifconfig em0" + " up" * 300_000, "a" * 900_000, "route add" + " a" * 400_000, "'" * 900_001]
)
def test_hostile_scripts_end_soon(text: str) -> None:
    with pytest.raises(DialectError) as caught:
        read_script(text)
    assert len(str(caught.value)) < 1500


# --- Laws ----------------------------------------------------------------------------------------

interfaces = st.sampled_from(["em0", "em1", "A1"])
v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6).map(str)
sizes = st.integers(0, 10**9)
times = st.integers(1, 10**12)
ports = st.integers(1, 65535)


@st.composite
def prefixes(draw: st.DrawFn, version: int) -> Prefix:
    address = draw(v4 if version == 4 else v6)
    length = draw(st.none() | st.integers(0, 32 if version == 4 else 128))
    return prefix_of(NOWHERE, address, length)


@st.composite
def commands(draw: st.DrawFn) -> Command:
    version = draw(st.sampled_from([4, 6]))
    address = draw(v4 if version == 4 else v6)
    word = draw(st.sampled_from(["ifconfig", "route", "sysctl", "pfctl", "tcpdump", "server", "client"]))
    if word == "ifconfig":
        action = draw(st.sampled_from(["set", "alias", "delete"]))
        length = draw(st.integers(-1 if action == "delete" else 0, 32 if version == 4 else 128))
        up = draw(st.none() | st.booleans())
        mtu = draw(st.just(0) | st.integers(68, 65535))
        return IfconfigCommand(NOWHERE, draw(interfaces), action, address, length, up, mtu)
    if word == "route":
        destination = draw(prefixes(version))
        if draw(st.booleans()):
            return RouteCommand(NOWHERE, "add", destination, interface=draw(interfaces))
        return RouteCommand(NOWHERE, draw(st.sampled_from(["add", "delete"])), destination, address)
    if word == "sysctl":
        name = draw(st.sampled_from(sorted(VARIABLES)))
        variable = VARIABLES[name]
        if variable.kind == "addresses":
            return Sysctl(NOWHERE, name, tuple(draw(st.lists(v4 | v6, max_size=3))))
        if variable.kind == "word":
            return Sysctl(NOWHERE, name, draw(st.sampled_from(["cubic", "newreno"])))
        highest = 1 if variable.kind == "switch" else variable.highest
        return Sysctl(NOWHERE, name, draw(st.integers(variable.lowest, highest)))
    if word == "pfctl":
        flush = draw(st.sampled_from(["", "all", "rules", "states"]))
        file = draw(st.sampled_from(["/etc/pf.conf", "a b", "it's"]))
        return Pfctl(NOWHERE, file, draw(st.none() | st.booleans()), flush)
    if word == "tcpdump":
        file = draw(st.sampled_from(["x.pcap", "a b", "$x", "a;b"]))
        return Tcpdump(NOWHERE, file, draw(interfaces), draw(st.integers(0, 262144)))
    bind = draw(st.just("") | (v4 if version == 4 else v6))
    length, receive, send = draw(sizes), draw(sizes), draw(sizes)
    interval = draw(st.just(0) | times)
    if word == "server":
        return IperfServer(NOWHERE, draw(ports), length, receive, send, interval, bind)
    amount = draw(sizes)
    time = 0 if amount else draw(times)
    parallel = draw(st.integers(1, 1000))
    return IperfClient(
        NOWHERE, address, draw(ports), time, amount, length, receive, send, interval, parallel, bind
    )


@given(commands())
@examples(300)
def test_a_command_that_is_written_is_read_again(command: Command) -> None:
    assert read(str(command)) == command


@given(st.lists(commands(), max_size=5))
@examples(50)
def test_a_script_is_read_line_by_line(written: list[Command]) -> None:
    found = read_script("\n\n".join(map(str, written)))
    assert [command.at.number for command in found] == list(range(1, 2 * len(written), 2))
    assert [command._replace(at=NOWHERE) for command in found] == written


WORDS = [
    *["ifconfig", "route", "sysctl", "iperf", "tcpdump", "pfctl", "ipfw", "pf_enable=", "A1", "inet", "add"],
    *["10.0.0.1/24", "10.0.0.1", "fd00::1", "-net", "-host", "default", "netmask", "-s", "-c", "-t", "5"],
    *["-k", "1M", "-w", "-i", "-f", "-e", "#", "$", "%", '"', "'", "\\", "\n", "\n", "\\\n", "=", "&"],
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join) | st.text(max_size=200))
@examples(300)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(DialectError):
        read_script(text)
