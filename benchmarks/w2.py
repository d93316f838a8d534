"""W2: one bulk MPTCP connection over two disjoint paths.

    path 1: 100 Mbit/s, RTT 20 ms       path 2: 50 Mbit/s, RTT 60 ms

One router in each path, queues of one bandwidth-delay product; the server announces its second
address and the client joins it; LIA, ACKs as by default (for every second packet), profile rfc8684,
buffers of 16 MiB. Run as a program it prints the user CPU per delivered data packet, or where the
time goes:

    python benchmarks/w2.py --seconds 30
    python benchmarks/w2.py --seconds 30 --ack-every 1
    python benchmarks/w2.py --seconds 5 --profile
"""

from __future__ import annotations

import argparse

from networks import MBIT, Disjoint
from report import profile, report

from mptcpsim.units import MILLISECOND

#: Rate in bit/s and round-trip time in ns of each path.
PATHS = ((100 * MBIT, 20 * MILLISECOND), (50 * MBIT, 60 * MILLISECOND))


class W2(Disjoint):
    """The workload, ready to run."""

    def __init__(self, seed: int = 1, congestion: str = "lia", ack_every: int = 2, **changes: object) -> None:
        super().__init__(PATHS, congestion, ack_every, seed, **changes)


def main() -> None:
    """Run W2 once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="simulated time, default 30")
    parser.add_argument("--ack-every", type=int, default=2, help="packets for each ACK, default 2")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    arguments = parser.parse_args()
    workload = W2(ack_every=arguments.ack_every)
    if arguments.profile:
        profile(workload.run, arguments.seconds)
    else:
        report(workload, arguments.seconds)


if __name__ == "__main__":
    main()
