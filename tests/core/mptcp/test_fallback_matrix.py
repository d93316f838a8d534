"""The table of outcomes when MPTCP options are removed equals what the core does, cell by cell."""

from __future__ import annotations

import pytest

from mptcpsim.plugins import Announce, OpenSubflow
from tests.core.mptcp.fallback_matrix import (
    BUFFER,
    DOCUMENT,
    LIMIT,
    PROTOCOLS,
    STREAM,
    STRIPPED,
    Cell,
    N,
    Produced,
    expected,
    judge,
    packets_before_proof,
    render,
    resets,
    run,
)
from tests.core.mptcp.hooks import strip_mptcp
from tests.core.mptcp.pair import C1, C2, MS, S1, S2, MptcpPair, counted, transfer
from tests.core.mptcp.plan import Plan, mptcp
from tests.core.tcp.pair import PORT

CELLS = expected()
PRODUCED: dict[tuple[str, str, str], Produced] = {}


def key(cell: Cell) -> tuple[str, str, str]:
    return cell.client, cell.server, cell.stripped


def test_every_cell_is_there_once() -> None:
    assert sorted(map(key, CELLS)) == sorted(
        (client, server, stripped) for client in PROTOCOLS for server in PROTOCOLS for stripped in STRIPPED
    )
    assert all(cell.section and cell.why.endswith(".") for cell in CELLS)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.client}-{cell.server}-{cell.stripped}")
def test_cell(cell: Cell) -> None:
    produced = judge(run(*key(cell)))
    assert produced == (cell.outcome, cell.by), cell.why
    PRODUCED[key(cell)] = produced


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.client == cell.server != "TCP"], ids=str)
def test_cell_as_bytes(cell: Cell) -> None:
    """The same when every packet crosses the wire encoded."""
    assert judge(run(*key(cell), encode=True)) == (cell.outcome, cell.by)


def test_document_is_what_was_produced() -> None:
    produced = {key(cell): PRODUCED.get(key(cell)) or judge(run(*key(cell))) for cell in CELLS}
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == render(produced), "run python -m tests.core.mptcp.fallback_matrix"


#: What Linux counts at the client and at the server of two ends of the same version.
COUNTED: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "nothing": ({}, {}),
    "SYN": ({"MPCapableFallbackSYNACK": 1}, {}),
    "SYN/ACK": ({"MPCapableFallbackSYNACK": 1}, {"MPCapableFallbackACK": 1}),
    "third ACK": ({"MPCapableDataFallback": 1, "InfiniteMapTx": 1}, {"MPCapableFallbackACK": 1}),
    "first data": ({"MPCapableDataFallback": 1, "InfiniteMapTx": 1}, {"DssFallback": 1}),
}
COUNTERS = (
    "MPCapableFallbackSYNACK",
    "MPCapableFallbackACK",
    "MPCapableDataFallback",
    "DssFallback",
    "InfiniteMapTx",
    "MPRstTx",
    "MPRstRx",
)


@pytest.mark.parametrize("stripped", COUNTED)
@pytest.mark.parametrize("version", ["v1", "v0"])
def test_counters(version: str, stripped: str) -> None:
    pair = run(version, version, stripped)
    client, server = COUNTED[stripped]
    assert counted(pair.client, *COUNTERS) == tuple(client.get(name, 0) for name in COUNTERS)
    assert counted(pair.server, *COUNTERS) == tuple(server.get(name, 0) for name in COUNTERS)


@pytest.mark.parametrize("version", ["v1", "v0"])
def test_from_the_nth_packet_is_long_after_the_proof(version: str) -> None:
    """The middlebox starts well after the first DATA_ACK, and a part of the stream has arrived by then."""
    pair = run(version, version, "from the n-th packet")
    assert packets_before_proof(pair) < N - 20
    (server,) = pair.server.connections
    assert 0 < server.delivered < STREAM
    assert counted(pair.server, "MPRstTx") == (1 if version == "v1" else 0,)
    # The middlebox took the reason away, so the client counts none.
    assert counted(pair.client, "MPRstRx", "InfiniteMapTx") == (0, 0)


# --- Options that vanish at any packet -----------------------------------------------------------

#: Who writes; in which directions the middlebox works.
WRITERS = {"client": ("c>s",), "server": ("s>c",), "both": ("c>s", "s>c")}
DIRECTIONS = {"both ways": ("c>s", "s>c"), "to the server": ("c>s",), "to the client": ("s>c",)}


def vanish(version: int, announce: bool, writers: tuple[str, ...], ways: tuple[str, ...], n: int) -> str:
    """Remove all options from the n-th packet on; say whether everything arrives, or an end resets."""
    tcp = {"receive_buffer": BUFFER}
    plan = Plan(established=[Announce(S2)] if announce else [])
    pair = MptcpPair(
        mptcp(versions=(version,), tcp=tcp),
        mptcp(plan, versions=(version,), tcp=tcp),
        server_addresses=(S1, S2),
        hook=strip_mptcp(lambda seen: seen.number >= n and seen.direction in ways),
    )
    client, server = pair.establish()
    pair.run(pair.now + 100 * MS)
    ends = [(client, server) if way == "c>s" else (server, client) for way in writers]
    left = [100_000 for _ in ends]
    while pair.now < LIMIT:
        if resets(pair):
            return "reset"
        if all(reader.consumed == 100_000 for _, reader in ends):
            return "arrived"
        for number, (writer, reader) in enumerate(ends):
            if left[number] and writer.writable:
                left[number] -= writer.write(left[number], pair.now)
            reader.read(reader.readable, pair.now)
        assert pair.step()
    return f"stuck at {[reader.consumed for _, reader in ends]}"


@pytest.mark.parametrize("ways", DIRECTIONS)
@pytest.mark.parametrize("writers", WRITERS)
@pytest.mark.parametrize("announce", [False, True], ids=["silent", "announcing"])
@pytest.mark.parametrize("version", [1, 0])
def test_options_vanish_at_any_packet(version: int, announce: bool, writers: str, ways: str) -> None:
    """Either an end notices and resets the subflow, or every byte arrives; nothing hangs or gets lost.

    A delivery that is not the next byte of the peer's stream would end the run with an error.
    """
    outcomes = {
        n: vanish(version, announce, WRITERS[writers], DIRECTIONS[ways], n)
        for n in (*range(1, 21), 30, 45, 60)
    }
    assert set(outcomes.values()) <= {"arrived", "reset"}, outcomes
    assert outcomes[1] == outcomes[3] == "arrived", "before any data there is always plain TCP"


@pytest.mark.parametrize("version", [1, 0])
def test_another_subflow_takes_over(version: int) -> None:
    """DATA_ACKs vanish on the only path: what it has delivered in vain is sent again on the next one."""
    plan = Plan()
    plan.subflow_closed = lambda view, subflow: [] if view.subflows else [OpenSubflow(C2, S1, PORT)]
    tcp = {"receive_buffer": BUFFER}
    pair = MptcpPair(
        mptcp(plan, versions=(version,), tcp=tcp),
        mptcp(versions=(version,), tcp=tcp),
        client_addresses=(C1, C2),
        hook=strip_mptcp(lambda seen: seen.number >= N and seen.segment.flow.dst == C1),
    )
    client, server = pair.establish()
    transfer(pair, client, server, STREAM)
    client.close(pair.now)
    server.close(pair.now)
    pair.run()
    assert [subflow.flow.src for subflow in client.subflows] == [C1, C2]
    assert client.closed
    assert server.closed
    assert not client.error
    assert not server.error
