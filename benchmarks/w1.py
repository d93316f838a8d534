"""W1: one bulk Reno flow over two routers, without loss. The workload of ``make bench``.

host - 10 Gbit/s, 1 ms - router - 1 Gbit/s, 3 ms, queue 833 packets - router - 10 Gbit/s,
1 ms - host; an ACK for every packet; initial ssthresh of one bandwidth-delay product
(1,250,000 bytes), so that nothing is lost; MSS 1448. Run as a program it prints the user
CPU per delivered data packet, or where the time goes:

    python benchmarks/w1.py --seconds 10
    python benchmarks/w1.py --seconds 2 --profile
"""

from __future__ import annotations

import argparse

from networks import Chain
from report import profile, report


class W1(Chain):
    """The workload, ready to run."""

    def __init__(self, seed: int = 1, **changes: object) -> None:
        super().__init__(seed=seed, **changes)  # type: ignore[arg-type]


def main() -> None:
    """Run W1 once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="simulated time, default 10")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    arguments = parser.parse_args()
    workload = W1()
    if arguments.profile:
        profile(workload.run, arguments.seconds)
    else:
        report(workload, arguments.seconds)


if __name__ == "__main__":
    main()
