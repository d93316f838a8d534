"""Time series of a run: appended in columns, written to Parquet in chunks.

Long form, one row a value: ``time_s, host, connection, subflow, metric, value``. The
queues of links are series too: ``host`` is then the link with its direction
(``"core forward"``), ``connection`` and ``subflow`` are null.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from mptcpsim.results.columns import number_column, numbers_of, small_integer_column, text_column
from mptcpsim.results.rundir import RunDirectoryError
from mptcpsim.units import SECOND

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Rows kept in memory, 20 bytes each, before they go to the file. Their columns take some 100 bytes a row
#: while they are written: of many more rows that would be most of the memory of a run.
CHUNK_ROWS = 1 << 14

FILE_NAME = "series.parquet"


@contextmanager
def plain_memory() -> Generator[None]:
    """Have Arrow take memory from the C library in the block.

    Its own allocator keeps what it has freed: with chunks of many sizes that is some megabytes more every
    hour of simulated time.
    """
    import pyarrow as pa

    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


class SeriesKey(NamedTuple):
    """What a series is of; ``connection`` and ``subflow`` are None where they make no sense."""

    host: str
    connection: str | None
    subflow: int | None
    metric: str


class SeriesRecorder:
    """Takes values and writes them to a Parquet file, a chunk at a time.

    A series is opened once with ``series(...)``; its number goes with every value::

        with SeriesRecorder(path) as recorder:
            cwnd = recorder.series("A", "bulk", 0, "cwnd_bytes")
            recorder.append(cwnd, now, 14480.0)
    """

    def __init__(self, path: Path | BinaryIO) -> None:
        """Name the file, or hand in one that is open for writing bytes."""
        self.path = path
        self.rows = 0
        self._keys: dict[SeriesKey, int] = {}
        self._which = array("i")
        self._times = array("q")
        self._values = array("d")
        self._writer: Any = None

    def series(self, host: str, connection: str | None, subflow: int | None, metric: str) -> int:
        """Return the number of a series, the same for the same arguments."""
        return self._keys.setdefault(SeriesKey(host, connection, subflow, metric), len(self._keys))

    def append(self, series: int, now: int, value: float) -> None:
        """Take one value of a series at an instant, ns."""
        self._which.append(series)
        self._times.append(now)
        self._values.append(value)
        if len(self._times) >= CHUNK_ROWS:
            self._flush()

    def _flush(self) -> None:
        with plain_memory():
            self._write()
        self.rows += len(self._times)
        self._which, self._times, self._values = array("i"), array("q"), array("d")

    def _write(self) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        keys = list(self._keys)
        which = np.frombuffer(self._which, dtype=np.int32) if self._which else np.empty(0, dtype=np.int32)
        times = np.frombuffer(self._times, dtype=np.int64) if self._times else np.empty(0, dtype=np.int64)
        values = np.frombuffer(self._values, dtype=np.float64) if self._values else np.empty(0)

        rows = number_column(which)
        columns = [
            number_column(times / SECOND),
            text_column([key.host for key in keys]).take(rows),
            text_column([key.connection for key in keys]).take(rows),
            small_integer_column([key.subflow for key in keys]).take(rows),
            text_column([key.metric for key in keys]).take(rows),
            number_column(values),
        ]
        names = ["time_s", "host", "connection", "subflow", "metric", "value"]
        table = pa.table(dict(zip(names, columns, strict=True)))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        """Write what is left; a run without values gives a file without rows."""
        if len(self._times) or self._writer is None:
            self._flush()
        with plain_memory():
            self._writer.close()

    def __enter__(self) -> SeriesRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NoSeries(SeriesRecorder):
    """Takes values and forgets them: for runs of which only the summary is wanted."""

    def __init__(self) -> None:
        super().__init__(Path())

    def append(self, series: int, now: int, value: float) -> None:
        """Forget a value."""

    def close(self) -> None:
        """Write nothing."""


class ChosenSeries(SeriesRecorder):
    """Keeps the series of some metrics only."""

    def __init__(self, path: Path | BinaryIO, metrics: Collection[str]) -> None:
        super().__init__(path)
        self._metrics = metrics

    def series(self, host: str, connection: str | None, subflow: int | None, metric: str) -> int:
        """Return the number of a series, -1 if it is not recorded."""
        if metric not in self._metrics:
            return -1
        return super().series(host, connection, subflow, metric)

    def append(self, series: int, now: int, value: float) -> None:
        """Take one value of a series that is recorded."""
        if series >= 0:
            super().append(series, now, value)


class Series(NamedTuple):
    """One series as it was recorded: instants in seconds, values."""

    key: SeriesKey
    times: NDArray[np.float64]
    values: NDArray[np.float64]


def read_series(path: Path) -> list[Series]:
    """Read all series of a run, in the order in which they first appear.

    Raises:
        RunDirectoryError: the file is missing or damaged.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        columns = [table.column(name).combine_chunks() for name in SeriesKey._fields]
        times = numbers_of(table.column("time_s"))
        values = numbers_of(table.column("value"))
    except FileNotFoundError:
        raise RunDirectoryError(
            f"{path.parent}: has no {path.name}; name a directory that `mptcpsim run` wrote"
        ) from None
    except (OSError, KeyError, pa.ArrowException) as error:
        raise RunDirectoryError(f"{path}: cannot be read ({error}); run the scenario again") from None
    if not len(times):
        return []
    # Each row gets the number of its key; rows of one key stay in their order.
    numbers = np.zeros(len(times), dtype=np.int64)
    for column in columns:
        encoded = column.dictionary_encode(null_encoding="encode")
        numbers = numbers * len(encoded.dictionary) + numbers_of(encoded.indices)
    _, first, key_of_row, sizes = np.unique(
        numbers, return_index=True, return_inverse=True, return_counts=True
    )
    rows_of_keys = np.split(np.argsort(key_of_row, kind="stable"), np.cumsum(sizes)[:-1])
    return [
        Series(
            SeriesKey(*(column[int(first[key])].as_py() for column in columns)),
            times[rows_of_keys[key]],
            values[rows_of_keys[key]],
        )
        for key in np.argsort(first)
    ]
