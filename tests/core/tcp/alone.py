"""A transfer over TCP that needs only ``core/tcp`` and what lies below it.

It is the text of a ``python -c`` in a copy of the package without ``core/mptcp`` and ``core/stack.py``;
``test_alone.py`` makes that copy and runs it. By hand::

    mkdir /tmp/alone && cp -r mptcpsim tests/core/tcp/alone.py /tmp/alone && cd /tmp/alone
    rm -r mptcpsim/core/mptcp mptcpsim/core/stack.py
    python -c "$(cat alone.py)"

Each end writes 100 kB; one segment of the client is lost on its way. Both ends close.
"""

import random
import sys
from heapq import heappop, heappush

import mptcpsim.congestion
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import Packet, Segment
from mptcpsim.core.tcp.stack import TcpStack

AMOUNT = 100_000
DELAY = 10_000_000  # ns

client = TcpStack("client", random.Random(1), TcpConfig())
server = TcpStack("server", random.Random(2), TcpConfig())
client.add_address("10.0.0.1")
server.add_address("10.0.0.2")
listener = server.listen(5001)
connections = [client.connect("10.0.0.1", ("10.0.0.2", 5001), 0)]

now, order = 0, 0
wire: list[tuple[int, int, TcpStack, Packet]] = []
lost: list[Segment] = []
while True:
    # An application at each end: it writes at once, reads what is there, and closes.
    connections += listener.accepted
    listener.accepted.clear()
    for connection in connections:
        if connection.established and not connection.closing:
            assert connection.write(AMOUNT, now) == AMOUNT
            connection.close(now)
        connection.read(AMOUNT, now)
    # The wire: every packet arrives at the other end after the delay, but for one.
    for stack, peer in ((client, server), (server, client)):
        for packet in stack.outbox:
            if stack is client and not lost and isinstance(packet, Segment) and packet.seq > AMOUNT // 2:
                lost.append(packet)
            else:
                order += 1
                heappush(wire, (now + DELAY, order, peer, packet))
        stack.outbox.clear()
    # The clock: the next packet or the next timer.
    timers = min(client.next_timer(), server.next_timer())
    if wire and wire[0][0] <= timers:
        now, _, stack, packet = heappop(wire)
        stack.receive_packet(packet, now)
    elif not all(connection.closed for connection in connections):
        now = timers
        client.handle_timer(now)
        server.handle_timer(now)
    else:
        break

assert len(connections) == 2
assert lost[0].length
for stack, connection in zip((client, server), connections, strict=True):
    assert (connection.delivered, connection.consumed, connection.acked) == (AMOUNT, AMOUNT, AMOUNT)
    assert connection.peer_closed
    assert (connection.error, stack.fault, stack.open_subflows()) == ("", None, 0)
    resent = stack.counters["TcpRetransSegs"]
    assert resent == (stack is client), "what was lost goes again, and nothing else"
    print(f"{stack.name}: {connection.delivered} bytes delivered, {resent} sent again, closed")
assert not {name for name in sys.modules if name.startswith(("mptcpsim.core.mptcp.", "mptcpsim.core.stack"))}
print(f"with {mptcpsim.__file__}")
