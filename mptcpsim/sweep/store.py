"""The files of a campaign: what is planned, what came of it, written so that nothing is ever half there.

A campaign is a directory::

    campaign.sqlite    plan and results, one transaction a run
    series/RUN.parquet time series of a run, if the scenario wants them
    scenario.toml      the scenario as it was when the campaign was last worked on
    figures/           what `mptcpsim sweep plot` drew
    lock               held by whoever is adding runs

Only the process that runs the campaign writes. A file of series is complete before the
run's row is; a row without a file, or half of either, cannot be.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from mptcpsim.results.directories import made
from mptcpsim.sweep.identity import PluginFile
from mptcpsim.sweep.worker import Outcome

DATABASE = "campaign.sqlite"
#: The database until it is complete.
PARTIAL = f"{DATABASE}.partial"
SERIES = "series"
SCENARIO = "scenario.toml"
LOCK = "lock"

#: The layout of the database; another one is refused.
FORMAT = "1"

_SCHEMA = """
CREATE TABLE campaign (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE points (point TEXT PRIMARY KEY, scenario BLOB NOT NULL);
CREATE TABLE plugins (digest TEXT PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE runs (
    run TEXT PRIMARY KEY,
    number INTEGER NOT NULL,        -- of the point in the plan
    replicate INTEGER NOT NULL,
    point TEXT NOT NULL REFERENCES points,
    seed TEXT NOT NULL,             -- up to 2^63 - 1
    code TEXT NOT NULL,
    plugins TEXT NOT NULL,          -- JSON: digests
    parameters TEXT NOT NULL,       -- JSON: axis, value
    cost REAL NOT NULL,
    planned INTEGER NOT NULL        -- 1: belongs to the plan as it is now
);
CREATE TABLE results (
    run TEXT PRIMARY KEY REFERENCES runs,
    status TEXT NOT NULL,
    message TEXT NOT NULL,
    traceback TEXT NOT NULL,
    summary TEXT NOT NULL,
    wall_s REAL NOT NULL,
    cpu_s REAL NOT NULL,
    task_s REAL NOT NULL,
    events INTEGER NOT NULL,
    worker TEXT NOT NULL,
    finished TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);
"""


class StoreError(ValueError):
    """A campaign that cannot be read; the text says what to do."""


class StoreFull(RuntimeError):
    """A result that cannot be written, for want of room or of permission; what is stored is whole."""


class PlannedRun(NamedTuple):
    """A run of the plan; its scenario is the point's."""

    run: str
    number: int
    replicate: int
    point: str
    seed: int
    code: str
    plugins: tuple[str, ...]
    parameters: dict[str, Any]
    cost: float
    planned: bool = True


class StoredRun(NamedTuple):
    """A run, and what is known of its end; ``status`` is "" as long as it has none."""

    plan: PlannedRun
    status: str
    message: str
    traceback: str
    summary: str
    wall_s: float
    cpu_s: float
    task_s: float
    events: int
    worker: str
    finished: str


_RUN = "runs.run, number, replicate, point, seed, code, plugins, parameters, cost, planned"
_RESULT = "status, message, traceback, summary, wall_s, cpu_s, task_s, events, worker, finished"
_NOTHING = ("", "", "", "", 0.0, 0.0, 0.0, 0, "", "")


class Store:
    """An open campaign directory; used as a context manager.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: Path, create: bool = False) -> None:
        """Open a campaign, or make one.

        Args:
            path: the directory.
            create: make one if there is none; without it a campaign that has no plan is refused, too.

        Raises:
            StoreError: it is none, it is damaged, or its place cannot be used.
        """
        self.path = Path(path)
        self._lock: int | None = None
        file = self.path / DATABASE
        fresh = not file.exists()
        if fresh and not create:
            what = "is no campaign" if self.path.is_dir() else "no such campaign"
            raise StoreError(f"{path}: {what}; name a directory that `mptcpsim sweep run` wrote")
        try:
            if fresh:
                refuse_taken(self.path)
                self._make()
            self._database = sqlite3.connect(file, timeout=30.0)
            try:
                self._check(create)
            except BaseException:
                self._database.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: cannot be used: {_reason(error)}; choose another directory") from None

    def _make(self) -> None:
        # Complete under its name, or not there; what a kill left at this point is no obstacle.
        partial = self.path / PARTIAL
        with made(self.path / SERIES):
            try:
                partial.unlink(missing_ok=True)
                database = sqlite3.connect(partial)
                try:
                    database.executescript(
                        f"BEGIN; {_SCHEMA} INSERT INTO campaign VALUES ('format', '{FORMAT}'); COMMIT;"
                    )
                finally:
                    database.close()
                partial.rename(self.path / DATABASE)
            finally:
                partial.unlink(missing_ok=True)

    def _check(self, without_plan: bool) -> None:
        found = self._database.execute("SELECT value FROM campaign WHERE key = 'format'").fetchone()
        if found is None or found[0] != FORMAT:
            raise StoreError(
                f"{self.path}: was written by another version of mptcpsim (layout {found and found[0]}, "
                f"this one is {FORMAT}); use that version, or start a new campaign"
            )
        if not without_plan and not self.value("plan"):
            raise StoreError(
                f"{self.path}: has no plan, as `mptcpsim sweep run` was stopped at its very beginning; "
                "call it again"
            )

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def lock(self) -> None:
        """Become the one process that adds runs; the lock goes with the process.

        Raises:
            StoreError: another one is at it.
        """
        try:
            self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise StoreError(f"{self.path}: cannot be used: {_reason(error)}") from None
            raise StoreError(
                f"{self.path}: another `mptcpsim sweep` is writing to it; wait for it, or choose another one"
            ) from None
        for left in (self.path / SERIES).glob(".*.partial"):
            left.unlink()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is stored, or none."""
        try:
            with self._database:
                yield self._database
        except (sqlite3.Error, OSError) as error:
            raise StoreFull(
                f"{self.path}: a result cannot be stored: {_reason(error)}; what is stored already is whole. "
                "Make room and call again"
            ) from None

    # --- Plan ---------------------------------------------------------------------------------

    def value(self, key: str) -> str:
        """Return a value of the campaign, "" if it has none."""
        row = self._database.execute("SELECT value FROM campaign WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def begin(
        self,
        values: dict[str, str],
        plugins: Sequence[PluginFile],
        points: Iterable[tuple[str, bytes]],
        runs: Iterable[PlannedRun],
        *,
        is_part: bool = False,
    ) -> None:
        """Take a plan in place of the former one; runs and results of former plans stay.

        Args:
            values: what is worth knowing of the campaign.
            plugins: the user's plug-in files.
            points: names and packed scenarios.
            runs: the runs that are planned so far.
            is_part: they are a shard; those of other shards of the same plan stay planned.
        """
        goes_on = is_part and all(self.value(key) == values[key] for key in ("plan", "code"))
        with self._writing() as database:
            database.executemany("INSERT OR REPLACE INTO campaign VALUES (?, ?)", values.items())
            database.executemany(
                "INSERT OR REPLACE INTO plugins VALUES (?, ?, ?)", [(p.digest, *p) for p in plugins]
            )
            # What is there already differs in title or description at most, and its results have that title.
            database.executemany("INSERT OR IGNORE INTO points VALUES (?, ?)", points)
            if not goes_on:
                database.execute("UPDATE runs SET planned = 0")
            self._plan(runs)

    def extend(self, runs: Iterable[PlannedRun]) -> None:
        """Add runs to the plan."""
        with self._writing():
            self._plan(runs)

    def _plan(self, runs: Iterable[PlannedRun]) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    run.run,
                    run.number,
                    run.replicate,
                    run.point,
                    str(run.seed),
                    run.code,
                    json.dumps(run.plugins),
                    json.dumps(run.parameters, ensure_ascii=False, default=str),
                    run.cost,
                    int(run.planned),
                )
                for run in runs
            ),
        )

    def scenario(self, point: str) -> bytes:
        """Return the packed scenario of a point."""
        row = self._database.execute("SELECT scenario FROM points WHERE point = ?", (point,)).fetchone()
        assert row is not None
        return bytes(row[0])

    def plugins(self, digests: Sequence[str]) -> tuple[PluginFile, ...]:
        """Return plug-in files by their hashes, in that order."""
        known = {
            digest: PluginFile(name, text)
            for digest, name, text in self._database.execute("SELECT digest, name, text FROM plugins")
        }
        return tuple(known[digest] for digest in digests)

    # --- Results ------------------------------------------------------------------------------

    def add(self, outcome: Outcome) -> None:
        """Store what became of a run.

        Raises:
            StoreFull: there is no room; nothing of it is stored then.
        """
        if outcome.series is not None:
            self._write_series(outcome.run, outcome.series)
        with self._writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO results (run, status, message, traceback, summary, wall_s, cpu_s, "
                "task_s, events, worker) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    outcome.run,
                    outcome.status,
                    outcome.message,
                    outcome.traceback,
                    outcome.summary,
                    outcome.wall_s,
                    outcome.cpu_s,
                    outcome.task_s,
                    outcome.events,
                    outcome.worker,
                ),
            )

    def _write_series(self, run: str, content: bytes) -> None:
        final = self.series_path(run)
        partial = final.with_name(f".{final.name}.partial")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(final)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise StoreFull(
                f"{final}: cannot be written: {_reason(error)}; what is stored already is whole. "
                "Make room and call again"
            ) from None

    def series_path(self, run: str) -> Path:
        """Return where the series of a run are, if there are any."""
        return self.path / SERIES / f"{run}.parquet"

    def forget(self, statuses: Sequence[str]) -> int:
        """Drop the results of planned runs that ended in one of some ways; return how many there were."""
        marks = ", ".join("?" for _ in statuses)
        with self._writing() as database:
            found = database.execute(
                f"DELETE FROM results WHERE status IN ({marks}) "
                "AND run IN (SELECT run FROM runs WHERE planned = 1)",
                tuple(statuses),
            )
        return found.rowcount

    # --- Reading ------------------------------------------------------------------------------

    def statuses(self) -> dict[str, str]:
        """Return how each run that has a result ended."""
        return dict(self._database.execute("SELECT run, status FROM results"))

    def summary(self, run: str) -> str:
        """Return the text of a run's ``summary.json``, "" if it has none."""
        row = self._database.execute("SELECT summary FROM results WHERE run = ?", (run,)).fetchone()
        return str(row[0]) if row else ""

    def find(self, beginning: str) -> StoredRun:
        """Return the run whose name begins so.

        Raises:
            StoreError: there is none, or more than one.
        """
        mark = beginning.replace("%", "").replace("_", "")
        found = list(self._select("WHERE runs.run LIKE ?", (f"{mark}%",)))
        if len(found) != 1 or not mark:
            what = f"{len(found)} runs begin with" if found and mark else "no run is called"
            raise StoreError(
                f"{self.path}: {what} {beginning!r}; `mptcpsim sweep show {self.path} --runs` lists them"
            )
        return found[0]

    def runs(self, everything: bool = False) -> Iterator[StoredRun]:
        """Return the runs of the plan, or all there ever were, in the order of points and replicates."""
        return self._select("" if everything else "WHERE planned = 1")

    def _select(self, where: str, values: tuple[Any, ...] = ()) -> Iterator[StoredRun]:
        rows = self._database.execute(
            f"SELECT {_RUN}, {_RESULT} FROM runs LEFT JOIN results ON results.run = runs.run {where} "
            "ORDER BY planned DESC, code, number, replicate, runs.run",
            values,
        )
        for run, number, replicate, point, seed, code, plugins, parameters, cost, planned, *result in rows:
            plan = PlannedRun(
                run, number, replicate, point, int(seed), code, tuple(json.loads(plugins)),
                json.loads(parameters), cost, bool(planned),
            )  # fmt: skip
            yield StoredRun(plan, *(_NOTHING if result[0] is None else result))

    def measured(self) -> tuple[float, float]:
        """Return the packets that the runs with a result were expected to cost, and the seconds they took."""
        row = self._database.execute(
            "SELECT total(cost), total(task_s) FROM runs JOIN results USING (run) WHERE status = 'done'"
        ).fetchone()
        return float(row[0]), float(row[1])

    def codes(self) -> dict[str, int]:
        """Return how many results each version of the code has."""
        return dict(
            self._database.execute("SELECT code, count(*) FROM runs JOIN results USING (run) GROUP BY code")
        )

    def beside(self) -> int:
        """Return how many results belong to no run of the plan."""
        row = self._database.execute(
            "SELECT count(*) FROM runs JOIN results USING (run) WHERE planned = 0"
        ).fetchone()
        return int(row[0])

    # --- Merging ------------------------------------------------------------------------------

    def take(self, other: Store) -> int:
        """Take the runs of another campaign that are not here, series and all; return how many.

        What has the values and the seed of a run that is planned here, and is another run all the same
        (of another scenario or version of the code), is no further replicate: it is kept beside the plan.
        """
        mine = self.statuses()
        taken = 0
        for row in other._database.execute("SELECT point, scenario FROM points").fetchall():
            with self._writing() as database:
                database.execute("INSERT OR IGNORE INTO points VALUES (?, ?)", row)
        with self._writing() as database:
            database.executemany(
                "INSERT OR IGNORE INTO plugins VALUES (?, ?, ?)",
                other._database.execute("SELECT digest, name, text FROM plugins").fetchall(),
            )
        places = {_place(run.plan): run.plan.run for run in self.runs()}
        planned = set(places.values())
        theirs = list(other.runs(everything=True))
        self.extend(
            run.plan._replace(
                planned=run.plan.run in planned or (run.plan.planned and _place(run.plan) not in places)
            )
            for run in theirs
        )
        for run in theirs:
            name = run.plan.run
            if not run.status or mine.get(name) == "done":
                continue
            series = other.series_path(name)
            content = series.read_bytes() if series.exists() else None
            self.add(
                Outcome(
                    name, run.status, run.message, run.traceback, run.summary, content,
                    run.wall_s, run.cpu_s, run.task_s, run.events, run.worker, run.plan.code,
                )
            )  # fmt: skip
            taken += 1
        return taken


def refuse_taken(path: Path) -> None:
    """Refuse a place for a campaign that holds something else; nothing is touched.

    Raises:
        StoreError: it does, or it cannot be a directory.
    """
    try:
        if not path.exists() or (path / DATABASE).exists():
            return
        left = path / SERIES, path / PARTIAL
        others = [entry for entry in path.iterdir() if entry not in left]
        if others or (left[0].is_dir() and any(left[0].iterdir())):
            raise StoreError(f"{path}: is not empty and is no campaign; choose another name for --out")
    except OSError as error:
        raise StoreError(f"{path}: cannot be used: {_reason(error)}; choose another directory") from None


def _place(run: PlannedRun) -> str:
    """Return the values and the seed of a run: what it stands for in a table."""
    return json.dumps([run.parameters, run.seed], sort_keys=True, default=str)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
