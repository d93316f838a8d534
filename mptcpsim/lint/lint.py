"""Lint of a scenario: every rule asked, the findings in the order of the file."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mptcpsim.lint.catalogue import RULES
from mptcpsim.lint.finding import ERROR, SEVERITIES, Finding, Remark, Rule
from mptcpsim.lint.subject import Subject


def lint(subject: Subject, ignore: Collection[str] = ()) -> list[Finding]:
    """Return what the rules find: in the order of lines, those of one line by the code.

    Args:
        subject: the scenario, with what belongs to it.
        ignore: codes of rules that are not asked.
    """
    found: dict[Finding, None] = {}
    for rule in RULES.values():
        if rule.code in ignore:
            continue
        for remark in rule.check(subject):
            found[_finding(subject, rule, remark)] = None
            if rule.severity == ERROR and remark.node:
                subject.blamed.add(remark.node)
    return sorted(found, key=lambda finding: (finding.file != subject.name, finding.file, finding.line))


def _finding(subject: Subject, rule: Rule, remark: Remark) -> Finding:
    file, line, key, source = subject.place(remark)
    return Finding(rule, file, line, key, source, remark.problem, remark.remedy)


def count(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many findings there are of each severity."""
    return {
        severity: sum(finding.rule.severity == severity for finding in findings)
        for severity in SEVERITIES.values()
    }
