"""Drop-tail: the queue limit and nothing else."""

from __future__ import annotations

from typing import ClassVar

from mptcpsim.plugins import QueueDiscipline, register


@register
class DropTail(QueueDiscipline):
    """First in, first out; a full queue refuses what arrives."""

    NAME: ClassVar[str] = "droptail"
