"""Fetch a web page over two lossy paths, and over each of them alone.

    python experiments/http/run.py --out runs/http

writes ``results.json`` and ``results.md`` and takes some seconds. The exit status is 1 if a byte of what
arrived is not what was sent.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

try:
    import h11  # noqa: F401
except ModuleNotFoundError:
    sys.exit("experiments/http needs h11: pip install 'mptcpsim[wire]'")

sys.path.insert(0, str(Path(__file__).resolve().parent))
from web import Response, browse, objects, serve

from mptcpsim import build, load
from mptcpsim.units import SECOND

SCENARIO = Path(__file__).resolve().parent / "scenario.toml"

#: The ends of a path: address of the browser, address of the server.
PATHS = {1: ("10.1.0.1", "10.9.1.1"), 2: ("10.2.0.1", "10.9.2.1")}

#: What each case changes, and the path on which its connection is opened.
CASES: dict[str, tuple[tuple[str, ...], int]] = {
    "TCP, path 1": (("defaults.mptcp=false",), 1),
    "TCP, path 2": (("defaults.mptcp=false",), 2),
    "MPTCP": ((), 1),
    "MPTCP, checksums": (("defaults.mptcp.checksum=true",), 1),
    "MPTCP, path 1 goes after 1 s": (('events=[{at="1s", link="path1", action="down"}]',), 1),
}


@dataclass(frozen=True)
class Row:
    """What a case has given; sizes in bytes, times in seconds.

    Attributes:
        case: a key of ``CASES``.
        requests: how many were answered with status 200.
        right: how many of these answers are what they should be, byte for byte.
        content: bytes of content that the browser has got.
        seconds: from the first request to the end of the last answer.
        paths: bytes that the server sent on each subflow, the oldest first.
        sent_again: bytes of both ends that TCP sent again.
    """

    case: str
    requests: int
    right: int
    content: int
    seconds: float
    paths: list[int]
    sent_again: int


def fetch(
    case: str, images: int = 24, upload: int = 500_000, changes: Sequence[str] = (), roundtrip: bool = False
) -> Row:
    """Load the page of a case, and upload something; further changes of the scenario may be given."""
    overrides, path = CASES[case]
    simulation = build(load(SCENARIO, overrides=[*overrides, *changes]), roundtrip=roundtrip)
    env = simulation.env
    site = objects(7, images)
    uploads = {"/upload": objects(8, 1)["/0.png"][:upload]}
    env.process(serve(env, simulation.sockets["server"].listen(80), site))
    local, remote = PATHS[path]
    socket = simulation.sockets["browser"].connect(local, (remote, 80))
    responses: list[Response] = env.run(until=env.process(browse(env, socket, uploads, "www.example")))
    env.run(env.now + 5 * SECOND)
    expected = site | {name: sha256(body).hexdigest().encode() for name, body in uploads.items()}
    connection = socket.connection
    peer = next(c for c in simulation.sockets["server"].host.stack.connections if c.local_port == 80)
    return Row(
        case,
        sum(response.status == 200 for response in responses),
        sum(bytes(response.body) == expected[response.path] for response in responses),
        sum(len(response.body) for response in responses),
        (responses[-1].ended - responses[0].asked) / SECOND,
        [tcp.sender.sent_bytes for tcp in peer.subflows],
        sum(tcp.sender.resent_bytes for end in (connection, peer) for tcp in end.subflows),
    )


def table(rows: list[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| case | answers | right | content, MB | time, s | sent by subflow, MB | sent again, kB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        paths = " + ".join(f"{count / 1e6:.2f}" for count in row.paths)
        lines.append(
            f"| {row.case} | {row.requests} | {row.right} | {row.content / 1e6:.2f} | {row.seconds:.2f} "
            f"| {paths} | {row.sent_again / 1e3:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run all cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/http"), help="directory to write")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = [fetch(case) for case in CASES]
    text = table(rows)
    (arguments.out / "results.md").write_text(text, encoding="utf-8")
    records = [asdict(row) for row in rows]
    (arguments.out / "results.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(text)
    return 0 if all(row.right == row.requests == rows[0].requests for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
