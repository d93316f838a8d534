"""A rest of the window that is sent at once (``fill_window``), and a receiver that rounds its window up.

RFC 7323 section 2.4: where a shift would take back a part of what was promised, the window grows beyond
it. RFC 9293 section 3.8.6.2 wants no silly windows, from either end. What Linux does: a small segment
waits until the one before is acknowledged (Nagle's algorithm in Minshall's variant).
"""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.plugins import OpenSubflow
from mptcpsim.units import SECOND
from tests.core.mptcp.configs import config_of
from tests.core.mptcp.pair import C1, C2, MS, S1, MptcpPair, act
from tests.core.tcp.pair import PORT
from tests.profiles import examples

CLIENT_PORT = 6_000


@examples(60)
@given(
    scale=st.integers(0, 7),
    buffer=st.integers(20_000, 200_000),
    mtu=st.sampled_from((576, 1_500, 1_492, 9_000)),
    delay=st.sampled_from((0, 1, 20)),
    scheduler=st.sampled_from(("minrtt", "roundrobin", "redundant")),
    mapping_segments=st.sampled_from((1, 3)),
    nagle=st.booleans(),
    ack_every=st.sampled_from((1, 2)),
    joins=st.booleans(),
)
def test_a_reader_that_pauses_closes_the_window(
    scale: int,
    buffer: int,
    mtu: int,
    delay: int,
    scheduler: str,
    mapping_segments: int,
    nagle: bool,
    ack_every: int,
    joins: bool,
) -> None:
    """It takes little more than its buffer, hardly in tiny segments, and all arrives in the end."""
    tcp = {"receive_buffer": buffer, "window_scale": scale, "nagle": nagle, "ack_every": ack_every}
    multipath = {
        "profile": "linux-6.18",
        "scheduler": scheduler,
        "mapping_segments": mapping_segments,
        "path_manager_parameters": {"joins": 0, "announces": 0, "follows": 0},
    }
    pair = MptcpPair(
        config_of(tcp, multipath, PORT),
        config_of(tcp, multipath, CLIENT_PORT),
        client_addresses=(C1, C2),
        delay=delay * MS,
        mtu=mtu,
    )
    client, server = pair.establish()
    if joins:
        act(pair, client, OpenSubflow(C2, S1, PORT))
    pair.run(until=SECOND)
    written = 0
    while written < 3 * buffer and (more := client.write(3 * buffer - written, pair.now)):
        written += more
        pair.run(until=pair.now + SECOND)
    data = [packet for _, way, packet in pair.wire if way == "c>s" and packet.length]
    mss = min(tcp.sender.mss for tcp in client.subflows)
    unit = 1 << server.subflows[0].receiver.scale
    assert server.readable - buffer < len(data) * unit
    # The ACKs of a window of segments add less than a unit each, and those of what is sent then a part of it.
    rounds = 3 + math.log(buffer / mss + 1) / math.log(mss / unit)
    copies = len(client.subflows) if scheduler == "redundant" else 1
    # A byte alone is a probe, and what is sent again is where it was.
    tiny = {packet.offset for packet in data if 1 < packet.length < mss}
    assert len(tiny) <= copies * rounds
    assert pair.segments("s>c")[-1][1].window == 0
    server.eager = True
    server.read(server.readable, pair.now)
    while written < 3 * buffer or server.delivered < written:
        written += client.write(3 * buffer - written, pair.now)
        assert pair.step()
