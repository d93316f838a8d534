"""Columns of Arrow tables, made from their buffers and read from them.

``pyarrow.array`` and ``to_numpy`` ask pandas about what they get, and import it for that: a third of a second
in which nothing happens that a run needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def number_column(values: NDArray[Any]) -> Any:
    """Return the numbers of a one-dimensional array as a column of the same type."""
    import numpy as np
    import pyarrow as pa

    values = np.ascontiguousarray(values)
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def small_integer_column(values: Sequence[int | None]) -> Any:
    """Return integers of 32 bits as a column, None as null."""
    import numpy as np
    import pyarrow as pa

    numbers = np.array([0 if value is None else value for value in values], dtype=np.int32)
    return pa.Array.from_buffers(pa.int32(), len(values), [_validity(values), pa.py_buffer(numbers)])


def text_column(values: Sequence[str | None]) -> Any:
    """Return texts as a column, None as null."""
    import numpy as np
    import pyarrow as pa

    encoded = [b"" if value is None else value.encode() for value in values]
    ends = np.zeros(len(encoded) + 1, dtype=np.int32)
    np.cumsum([len(text) for text in encoded], out=ends[1:])
    buffers = [_validity(values), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def numbers_of(column: Any) -> NDArray[Any]:
    """Return the numbers of a column without nulls, which may not be written to."""
    import numpy as np
    import pyarrow as pa

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = array.type.to_pandas_dtype()
    return np.frombuffer(array.buffers()[1], dtype=kind, count=array.offset + len(array))[array.offset :]


def _validity(values: Sequence[object]) -> Any:
    """Return the bits that say which values are there, or None if all of them are."""
    import numpy as np
    import pyarrow as pa

    if None not in values:
        return None
    there = np.array([value is not None for value in values], dtype=np.bool_)
    return pa.py_buffer(np.packbits(there, bitorder="little"))
