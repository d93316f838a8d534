"""Compare the instructions that W1 and W2 take per data packet with those in expected.json.

    python benchmarks/expected.py                        # what CI does: exit status 1 above +3 %
    python benchmarks/expected.py --write                # store what is less, and what is new
    python benchmarks/expected.py --write --reason TEXT  # store what is more, too, and why

A figure belongs to an interpreter, a machine and, for compiled modules, a compiler. Where these are
not in the file, the commit that this one is based on is built in a folder of its own and measured in the same
run: ``--base``, or else the merge base with ``origin/main``, or else the last commit that changed
expected.json. A figure is raised in a commit of its own, whose message has the reason, too. Timings are
never compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import instructions
from instructions import SPANS, Cost
from run import ROOT, Failed

FILE = Path(__file__).resolve().parent / "expected.json"
#: By how much more a workload may take, per cent.
LIMIT = 3.0


def compiler() -> str:
    """Return name and version of the compiler that builds extension modules here."""
    command = os.environ.get("CC", "cc")
    try:
        done = subprocess.run([*command.split(), "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(f"{command} --version does not say which compiler it is: {error}") from None
    first = done.stdout.partition("\n")[0]
    version = re.search(r"\d+(\.\d+)+", re.sub(r"\(.*?\)", "", first))
    if version is None:
        raise Failed(f"no version in what {command} --version printed: {first!r}")
    return f"{'clang' if 'clang' in first else 'gcc'} {version[0]}"


def key(compiled: bool) -> str:
    """Return under which key the figures of this interpreter, machine and core stand."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    core = f"compiled by {compiler()}" if compiled else "interpreted"
    return f"{python} ({platform.python_compiler()}), {platform.machine()}, {core}"


@dataclass(frozen=True)
class Stored:
    """A figure of expected.json.

    Attributes:
        instructions: per data packet.
        reason: why it was raised the last time, or empty.
    """

    instructions: int
    reason: str = ""


def read(file: Path) -> dict[str, dict[str, Stored]]:
    """Return the stored figures by key and workload.

    Raises:
        Failed: the file is not as ``write`` writes it.
    """
    if not file.exists():
        return {}
    try:
        return {
            name: {workload: Stored(**entry) for workload, entry in entries.items()}
            for name, entries in json.loads(file.read_text(encoding="utf-8")).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise Failed(f"{file}: {error}: write it anew by `python benchmarks/expected.py --write`") from None


def write(file: Path, stored: Mapping[str, Mapping[str, Stored]]) -> None:
    """Store figures, in the order of keys."""
    data: dict[str, dict[str, dict[str, Any]]] = {}
    for name, entries in sorted(stored.items()):
        data[name] = {}
        for workload, entry in sorted(entries.items()):
            data[name][workload] = {"instructions": entry.instructions}
            if entry.reason:
                data[name][workload]["reason"] = entry.reason
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def git(*arguments: str) -> str:
    """Return what a command of git prints about this checkout, or an empty string where it fails."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def base_commit() -> str:
    """Return the commit that this one is compared with where no figure is stored.

    Raises:
        Failed: the history has none.
    """
    head = git("rev-parse", "HEAD")
    base = git("merge-base", "HEAD", "origin/main")
    if base in ("", head):
        base = git("log", "-1", "--format=%H", "--", str(FILE))
    if not base:
        raise Failed("no commit to compare with: fetch the history, or name one by --base")
    return base


@contextmanager
def checkout_of(commit: str, compiled: bool) -> Iterator[Path]:
    """Check a commit out into a folder of its own, build it like this one, and remove it at the end.

    Raises:
        Failed: git does not know the commit, or it cannot be built.
    """
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "base"
        done = subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", str(root), commit],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise Failed(f"{commit} cannot be checked out: {done.stderr.strip()}")
        try:
            if compiled:
                done = subprocess.run(
                    [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
                    cwd=root, env=os.environ | {"MPTCPSIM_COMPILE": "1"},
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                if done.returncode != 0:
                    raise Failed(f"{commit} cannot be built:\n{done.stderr}")
            yield root
        finally:
            git("worktree", "remove", "--force", str(root))


def measure(root: Path) -> list[Cost]:
    """Count both workloads in a checkout with this interpreter.

    Raises:
        Failed: as ``instructions.measure``.
    """
    return [instructions.measure(workload, str(root), python=sys.executable) for workload in SPANS]


def verdict(cost: Cost, before: float, where: str, stored: bool) -> tuple[bool, str]:
    """Return whether a workload is within the limit, and a line about it, with a remedy where it is not."""
    by = 100 * (cost.per_packet / before - 1)
    figures = f"{cost.per_packet:,.0f} instructions a data packet, {before:,.0f} {where}"
    lines = [f"{cost.workload}: {figures} ({by:+.2f} %)"]
    command = "python benchmarks/expected.py --write"
    if by > LIMIT:
        price = f"{command} --reason TEXT" if stored else command
        lines += [
            f"more than {LIMIT:+g} %: `python benchmarks/instructions.py BEFORE .` compares checkouts,",
            "`python benchmarks/w1.py --profile` the shares of functions; if it is worth the price,",
            f"store it by `{price}` in a commit of its own",
        ]
    elif stored and by < -LIMIT:
        lines += [f"less: store it by `{command}`"]
    return by <= LIMIT, "\n    ".join(lines)


def check(costs: Sequence[Cost], base: str | None) -> bool:
    """Compare with what is stored, or with the base; print a line for each workload.

    Raises:
        Failed: there is nothing to compare with.
    """
    name = key(costs[0].compiled)
    print(name)
    known = read(FILE).get(name, {})
    missing = base is not None or any(cost.workload not in known for cost in costs)
    if missing:
        commit = base or base_commit()
        print(f"not in {FILE.name}, or a base was named: {commit} is built and measured, too", flush=True)
        with checkout_of(commit, costs[0].compiled) as root:
            before = {cost.workload: cost.per_packet for cost in measure(root)}
        where = f"at {commit[:12]}"
    else:
        before = {workload: float(entry.instructions) for workload, entry in known.items()}
        where = "stored"
    verdicts = [verdict(cost, before[cost.workload], where, not missing) for cost in costs]
    for _, line in verdicts:
        print(line)
    return all(passed for passed, _ in verdicts)


def store(costs: Sequence[Cost], reason: str) -> bool:
    """Store what is less or new, and with a ``reason`` what is more; return whether all is stored."""
    stored = read(FILE)
    entries = stored.setdefault(key(costs[0].compiled), {})
    complete = True
    for cost in costs:
        new = round(cost.per_packet)
        old = entries.get(cost.workload)
        if old is not None and new > old.instructions and not reason:
            print(f"{cost.workload}: {new:,} is more than {old.instructions:,}: say why by --reason")
            complete = False
            continue
        raised = old is not None and new > old.instructions
        entries[cost.workload] = Stored(new, reason if raised else "")
        print(f"{cost.workload}: {new:,} stored" + (f", {old.instructions:,} before" if old else ""))
    write(FILE, stored)
    return complete


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare or store; return the exit status: 1 above the limit, 2 where there is nothing to compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="store the figures, where they are less or new")
    parser.add_argument("--reason", default="", help="with --write: store what is more, too, and why")
    parser.add_argument("--base", metavar="COMMIT", help="compare with this commit instead of the file")
    options = parser.parse_args(arguments)
    if options.reason and not options.write:
        parser.error("--reason belongs to --write")
    if options.base and options.write:
        parser.error("--base compares and --write stores: leave one of them out")
    try:
        costs = measure(ROOT)
        passed = store(costs, options.reason) if options.write else check(costs, options.base)
    except Failed as error:
        print(f"expected.py: {error}", file=sys.stderr)
        return 2
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
