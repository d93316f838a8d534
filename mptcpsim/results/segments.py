"""The segments of flows at both their ends: what the DSN figure is drawn from.

Recorded only if asked for (``mptcpsim run --dsn``, or with ``--pcap``), in ``segments.parquet``, a row a
segment. **Recording ends after ``MOST_ROWS``**; a longer run has to be shortened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from mptcpsim.results.columns import number_column, text_column
from mptcpsim.results.rundir import RunDirectoryError

FILE_NAME: Final = "segments.parquet"

#: About 30 bytes each in memory.
MOST_ROWS: Final = 2_000_000

#: What a row is. At the end that sends data: data for the first time, again, a probe with or without a byte,
#: and an ACK that came. At the end that receives: an ACK without data that was sent.
DATA: Final = "data"
AGAIN: Final = "again"
PROBE: Final = "probe"
HEARD: Final = "heard"
TOLD: Final = "told"


class Row(NamedTuple):
    """A segment.

    Attributes:
        time_s: when it passed the host.
        flow: name of the flow.
        kind: see above.
        subflow: as the sender of the data counts them.
        dsn: of the first byte of data, relative; else the DATA_ACK, -1 without one.
        size: bytes of data; else the window, in bytes.
        seq, ack: of the subflow, relative; they tell whether an ACK that was sent has come.
    """

    time_s: float
    flow: str
    kind: str
    subflow: int
    dsn: int
    size: int
    seq: int
    ack: int


class SegmentRecorder:
    """Takes rows and writes them to a Parquet file when it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []

    def append(self, row: Row) -> None:
        """Take a row, unless there are too many."""
        if len(self.rows) < MOST_ROWS:
            self.rows.append(row)

    def close(self) -> None:
        """Write the file."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        fields: list[Any] = list(zip(*self.rows, strict=True)) or [()] * len(Row._fields)
        times, flows, kinds, *numbers = fields
        columns = [
            number_column(np.array(times, dtype=np.float64)),
            text_column(flows),
            text_column(kinds),
            *(number_column(np.array(values, dtype=np.int64)) for values in numbers),
        ]
        table = pa.table(dict(zip(Row._fields, columns, strict=True)))
        pq.write_table(table, self.path, compression="zstd")


def read_segments(directory: Path) -> list[Row]:
    """Read the rows of a run.

    Raises:
        RunDirectoryError: they were not recorded, or the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = directory / FILE_NAME
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        columns = [table.column(name).to_pylist() for name in Row._fields]
    except FileNotFoundError:
        raise RunDirectoryError(
            f"{directory}: has no {FILE_NAME}; run the scenario with --dsn, which records it"
        ) from None
    except (OSError, KeyError, pa.ArrowException) as error:
        raise RunDirectoryError(f"{path}: cannot be read ({error}); run the scenario again") from None
    return [Row(*values) for values in zip(*columns, strict=True)]
