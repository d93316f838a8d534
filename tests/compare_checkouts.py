"""Run the same scenarios with two checkouts of the project and compare all results, to the bit.

    python tests/compare_checkouts.py BEFORE [AFTER]

BEFORE and AFTER are directories or commits; AFTER is by default the checkout that has this file. Both run

* ``experiments``: every scenario under experiments/, with captures, the plug-ins beside them unedited,
* ``random``: random scenarios (``random_scenarios``), the first 200 by default,
* ``sockets``: programs over sockets that abort and half-close, in random scenarios,
* ``readme``: the examples of README.md, TOML and Python,
* ``scripts``: the scripts of experiments/ that make scenarios of their own and end within minutes.

Scenarios, plug-ins and README are always those of BEFORE, so that both have the same input; scripts are each
checkout's own. Exit status, ``summary.json``, ``series.parquet``, ``events.jsonl``, the resolved scenario,
captures, and what scripts write have to be equal; new keys and new series are listed by name.
``compared_results`` names everything that is not compared. AFTER runs with another PYTHONHASHSEED than
BEFORE: no result may depend on it.

With ``--cache`` the results of BEFORE are kept for the next comparison. Progress goes to stderr. Exit status
0 if all is equal, 1 if something differs, 2 if nothing could be compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.compared_results import Difference, Found, compare_directories
from tests.random_networks import PLAIN_SHAPES
from tests.random_scenarios import random_scenario

HERE = Path(__file__).resolve().parent
GROUPS = ("experiments", "random", "sockets", "readme", "scripts")

#: Programs over sockets (``socket_program``), each in a random scenario of its own.
SOCKET_PROGRAMS = range(1000, 1030)

#: A run that takes longer is stopped, s; the longest takes minutes on a machine that is busy.
TIME_LIMIT = 3600
#: Exit statuses of a run that has results or says why there are none: see README.md.
EXPECTED_STATUS = (0, 1, 3, 4)

#: Scripts of experiments/ and how they are called; OUT is the directory that they write.
SCRIPTS: dict[str, tuple[str, ...]] = {
    "fat-tree/run.py": ("--out", "OUT", "--k", "4", "--bytes", "200kB", "--workers", "1"),
    "queues/run.sh": ("OUT",),
    "seed/multi-router/run.py": ("--out", "OUT", "--jobs", "1"),
    "two-paths/run.py": ("--out", "OUT", "--jobs", "1"),
    "zero-window/linux/run.py": ("--out", "OUT"),
    "zero-window/seed/run.py": ("--out", "OUT", "--processes", "1", "--profiles", "caia-v0.4"),
}
#: A tenth of the sweep of experiments/heterogeneous-rtt.
SWEEP = (
    "sweep",
    "run",
    "experiments/heterogeneous-rtt/scenario.toml",
    "--jobs",
    "1",
    "--no-lint",
    "--set",
    "sweep.replicates=1",
    "--set",
    "sweep.grid.ratio=[1, 4]",
    "--set",
    'sweep.grid.buffer=["64KiB", "256KiB"]',
)


class Unusable(Exception):
    """What was asked for cannot be compared; the text says why."""


# --- What is run ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One run: a command in a directory that has ``experiments`` and the files of ``inputs``.

    Attributes:
        name: group and name.
        command: what follows ``python``; OUT stands for the directory of the results.
        inputs: files, by name.
    """

    name: str
    command: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """What the results depend on beside the checkout."""
        return hashlib.sha256(repr((self.command, self.inputs)).encode()).hexdigest()


def run_command(scenario: str, *options: str) -> tuple[str, ...]:
    """Return the command that runs a scenario without figures."""
    return ("-m", "mptcpsim", "run", scenario, "--no-figures", "--no-lint", "--out", "OUT", *options)


def jobs_of(groups: Iterable[str], before: Path, count: int, first: int = 0) -> list[Job]:
    """Return the jobs of some groups, with the scenarios of a checkout."""
    found: list[Job] = []
    if "experiments" in groups:
        for path in sorted((before / "experiments").rglob("*.toml")):
            place = path.relative_to(before).as_posix()
            found.append(Job(place.removesuffix(".toml"), run_command(place, "--pcap")))
    if "random" in groups:
        for number in range(first, first + count):
            scenario = random_scenario(number)
            command = run_command("scenario.toml", *scenario.options)
            found.append(Job(f"random/{scenario.name}", command, (("scenario.toml", scenario.text),)))
    if "sockets" in groups:
        program = (HERE / "socket_program.py").read_text(encoding="utf-8")
        for number in SOCKET_PROGRAMS:
            scenario = random_scenario(number, PLAIN_SHAPES)
            command = ("program.py", "scenario.toml", str(number), scenario.client, scenario.server)
            inputs = (("program.py", program), ("scenario.toml", scenario.text))
            found.append(Job(f"sockets/{scenario.name}", command, inputs))
    if "readme" in groups:
        found += readme_jobs((before / "README.md").read_text(encoding="utf-8"))
    if "scripts" in groups:
        for place, arguments in SCRIPTS.items():
            if (before / "experiments" / place).exists():
                found.append(Job(f"scripts/{place}", (f"experiments/{place}", *arguments)))
        found.append(Job("scripts/heterogeneous-rtt", ("-m", "mptcpsim", *SWEEP, "--out", "OUT/sweep")))
    return found


def readme_jobs(readme: str) -> list[Job]:
    """Return the examples of README.md: two scenarios, and each piece of Python with what it prints."""
    first, second = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)[:2]
    # The second one replaces hosts and links of the first.
    whole = first.partition("[hosts.a]")[0] + second + first[first.index("[[flows]]") :]
    found = [
        Job(f"readme/scenario-{number}", run_command("scenario.toml", "--pcap"), (("scenario.toml", text),))
        for number, text in enumerate((first, whole), 1)
    ]
    for number, text in enumerate(re.findall(r"```python\n(.*?)```", readme, re.DOTALL), 1):
        found.append(Job(f"readme/python-{number}", ("snippet.py",), (("snippet.py", text),)))
    return found


# --- Checkouts ------------------------------------------------------------------------------------


class Server:
    """A process that runs commands of one checkout, one at a time."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "job_server.py")],
            cwd=directory, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, request: dict[str, Any]) -> tuple[int, float]:
        """Carry out a request; return exit status and CPU time, s.

        Raises:
            Unusable: the server has died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise Unusable("the process that carries out the runs has died; its message stands above")
        found = json.loads(answer)
        return found["status"], found["cpu_s"]

    def stop(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()


@dataclass
class Checkout:
    """A checkout, its results, and the directory in which its jobs find their input.

    Attributes:
        name: for people, and for the cache.
        root: the directory that has ``mptcpsim``.
        results: a directory for each job.
        hash_seed: PYTHONHASHSEED of its runs.
    """

    name: str
    root: Path
    results: Path
    hash_seed: str
    bin: Path = field(default_factory=Path)
    input: Path = field(default_factory=Path)
    _servers: threading.local = field(default_factory=threading.local)
    _all: list[Server] = field(default_factory=list)

    def prepare(self, work: Path, input_of: Path) -> None:
        """Make ``experiments``, with the files of another checkout and its own scripts, and the commands."""
        place = work / f"input-{self.hash_seed}"
        shutil.copytree(input_of / "experiments", place / "experiments", ignore=_NO_CACHES)
        for script in [*self.root.glob("experiments/**/*.py"), *self.root.glob("experiments/**/*.sh")]:
            if script.name in ("run.py", "measure.py", "run.sh"):
                target = place / script.relative_to(self.root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(script, target)
        self.input = place
        self.bin = place / "bin"
        self.bin.mkdir()
        for name, what in (("python", sys.executable), ("mptcpsim", f"{sys.executable} -m mptcpsim")):
            path = self.bin / name
            path.write_text(f'#!/bin/sh\nexec {what} "$@"\n', encoding="utf-8")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self._check_import()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its runs: its own package is found first, whatever is installed."""
        path = f"{self.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        given = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MPTCPSIM"))
        }
        return given | {
            "PATH": path,
            "PYTHONPATH": str(self.root),
            "PYTHONHASHSEED": self.hash_seed,
            "MPLBACKEND": "Agg",
            "COLUMNS": "120",
        }

    def _check_import(self) -> None:
        code = "import mptcpsim; print(mptcpsim.__file__)"
        answer = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.bin,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        expected = self.root / "mptcpsim" / "__init__.py"
        if answer.returncode or Path(answer.stdout.strip()).resolve() != expected.resolve():
            found = answer.stdout.strip() or answer.stderr.strip().rpartition("\n")[2]
            raise Unusable(f"{self.name}: expected the package {expected}, got {found}")

    def run(self, job: Job, out: Path) -> float:
        """Carry out a job, its results in ``out``; return the time it took, s."""
        out.mkdir(parents=True)
        with tempfile.TemporaryDirectory(prefix="job-", dir=self.input) as name:
            work = Path(name)
            (work / "experiments").symlink_to(self.input / "experiments", target_is_directory=True)
            for file, text in job.inputs:
                (work / file).write_text(text, encoding="utf-8")
            results = out / "results"
            command = [part.replace("OUT", str(results)) for part in job.command]
            status, seconds = self._carry_out(command, work, out)
        # What a run prints is wording and times; what a program prints are its results.
        if not job.name.startswith(("readme/python", "sockets/")):
            (out / "stdout.txt").unlink()
        _export_sweep(self, results)
        (out / "status.json").write_text(json.dumps({"exit status": status}), encoding="utf-8")
        return seconds

    def _carry_out(self, command: list[str], work: Path, out: Path) -> tuple[int, float]:
        """Run a command; return its exit status, below 0 if a signal ended it, and its time, s."""
        files = {"stdout": out / "stdout.txt", "stderr": out / "stderr.txt"}
        if command[:3] == ["-m", "mptcpsim", "run"]:
            request = {
                "arguments": command[2:],
                "directory": str(work),
                "seconds": TIME_LIMIT,
                **{name: str(path) for name, path in files.items()},
            }
            return self._server().ask(request)
        head = ["sh"] if command[0].endswith(".sh") else [sys.executable]
        started = time.monotonic()
        with open(files["stdout"], "wb") as stdout, open(files["stderr"], "wb") as stderr:
            try:
                status = subprocess.run(
                    [*head, *command], cwd=work, env=self.environment, stdin=subprocess.DEVNULL,
                    stdout=stdout, stderr=stderr, timeout=TIME_LIMIT, check=False,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                status = -signal.SIGALRM
        return status, time.monotonic() - started

    def _server(self) -> Server:
        """Return the server of this thread."""
        server = getattr(self._servers, "server", None)
        if server is None:
            server = self._servers.server = Server(self.environment, self.bin)
            self._all.append(server)
        return server

    def stop(self) -> None:
        """End its servers."""
        for server in self._all:
            server.stop()

    def status(self, out: Path) -> Any:
        """Return the exit status of a job."""
        return json.loads((out / "status.json").read_text(encoding="utf-8"))["exit status"]


_NO_CACHES = shutil.ignore_patterns("__pycache__", "*.pyc")


def _export_sweep(checkout: Checkout, results: Path) -> None:
    """Leave of the store of a sweep what can be compared: its table."""
    sweep = results / "sweep"
    if not sweep.is_dir():
        return
    command = [
        "-m",
        "mptcpsim",
        "sweep",
        "export",
        str(sweep),
        "--format",
        "csv",
        "--out",
        str(results / "sweep.csv"),
    ]
    subprocess.run(
        [sys.executable, *command], cwd=results, env=checkout.environment, capture_output=True, check=False
    )
    shutil.rmtree(sweep)


def checkout_of(text: str, repository: Path, work: Path) -> tuple[str, Path]:
    """Return a name and a directory for a directory or a commit, whose files are put into ``work``.

    Raises:
        Unusable: it is neither.
    """
    directory = Path(text)
    if (directory / "mptcpsim" / "__init__.py").exists():
        root = directory.resolve()
        return f"tree-{_digest(root)}", root
    resolved = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "--verify", "--quiet", f"{text}^{{commit}}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if resolved.returncode:
        raise Unusable(
            f"{text}: is neither a directory with the package mptcpsim nor a commit of {repository}"
        )
    commit = resolved.stdout.strip()
    root = work / f"source-{commit[:12]}"
    if not root.exists():
        root.mkdir(parents=True)
        archive = subprocess.run(
            ["git", "-C", str(repository), "archive", commit], capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", str(root)], input=archive.stdout, check=True)
    return f"commit-{commit[:12]}", root


def _snapshot(root: Path, target: Path) -> Path:
    """Copy what runs of a checkout, so that it does not change under them; return the copy."""
    for folder in ("mptcpsim", "experiments"):
        shutil.copytree(root / folder, target / folder, ignore=_NO_CACHES)
    return target


def _digest(root: Path) -> str:
    """Return a short name for the content of a checkout."""
    found = hashlib.sha256()
    for folder in ("mptcpsim", "experiments"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    found.update((root / "README.md").read_bytes())
    return found.hexdigest()[:12]


# --- The comparison -------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What came of all jobs."""

    equal: int = 0
    rows: list[tuple[str, Difference]] = field(default_factory=list)
    new: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)


def result_before(checkout: Checkout, job: Job) -> Path:
    """Return the directory with the results of BEFORE, which are computed if they are not in the cache."""
    out = checkout.results / f"{job.name.replace('/', '+')}-{job.key[:12]}"
    if (out / "complete").exists():
        return out
    temporary = Path(tempfile.mkdtemp(prefix=".partial-", dir=checkout.results))
    seconds = checkout.run(job, temporary / "job")
    (temporary / "job" / "complete").write_text(f"{seconds:.3f}\n", encoding="utf-8")
    with suppress(OSError):
        # Another comparison may have been faster.
        (temporary / "job").rename(out)
    shutil.rmtree(temporary, ignore_errors=True)
    return out


def compare_job(before: Checkout, after: Checkout, job: Job, keep: bool) -> tuple[Job, Any, Found]:
    """Run a job with both checkouts and compare."""
    ours = result_before(before, job)
    theirs = after.results / job.name.replace("/", "+")
    after.run(job, theirs)
    (theirs / "complete").write_bytes((ours / "complete").read_bytes())
    found = compare_directories(ours, theirs)
    status = before.status(ours)
    if status not in EXPECTED_STATUS:
        lines = (ours / "stderr.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        found.differences.append(
            Difference("status.json", "before: not a result", str(status), lines[-1] if lines else "")
        )
    if not keep:
        shutil.rmtree(theirs)
    return job, status, found


def compare(before: Checkout, after: Checkout | None, jobs: list[Job], workers: int, keep: bool) -> Outcome:
    """Run all jobs; without AFTER only fill the cache."""
    outcome = Outcome()
    started = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        if after is None:
            futures = [
                pool.submit(
                    lambda job: (job, before.status(result_before(before, job)), Found([], [], [])), job
                )
                for job in jobs
            ]
        else:
            futures = [pool.submit(compare_job, before, after, job, keep) for job in jobs]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                job, status, found = future.result()
                outcome.rows += [(job.name, difference) for difference in found.differences]
                outcome.equal += not found.differences
                outcome.new.update(set(found.new))
                outcome.notes.update(set(found.notes))
                outcome.statuses[str(status)] += 1
                word = "DIFFERS" if found.differences else f"ok (exit status {status})"
                seconds = time.monotonic() - started
                print(
                    f"{done:4}/{len(jobs)} {seconds:6.0f} s  {job.name}: {word}", file=sys.stderr, flush=True
                )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return outcome


def longest_first(before: Checkout, jobs: list[Job]) -> list[Job]:
    """Return the jobs in an order in which no long one is left to the end; what is not known comes first."""

    def seconds(job: Job) -> float:
        path = before.results / f"{job.name.replace('/', '+')}-{job.key[:12]}" / "complete"
        return float(path.read_text(encoding="utf-8")) if path.exists() else 1e9

    return sorted(jobs, key=seconds, reverse=True)


def report(outcome: Outcome, total: int) -> str:
    """Return the table of what differs, what is new, and the count."""
    lines: list[str] = []
    if outcome.rows:
        rows = [("scenario", "file", "first difference", "before", "after")]
        rows += [(name, *difference) for name, difference in sorted(outcome.rows)]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines.append("")
    for title, counter in (("New, which is no difference", outcome.new), ("Notes", outcome.notes)):
        if counter:
            lines.append(f"{title}:")
            lines += [f"  {name}  ({count} runs)" for name, count in sorted(counter.items())]
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(outcome.statuses.items()))
    lines.append(f"{outcome.equal} of {total} equal to the bit (runs by exit status: {statuses}).")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Compare, or fill the cache."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", metavar="BEFORE", help="a commit, or the directory of a checkout")
    parser.add_argument("after", metavar="AFTER", nargs="?", default=str(HERE.parent), help="the same")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="these groups only")
    parser.add_argument(
        "--match", default="", metavar="REGEX", help="only scenarios whose name has this in it"
    )
    parser.add_argument("--random", type=int, default=200, metavar="N", help="so many random scenarios")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the number of the first one")
    parser.add_argument("--cache", type=Path, help="directory that keeps the results of BEFORE")
    parser.add_argument("--fill", action="store_true", help="only run BEFORE, for the cache")
    parser.add_argument("--keep", type=Path, help="directory that keeps the results of AFTER")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="compare-checkouts-") as name:
        work = Path(name)
        try:
            sources = given.cache or work
            sources.mkdir(parents=True, exist_ok=True)
            before_name, before_root = checkout_of(given.before, HERE.parent, sources)
            before = Checkout(before_name, before_root, sources.resolve() / before_name, "0")
            before.results.mkdir(parents=True, exist_ok=True)
            before.prepare(work, before_root)
            after = None
            if not given.fill:
                after_name, after_root = checkout_of(given.after, HERE.parent, work)
                after_root = _snapshot(after_root, work / "snapshot")
                after = Checkout(after_name, after_root, (given.keep or work / "after").resolve(), "1")
                after.results.mkdir(parents=True, exist_ok=True)
                after.prepare(work, before_root)
            jobs = [
                job
                for job in jobs_of(given.only, before_root, given.random, given.first)
                if re.search(given.match, job.name)
            ]
            if not jobs:
                raise Unusable("no scenario is left; mend --only, --match or --random")
        except Unusable as error:
            print(f"compare_checkouts: {error}", file=sys.stderr)
            return 2
        try:
            outcome = compare(before, after, longest_first(before, jobs), given.jobs, given.keep is not None)
        except Unusable as error:
            print(f"compare_checkouts: {error}", file=sys.stderr)
            return 2
        finally:
            before.stop()
            if after is not None:
                after.stop()
    if after is None:
        print(f"{len(jobs)} results of {before.name} are in {before.results}.")
        return 0
    print(report(outcome, len(jobs)))
    return 1 if outcome.rows else 0


if __name__ == "__main__":
    sys.exit(main())
