"""Captures: what is written is read back, and what others write is read."""

from __future__ import annotations

import io
import json
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.codec import encode
from mptcpsim.codec.pcap import DIRECTION_UNKNOWN, INBOUND, OUTBOUND, CaptureWriter
from mptcpsim.codec.pcap_reader import CapturedPacket, CaptureError, read_capture, read_stream
from tests.codec.packet_strategies import FLOW6, make_segment
from tests.paths import DATA
from tests.profiles import examples

PACKET4 = encode(make_segment(length=3))
PACKET6 = encode(make_segment(flow=FLOW6, length=2))


def read(data: bytes) -> list[CapturedPacket]:
    return list(read_stream(io.BytesIO(data)))


# --- What we write -------------------------------------------------------------------------------


@examples(100)
@given(
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1, max_size=4
    ),
    packets=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, (1 << 62) - 1),
            st.binary(max_size=70).map(lambda rest: b"\x45" + rest),
            st.sampled_from([DIRECTION_UNKNOWN, INBOUND, OUTBOUND]),
        ),
        max_size=8,
    ),
)
def test_a_capture_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], packets: list[tuple[int, int, bytes, int]]
) -> None:
    path = tmp_path_factory.mktemp("captures") / "run.pcapng"
    expected = []
    with CaptureWriter(path) as capture:
        assert [capture.add_interface(name, "x" * n) for n, name in enumerate(names)] == list(
            range(len(names))
        )
        for number, time_ns, data, direction in packets:
            interface = number % len(names)
            capture.write(interface, time_ns, data, direction)
            expected.append(CapturedPacket(names[interface], time_ns, data, direction))
    assert list(read_capture(path)) == expected


def test_an_interface_may_begin_late(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    with CaptureWriter(path) as capture:
        first = capture.add_interface("a")
        capture.write_packet(first, 1, make_segment(length=3))
        second = capture.add_interface("b")
        capture.write_packet(second, 2, make_segment(flow=FLOW6, length=2), INBOUND)
    assert list(read_capture(path)) == [
        CapturedPacket("a", 1, PACKET4, DIRECTION_UNKNOWN),
        CapturedPacket("b", 2, PACKET6, INBOUND),
    ]


def test_a_snap_length_cuts_packets(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    with CaptureWriter(path, snap_length=50) as capture:
        capture.add_interface("a")
        for length in (9, 10, 11, 1000):
            capture.write_packet(0, 1, make_segment(length=length))
    assert [len(packet.data) for packet in read_capture(path)] == [49, 50, 50, 50]


def test_the_name_appears_when_the_capture_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    capture = CaptureWriter(path)
    capture.add_interface("a")
    capture.write_packet(0, 1, make_segment())
    assert not path.exists()
    capture.close()
    capture.close()
    assert [file.name for file in tmp_path.iterdir()] == ["run.pcapng"]
    with pytest.raises(ValueError, match="closed"):
        capture.write_packet(0, 2, make_segment())


def fail_within(path: Path) -> None:
    with CaptureWriter(path) as capture:
        capture.add_interface("a")
        capture.write_packet(0, 1, make_segment())
        raise KeyboardInterrupt


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail_within(tmp_path / "run.pcapng")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_capture_survives_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        fail_within(path)
    assert path.read_bytes() == b"before"


def test_an_unknown_interface_is_refused(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path / "run.pcapng") as capture:
        capture.add_interface("a")
        for interface in (1, -1):
            with pytest.raises(ValueError, match="with 1"):
                capture.write_packet(interface, 1, make_segment())


@pytest.mark.tool("capinfos")
def test_capinfos_knows_who_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    with CaptureWriter(path) as capture:
        capture.add_interface("client-eth0", "the first link")
        capture.write_packet(0, 1, make_segment())
    text = subprocess.run(["capinfos", str(path)], check=True, capture_output=True, text=True).stdout
    for line in ("Capture hardware:    mptcpsim", "Capture application: mptcpsim", "Name = client-eth0"):
        assert line in text
    assert "Encapsulation = Raw IP" in text
    assert "Time precision = nanoseconds (9)" in text


# --- What others write ---------------------------------------------------------------------------

ETHERNET4 = bytes(12) + b"\x08\x00"
ETHERNET6 = bytes(12) + b"\x86\xdd"
VLAN = bytes(12) + b"\x88\xa8\x00\x05" + b"\x81\x00\x00\x07" + b"\x08\x00"
ARP = bytes(12) + b"\x08\x06" + bytes(28)
COOKED = b"\x00\x00\x00\x01\x00\x06" + bytes(8) + b"\x08\x00"
COOKED2 = b"\x86\xdd" + bytes(18)
PPP = b"\xff\x03\x00\x21"


def classic(order: str, magic: int, link_type: int, *records: tuple[int, int, bytes]) -> bytes:
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    for seconds, fraction, frame in records:
        data += struct.pack(order + "IIII", seconds, fraction, len(frame), len(frame)) + frame
    return data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_classic_captures(order: str, magic: int, unit: int) -> None:
    data = classic(order, magic, 1, (5, 7, ETHERNET4 + PACKET4), (6, 8, ARP), (7, 9, ETHERNET6 + PACKET6))
    assert read(data) == [
        CapturedPacket("0", 5 * 10**9 + 7 * unit, PACKET4, DIRECTION_UNKNOWN),
        CapturedPacket("0", 7 * 10**9 + 9 * unit, PACKET6, DIRECTION_UNKNOWN),
    ]


@pytest.mark.parametrize(
    ("link_type", "header", "packet"),
    [
        (0, b"\x02\x00\x00\x00", PACKET4),
        (1, VLAN, PACKET4),
        (9, PPP, PACKET4),
        (9, b"\x00\x57", PACKET6),
        (12, b"", PACKET4),
        (101, b"", PACKET6),
        (113, COOKED, PACKET4),
        (228, b"", PACKET4),
        (229, b"", PACKET6),
        (276, COOKED2, PACKET6),
        (0x30000001, ETHERNET4, PACKET4),  # with the length of a frame check sequence
    ],
)
def test_link_types(link_type: int, header: bytes, packet: bytes) -> None:
    data = classic("<", 0xA1B2C3D4, link_type, (0, 0, header + packet))
    assert [captured.data for captured in read(data)] == [packet]


@pytest.mark.parametrize("link_type", [0, 1, 9, 12, 101, 113, 276])
def test_frames_without_ip_are_passed_over(link_type: int) -> None:
    for frame in (b"", b"\x00", bytes(60), ARP, b"\x81\x00" * 40):
        assert read(classic("<", 0xA1B2C3D4, link_type, (0, 0, frame))) == []


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, link_type: int, snap: int = 0, *options: tuple[int, bytes]) -> bytes:
    body = struct.pack(order + "HHI", link_type, 0, snap)
    for code, value in options:
        body += struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
    return block(order, 1, body)


def enhanced(order: str, number: int, ticks: int, data: bytes) -> bytes:
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(order, 6, head + data)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_others(order: str) -> None:
    data = (
        section(order)
        + interface(order, 1)  # microseconds, no name
        + interface(order, 101, 0, (2, b"tun0"), (9, b"\x09"), (14, struct.pack(order + "q", 100)), (0, b""))
        + interface(order, 101, 0, (2, b"half"), (9, b"\x81"))  # half seconds
        + block(order, 5, b"statistics of an interface")
        + enhanced(order, 0, 3, ETHERNET4 + PACKET4)
        + enhanced(order, 1, 5, PACKET6)
        + enhanced(order, 2, 3, PACKET6)
        + block(order, 3, struct.pack(order + "I", len(ETHERNET4 + PACKET4)) + ETHERNET4 + PACKET4)
    )
    expected = [
        CapturedPacket("0", 3000, PACKET4, 0),
        CapturedPacket("tun0", 100 * 10**9 + 5, PACKET6, 0),
        CapturedPacket("half", 1_500_000_000, PACKET6, 0),
        CapturedPacket("0", 0, PACKET4, 0),
    ]
    assert read(data) == expected
    # A second section of the other byte order begins anew.
    other = "<" if order == ">" else ">"
    more = section(other) + interface(other, 101, 0, (2, b"new")) + enhanced(other, 0, 1, PACKET4)
    assert read(data + more) == [*expected, CapturedPacket("new", 1000, PACKET4, 0)]


def test_a_simple_packet_is_as_long_as_the_snap_length() -> None:
    packet = block("<", 3, struct.pack("<I", 1000) + PACKET4[:42])
    assert read(section("<") + interface("<", 101, 42) + packet)[0].data == PACKET4[:42]


GOOD = section("<") + interface("<", 101) + enhanced("<", 0, 1, PACKET4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "breaks off"),
        (b"\x01\x02\x03\x04", "01020304 is neither"),
        (classic("<", 0xA1B2C3D4, 1)[:20], "breaks off in the file header"),
        (classic("<", 0xA1B2C3D4, 1, (0, 0, bytes(60)))[:-1], "breaks off in a record"),
        (classic("<", 0xA1B2C3D4, 1) + bytes(9), "breaks off in a record header"),
        (classic("<", 0xA1B2C3D4, 1) + b"\xff" * 16, "would have 4294967295 bytes"),
        (classic("<", 0xA1B2C3D4, 147, (0, 0, b"x")), "link type 147"),
        (section("<")[:10], "breaks off in a section header"),
        (section("<")[:8] + bytes(20), "byte order 00000000"),
        (GOOD[:-1], "breaks off in a block"),
        (GOOD + b"\x06", "breaks off in a block type"),
        (GOOD + b"\x06\x00\x00\x00", "breaks off in a block length"),
        (GOOD + struct.pack("<II", 6, 13) + bytes(20), "a block of 13 bytes"),
        (GOOD + struct.pack("<II", 6, 8) + bytes(20), "a block of 8 bytes"),
        (GOOD + struct.pack("<II", 6, 0xFFFFFFF0), "would have"),
        (GOOD[:-4] + bytes(4), "another length"),
        (GOOD + enhanced("<", 1, 0, PACKET4), "interface 1, of which there are 1"),
        (GOOD + block("<", 6, bytes(16)), "too short"),
        (GOOD + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 50, 50) + bytes(40)), "longer than its block"),
        (GOOD + block("<", 1, bytes(4)), "too short"),
        (GOOD + interface("<", 101, 0, (9, b"\x09\x09")), "wrong length"),
        (GOOD + interface("<", 101, 0, (14, b"\x09")), "wrong length"),
        (GOOD + block("<", 1, struct.pack("<HHIHH", 101, 0, 0, 2, 500)), "option of 500 bytes"),
        (GOOD + block("<", 6, struct.pack("<IIIIIHHI", 0, 0, 0, 0, 0, 2, 2, 0)), "flags of a wrong length"),
        (section("<") + block("<", 3, bytes(8)), "without an interface"),
        (GOOD + block("<", 3, b""), "too short"),
    ],
)
def test_a_broken_capture_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        read(data)


def test_what_comes_before_the_break_is_read() -> None:
    packets: Iterator[CapturedPacket] = read_stream(io.BytesIO(GOOD + b"\x06"))
    assert next(packets).data == PACKET4
    with pytest.raises(CaptureError):
        next(packets)


starts = st.sampled_from(
    [
        b"",
        section("<"),
        section(">"),
        GOOD,
        GOOD + struct.pack("<II", 6, 32),
        GOOD + struct.pack("<II", 1, 40),
        classic("<", 0xA1B2C3D4, 1),
        classic(">", 0xA1B23C4D, 113),
    ]
)


@examples(500)
@given(starts, st.binary(max_size=100))
def test_any_bytes_are_a_capture_or_none(start: bytes, rest: bytes) -> None:
    try:
        read(start + rest)
    except CaptureError:
        return


@examples(500)
@given(
    st.sampled_from(
        [
            GOOD + GOOD,
            classic("<", 0xA1B2C3D4, 1, (5, 7, ETHERNET4 + PACKET4), (6, 8, ARP)),
            section(">")
            + interface(">", 1, 60, (2, b"n"), (9, b"\x06"))
            + enhanced(">", 0, 3, VLAN + PACKET4),
        ]
    ),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=3),
    st.integers(0, 300),
)
def test_altered_captures(data: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    changed = bytearray(data)
    for position, value in changes:
        changed[position % len(changed)] = value
    for candidate in (bytes(changed), bytes(changed)[:cut]):
        try:
            for packet in read(candidate):
                assert isinstance(packet, CapturedPacket)
        except CaptureError:
            continue


@pytest.mark.tool("tshark")
def test_tshark_and_we_read_the_same(tmp_path: Path) -> None:
    """A capture of the kernel: the same times, lengths and addresses."""
    path = DATA / "ipv6_basic.pcap"
    command = ["tshark", "-n", "-r", str(path), "-T", "json", "-e", "frame.time_epoch", "-e", "ipv6.plen"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    frames = [frame["_source"]["layers"] for frame in json.loads(done.stdout)]
    ours = [
        {
            "frame.time_epoch": [f"{packet.time_ns // 10**9}.{packet.time_ns % 10**9:09}"],
            "ipv6.plen": [str(int.from_bytes(packet.data[4:6], "big"))],
        }
        for packet in read_capture(path)
    ]
    assert ours == frames
