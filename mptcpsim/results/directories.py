"""Directories that are made for what is to be written: who fails leaves none behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def made(directory: Path) -> Iterator[None]:
    """Make a directory and those around it; left by an exception, those that are new and empty go again.

    Raises:
        OSError: it cannot be made.
    """
    new = []
    around = directory
    while not around.exists():
        new.append(around)
        around = around.parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in new:
            with suppress(OSError):  # it was not made, or it is not empty any more
                each.rmdir()
        raise
