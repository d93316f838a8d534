"""What differs between two run directories, to the bit; what is new is told apart from what is different.

A refactoring may add keys to ``summary.json`` and series to ``series.parquet``. It may not change a value,
nor leave one out.
"""

from __future__ import annotations

import filecmp
import fnmatch
import json
import struct
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

#: Everything that may differ between two equal runs and is not compared: ``FILE: KEY``, and why.
NOT_COMPARED = {
    "meta.json: mptcpsim": "version of the package",
    "meta.json: git_revision": "revision of the checkout",
    "meta.json: python": "environment",
    "meta.json: implementation": "environment",
    "meta.json: machine": "environment",
    "meta.json: system": "environment",
    "meta.json: libraries": "environment",
    "meta.json: compiled": "one checkout may be compiled, the other not",
    "meta.json: wall_s": "wall time",
    "meta.json: cpu_s": "CPU time",
    "meta.json: finished": "date",
    "meta.json: events": "callbacks of the loop: work, not a result; counted among the notes",
    "results.json: cpu_s": "CPU time, in the results of experiments/fat-tree/run.py",
    "results.json: wall_s": "wall time, in the results of experiments/fat-tree/run.py",
    "results.md": "the tables of results.json, with its times",
    "*.png": "pictures of what is compared as numbers",
    "*.pdf": "pictures of what is compared as numbers",
    "stderr.txt": "progress, and the wording of messages",
}

#: Keys of ``summary.json`` under which names of the scenario follow; they stand for all names.
_OF_NAMES = ("links", "nodes", "counters")

#: What a value is shortened to when it is shown.
_SHOWN = 40


class Difference(NamedTuple):
    """The first place at which a file differs."""

    file: str
    where: str
    before: str
    after: str


class Found(NamedTuple):
    """The outcome of a comparison: what differs, what is new, what is worth a note."""

    differences: list[Difference]
    new: list[str]
    notes: list[str]


def compare_directories(before: Path, after: Path) -> Found:
    """Compare all files of two directories."""
    found = Found([], [], [])
    ours, theirs = _files(before), _files(after)
    for name in sorted(ours | theirs):
        if _skipped(name):
            continue
        if name not in theirs:
            found.differences.append(Difference(name, "the file", "there", "missing"))
        elif name not in ours:
            found.differences.append(Difference(name, "the file", "missing", "there"))
        else:
            _compare_files(name, before / name, after / name, found)
    return found


def _files(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def _skipped(name: str, key: str = "") -> bool:
    """Return whether a file, or a key of one, is among what is not compared."""
    file = name.rpartition("/")[2]
    return any(fnmatch.fnmatch(f"{file}: {key}" if key else file, pattern) for pattern in NOT_COMPARED)


def _compare_files(name: str, before: Path, after: Path, found: Found) -> None:
    if filecmp.cmp(before, after, shallow=False):
        return
    kind = before.suffix
    if kind == ".json":
        _compare_trees(name, _json(before), _json(after), found)
    elif kind == ".toml":
        _compare_trees(name, _toml(before), _toml(after), found)
    elif kind == ".jsonl":
        ours, theirs = _lines(before), _lines(after)
        _compare_trees(
            name, [json.loads(line) for line in ours], [json.loads(line) for line in theirs], found
        )
    elif kind == ".parquet":
        _compare_series(name, before, after, found)
    elif kind == ".pcapng" or before.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a":
        found.differences.append(compare_captures(name, before.read_bytes(), after.read_bytes()))
    else:
        _compare_lines(name, before, after, found)


# --- Trees: JSON and TOML -------------------------------------------------------------------------


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


_ABSENT = _Absent()


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _toml(path: Path) -> Any:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _compare_trees(name: str, before: Any, after: Any, found: Found) -> None:
    first = True
    for path, one, other in _unequal(before, after, ()):
        file = name.rpartition("/")[2]
        if path and _skipped(name, str(path[-1])):
            if path[-1] == "events":
                found.notes.append("the number of callbacks differs")
        elif one is _ABSENT:
            found.new.append(f"{file}: {_general(path)}")
        elif first:
            found.differences.append(Difference(name, _place(path), _short(one), _short(other)))
            first = False


def _unequal(before: Any, after: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Yield the places at which two trees differ; an integer and a float are not equal."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _unequal(before.get(key, _ABSENT), after.get(key, _ABSENT), (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        for index, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from _unequal(one, other, (*path, index))
        if len(before) != len(after):
            yield (*path, "(length)"), len(before), len(after)
    elif type(before) is not type(after) or before != after:
        yield path, before, after


def _place(path: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path)


def _general(path: tuple[Any, ...]) -> str:
    """Return a place without what is particular to one scenario: numbers in lists, names of links."""
    parts = []
    for before, part in zip((None, *path), path, strict=False):
        parts.append("*" if isinstance(part, int) or before in _OF_NAMES else str(part))
    return ".".join(parts)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


# --- Text -----------------------------------------------------------------------------------------


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def _compare_lines(name: str, before: Path, after: Path, found: Found) -> None:
    ours, theirs = _lines(before), _lines(after)
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False), 1):
        if one != other:
            found.differences.append(Difference(name, f"line {number}", _short(one), _short(other)))
            return
    found.differences.append(Difference(name, "lines", str(len(ours)), str(len(theirs))))


# --- Series ---------------------------------------------------------------------------------------

#: The columns that name a series.
_KEYS = ("host", "connection", "subflow", "metric")


def _compare_series(name: str, before: Path, after: Path, found: Found) -> None:
    """Compare tables row by row; rows of series that are new do not count."""
    ours, theirs = pq.read_table(before), pq.read_table(after)
    if ours.schema != theirs.schema:
        found.differences.append(
            Difference(name, "columns", str(ours.column_names), str(theirs.column_names))
        )
        return
    if set(_KEYS) <= set(ours.column_names):
        known = _series(ours)
        new = _series(theirs) - known
        for _, _, _, metric in new:
            found.new.append(f"{name.rpartition('/')[2]}: {metric}")
        if new:
            theirs = theirs.filter(pa.array([key in known for key in _row_keys(theirs)]))
    for index in range(min(len(ours), len(theirs))) if not _same(ours, theirs) else ():
        one, other = (table.slice(index, 1).to_pylist()[0] for table in (ours, theirs))
        if repr(one) != repr(other):
            column = next(key for key in one if repr(one[key]) != repr(other[key]))
            where = f"row {index}, {column}, {' '.join(str(value) for value in one.values())}"
            found.differences.append(Difference(name, where, _short(one[column]), _short(other[column])))
            return
    if len(ours) != len(theirs):
        found.differences.append(Difference(name, "rows", str(len(ours)), str(len(theirs))))


def _row_keys(table: Any) -> list[tuple[Any, ...]]:
    return list(zip(*(table[key].to_pylist() for key in _KEYS), strict=True))


def _series(table: Any) -> set[tuple[Any, ...]]:
    return set(_row_keys(table))


def _same(one: Any, other: Any) -> bool:
    """Return whether two tables are equal to the bit, values that are no number included."""
    if len(one) != len(other):
        return False
    for left, right in zip(one.columns, other.columns, strict=True):
        if pa.types.is_floating(left.type):
            left, right = (_bits(column) for column in (left, right))
        if not left.equals(right):
            return False
    return True


def _bits(column: Any) -> Any:
    array = column.combine_chunks()
    return pa.chunked_array([pc.fill_null(array, 0.0).view(pa.int64()), array.is_null().cast(pa.int64())])


# --- Captures -------------------------------------------------------------------------------------

_ENHANCED_PACKET = 6


def compare_captures(name: str, before: bytes, after: bytes) -> Difference:
    """Return the first block at which two pcapng files differ."""
    packet = 0
    for index, (one, other) in enumerate(zip(_blocks(before), _blocks(after), strict=False)):
        kind, at, body = one
        packet += kind == _ENHANCED_PACKET
        if one != other:
            place = f"packet {packet} at {at / 1e9:.9f} s" if kind == _ENHANCED_PACKET else f"block {index}"
            if other[1] != at:
                return Difference(name, place, f"{at} ns", f"{other[1]} ns")
            offset = next(
                (i for i, (a, b) in enumerate(zip(body, other[2], strict=False)) if a != b),
                min(len(body), len(other[2])),
            )
            return Difference(
                name,
                f"{place}, octet {offset} of the block",
                body[offset : offset + 8].hex(),
                other[2][offset : offset + 8].hex(),
            )
    return Difference(
        name, "blocks", str(sum(1 for _ in _blocks(before))), str(sum(1 for _ in _blocks(after)))
    )


def _blocks(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, time (ns; 0 where there is none) and body of each block."""
    start = 0
    while start + 12 <= len(data):
        kind, length = struct.unpack_from("<II", data, start)
        if length < 12:
            break
        at = 0
        if kind == _ENHANCED_PACKET:
            high, low = struct.unpack_from("<II", data, start + 12)
            at = high << 32 | low
        yield kind, at, data[start + 8 : start + length - 4]
        start += length
