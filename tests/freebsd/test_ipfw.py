"""ipfw: its commands, the parameters of dummynet, and what its rules decide."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.core.segment import ACK, SYN
from mptcpsim.freebsd.addresses import FiveTuple, Prefix, read_prefix
from mptcpsim.freebsd.delay_profile import read_profile
from mptcpsim.freebsd.dummynet import SCHEDULERS
from mptcpsim.freebsd.dummynet_config import (
    MASK_ALL,
    CodelConfig,
    Config,
    FlowQueues,
    Mask,
    PieConfig,
    RedConfig,
    beyond_limits,
)
from mptcpsim.freebsd.ipfw import (
    DeleteRules,
    IpfwCommand,
    IpfwEnd,
    IpfwRule,
    IpfwSwitch,
    ObjectCommand,
    Option,
    ShowRules,
    read_ipfw,
)
from mptcpsim.freebsd.ipfw_rules import IpfwDecision, IpfwPacket, IpfwRules
from mptcpsim.freebsd.lines import NOWHERE, DialectError
from mptcpsim.units import MICROSECOND, MILLISECOND, SECOND
from tests.profiles import examples

A, B = "10.0.0.1", "10.0.1.2"


def read(text: str) -> IpfwCommand:
    (command,) = read_ipfw(text)
    return command._replace(at=NOWHERE)


def rule(text: str) -> IpfwRule:
    found = read(text)
    assert isinstance(found, IpfwRule)
    return found


def config(text: str) -> Config:
    found = read(text)
    assert isinstance(found, Config)
    return found


# --- Reading -------------------------------------------------------------------------------------

NET = read_prefix(NOWHERE, "10.0.0.0/24")

COMMANDS: list[tuple[str, IpfwCommand]] = [
    ("ipfw pipe 1 config bw 8Mbps", Config(NOWHERE, "pipe", 1, bw=8_000_000)),
    (
        "ipfw pipe 1 config bw 10Mbit/s delay 20ms queue 50",
        Config(NOWHERE, "pipe", 1, bw=10_000_000, delay=20 * MILLISECOND, slots=50),
    ),
    (
        "ipfw pipe 2 config bw 512Kbit/s delay 75 queue 30KBytes plr 0.01 mask dst-ip 0xffffffff",
        Config(
            NOWHERE,
            "pipe",
            2,
            bw=512_000,
            delay=75 * MILLISECOND,
            octets=30 * 1024,
            plr=(0.01,),
            mask=Mask(dst_ip=0xFFFFFFFF),
        ),
    ),
    ("ipfw sched 1 config pipe 1 type wf2q+", Config(NOWHERE, "sched", 1, parent=1, scheduler="wf2q+")),
    (
        "ipfw queue 1 config pipe 1 weight 30 mask src-ip 0xffffffff",
        Config(NOWHERE, "queue", 1, parent=1, weight=30, mask=Mask(src_ip=0xFFFFFFFF)),
    ),
    (
        "ipfw add 100 pipe 1 ip from 10.0.0.0/24 to any out",
        IpfwRule(NOWHERE, 100, action="pipe", argument=1, source=IpfwEnd((NET,)), options=(Option("out"),)),
    ),
    (
        "ipfw add 200 queue 1 tcp from any to any dst-port 80 in",
        IpfwRule(
            NOWHERE,
            200,
            action="queue",
            argument=1,
            protocol="tcp",
            options=(Option("dst-port", ports=((80, 80),)), Option("in")),
        ),
    ),
    (
        "ipfw add 300 prob 0.05 deny udp from any to any",
        IpfwRule(NOWHERE, 300, 0.05, "deny", protocol="udp"),
    ),
    (
        "add fwd 172.16.2.1 tcp from 172.16.2.2 to any",
        IpfwRule(
            NOWHERE,
            action="fwd",
            gateway="172.16.2.1",
            protocol="tcp",
            source=IpfwEnd((read_prefix(NOWHERE, "172.16.2.2"),)),
        ),
    ),
    ("ipfw add pipe 1 out", IpfwRule(NOWHERE, action="pipe", argument=1, options=(Option("out"),))),
    (
        "ipfw -q add deny not src-ip 10.0.0.0/24",
        IpfwRule(NOWHERE, action="deny", options=(Option("src-ip", negated=True, prefixes=(NET,)),)),
    ),
    ("ipfw pipe 1 delete", ObjectCommand(NOWHERE, "pipe", "delete", (1,))),
    ("ipfw pipe delete 1 2", ObjectCommand(NOWHERE, "pipe", "delete", (1, 2))),
    ("ipfw pipe flush", ObjectCommand(NOWHERE, "pipe", "flush")),
    ("ipfw pipe show", ObjectCommand(NOWHERE, "pipe", "show")),
    ("ipfw -f flush", DeleteRules(NOWHERE)),
    ("ipfw -q delete 100 200", DeleteRules(NOWHERE, (100, 200))),
    ("ipfw show", ShowRules(NOWHERE)),
    ("ipfw list", ShowRules(NOWHERE, "list")),
    ("ipfw disable one_pass", IpfwSwitch(NOWHERE, "one_pass", False)),
]


@pytest.mark.parametrize(
    "text",
    [
        "ipfw -q add deny src-ip 10.0.0.0/24, 127.0.0.1/8",
        'ipfw "-q add deny src-ip 10.0.0.0/24, 127.0.0.1/8"',
    ],
)
def test_the_formats_that_the_manual_calls_equivalent(text: str) -> None:
    assert read(text) == read("ipfw -q add deny src-ip 10.0.0.0/24,127.0.0.1/8")


@pytest.mark.parametrize(("text", "command"), COMMANDS, ids=[text for text, _ in COMMANDS])
def test_commands(text: str, command: IpfwCommand) -> None:
    assert read(text) == command
    assert read(str(command)) == command


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("8Mbps", 8_000_000),
        ("300Kbit/s", 300_000),
        ("1MByte/s", 8_000_000),
        ("1MBps", 8_000_000),
        ("64kB/s", 512_000),
        ("1Gbit/s", 10**9),
        ("10Mbits/s", 10_000_000),
        ("10MBit/s", 10_000_000),
        ("9600", 9600),
        ("2M", 2_000_000),
        ("0", 0),
    ],
)
def test_bandwidths(text: str, rate: int) -> None:
    assert config(f"pipe 1 config bw {text}").bw == rate


@pytest.mark.parametrize(
    ("text", "slots", "octets"),
    [
        ("50", 50, None),
        ("30K", None, 30720),
        ("30kbytes", None, 30720),
        ("5000B", None, 5000),
        ("1500bytes", None, 1500),
    ],
)
def test_sizes_of_queues(text: str, slots: int | None, octets: int | None) -> None:
    found = config(f"pipe 1 config queue {text}")
    assert (found.slots, found.octets) == (slots, octets)


def test_the_other_parameters() -> None:
    assert config("pipe 1 config plr 0.001,0.1,0.5,0.9").plr == (0.001, 0.1, 0.5, 0.9)
    assert config("pipe 1 config mask all").mask == MASK_ALL
    found = config("pipe 1 config mask src-ip 0xffffff00 dst-port 0xffff proto /8 src-ip6 /64 bw 1M")
    assert found.mask == Mask(src_ip=0xFFFFFF00, dst_port=0xFFFF, proto=0xFF, src_ip6=((1 << 64) - 1) << 64)
    assert found.bw == 1_000_000
    assert config("pipe 1 config red 0.002/5/15/0.1").red == RedConfig(0.002, 5, 15, 0.1)
    assert config("queue 1 config pipe 1 gred 0.002/5/15/0.1 ecn").red == RedConfig(
        0.002, 5, 15, 0.1, True, True
    )
    assert config("pipe 1 config burst 64K buckets 128 noerror profile wlan.txt") == Config(
        NOWHERE, "pipe", 1, burst=65536, buckets=128, noerror=True, profile="wlan.txt"
    )
    assert config("pipe 1 config codel").aqm == CodelConfig()
    assert config("pipe 1 config bw 1M codel target 500us interval 1s ecn").aqm == CodelConfig(
        500 * MICROSECOND, SECOND, True
    )
    assert config("pipe 1 config pie target 20 alpha 0.2 max_burst 50ms nodrand ts onoff").aqm == PieConfig(
        target=20 * MILLISECOND,
        alpha=0.2,
        max_burst=50 * MILLISECOND,
        drand=False,
        timestamps=True,
        onoff=True,
    )
    assert config(
        "sched 1 config pipe 1 type fq_codel target 3ms quantum 300 limit 600 flows 64 ecn"
    ).flow_queues == (FlowQueues(CodelConfig(target=3 * MILLISECOND, ecn=True), 300, 600, 64))
    assert config("sched 1 config type FQ_PIE").flow_queues == FlowQueues(PieConfig())


def test_the_limits_of_a_queue_are_sysctls() -> None:
    assert beyond_limits(config("pipe 1 config queue 100")) == ""
    assert "pipe_slot_limit=100" in beyond_limits(config("pipe 1 config queue 101"))
    assert beyond_limits(config("pipe 1 config queue 1000"), slots=1000) == ""
    assert "pipe_byte_limit" in beyond_limits(config("pipe 1 config queue 2000K"))


def test_addresses_ports_and_options() -> None:
    found = rule('add allow tcp from not 10.0.0.0/24,10.0.1.1 80,90-99 to me not 22 in recv em* // the "web"')
    assert found.source == IpfwEnd(
        (NET, read_prefix(NOWHERE, "10.0.1.1")), negated=True, ports=((80, 80), (90, 99))
    )
    assert found.destination == IpfwEnd(me="me", ports=((22, 22),), ports_negated=True)
    assert found.options == (Option("in"), Option("recv", word="em*"))
    assert found.comment == "the web"
    odd = rule("add allow ip from 1.0.3.0:255.0.255.0 to any not via em0")
    assert odd.source.prefixes == (Prefix(4, 0x01000300, 0xFF00FF00),)
    assert odd.source.prefixes[0].contains("1.77.3.9")
    assert odd.options == (Option("via", True, "em0"),)


MISTAKES = [
    ("ipfw ad 100 allow ip from any to any", "did you mean 'add'?"),
    ("ipfw add 100 alow ip from any to any", "did you mean 'allow'?"),
    ("ipfw add 70000 allow ip from any to any", "between 1 and 65534"),
    ("ipfw add allow from any to any", "no protocol"),
    ("ipfw add allow ip any to any", "'from' is missing"),
    ("ipfw add allow ip from any", "'to' is missing"),
    ("ipfw add prob 2 deny ip from any to any", "between 0 and 1"),
    ("ipfw add pipe ip from any to any", "write a whole number"),
    ("ipfw add fwd 10.0.0.1,3128 tcp from any to any", "leave the port out"),
    ("ipfw add fwd gw tcp from any to any", "write numbers"),
    ("ipfw add allow tcp from host to any", "write numbers"),
    ("ipfw add allow tcp from { 1.1.1.1 or 2.2.2.2 to any", "'}' is missing"),
    ("ipfw add allow tcp from not any to any", "matches no packet"),
    ("ipfw add allow icmp from any 80 to any", "no ports"),
    ("ipfw add allow tcp from any 90-80 to any", "exchange"),
    ("ipfw add allow tcp from any to any port 80", "'dst-port'"),
    ("ipfw add allow tcp from any to any in out", "exclude"),
    ("ipfw add allow tcp from any to any xmit em0", "out xmit"),
    ("ipfw add allow tcp from any to any via 10.0.0", "name of an interface"),
    ("ipfw add allow tcp from any to any keep-state limit src-addr 2", "twice"),
    ("ipfw add allow tcp from any to any limit 2", "limit of what"),
    ("ipfw add divert natd ip from any to any via em0", "put a NAT on a link"),
    ("ipfw add nat 1 ip from any to any", "put a NAT on a link"),
    ("ipfw nat 1 config if em0", "put a NAT on a link"),
    ("ipfw add unreach needfrag ip from any to any", "mtu of a link"),
    ("ipfw add allow tcp from any to any tcpflags syn,!syn", "leave one of both out"),
    ("ipfw add allow tcp from any to any tcpflags sin", "known are fin"),
    ("ipfw add allow tcp from any to any uid root", "write ports"),
    ("ipfw add allow tcp from any to any iptos lowdelay", "addresses, ports and flags"),
    ("ipfw add check-state in", "leave it out"),
    ("ipfw add pipe tablearg ip from table(1) to any", "a rule for each"),
    ("ipfw add allow ip from table(1,5) to any", "write table(1)"),
    ("ipfw table x create type iface", "type addr"),
    ("ipfw set disable 31", "cannot be disabled"),
    ("ipfw pipe 1 configure bw 1M", "did you mean 'config'?"),
    ("ipfw pipe 1", "does not know ''"),
    ("ipfw pipe 0 config bw 1M", "between 1 and 65535"),
    ("ipfw pipe 1 config bandwidth 1M", "no parameter of a pipe"),
    ("ipfw pipe 1 config bw 10 Mbit/s", "must touch its number"),
    ("ipfw pipe 1 config bw 1.5Mbit/s", "whole numbers only"),
    ("ipfw pipe 1 config bw 8Mbaud", "unknown unit"),
    ("ipfw pipe 1 config bw tun0", "no bandwidth"),
    ("ipfw pipe 1 config delay 20s", "whole milliseconds"),
    ("ipfw pipe 1 config delay 20000", "at most 10000"),
    ("ipfw pipe 1 config queue fifty", "number of slots"),
    ("ipfw pipe 1 config plr 1.5", "between 0 and 1"),
    ("ipfw pipe 1 config plr 0.1,0.2", "four without spaces"),
    ("ipfw pipe 1 config mask", "or all"),
    ("ipfw pipe 1 config mask src-ip 0xfffffffff", "write a mask"),
    ("ipfw pipe 1 config mask src-port 0x1ffff", "16 bits"),
    ("ipfw pipe 1 config buckets 8", "between 16 and 65536"),
    ("ipfw pipe 1 config red 0.002/15/5/0.1", "below max_th"),
    ("ipfw pipe 1 config red 0.002/5", "w_q/min_th/max_th/max_p"),
    ("ipfw pipe 1 config bw 1M bw 2M", "twice"),
    ("ipfw pipe 1 config codel bw 1M", "in front of codel"),
    ("ipfw pipe 1 config codel targt 5ms", "did you mean 'target'?"),
    ("ipfw pipe 1 config target 5ms", "behind codel"),
    ("ipfw pipe 1 config ecn", "behind red"),
    ("ipfw pipe 1 config weight 5", "is for queues"),
    ("ipfw queue 1 config weight 5", "write 'pipe N'"),
    ("ipfw queue 1 config pipe 1 weight 500", "between 1 and 100"),
    ("ipfw queue 1 config pipe 1 bw 1M", "is for pipes"),
    ("ipfw sched 1 config type wfq", "no scheduler"),
    ("ipfw sched 1 config type fq_codel quantum 10000", "between 1 and 9000"),
    ("ipfw sched 1 config type fq_codel alpha 1", "no parameter of fq_codel"),
    ("ipfw pipe 1 config pie max_burst 20s", "at most 10s"),
    ("ipfw pipe 1 config burst 1e6", "number of bytes"),
    ("ipfw add allow ip from any to any; ipfw show", "needs a shell"),
    ("ipfw disable altq", "known are"),
    ("ipfw", "a command of ipfw"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "remedy"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_is_one_message_with_the_line(text: str, remedy: str) -> None:
    with pytest.raises(DialectError) as caught:
        read_ipfw(f"# rules\n\n{text}\n", "rules")
    error = caught.value
    assert remedy in error.problem
    assert (error.file, error.line, error.text) == ("rules", 3, text)
    assert str(error).startswith("rules, line 3: ")
    assert text in str(error)


# --- Laws ----------------------------------------------------------------------------------------

probabilities = st.floats(0, 1).map(lambda value: round(value, 6))
times = st.integers(0, 10**6).map(lambda value: value * MICROSECOND)
codels = st.builds(CodelConfig, times, times, st.booleans())
pies = st.builds(
    PieConfig,
    times,
    times,
    probabilities,
    probabilities,
    times,
    probabilities,
    *[st.booleans() for _ in range(5)],
)
masks = st.builds(
    Mask,
    *[st.integers(0, (1 << 32) - 1)] * 2,
    *[st.integers(0, 128).map(lambda n: ((1 << n) - 1) << (128 - n))] * 2,
    *[st.integers(0, 65535)] * 2,
    st.integers(0, (1 << 20) - 1),
    st.integers(0, 255),
).filter(any)
reds = st.builds(
    lambda w, a, b, p, gentle, ecn: RedConfig(w, min(a, b), max(a, b) + 1, p, gentle, ecn),
    probabilities.filter(bool),
    *[st.integers(0, 10**6)] * 2,
    probabilities,
    *[st.booleans()] * 2,
)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    kind = draw(st.sampled_from(["pipe", "queue", "sched"]))
    found = Config(NOWHERE, kind, draw(st.integers(1, 65535)), noerror=draw(st.booleans()))

    def some(strategy: st.SearchStrategy[object]) -> object:
        return draw(st.none() | strategy)

    values: dict[str, object] = {
        "plr": some(st.tuples(probabilities) | st.tuples(*[probabilities] * 4)),
        "mask": some(masks),
        "buckets": some(st.integers(16, 65536)),
        draw(st.sampled_from(["slots", "octets"])): some(st.integers(0, 10**6)),
    }
    if draw(st.booleans()):
        values["red"] = some(reds)
    elif kind != "queue" and draw(st.booleans()):
        name = draw(st.sampled_from(SCHEDULERS))
        values["scheduler"] = name
        if name.startswith("fq_"):
            aqm: st.SearchStrategy[CodelConfig | PieConfig] = codels if name == "fq_codel" else pies
            values["flow_queues"] = draw(
                st.builds(FlowQueues, aqm, st.integers(1, 9000), st.integers(1, 20480), st.integers(1, 65536))
            )
    else:
        values["aqm"] = some(codels | pies)
    if kind == "pipe":
        values["bw"] = some(st.integers(0, 10**12))
        values["delay"] = some(st.integers(0, 10_000).map(lambda ms: ms * MILLISECOND))
        values["burst"] = some(st.integers(0, 10**9))
        values["profile"] = some(st.sampled_from(["wlan.txt", "a file", "/etc/p"]))
    else:
        values["parent"] = draw(st.integers(1, 65535))
        values["weight"] = some(st.integers(1, 100)) if kind == "queue" else None
    return found._replace(**values)  # type: ignore[arg-type]


@given(configs())
@examples(200)
def test_a_configuration_that_is_written_is_read_again(found: Config) -> None:
    assert config(str(found)) == found


addresses = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)
prefix_texts = st.ip_addresses(v=4).flatmap(
    lambda a: st.integers(0, 32).map(lambda n: f"{a}/{n}") | st.just(str(a))
) | st.ip_addresses(v=6).flatmap(lambda a: st.integers(0, 128).map(lambda n: f"{a}/{n}") | st.just(str(a)))
prefixes = prefix_texts.map(lambda text: read_prefix(NOWHERE, text)) | st.builds(
    lambda network, mask: Prefix(4, network & mask, mask), *[st.integers(0, (1 << 32) - 1)] * 2
).filter(lambda prefix: prefix.length < 0)
port_ranges = st.lists(
    st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(lambda pair: (min(pair), max(pair))),
    min_size=1,
    max_size=4,
).map(tuple)
prefix_lists = st.lists(prefixes, min_size=1, max_size=3).map(tuple)


@st.composite
def ends(draw: st.DrawFn) -> IpfwEnd:
    has_ports = draw(st.booleans())
    end = IpfwEnd(
        ports=draw(port_ranges) if has_ports else (), ports_negated=has_ports and draw(st.booleans())
    )
    kind = draw(st.sampled_from(["any", "me", "me6", "prefixes"]))
    if kind == "any":
        return end
    end = end._replace(negated=draw(st.booleans()))
    return end._replace(me=kind) if kind != "prefixes" else end._replace(prefixes=draw(prefix_lists))


def option(names: list[str], **parts: st.SearchStrategy[object]) -> st.SearchStrategy[Option]:
    built = st.fixed_dictionaries({"name": st.sampled_from(names), "negated": st.booleans(), **parts})
    return built.map(lambda values: Option(**values))  # type: ignore[arg-type]


options = st.lists(
    option(["established", "setup"])
    | option(["via", "recv"], word=st.sampled_from(["em0", "em*", "any"]))
    | option(["proto"], word=st.sampled_from(["tcp", "udp", "icmp", "icmp6"]))
    | option(["src-port", "dst-port"], ports=port_ranges)
    | option(["src-ip", "dst-ip"], prefixes=prefix_lists),
    max_size=4,
)
actions = st.one_of(
    st.tuples(st.sampled_from(["allow", "deny", "count"]), st.just(0), st.just("")),
    st.tuples(st.sampled_from(["pipe", "queue", "skipto"]), st.integers(1, 65535), st.just("")),
    st.tuples(st.just("fwd"), st.just(0), addresses),
)
rules = st.builds(
    lambda number, prob, act, proto, source, destination, way, opts: IpfwRule(
        NOWHERE, number, prob, act[0], act[1], act[2], proto, source, destination, (*way, *opts)
    ),
    st.integers(0, 65534),
    probabilities,
    actions,
    st.sampled_from(["ip", "ip4", "ip6", "tcp", "udp"]),
    ends(),
    ends(),
    st.sampled_from(
        [(), (Option("in"),), (Option("out", True),), (Option("out"), Option("xmit", word="em1"))]
    ),
    options,
)


@given(rules)
@examples(200)
def test_a_rule_that_is_written_is_read_again(found: IpfwRule) -> None:
    assert rule(str(found)) == found


WORDS = [
    *["ipfw", "add", "delete", "pipe", "queue", "sched", "config", "100", "1", "prob", "0.5", "allow", "fwd"],
    *["any", "ip", "tcp", "from", "to", "not", "me", "10.0.0.0/8", "80-90", "in", "out", "via", "em0", "bw"],
    *["8Mbps", "delay", "mask", "all", "src-ip", "/32", "red", "0.1/1/2/0.1", "codel", "target", "5ms"],
    *["type", "fq_pie", "\n", "\n", "\\\n", "#", '"', "//", "plr", "0,0,0,0", "weight", "flush", "{", "\x00"],
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join) | st.text(max_size=200))
@examples(300)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(DialectError):
        read_ipfw(text)
    with contextlib.suppress(DialectError):
        read_profile(text, "file")


# --- Masks and profiles ---------------------------------------------------------------------------


def test_a_mask_tells_flows_apart() -> None:
    one, two = FiveTuple("tcp", A, 1, B, 80), FiveTuple("udp", "10.0.0.2", 2, B, 80)
    assert Mask(dst_ip=0xFFFFFFFF).flow(one) == Mask(dst_ip=0xFFFFFFFF).flow(two)
    assert Mask(src_ip=0xFFFFFF00).flow(one) == Mask(src_ip=0xFFFFFF00).flow(two)
    assert Mask(src_ip=0xFFFFFFFF).flow(one) != Mask(src_ip=0xFFFFFFFF).flow(two)
    assert Mask(proto=0xFF).flow(one) != Mask(proto=0xFF).flow(two)
    assert MASK_ALL.flow(one) != MASK_ALL.flow(one.reverse())
    six = FiveTuple("tcp", "fd00::1", 1, "fd00::2", 2)
    assert Mask(src_ip=0xFFFFFFFF).flow(six) == Mask(src_ip=0xFFFFFFFF).flow(six.reverse())


PROFILE = """
name wlan         # a wireless link
samples 10
loss-level 0.86
bw 6Mbps
prob delay
0 200
0.5 200
0.5 300
0.8 1000
1 1300
"""


def test_a_delay_profile() -> None:
    profile = read_profile(PROFILE, "wlan.txt")
    assert (profile.name, profile.bw, profile.loss_level, profile.samples) == ("wlan", 6_000_000, 0.86, 10)
    assert profile.delay(0.2) == 200 * MILLISECOND
    assert profile.delay(0.5) == 300 * MILLISECOND  # the largest of those with this probability
    assert profile.delay(0.65) == 650 * MILLISECOND
    assert profile.delay(1) == 1300 * MILLISECOND
    table = profile.table()
    assert len(table) == 10
    assert list(table) == sorted(table)
    assert profile.lost_from() == 9
    turned = PROFILE.replace("prob delay", "delay prob")
    swapped = "\n".join(
        " ".join(reversed(line.split())) if line[:1].isdigit() else line for line in turned.splitlines()
    )
    assert read_profile(swapped, "wlan.txt") == profile


@pytest.mark.parametrize(
    ("old", "new", "line", "remedy"),
    [
        ("prob delay\n", "", 6, "write that line first"),
        ("0.5 300", "1.5 300", 9, "between 0 and 1"),
        ("samples 10", "samples 1", 3, "between 2 and 1024"),
        ("1 1300\n", "", 10, "end at 1"),
        ("loss-level", "loss-levl", 4, "did you mean 'loss-level'?"),
        ("0.8 1000", "0.8 1000 5", 10, "two words"),
        ("name wlan ", "samples 5 ", 3, "already"),
    ],
)
def test_mistakes_in_a_delay_profile(old: str, new: str, line: int, remedy: str) -> None:
    with pytest.raises(DialectError) as caught:
        read_profile(PROFILE.replace(old, new), "wlan.txt")
    assert caught.value.line == line
    assert remedy in caught.value.problem


# --- Rules ---------------------------------------------------------------------------------------


def firewall(text: str, default: bool = True) -> IpfwRules:
    found = IpfwRules(default, {A, "fd00::1"})
    for command in read_ipfw(text):
        assert isinstance(command, IpfwRule)
        found.add(command)
    return found


def decide(found: IpfwRules, packet: FiveTuple, direction: str = "out", flags: int = 0) -> IpfwDecision:
    received, transmitted = ("em0", "") if direction == "in" else ("", "em1")
    return found.evaluate(IpfwPacket(packet, direction, received, transmitted, flags))


PACKET = FiveTuple("tcp", A, 1000, B, 5001)


def test_the_first_match_decides_and_numbers_order_the_rules() -> None:
    found = firewall(
        "add 300 deny ip from any to any\nadd 100 allow ip from any to any in\nadd allow tcp from any to any"
    )
    assert [entry.number for entry in found.rules()] == [100, 300, 400]
    assert decide(found, PACKET).action == "deny"
    assert decide(found, PACKET, "in").action == "allow"
    found.delete(DeleteRules(NOWHERE, (300,)))
    verdict = decide(found, PACKET)
    assert verdict.rule is not None
    assert verdict.rule.number == 400
    assert "line 3" in str(verdict)
    with pytest.raises(DialectError, match="rules are 100, 400"):
        found.delete(DeleteRules(NOWHERE, (300,)))
    found.delete(DeleteRules(NOWHERE))
    assert found.rules() == []


def test_the_default_rule() -> None:
    assert decide(firewall("", default=True), PACKET) == IpfwDecision("allow", None)
    assert decide(firewall("", default=False), PACKET) == IpfwDecision("deny", None)


def test_the_seed_s_source_routing() -> None:
    found = firewall(
        "add fwd 172.16.2.1 tcp from 172.16.2.2 to any\nadd fwd 172.16.1.1 tcp from 172.16.1.2 to any\n"
    )
    assert decide(found, FiveTuple("tcp", "172.16.2.2", 1, "172.16.3.2", 2)).gateway == "172.16.2.1"
    assert decide(found, FiveTuple("tcp", "172.16.1.2", 1, "172.16.3.2", 2)).gateway == "172.16.1.1"
    assert decide(found, FiveTuple("udp", "172.16.1.2", 1, "172.16.3.2", 2)).action == "allow"


def test_count_and_skipto_go_on() -> None:
    found = firewall(
        "add 10 count ip from any to any\nadd 20 skipto 100 tcp from any to any\n"
        "add 30 deny ip from any to any\nadd 100 allow ip from any to any"
    )
    verdict = decide(found, PACKET)
    assert verdict.action == "allow"
    assert [entry.number for entry in verdict.counted] == [10, 20]
    assert decide(found, PACKET._replace(protocol="udp")).action == "deny"


def test_one_pass_or_not() -> None:
    found = firewall(
        "add 10 pipe 1 ip from any to any\nadd 10 pipe 2 ip from any to any\nadd 20 deny ip from any to any"
    )
    passage = IpfwPacket(PACKET, "out", "", "em1")
    first = found.evaluate(passage)
    assert (first.action, first.argument, first.resume) == ("pipe", 1, None)
    first = found.evaluate(passage, one_pass=False)
    assert first.resume is not None
    second = found.evaluate(passage, False, first.resume)
    assert (second.action, second.argument) == ("pipe", 2)
    assert found.evaluate(passage, False, second.resume).action == "deny"


def test_a_probability_is_drawn_first() -> None:
    draws = iter([0.1, 0.9])
    found = IpfwRules(True, draw=lambda: next(draws))
    found.add(rule("add prob 0.5 deny udp from any to any"))
    assert decide(found, PACKET).action == "allow"  # drawn, though the protocol is another one
    assert decide(found, PACKET._replace(protocol="udp")).action == "allow"
    with pytest.raises(ValueError, match="random numbers"):
        decide(firewall("add prob 0.5 deny ip from any to any"), PACKET)


@pytest.mark.parametrize(
    ("body", "packet", "direction", "matches"),
    [
        ("tcp from me to any", PACKET, "out", True),
        ("tcp from any to me", PACKET, "out", False),
        ("ip from me6 to any", PACKET, "out", False),
        ("ip6 from any to any", PACKET, "out", False),
        ("ip4 from any to any", PACKET, "out", True),
        ("ip6 from me6 to any", FiveTuple("tcp", "fd00::1", 1, "fd00::2", 2), "out", True),
        ("tcp from not 10.0.0.0/24 to any", PACKET, "out", False),
        ("tcp from any 1000 to any 5000-5005", PACKET, "out", True),
        ("tcp from any not 1000 to any", PACKET, "out", False),
        ("ip from any 1000 to any", PACKET._replace(protocol="icmp"), "out", False),
        ("ip from any to any xmit em1 out", PACKET, "out", True),
        ("ip from any to any recv em1", PACKET, "out", False),
        ("ip from any to any recv em*", PACKET, "in", True),
        ("ip from any to any via em1", PACKET, "out", True),
        ("ip from any to any via em1", PACKET, "in", False),
        ("ip from any to any not via em1", PACKET, "in", True),
        ("ip from any to any src-ip 10.0.0.0/8 dst-port 5001", PACKET, "out", True),
        ("ip from any to any proto udp", PACKET, "out", False),
        ("tcp from any to any setup", PACKET, "out", True),
        ("tcp from any to any established", PACKET, "out", False),
    ],
)
def test_patterns(body: str, packet: FiveTuple, direction: str, matches: bool) -> None:
    found = firewall(f"add deny {body}")
    assert (decide(found, packet, direction, SYN).action == "deny") == matches


def test_flags() -> None:
    assert (
        decide(firewall("add deny tcp from any to any established"), PACKET, flags=SYN | ACK).action == "deny"
    )
    assert decide(firewall("add deny tcp from any to any setup"), PACKET, flags=SYN | ACK).action == "allow"


@given(st.lists(rules, max_size=8), st.booleans())
@examples(100)
def test_every_packet_gets_a_decision(found: list[IpfwRule], one_pass: bool) -> None:
    ipfw = IpfwRules(True, {A}, lambda: 0.3)
    for entry in found:
        ipfw.add(entry)
    after = None
    for _ in range(len(found) + 1):
        decision = ipfw.evaluate(IpfwPacket(PACKET, "out", "", "em1", SYN), one_pass, after)
        assert str(decision)
        after = decision.resume
        if after is None:
            break
    assert after is None
