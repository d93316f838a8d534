"""What the commands of ``mptcpsim sweep`` have in common.

Exit status: 0 everything that is planned is done; 1 some runs failed, or a repeated run
differs; 2 wrong input; 5 results cannot be stored; 130 interrupted. Whatever the status,
what is stored is whole, and the same call goes on from there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_STORE = 5
EXIT_INTERRUPTED = 130

CampaignPath = Annotated[Path, typer.Argument(help="The directory of a campaign.", metavar="CAMPAIGN")]


def fail(message: str, status: int) -> NoReturn:
    """Say what is wrong on stderr, and end with an exit status."""
    print(f"mptcpsim: {message}", file=sys.stderr)
    raise typer.Exit(status)


def say(message: str) -> None:
    """Say something on stderr."""
    print(f"mptcpsim: {message}", file=sys.stderr)


def duration_text(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
