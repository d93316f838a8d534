"""What is reconstructed of real captures equals what their descriptions say."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.codec.option_list import MPTCP, NO_OPERATION, join_options, split_options
from mptcpsim.codec.pcap_reader import read_capture
from mptcpsim.codec.raw import RawTcp, build_ip, parse_ip, parse_tcp, rebuild_tcp
from mptcpsim.core.mptcp_options import (
    NO_MORE_SUBFLOWS,
    SUBTYPE_NAMES,
    MptcpOption,
)
from mptcpsim.core.segment import RST, FourTuple
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.results.mptcp_capture import read_trace, reconstruct
from mptcpsim.results.mptcp_trace import (
    CLIENT,
    CLOSED_BY_DATA_FIN,
    CLOSED_BY_FASTCLOSE,
    CLOSED_BY_FIN,
    FALLBACK_ACK,
    FALLBACK_DATA,
    FALLBACK_INFINITE,
    FALLBACK_SYN,
    FALLBACK_SYN_ACK,
    NOT_CLOSED,
    SERVER,
    CapturedStream,
    CapturedSubflow,
    ConnectionTrace,
)
from tests.captures import DATA, KERNEL, connection, described, frames_of, mappings_of, vectors
from tests.profiles import examples

ROWS = described()


# --- The table of events ----------------------------------------------------------------------


def events(trace: ConnectionTrace) -> dict[str, list[int]]:
    """Return the events of a connection under the labels of the table."""
    found: dict[str, list[int]] = defaultdict(list)
    for form, label in (
        ("SYN", "MPC-SYN"),
        ("SYN/ACK", "MPC-SYN/ACK"),
        ("ACK", "MPC-ACK"),
        ("data", "MPC-data"),
    ):
        found[label] += trace.capables[form]
    for join in trace.joins:
        found["MPJ-SYN (B)" if join.backup[0] else "MPJ-SYN"] += join.syns
        found["MPJ-SYN/ACK"] += join.syn_acks
        found["MPJ-ACK"] += join.acks
    for host in trace.hosts:
        found["ADD_ADDR"] += [announcement.frame for announcement in host.announced]
        found["ADD_ADDR echo"] += [announcement.frame for announcement in host.echoed]
        found["REMOVE_ADDR"] += [removal.frame for removal in host.removed]
        for priority in host.priorities:
            found[f"MP_PRIO B={int(priority.backup)}"].append(priority.frame)
        found["DATA_FIN"] += host.data_fins
    resets = {reset.frame: reset for flow in trace.subflows for end in flow.ends for reset in end.resets}
    fails = {number for host in trace.hosts for number, _ in host.fails}
    fastcloses = {fastclose.frame for host in trace.hosts for fastclose in host.fastcloses}
    for number in sorted(resets.keys() | fails | fastcloses):
        reset = resets.get(number)
        parts = ["MP_FAIL"] * (number in fails) + ["MP_FASTCLOSE"] * (number in fastcloses)
        if reset is not None:
            parts += [f"MP_TCPRST reason {reset.reason}"] * (reset.reason != UNKNOWN) + ["RST"]
        found["+".join(parts)].append(number)
    for subflow in trace.subflows:
        for end in subflow.ends:
            found["FIN"] += end.fins
            found["infinite mapping"] += [mapping.frame for mapping in end.mappings if mapping.length == 0]
        found["win 0"] += [
            frame.number for frame in subflow.frames if frame.window == 0 and not frame.flags & RST
        ]
    return {label: sorted(numbers) for label, numbers in found.items() if numbers}


def test_every_capture_has_a_row() -> None:
    assert sorted(ROWS) == [path.stem for path in KERNEL]
    assert len(ROWS) == 46


@pytest.mark.parametrize("name", ROWS)
def test_the_events_are_those_of_the_table(name: str) -> None:
    count, expected = ROWS[name]
    trace = read_trace(DATA / f"{name}.pcap")
    assert trace.bad_options == []
    assert trace.orphans == []
    (found,) = trace.connections
    assert [frame.number for frame in frames_of(found)] == list(range(1, count + 1))
    assert events(found) == expected


# --- The values that another decoder found ----------------------------------------------------


def text(flow: FourTuple, opener: bool) -> str:
    address, port = (flow.src, flow.sport) if opener else (flow.dst, flow.dport)
    return f"{address}:{port}" if ":" not in address else f"[{address}]:{port}"


@pytest.mark.parametrize("row", [pytest.param(row, id=row["file"][:-5]) for row in vectors()])
def test_keys_hmacs_and_checksums_are_those_of_another_decoder(row: dict[str, Any]) -> None:
    found = connection(row["file"].removesuffix(".pcap"))
    for expected in row["connections"]:
        client, server = found.hosts[CLIENT].key, found.hosts[SERVER].key
        assert client is not None
        assert server is not None
        assert client == tuple(int(expected[name], 16) for name in ("key_a", "token_a", "idsn_a"))
        assert server == tuple(int(expected[name], 16) for name in ("key_b", "token_b", "idsn_b"))
        assert found.key_echo_right is expected["key_b_matches_synack"] is True
        assert found.capables["ACK"] == [expected["frame"]]
        assert found.checksums == expected["checksum_flag"]
        sent = found.subflows[0].ends[CLIENT].mappings
        if "first_data_dsn_a" in expected:
            assert sent[0].dsn == int(expected["first_data_dsn_a"], 16) == (client.idsn + 1) % 2**64
        if data := expected.get("first_data_in_mp_capable"):
            assert (sent[0].frame, sent[0].length, sent[0].in_mp_capable) == (
                data["frame"],
                data["dlen"],
                True,
            )
    for expected, subflow in zip(row["joins"], [s for s in found.subflows if s.join], strict=False):
        join = subflow.join
        assert join is not None
        assert join.syns == [expected["frame"]]
        assert join.token == int(expected["token"], 16)
        assert join.nonces == [int(expected["nonce_a"], 16), int(expected["nonce_b"], 16)]
        assert join.address_ids == [expected["id"], expected["synack_id"]]
        assert join.backup == [bool(expected["backup"]), bool(expected["synack_backup"])]
        assert join.syn_ack_hmac_right is expected["synack_ok"] is True
        assert join.ack_hmac_right is expected["ack_ok"] is True
        assert (join.syn_acks, join.acks) == ([expected["synack_frame"]], [expected["ack_frame"]])
        assert {"A": CLIENT, "B": SERVER}[expected["rcv"]] == 1 - subflow.opener
    announced = [a for host in found.hosts for a in host.announced]
    assert [
        (
            a.frame,
            a.option.address_id,
            a.option.address,
            max(a.option.port, 0),
            a.option.hmac.hex(),
            a.hmac_right,
        )
        for a in announced
    ] == [(a["frame"], a["id"], a["addr"], a["port"], a["hmac64"], a["ok"]) for a in row["add_addr"]]
    summed = [
        (
            m.frame,
            "MP_CAPABLE" if m.in_mp_capable else "DSS",
            m.dsn,
            m.ssn,
            m.length,
            m.checksum,
            m.checksum_right,
        )
        for subflow in found.subflows
        for end in subflow.ends
        for m in end.mappings
        if m.checksum != UNKNOWN and m.length
    ]
    known = [
        (c["frame"], c["carried_in"], int(c["dsn"], 16), c["ssn"], c["dlen"], int(c["csum"], 16), c["ok"])
        for c in row["dss_checksums"]
    ]
    assert set(known) <= set(summed)
    assert all(right for *_, right in summed)
    counted = Counter(kind(option) for frame in frames_of(found) for option in frame.options)
    assert counted == row["counts"]


def kind(option: MptcpOption) -> str:
    """Return the name of an option without the prefix that some have."""
    names = [name.removeprefix("MP_") for name in SUBTYPE_NAMES.values()]
    plain = type(option).__name__.upper().removeprefix("MP")
    return next(name for name in names if plain.startswith(name.replace("_", "")))


def test_the_vectors_are_not_empty() -> None:
    rows = vectors()
    assert sum(len(row["connections"]) for row in rows) == 41
    assert sum(len(row["joins"]) for row in rows) == 26
    assert sum(len(row["dss_checksums"]) for row in rows) > 20


# --- The stories of the captures --------------------------------------------------------------


class Story(NamedTuple):
    """What happens in a capture; the default is a connection without incident.

    Attributes:
        joins: for each: (address ids, frame with which it was accepted or None, and the RSTs
            of client and server as reasons; -1 is a RST without reason).
        fallback: (frame, cause).
        closing: how it ended.
    """

    joins: tuple[tuple[tuple[int, ...], int | None, tuple[int, ...], tuple[int, ...]], ...] = ()
    fallback: tuple[int, str] | None = None
    closing: str = CLOSED_BY_DATA_FIN


JOINED = ((1, 0), 9, (), ())
ANNOUNCED = ((0, 1), 9, (), ())

STORIES: dict[str, Story] = {
    "add_endpoint_mid": Story((JOINED,)),
    "addaddr_bad_hmac": Story(),
    "addaddr_join_remove": Story((ANNOUNCED,)),
    "addaddr_port": Story((ANNOUNCED,)),
    "backup_prio": Story((JOINED,)),
    "basic_v4": Story(),
    "checksum_one_side": Story(),
    "checksum_v4": Story((JOINED,)),
    "close_server_first": Story(),
    "fallback_client_tcp": Story(fallback=(2, FALLBACK_SYN), closing=CLOSED_BY_FIN),
    "fallback_server_tcp": Story(fallback=(2, FALLBACK_SYN_ACK), closing=CLOSED_BY_FIN),
    "fallback_strip_nonsyn": Story(fallback=(5, FALLBACK_DATA), closing=CLOSED_BY_FIN),
    "fallback_strip_nonsyn_both": Story(fallback=(5, FALLBACK_DATA), closing=CLOSED_BY_FIN),
    # Seen from the client, an option stripped from its SYN is one that is missing in the answer.
    "fallback_strip_syn": Story(fallback=(2, FALLBACK_SYN_ACK), closing=CLOSED_BY_FIN),
    "fallback_strip_synack": Story(fallback=(2, FALLBACK_SYN_ACK), closing=CLOSED_BY_FIN),
    "fallback_syn_blackhole": Story(fallback=(5, FALLBACK_SYN), closing=CLOSED_BY_FIN),
    "fastclose_disconnect": Story((((1, 0), 9, (0,), ()),), closing=CLOSED_BY_FASTCLOSE),
    "fastclose_linger0": Story((((1, 0), 9, (0,), ()),), closing=CLOSED_BY_FASTCLOSE),
    "fastclose_unread": Story(closing=CLOSED_BY_FASTCLOSE),
    "fullmesh": Story((ANNOUNCED, ((2, 1), 13, (), ()), ((2, 0), 17, (), ()))),
    "ipv6_addaddr_v6": Story((ANNOUNCED,)),
    "ipv6_basic": Story((JOINED,)),
    "join_bad_hmac_ack": Story((((1, 0), None, (0,), (1,)),)),
    "join_bad_hmac_synack": Story((((1, 0), None, (1,), ()),)),
    "join_bad_token": Story((((1, -1), None, (), (1,)),)),
    "join_client_endpoint": Story((JOINED,)),
    "join_no_listener": Story((((1, -1), None, (), (-1,)),)),
    "join_rejected_limit": Story((((1, 0), None, (0,), (3,)),)),
    "join_same_subnet": Story((JOINED,)),
    "loss_fast_retransmit": Story((JOINED,)),
    "loss_reinject": Story((JOINED,)),
    "mixed_v4_v6": Story(),
    "mixed_v6_v4": Story((((1, 1), 9, (), ()),)),
    "mpfail_multi": Story((((1, 0), 20, (), (6, *[-1] * 10)),)),
    "mpfail_single": Story(fallback=(11, FALLBACK_INFINITE), closing=CLOSED_BY_FIN),
    "no_join_initial_addr": Story(),
    "path_down_rst": Story((JOINED,)),
    "remove_client_endpoint": Story((JOINED,)),
    "syncookies": Story(),
    "two_paths_10_40ms": Story((JOINED,)),
    "zerowin_multi": Story((JOINED,)),
    "zerowin_multi_wu_lost_both": Story((JOINED,)),
    "zerowin_multi_wu_lost_path0": Story((JOINED,)),
    "zerowin_single": Story(),
    "zerowin_single_wu_lost": Story(),
    "zerowin_tiny_rcvbuf": Story(),
}


def reasons(subflow: CapturedSubflow, host: int) -> tuple[int, ...]:
    return tuple(reset.reason for reset in subflow.ends[host].resets)


@pytest.mark.parametrize("name", ROWS)
def test_joins_fallback_and_closing(name: str) -> None:
    found = connection(name)
    joins = tuple(
        (
            tuple(subflow.join.address_ids),
            None if subflow.join.established == UNKNOWN else subflow.join.established,
            reasons(subflow, CLIENT),
            reasons(subflow, SERVER),
        )
        for subflow in found.subflows
        if subflow.join is not None
    )
    assert Story(joins, found.fallback, found.closing) == STORIES[name]
    assert all(subflow.opener == CLIENT for subflow in found.subflows)
    assert found.version == (UNKNOWN if name == "fallback_client_tcp" else 1)


@pytest.mark.parametrize("name", ROWS)
def test_what_is_acknowledged_was_mapped(name: str) -> None:
    """Mappings start after the IDSN and leave no gap; no DATA_ACK is beyond what was mapped."""
    found = connection(name)
    for number, host in enumerate(found.hosts):
        if host.key is None:
            continue
        first = host.key.idsn + 1
        mapped = sorted(
            ((m.dsn - first) % 2**64, (m.dsn - first) % 2**64 + m.length)
            for flow in found.subflows
            for m in flow.ends[number].mappings
        )
        reach = 0
        for start, end in mapped:
            assert start <= reach
            reach = max(reach, end)
        acks = [
            (ack - first) % 2**64 for flow in found.subflows for _, ack in flow.ends[1 - number].data_acks
        ]
        assert max(acks, default=0) <= reach
        if found.closing == CLOSED_BY_DATA_FIN:
            assert max(acks) == reach
            assert host.data_fin_dsn == (first + reach - 1) % 2**64


@pytest.mark.parametrize("name", ROWS)
def test_every_payload_byte_of_mptcp_is_mapped(name: str) -> None:
    found = connection(name)
    if found.fallback is not None:
        return
    for subflow in found.subflows:
        for end in subflow.ends:
            spans = sorted((m.ssn, m.ssn + m.payload_length) for m in end.mappings if m.payload_length)
            reach = 1
            for start, after in spans:
                assert start <= reach
                reach = max(reach, after)
            assert reach == end.sent


# --- Particular captures ----------------------------------------------------------------------


def test_the_flags_of_the_handshake() -> None:
    assert [host.flags for host in connection("basic_v4").hosts] == [0x01, 0x01]
    assert [host.flags for host in connection("checksum_v4").hosts] == [0x81, 0x81]
    assert [host.flags for host in connection("checksum_one_side").hosts] == [0x01, 0x81]
    assert connection("no_join_initial_addr").hosts[SERVER].flags & NO_MORE_SUBFLOWS


def test_addresses_are_announced_echoed_and_removed() -> None:
    found = connection("addaddr_join_remove")
    (announced,) = found.hosts[SERVER].announced
    (echoed,) = found.hosts[CLIENT].echoed
    assert (announced.option.address, announced.option.port, announced.hmac_right) == (
        "172.16.4.2",
        UNKNOWN,
        True,
    )
    assert echoed.option == announced.option._replace(hmac=b"", echo=True)
    assert found.subflows[1].flow.dst == "172.16.4.2"
    assert found.hosts[SERVER].removed == [(14, (1,))]
    assert found.subflows[1].ends[SERVER].fins == [16]
    with_port = connection("addaddr_port")
    assert with_port.hosts[CLIENT].echoed[0].option.port == with_port.subflows[1].flow.dport == 9999
    for name in ("path_down_rst", "remove_client_endpoint"):
        assert [removal.address_ids for removal in connection(name).hosts[CLIENT].removed] == [(1,)]


def test_an_address_with_a_wrong_hmac_is_never_echoed() -> None:
    server = connection("addaddr_bad_hmac").hosts[SERVER]
    assert [announcement.hmac_right for announcement in server.announced] == [False] * 3
    assert connection("addaddr_bad_hmac").hosts[CLIENT].echoed == []


def test_joins_of_another_address_family() -> None:
    found = connection("mixed_v6_v4")
    assert [":" in subflow.flow.src for subflow in found.subflows] == [True, False]


def test_a_priority_is_changed_on_the_subflow_itself() -> None:
    found = connection("backup_prio")
    flow = found.subflows[1].flow
    assert found.hosts[CLIENT].priorities == [(12, flow, False, UNKNOWN), (17, flow, True, UNKNOWN)]


def test_fast_close_names_the_key_of_the_other_host() -> None:
    for name, sender in (("fastclose_linger0", CLIENT), ("fastclose_unread", SERVER)):
        hosts = connection(name).hosts
        assert hosts[sender].fastcloses
        assert all(fastclose.key_right for fastclose in hosts[sender].fastcloses)
        assert hosts[1 - sender].fastcloses == []


def test_mp_fail_names_the_mapping_that_was_damaged() -> None:
    single = connection("mpfail_single")
    damaged = single.subflows[0].ends[CLIENT].mappings[2]
    assert single.hosts[SERVER].fails == [(9, damaged.dsn)]
    infinite = single.subflows[0].ends[CLIENT].mappings[3]
    assert (infinite.frame, infinite.length, infinite.checksum, infinite.checksum_right) == (11, 0, 0, None)
    multi = connection("mpfail_multi")
    ((number, dsn),) = multi.hosts[SERVER].fails
    assert number == 40
    assert multi.subflows[1].ends[CLIENT].mappings[1].dsn == dsn
    # The client maps the same data again on the other subflow, in whatever pieces.
    again = multi.subflows[0].ends[CLIENT].mappings
    assert any(m.frame > 40 and m.dsn <= dsn < m.dsn + m.length for m in again)


def test_lost_data_is_sent_again_on_the_other_subflow() -> None:
    first, second = connection("loss_reinject").subflows
    sent = {m.dsn: m.length for m in first.ends[CLIENT].mappings if m.payload_length}
    again = [m for m in second.ends[CLIENT].mappings if m.dsn in sent and m.payload_length]
    assert [m.frame for m in again] == [121, 122, 123]
    acks = {number: ack for end in second.ends for number, ack in end.data_acks}
    assert acks[120] < again[0].dsn + again[0].length <= again[-1].dsn + again[-1].length <= acks[124]


# --- Captures that were tampered with ---------------------------------------------------------


def tampered(
    name: str, number: int, change: Callable[[RawTcp], RawTcp], every_later: bool = False
) -> ConnectionTrace:
    """Return the connection of a capture of which one frame, or all from it on, were changed."""
    packets = list(read_capture(DATA / f"{name}.pcap"))
    for index in range(number - 1, len(packets) if every_later else number):
        ip = parse_ip(packets[index].data)
        tcp = change(parse_tcp(ip.payload))
        payload = rebuild_tcp(tcp, ip.src, ip.dst)
        data = build_ip(ip._replace(length=ip.header_length + len(payload), payload=payload))
        packets[index] = packets[index]._replace(data=data)
    (found,) = reconstruct(packets).connections
    return found


def flip(place: int) -> Callable[[RawTcp], RawTcp]:
    """Return a change that flips a bit of a byte of the first MPTCP option's body."""

    def change(tcp: RawTcp) -> RawTcp:
        options = list(split_options(tcp.options))
        index = next(index for index, (kind, _) in enumerate(options) if kind == MPTCP)
        body = bytearray(options[index][1])
        body[place] ^= 1
        options[index] = MPTCP, bytes(body)
        return tcp._replace(options=join_options(options))

    return change


def strip(tcp: RawTcp) -> RawTcp:
    """Put NOPs in the place of MPTCP options."""
    kept: list[tuple[int, bytes]] = []
    for kind_, body in split_options(tcp.options):
        kept += [(NO_OPERATION, b"")] * (len(body) + 2) if kind_ == MPTCP else [(kind_, body)]
    return tcp._replace(options=join_options(kept))


def test_a_changed_payload_fails_its_checksum_only() -> None:
    found = tampered("checksum_v4", 10, lambda tcp: tcp._replace(payload=b"x" + tcp.payload[1:]))
    judged = {m.frame: m.checksum_right for m in mappings_of(found)}
    assert [frame for frame, right in judged.items() if not right] == [10]
    assert len(judged) == 9


def test_a_changed_length_fails_the_checksum() -> None:
    found = tampered("checksum_v4", 10, lambda tcp: tcp._replace(payload=tcp.payload[:-1]))
    judged = {m.frame: m.checksum_right for m in mappings_of(found)}
    assert judged[10] is None  # a byte is missing


def test_changed_hmacs_are_wrong() -> None:
    (join,) = tampered("join_client_endpoint", 7, flip(2)).joins
    assert (join.syn_ack_hmac_right, join.ack_hmac_right) == (False, True)
    (join,) = tampered("join_client_endpoint", 8, flip(21)).joins
    assert (join.syn_ack_hmac_right, join.ack_hmac_right) == (True, False)
    (join,) = tampered("join_client_endpoint", 6, flip(9)).joins  # the nonce
    assert (join.syn_ack_hmac_right, join.ack_hmac_right) == (False, False)
    server = tampered("addaddr_join_remove", 4, flip(-1)).hosts[SERVER]
    assert [announcement.hmac_right for announcement in server.announced] == [False]


def test_changed_keys_are_found() -> None:
    found = tampered("basic_v4", 3, flip(17))
    assert found.key_echo_right is True  # the first data repeats the right one
    assert tampered("fastclose_unread", 3, flip(17)).key_echo_right is False
    closed = tampered("fastclose_unread", 8, flip(9))
    assert [fastclose.key_right for fastclose in closed.hosts[SERVER].fastcloses] == [False]


def test_a_join_with_an_unknown_token_belongs_to_nobody() -> None:
    packets = list(read_capture(DATA / "join_client_endpoint.pcap"))
    found = tampered("join_client_endpoint", 6, flip(2))
    assert found.joins == []
    assert len(frames_of(found)) < len(packets)


def test_the_options_of_the_third_packet_are_stripped() -> None:
    assert tampered("basic_v4", 3, strip, every_later=True).fallback == (3, FALLBACK_ACK)
    assert tampered("basic_v4", 2, strip, every_later=True).fallback == (2, FALLBACK_SYN_ACK)
    assert tampered("basic_v4", 1, strip, every_later=True).fallback == (2, FALLBACK_SYN)
    assert tampered("basic_v4", 5, strip, every_later=True).fallback == (5, FALLBACK_DATA)
    # Once a DATA_ACK has come through, options that vanish are no fallback.
    assert tampered("basic_v4", 7, strip, every_later=True).fallback is None


# --- The payload of a subflow -----------------------------------------------------------------


def test_a_stream_is_put_together_from_pieces() -> None:
    stream = CapturedStream()
    assert stream.read(1, 0) == b""
    assert stream.read(1, 1) is None
    stream.add(5, b"efgh")
    stream.add(1, b"ab")
    assert stream.read(1, 3) is None
    stream.add(2, b"bcdef")
    stream.add(5, b"e")
    assert stream.read(1, 8) == b"abcdefgh"
    assert stream.read(4, 2) == b"de"
    assert stream.read(0, 2) is None
    assert stream.read(1, 9) is None
    stream.add(20, b"xy")
    assert stream.read(20, 2) == b"xy"
    assert stream.read(8, 13) is None


# --- Any bytes --------------------------------------------------------------------------------

PACKETS = {
    name: list(read_capture(DATA / f"{name}.pcap"))
    for name in ("addaddr_join_remove", "checksum_v4", "fastclose_linger0", "ipv6_basic", "mpfail_single")
}

#: (packet, place in it, new byte)
changes = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 120), st.integers(0, 255)), max_size=20)


@examples(300)
@given(st.sampled_from(sorted(PACKETS)), changes, st.randoms(use_true_random=False), st.booleans())
def test_damaged_captures_are_read(
    name: str, damage: list[tuple[int, int, int]], rng: random.Random, shuffled: bool
) -> None:
    """Nothing that a capture holds raises, in whatever order."""
    packets = list(PACKETS[name])
    for number, place, byte in damage:
        number %= len(packets)
        data = bytearray(packets[number].data)
        data[place % len(data)] = byte
        packets[number] = packets[number]._replace(data=bytes(data))
    if shuffled:
        rng.shuffle(packets)
    trace = reconstruct(packets)
    flows = [flow for found in trace.connections for flow in found.subflows] + trace.orphans
    numbers = [frame.number for flow in flows for frame in flow.frames]
    assert len(numbers) == len(set(numbers)) <= len(packets)
    for found in trace.connections:
        assert found.closing in (CLOSED_BY_DATA_FIN, CLOSED_BY_FASTCLOSE, CLOSED_BY_FIN, NOT_CLOSED)
