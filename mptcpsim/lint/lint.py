"""Lint of a scenario: every rule asked, the findings in the order of the file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from mptcpsim.lint.catalogue import RULES
from mptcpsim.lint.finding import ERROR, NOTE, SEVERITIES, Finding, LintRule
from mptcpsim.lint.remark import Remark
from mptcpsim.lint.subject import Subject
from mptcpsim.scenario.catalogue import known
from mptcpsim.scenario.places import Places
from mptcpsim.scenario.schema import Scenario

#: Flows that are looked at before a run.
FLOWS_BEFORE_A_RUN: Final = 20


def lint(subject: Subject, ignore: Collection[str] = ()) -> list[Finding]:
    """Return what the rules find: in the order of lines, those of one line by the code.

    Args:
        subject: the scenario, with what belongs to it.
        ignore: codes of rules whose findings are left out.
    """
    found: dict[Finding, None] = {}
    with known(subject.scenario.plugins):
        for rule in sorted(RULES.values(), key=lambda rule: rule.late):
            for remark in rule.check(subject):
                if remark.node:
                    subject.suspected.add(remark.node)
                    if rule.severity == ERROR:
                        subject.blamed.add(remark.node)
                if rule.code not in ignore:
                    found[_finding(subject, rule, remark)] = None

    def order(finding: Finding) -> tuple[bool, str, int, str]:
        place = finding.place
        return place.file != subject.name, place.file, place.line, finding.rule.code[1:]

    return sorted(found, key=order)


def warnings_of(scenario: Scenario, places: Places) -> list[Finding]:
    """Return the errors and warnings to be told before a run, which goes on all the same.

    Only the first few flows are looked at, and none where plug-ins of the user's take part, whose state a
    rehearsal might change.
    """
    subject = Subject(scenario, places, 0 if scenario.plugins else FLOWS_BEFORE_A_RUN)
    return [finding for finding in lint(subject) if finding.rule.severity != NOTE]


def _finding(subject: Subject, rule: LintRule, remark: Remark) -> Finding:
    return Finding(rule, subject.place(remark), remark.problem, remark.remedy)


def count(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many findings there are of each severity."""
    return {
        severity: sum(finding.rule.severity == severity for finding in findings)
        for severity in SEVERITIES.values()
    }
