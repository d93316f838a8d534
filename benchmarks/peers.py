"""Measure W1 and W2 here and in other simulators from PyPI, in turn, and print the ratios.

    python benchmarks/peers.py                 # what `make bench-peers` does
    python benchmarks/peers.py ns3 --size 0.05 --repeat 1

Each other simulator is installed into an environment of its own in the first run, below ``--environments``;
one that cannot be had is named, and the others are measured all the same. W2 is compared as
``W2/ack-every-1``, with two TCP connections on the same two paths: the others have no MPTCP. See peers/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cases import CASES
from rich.console import Console
from run import HERE, ROOT, Cost, Failed, measure, table

#: The workloads by the name that they have in peers/, with their full length, s.
WORKLOADS = {"W1": ("W1", 10.0), "W2/ack-every-1": ("W2", 30.0)}


@dataclass(frozen=True)
class Peer:
    """Another simulator.

    Attributes:
        name: its name, and that of its package.
        script: the program in peers/ that runs the workloads with it.
    """

    name: str
    script: str


PEERS = {peer.name: peer for peer in (Peer("ns3", "ns3_bulk.py"), Peer("ns.py", "nspy_bulk.py"))}


def install(peer: Peer, environments: Path) -> Path:
    """Return the interpreter of the environment that has a simulator; make it where there is none.

    Raises:
        Failed: pip cannot install the package here.
    """
    home = environments / peer.name
    python = home / "bin" / "python"
    complete = home / "installed"
    if not complete.exists():
        print(f"installing {peer.name} into {home}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", peer.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{peer.name} cannot be had, going on without it: pip says: {done.stderr.strip()}")
        complete.touch()
    return python


def measure_peer(cost: Cost, peer: Peer, python: Path, size: float) -> None:
    """Run a workload once in another simulator, and add its figures to ``cost``.

    Raises:
        Failed: the program ended with an error, or delivered nothing.
    """
    workload, seconds = WORKLOADS[cost.case.name]
    command = [str(python), str(HERE / "peers" / peer.script), workload, str(seconds * size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    if found["packets"] == 0:
        raise Failed(f"{peer.name} delivered no packet in {seconds * size:g} s: take a larger --size")
    cost.runs.append({"us/packet": found["user CPU s"] / found["packets"] * 1e6})


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("peers", nargs="*", default=list(PEERS), metavar="PEER", help="default: ns3 ns.py")
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-peers", metavar="FOLDER")
    parser.add_argument("--checkout", default=str(ROOT), help="what is measured; default: this one")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="runs each; default 5")
    parser.add_argument(
        "--size", type=float, default=0.1, metavar="SHARE", help="of the full size; default 0.1"
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.peers if name not in PEERS]:
        parser.error(f"{unknown[0]} is none of {', '.join(PEERS)}")
    if options.repeat < 1 or not options.size > 0:
        parser.error("--repeat is at least 1 and --size more than 0")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return 2 where this checkout cannot be measured."""
    options = parse(arguments)
    pythons: dict[str, Path] = {}
    for name in options.peers:
        try:
            pythons[name] = install(PEERS[name], options.environments)
        except Failed as error:
            print(f"peers.py: {error}", file=sys.stderr)
    costs: list[list[Cost]] = []
    for name in WORKLOADS:
        own = Cost(CASES[name], options.checkout)
        others = {peer: Cost(CASES[name], peer, core=peer) for peer in pythons}
        for _ in range(options.repeat):
            try:
                measure(own, options.size)
            except Failed as error:
                print(f"peers.py: {error}", file=sys.stderr)
                return 2
            for peer, cost in list(others.items()):
                try:
                    measure_peer(cost, PEERS[peer], pythons[peer], options.size)
                except Failed as error:
                    print(f"peers.py: {error}", file=sys.stderr)
                    del others[peer]
        costs.append([own, *others.values()])
    Console(width=None if sys.stdout.isatty() else 200).print(table(costs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
