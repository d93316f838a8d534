"""The stages of a subflow: the table, and the one method that consults it."""

from __future__ import annotations

import ast
from pathlib import Path

import mptcpsim.core
from mptcpsim.core.mptcp.stages import (
    FELL_BACK,
    OPENING,
    PLAIN,
    PRE_ESTABLISHED,
    READY,
    STAGE_TRANSITIONS,
)

CORE = Path(mptcpsim.core.__file__).parent


def test_the_table() -> None:
    """Every subflow begins with OPENING, every stage can be reached, and a fallback is for ever."""
    assert {before for before, _ in STAGE_TRANSITIONS} == {OPENING, PRE_ESTABLISHED, READY}
    reached = {OPENING}
    for _ in STAGE_TRANSITIONS:
        reached |= {after for (before, _), after in STAGE_TRANSITIONS.items() if before in reached}
    assert reached == {OPENING, PRE_ESTABLISHED, READY, PLAIN}
    for (before, cause), after in STAGE_TRANSITIONS.items():
        assert after > before, (before, cause)
        assert (after == PLAIN) == (cause == FELL_BACK)
    assert {before for before, cause in STAGE_TRANSITIONS if cause == FELL_BACK} == {
        OPENING,
        PRE_ESTABLISHED,
        READY,
    }


def test_the_stage_changes_in_one_method() -> None:
    places = []
    for path in sorted(CORE.rglob("*.py")):
        for method in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(method, ast.FunctionDef):
                continue
            for node in ast.walk(method):
                if (
                    isinstance(node, ast.Attribute)
                    and node.attr == "stage"
                    and isinstance(node.ctx, ast.Store)
                ):
                    places.append(method.name)
    assert sorted(places) == ["__init__", "advance"]
