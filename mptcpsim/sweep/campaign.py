"""What a campaign has found, for Python: ``Campaign("runs/rtt").to_pandas()``.

The table has a row for each run of the plan, in the order of points and replicates: run, point,
replicate, seed, code, a column for each axis, status, message, and the metrics. Times by the
wall clock are in it only if asked for, so that equal campaigns have equal tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mptcpsim.results.rundir import RunDirectoryError
from mptcpsim.results.series import Series, read_series
from mptcpsim.scenario.sweep_settings import SweepSpec
from mptcpsim.suggest import did_you_mean
from mptcpsim.sweep.metrics import metrics
from mptcpsim.sweep.plan import SEED
from mptcpsim.sweep.statistics import Interval, Method, pooled_interval
from mptcpsim.sweep.store import Store, StoredRun, StoreError

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

#: Columns before the axes and after them.
HEAD = ("run", "point", "replicate", "seed", "code")
STATE = ("status", "message")
TIMINGS = ("wall_s", "cpu_s", "task_s", "events", "worker", "finished")


class Group(NamedTuple):
    """The replicates of one point, or of several that are alike in some axes.

    Attributes:
        parameters: in what they are alike.
        interval: of the mean; see ``statistics.pooled_interval``.
        values: one of each run.
    """

    parameters: dict[str, Any]
    interval: Interval
    values: list[float]


class Campaign:
    """A campaign directory, open for reading.

    Attributes:
        path: the directory.
        title: the scenario's title.
        spec: the table ``[sweep]`` as it was last carried out.
        axes: the names of the axes.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a campaign.

        Raises:
            StoreError: there is none.
        """
        self.path = Path(path)
        with self._store() as store:
            self.title = store.value("title")
            self.spec = SweepSpec.model_validate_json(store.value("sweep") or "{}")
            self.axes: list[str] = json.loads(store.value("axes") or "[]")

    def _store(self) -> Store:
        return Store(self.path)

    # --- Tables -------------------------------------------------------------------------------

    def rows(self, *, timings: bool = False, everything: bool = False) -> list[dict[str, Any]]:
        """Return the table as a list of rows, all with the same keys.

        Args:
            timings: with what depends on the machine and the hour.
            everything: runs of former plans and of other versions of the code, too.
        """
        with self._store() as store:
            runs = list(store.runs(everything))
        rows = [self._row(run, timings) for run in runs]
        names = _union(self._columns(rows, timings), *rows)
        return [{name: row.get(name) for name in names} for row in rows]

    def _columns(self, rows: Sequence[dict[str, Any]], timings: bool) -> Iterable[str]:
        """Return the columns that come first: axes of former plans stand behind those of this one."""
        fixed = {*HEAD, *STATE}
        axes = _union(self.axes, *(row["_axes"] for row in rows)) if rows else list(self.axes)
        for row in rows:
            del row["_axes"]
        return [*HEAD, *(axis for axis in axes if axis not in fixed), *STATE, *(TIMINGS if timings else ())]

    def _row(self, run: StoredRun, timings: bool) -> dict[str, Any]:
        plan = run.plan
        row: dict[str, Any] = {
            "_axes": list(plan.parameters),
            "run": plan.run,
            "point": plan.number,
            "replicate": plan.replicate,
            "seed": plan.seed,
            "code": plan.code,
            **{name: cell(value) for name, value in plan.parameters.items()},
            "status": run.status or "missing",
            "message": run.message,
        }
        if timings:
            row.update({name: getattr(run, name) for name in TIMINGS if name not in plan.parameters})
        if run.summary:
            found = metrics(json.loads(run.summary), self.spec.metrics)
            row.update({name: value for name, value in found.items() if name not in row})
        return row

    def table(self, *, timings: bool = False, everything: bool = False) -> pa.Table:
        """Return the table for Arrow; a column of several types becomes one of text."""
        rows = self.rows(timings=timings, everything=everything)
        return arrow_table(rows, [*HEAD, *STATE])

    def to_pandas(self, *, timings: bool = False, everything: bool = False) -> pd.DataFrame:
        """Return the table for pandas."""
        return self.table(timings=timings, everything=everything).to_pandas()

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """Return what DuckDB answers: ``runs`` is the table with timings, ``series`` all stored series.

        ``campaign.sql("select scheduler, avg(goodput_bps) from runs group by 1").df()``
        """
        try:
            import duckdb
        except ImportError:
            raise StoreError("SQL needs DuckDB: install it with pip install 'mptcpsim[analysis]'") from None
        connection = duckdb.connect()
        connection.register("runs", self.table(timings=True))
        files = self.path / "series"
        if any(files.glob("*.parquet")):
            pattern = str(files / "*.parquet").replace("'", "''")
            connection.execute(
                "CREATE VIEW series AS SELECT parse_filename(filename, true) AS run, * EXCLUDE (filename) "
                f"FROM read_parquet('{pattern}', filename = true)"
            )
        return connection.sql(query)

    # --- Single runs --------------------------------------------------------------------------

    def summary(self, run: str) -> dict[str, Any]:
        """Return the content of a run's ``summary.json``; the beginning of its name will do.

        Raises:
            StoreError: no such run, or it has no summary.
        """
        with self._store() as store:
            found = store.find(run)
        if not found.summary:
            raise StoreError(
                f"{self.path}: run {found.plan.run} has no summary: {found.message or 'not run yet'}"
            )
        summary: dict[str, Any] = json.loads(found.summary)
        return summary

    def series(self, run: str) -> list[Series]:
        """Return the time series of a run, of which the scenario's ``sweep.series`` keeps some or all.

        Raises:
            StoreError: no such run.
            RunDirectoryError: its series were not kept.
        """
        with self._store() as store:
            name = store.find(run).plan.run
            path = store.series_path(name)
        if not path.exists():
            raise RunDirectoryError(
                f"{self.path}: no series of run {name} are kept, as sweep.series was false when it ran; "
                f"`mptcpsim sweep repro {self.path}/{name}` makes them"
            )
        return read_series(path)

    # --- Means --------------------------------------------------------------------------------

    def means(self, metric: str, by: Sequence[str] | None = None, method: Method = "t") -> list[Group]:
        """Return mean and 95 % interval of a metric, for each combination of values of some axes.

        Runs that failed, and those in which the metric has no value, are left out. Of points that are
        pooled each counts the same, and the interval is that of the replicates (of the sampled points,
        where sampled axes are pooled).

        Args:
            metric: a column of the table.
            by: axes; all by default, so that what is averaged over are the replicates.
            method: Student's t or a bootstrap.

        Raises:
            StoreError: no such metric or axis.
        """
        return group(self.rows(), metric, self.axes if by is None else by, self.spec, method)


def group(
    rows: Sequence[dict[str, Any]], metric: str, by: Sequence[str], spec: SweepSpec, method: Method = "t"
) -> list[Group]:
    """Return groups of a table's rows, in the order of their first rows; see ``Campaign.means``."""
    names = list(rows[0]) if rows else []
    for name in (metric, *by):
        if rows and name not in names:
            if all(row["status"] != "done" for row in rows):
                raise StoreError(
                    f"no run is done, so there is no {name!r} yet: go on with `mptcpsim sweep run`"
                )
            raise StoreError(f"the table has no column {name!r}; {did_you_mean(name, names)}")
    drawn = [name for name in (spec.sample.axes if spec.sample is not None else ()) if name not in by]
    others = [name for name in spec.axes if name not in drawn and name != SEED and name not in by]
    # What is independent of one another: sampled points, else replicates, which are told by their seeds.
    chance = drawn or [SEED if spec.seeds == "common" or SEED in spec.axes else "replicate"]
    found: dict[tuple[Any, ...], list[tuple[tuple[Any, ...], tuple[Any, ...], float]]] = {}
    for row in rows:
        values = found.setdefault(tuple(row[name] for name in by), [])
        if row["status"] == "done" and row[metric] is not None:
            if isinstance(row[metric], str):
                raise StoreError(f"{metric!r} is text, and has no mean: choose another column")
            values.append((_of(row, others), _of(row, chance), float(row[metric])))
    return [
        Group(dict(zip(by, key, strict=True)), pooled_interval(values, method), [each[2] for each in values])
        for key, values in found.items()
    ]


def _of(row: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in names)


def arrow_table(rows: Sequence[dict[str, Any]], names: Sequence[str] = ()) -> pa.Table:
    """Return rows for Arrow; ``names`` are the columns where there is no row."""
    import pyarrow as pa

    return pa.table({name: _column([row[name] for row in rows]) for name in (rows[0] if rows else names)})


def cell(value: Any) -> Any:
    """Return a parameter as a cell of a table: what is not a single value becomes JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _union(*names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for each in names for name in each))


def _column(values: list[Any]) -> Any:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        values = [None if value is None else float(value) for value in values]
    elif len(kinds) > 1:
        values = [None if value is None else _text(value) for value in values]
    return pa.array(values, type=None if kinds else pa.string())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
