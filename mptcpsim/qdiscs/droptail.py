"""Drop-tail: the queue limit and nothing else."""

from __future__ import annotations

from typing import ClassVar

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import QueueDiscipline, register


@mypyc_attr(allow_interpreted_subclasses=True)
class DropTail(QueueDiscipline):
    """First in, first out; a full queue refuses what arrives."""

    NAME: ClassVar[str] = "droptail"
    SUMMARY: ClassVar[str] = "first in, first out; a full queue refuses what arrives"


register(DropTail)
