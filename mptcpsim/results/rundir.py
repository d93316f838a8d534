"""The directory of a run: complete under its final name, or not there at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from mptcpsim.results.directories import made

#: What may differ between two equal runs; every run writes it.
META = "meta.json"


class RunDirectoryError(ValueError):
    """A run directory that cannot be written or read; the text says what to do."""


class RunDirectory:
    """Collects the files of a run under a temporary name and renames it at the end.

    Used as a context manager: left normally, the directory gets its final name; left by
    an exception, nothing remains::

        with RunDirectory(Path("runs/first")) as run:
            run.write_json("meta.json", meta)

    Attributes:
        final: the directory as it will be called.
        path: the directory to write into; valid inside the ``with`` block.
        published: it has its final name.
    """

    def __init__(self, final: Path, force: bool = False) -> None:
        """Look at the final name without touching anything.

        Args:
            final: the directory to make.
            force: replace a directory that a run has written, with everything in it.

        Raises:
            RunDirectoryError: the name is taken, or cannot be a directory.
        """
        self.final = Path(final)
        self.force = force
        self.path = self.final
        self._around = ExitStack()
        self.published = False
        self._check()

    def _check(self) -> None:
        final = self.final
        try:
            if final.is_symlink() or (final.exists() and not final.is_dir()):
                raise RunDirectoryError(f"{final}: is not a directory; choose another name for --out")
            if final.is_dir() and any(final.iterdir()):
                if not is_of_a_run(final):
                    raise RunDirectoryError(
                        f"{final}: is not empty and was not written by a run, so that it is not replaced; "
                        "choose another name for --out"
                    )
                if not self.force:
                    raise RunDirectoryError(
                        f"{final}: is not empty; choose another name for --out, or replace it with --force"
                    )
            if final.resolve() in (Path.cwd(), *Path.cwd().parents):
                raise RunDirectoryError(
                    f"{final}: is the current directory or one around it; choose another name for --out"
                )
            parent = final.parent
            while not parent.exists():
                parent = parent.parent
            if not parent.is_dir():
                raise RunDirectoryError(
                    f"{final}: {parent} is not a directory; choose another name for --out"
                )
            if not os.access(parent, os.W_OK):
                raise RunDirectoryError(f"{final}: {parent} is not writable; choose another name for --out")
        except OSError as error:
            raise RunDirectoryError(
                f"{final}: cannot be used: {error.strerror}; choose another name for --out"
            ) from None

    def __enter__(self) -> RunDirectory:
        self._check()
        with ExitStack() as around:
            try:
                around.enter_context(made(self.final.parent))
                name = tempfile.mkdtemp(
                    prefix=f".{self.final.name}.", suffix=".partial", dir=self.final.parent
                )
            except OSError as error:
                raise RunDirectoryError(
                    f"{self.final}: cannot be made: {error.strerror}; choose another name for --out"
                ) from None
            self._around = around.pop_all()
        self.path = Path(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self._around:
                self._publish()
        else:
            shutil.rmtree(self.path, ignore_errors=True)
            self._around.__exit__(kind, error, trace)

    def _publish(self) -> None:
        """Give the directory its final name; what stood there goes away last."""
        mask = os.umask(0)
        os.umask(mask)
        self.path.chmod(0o777 & ~mask)
        former: Path | None = None
        try:
            if self.final.exists():
                former = Path(
                    tempfile.mkdtemp(prefix=f".{self.final.name}.", suffix=".former", dir=self.final.parent)
                )
                self.final.rename(former / self.final.name)
            self.path.rename(self.final)
        except BaseException:
            # Whoever interrupts this finds what stood there before.
            if former is not None and not self.final.exists():
                (former / self.final.name).rename(self.final)
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        finally:
            if former is not None:
                shutil.rmtree(former, ignore_errors=True)
        self.path = self.final
        self.published = True

    def write_text(self, name: str, text: str) -> None:
        """Write a text file in UTF-8."""
        (self.path / name).write_text(text, encoding="utf-8")

    def write_lines(self, name: str, lines: Iterable[str]) -> None:
        """Write a text file in UTF-8, line by line."""
        with (self.path / name).open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(f"{line}\n")

    def write_json(self, name: str, value: Any) -> None:
        """Write JSON with sorted keys, so that equal results are equal files."""
        self.write_text(name, json_text(value))


def is_of_a_run(directory: Path) -> bool:
    """Return whether a run has written a directory: its ``meta.json`` says so."""
    try:
        meta = json.loads((directory / META).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(meta, dict) and "mptcpsim" in meta


def json_text(value: Any) -> str:
    """Return JSON that is the same for the same value: keys sorted, no NaN, a line end at the end."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def free_name(directory: Path, name: str) -> Path:
    """Return ``directory/name``, or ``directory/name-2`` and so on if that is taken."""
    candidate = directory / name
    number = 2
    while candidate.exists():
        candidate = directory / f"{name}-{number}"
        number += 1
    return candidate


def read_json(path: Path) -> Any:
    """Read a JSON file of a run directory.

    Raises:
        RunDirectoryError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunDirectoryError(
            f"{path.parent}: has no {path.name}; name a directory that `mptcpsim run` wrote"
        ) from None
    except NotADirectoryError:
        raise RunDirectoryError(
            f"{path.parent}: is not a directory; name one that `mptcpsim run` wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{path}: cannot be read ({error}); run the scenario again") from None
