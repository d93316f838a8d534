"""Bulk TCP flows in ns.py, the PyPI package ns.py. peers.py starts it.

    python nspy_bulk.py W1|W2 SECONDS

W1 is the chain of w1.py. W2 has the two paths of w2.py, with a TCP connection over each: ns.py has no
MPTCP. Its sender has no handshake, no options, no receive window and no SACK.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import simpy
from ns.flow.cc import TCPReno  # type: ignore[import-not-found]
from ns.flow.flow import Flow  # type: ignore[import-not-found]
from ns.packet.tcp_generator import TCPPacketGenerator  # type: ignore[import-not-found]
from ns.packet.tcp_sink import TCPSink  # type: ignore[import-not-found]
from ns.port.port import Port  # type: ignore[import-not-found]
from ns.port.wire import Wire  # type: ignore[import-not-found]

MSS = 1448
GBIT = 1e9
#: One bandwidth-delay product, bytes, that of the first path in W2.
SSTHRESH = {"W1": 1_250_000, "W2": 250_000}
#: Rate, bit/s, delay, s, and queue, packets, of the links of each path, from the sender on.
PATHS = {
    "W1": [[(10 * GBIT, 1e-3, 10_000), (GBIT, 3e-3, 833), (10 * GBIT, 1e-3, 10_000)]],
    "W2": [
        [(GBIT, 5e-3, 10_000), (0.1 * GBIT, 5e-3, 166)],
        [(GBIT, 15e-3, 10_000), (0.05 * GBIT, 15e-3, 250)],
    ],
}


def chain(env: Any, links: list[tuple[float, float, int]], target: Any) -> Any:
    """Return the first of the ports and wires that lead to ``target``."""
    for rate, delay, queue in reversed(links):
        wire = Wire(env, lambda delay=delay: delay)
        wire.out = target
        port = Port(env, rate, qlimit=queue)
        port.out = wire
        target = port
    return target


def main() -> None:
    """Run and print the figures as one line of JSON."""
    workload, seconds = sys.argv[1], float(sys.argv[2])
    env = simpy.Environment()
    sinks = []
    for number, links in enumerate(PATHS[workload]):
        flow = Flow(fid=number, src="a", dst="b", finish_time=seconds)
        control = TCPReno(mss=MSS, cwnd=10 * MSS, ssthresh=SSTHRESH[workload])
        sender = TCPPacketGenerator(env, flow=flow, cc=control, element_id=number)
        sender.mss = MSS
        sink = TCPSink(env, rec_arrivals=False, rec_waits=False, rec_flow_ids=False)
        sender.out = chain(env, links, sink)
        sink.out = chain(env, links[::-1], sender)
        sinks.append(sink)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    env.run(until=seconds)
    cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    delivered = sum(sink.next_seq_expected for sink in sinks)
    print(json.dumps({"packets": delivered // MSS, "user CPU s": cpu}))


if __name__ == "__main__":
    main()
