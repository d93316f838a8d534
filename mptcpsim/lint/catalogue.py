"""The catalogue: every rule by its code, and its text for people."""

from __future__ import annotations

from typing import Final

from mptcpsim.lint import buffers, ipfw, multipath, names, paths, pf, settings, sizes, timing
from mptcpsim.lint.finding import FAMILIES, LintRule

_MODULES: Final = (names, paths, pf, ipfw, multipath, buffers, sizes, timing, settings)

#: In the order of the digits of the codes.
RULES: Final[dict[str, LintRule]] = {
    rule.code: rule
    for rule in sorted(
        (rule for module in _MODULES for rule in module.FAMILY.rules), key=lambda rule: rule.code[1:]
    )
}


def find_rule(word: str) -> LintRule | None:
    """Return the rule of a code or of a name, or None."""
    return RULES.get(word.upper()) or next((rule for rule in RULES.values() if rule.name == word), None)


def markdown() -> str:
    """Return the catalogue as it stands in docs/lint.md."""
    parts = []
    for digit, family in FAMILIES.items():
        rules = [rule for rule in RULES.values() if rule.code[1] == digit]
        if not rules:
            continue
        parts.append(f"### {family}\n")
        for rule in rules:
            parts.append(f"**{rule.code} {rule.name}** ({rule.severity}). {rule.summary}. {rule.reason}\n")
    return "\n".join(parts)
