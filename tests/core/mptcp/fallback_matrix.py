"""What becomes of a connection from which a middlebox removes MPTCP options: the table, produced.

``python -m tests.core.mptcp.fallback_matrix`` writes ``docs/fallback.md``. What each cell ought to be
stands in ``tests/data/fallback_matrix.toml``, written from the RFCs.
"""

from __future__ import annotations

import tomllib
from typing import Any, NamedTuple

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_options import Dss, MpCapable, MpTcprst
from mptcpsim.core.segment import RST, SYN, Segment
from mptcpsim.units import SECOND
from tests.core.mptcp.hooks import Predicate, Seen, strip_mptcp
from tests.core.mptcp.pair import MS, MptcpPair, options_of
from tests.core.mptcp.plan import mptcp
from tests.core.tcp.pair import Hook
from tests.paths import DATA, DOCS

EXPECTED = DATA / "fallback_matrix.toml"
DOCUMENT = DOCS / "fallback.md"

PROTOCOLS = ("v1", "v0", "TCP")
STRIPPED = ("nothing", "SYN", "SYN/ACK", "third ACK", "first data", "from the n-th packet")

#: Bytes that the client writes, and the server's receive buffer: a few windows of data.
STREAM = 200_000
BUFFER = 32 * 1024
#: The n of "from the n-th packet": several round trips after the first DATA_ACK.
N = 60
#: A cell that is not decided by then, ns, is stuck.
LIMIT = 120 * SECOND


class Cell(NamedTuple):
    """One expected cell: the two ends, what is removed, what comes of it, who signals it, and why."""

    client: str
    server: str
    stripped: str
    outcome: str
    by: str
    section: str
    why: str


class Produced(NamedTuple):
    """What a run showed."""

    outcome: str
    by: str


def expected() -> list[Cell]:
    """Return the table as it was written from the RFCs."""
    return [Cell(**cell) for cell in tomllib.loads(EXPECTED.read_text(encoding="utf-8"))["cells"]]


def configuration(protocol: str) -> TcpConfig:
    """Return the configuration of an end that speaks one version, or plain TCP."""
    tcp: dict[str, Any] = {"receive_buffer": BUFFER}
    return TcpConfig(**tcp) if protocol == "TCP" else mptcp(versions=(int(protocol[1]),), tcp=tcp)


def middlebox(stripped: str) -> Hook:
    """Return the hook that removes the options of what a column of the table names."""
    found: list[int] = []

    def first(seen: Seen, with_data: bool) -> bool:
        """Whether this is the client's first segment after its SYN, with data or at all."""
        if seen.direction != "c>s" or seen.segment.flags & SYN or found:
            return False
        if with_data and not seen.segment.length:
            return False
        assert with_data or not seen.segment.length, "the third ACK carries data"
        found.append(seen.number)
        return True

    predicates: dict[str, Predicate] = {
        "nothing": lambda seen: False,
        "SYN": lambda seen: bool(seen.segment.flags & SYN) and seen.direction == "c>s",
        "SYN/ACK": lambda seen: bool(seen.segment.flags & SYN) and seen.direction == "s>c",
        "third ACK": lambda seen: first(seen, False),
        "first data": lambda seen: first(seen, True),
        "from the n-th packet": lambda seen: seen.number >= N,
    }
    return strip_mptcp(predicates[stripped])


def run(client: str, server: str, stripped: str, *, encode: bool = False) -> MptcpPair:
    """Run the scenario of a cell until the stream has arrived or an end has reset the connection."""
    pair = MptcpPair(configuration(client), configuration(server), hook=middlebox(stripped), encode=encode)
    writer, reader = pair.establish()
    # The third ACK is to be a packet of its own.
    pair.run(pair.now + 10 * MS)
    left = STREAM
    while reader.consumed < STREAM and not resets(pair):
        if left and writer.writable:
            left -= writer.write(left, pair.now)
        reader.read(reader.readable, pair.now)
        assert pair.now < LIMIT, f"{reader.consumed} of {STREAM} bytes, and no reset"
        assert pair.step() or reader.consumed == STREAM
    pair.run(pair.now + SECOND)
    return pair


def resets(pair: MptcpPair) -> list[tuple[str, Segment]]:
    """Return every RST sent, with its direction."""
    return [
        (way, packet) for _, way, packet in pair.wire if isinstance(packet, Segment) and packet.flags & RST
    ]


def packets_before_proof(pair: MptcpPair) -> int:
    """Return how many packets were sent before the first DATA_ACK of data."""
    for number, (_, way, packet) in enumerate(pair.wire):
        if way == "s>c" and isinstance(packet, Segment) and packet.dss is not None:
            return number
    raise AssertionError("no DATA_ACK")


def judge(pair: MptcpPair) -> Produced:
    """Return what the packets of a run say, as the ends sent them."""
    names = {"c>s": "client", "s>c": "server"}
    delivered = pair.server.connections[0].delivered
    if reset := resets(pair):
        way, segment = reset[0]
        assert delivered < STREAM, "a reset when everything has arrived"
        reasons = [option.reason for option in options_of(segment) if isinstance(option, MpTcprst)]
        return Produced(f"RST 0x{reasons[0]:02x}" if reasons else "RST", names[way])
    assert delivered == STREAM
    segments = [packet for _, _, packet in pair.wire if isinstance(packet, Segment)]
    infinite = [sent for sent in pair.sent(Dss) if sent.option.is_infinite()]
    if infinite:
        # Who has new data repeats on it what went ahead on an ACK: one mapping all the same.
        assert len({(sent.direction, sent.option) for sent in infinite}) == 1
        start = next(at for at, segment in enumerate(segments) if segment is infinite[0].segment)
        later = [segment for segment in segments[start:] if options_of(segment)]
        assert later == [sent.segment for sent in infinite], "other options after it"
        return Produced("infinite mapping", names[infinite[0].direction])
    segments = [segment for segment in segments if not segment.flags & SYN]
    if not any(options_of(segment) for segment in segments):
        return Produced("plain TCP", "")
    assert all(is_mapped(segment) for segment in segments if segment.length), "no mapping, and no fallback"
    acknowledgments = pair.sent(Dss, "s>c")
    assert acknowledgments[-1].option.data_ack_octets, "no DATA_ACK, and no fallback"
    (version,) = {sent.option.version for sent in pair.sent(MpCapable)}
    return Produced(f"MPTCP v{version}", "")


def is_mapped(segment: Segment) -> bool:
    """Return whether a segment has a mapping, in a DSS or as the data parameters of MP_CAPABLE."""
    return any(
        (isinstance(option, Dss) and option.dsn_octets > 0)
        or (isinstance(option, MpCapable) and option.data_level_length > 0)
        for option in options_of(segment)
    )


def produce(client: str, server: str, stripped: str, *, encode: bool = False) -> Produced:
    """Run a cell and say what came of it."""
    return judge(run(client, server, stripped, encode=encode))


def produce_all() -> dict[tuple[str, str, str], Produced]:
    """Run every cell."""
    return {
        (client, server, stripped): produce(client, server, stripped)
        for client in PROTOCOLS
        for server in PROTOCOLS
        for stripped in STRIPPED
    }


def render(produced: dict[tuple[str, str, str], Produced]) -> str:
    """Return the document: the outcomes that were produced, with the reasons of the expected table."""
    lines = [
        "# Fallback matrix",
        "",
        "Generated by `python -m tests.core.mptcp.fallback_matrix` from runs of the core; not to be edited.",
        "What each cell must be was written from the RFCs first, in `tests/data/fallback_matrix.toml`; a",
        "test compares the two.",
        "",
        "One path, no checksums, no loss; an end speaks one version only. The client writes",
        f"{STREAM} bytes, a few receive windows of {BUFFER // 1024} KiB, and the server reads them. A",
        f"middlebox drops nothing, and removes the MPTCP options of the packets named; n is {N}. In brackets",
        "is who sends the infinite mapping or the RST.",
        "",
        "| client | server | " + " | ".join(STRIPPED) + " |",
        "|---" * (2 + len(STRIPPED)) + "|",
    ]
    for client in PROTOCOLS:
        for server in PROTOCOLS:
            row = [_worded(produced[client, server, stripped]) for stripped in STRIPPED]
            lines.append(f"| {client} | {server} | " + " | ".join(row) + " |")
    lines += ["", "## Why", "", "| client | server | removed | section | why |", "|---|---|---|---|---|"]
    lines += [
        f"| {cell.client} | {cell.server} | {cell.stripped} | {cell.section} | {cell.why} |"
        for cell in expected()
    ]
    return "\n".join(lines) + "\n"


def _worded(produced: Produced) -> str:
    return f"{produced.outcome} ({produced.by})" if produced.by else produced.outcome


if __name__ == "__main__":
    DOCUMENT.write_text(render(produce_all()), encoding="utf-8")
    print(f"wrote {DOCUMENT}")
