"""Findings and rules as text for people and as JSON for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Final

from mptcpsim.lint.catalogue import RULES
from mptcpsim.lint.finding import SEVERITIES, Finding, LintRule
from mptcpsim.lint.lint import count
from mptcpsim.lint.subject import Subject

#: Columns of a line of text.
WIDTH: Final = 110


def text_of(findings: Sequence[Finding], subject: Subject) -> str:
    """Return findings for people, with a line at the end that sums them up."""
    name = subject.name
    parts = [_paragraph(finding) for finding in findings]
    if findings:
        code = min(findings, key=lambda finding: list(SEVERITIES).index(finding.rule.code[0])).rule.code
        parts.append(f"{_total(findings)} in {name}; `mptcpsim lint --explain {code}` says more")
    else:
        parts.append(f"{name}: nothing found")
    flows = len(subject.scenario.flows)
    if flows > subject.most_flows:
        parts[-1] += f" (the first {subject.most_flows} of {flows} flows were looked at)"
    return "\n\n".join(parts)


def _paragraph(finding: Finding) -> str:
    place = finding.place
    lines = [f"{_position(finding)}: {finding.rule.severity} {finding.rule.code} [{finding.rule.name}]"]
    lines[0] += f" {place.key}" if place.key else ""
    lines[0] += f", line {place.within}" if place.within else ""
    lines[0] += f" (from {place.origin})" if place.origin else ""
    if place.source:
        lines.append(f"    | {place.source}")
    lines += _wrapped(finding.problem, "  ", "  ")
    lines += _wrapped(finding.remedy, "  instead: ", "           ")
    return "\n".join(lines)


def _position(finding: Finding) -> str:
    place = finding.place
    return f"{place.file}:{place.line}" if place.line else place.file


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _total(findings: Sequence[Finding]) -> str:
    counts = [f"{n} {severity}{'s' if n > 1 else ''}" for severity, n in count(findings).items() if n]
    return ", ".join(counts)


def brief(finding: Finding) -> str:
    """Return a finding in one line, for who runs the scenario."""
    return f"{_position(finding)}: {finding.rule.severity} {finding.rule.code}: {finding.problem}"


def json_of(findings: Sequence[Finding], name: str) -> str:
    """Return findings for programs."""
    whole = {"scenario": name, **count(findings), "findings": [finding.as_dict() for finding in findings]}
    return json.dumps(whole, indent=2, ensure_ascii=False)


def explained(rule: LintRule) -> str:
    """Return what the catalogue says of a rule."""
    return "\n".join(
        [
            f"{rule.code} [{rule.name}], {rule.severity}: {rule.summary}",
            "",
            *textwrap.wrap(rule.reason, WIDTH, break_on_hyphens=False),
        ]
    )


def listed() -> str:
    """Return the catalogue, a line for each rule."""
    longest = max(len(rule.name) for rule in RULES.values())
    return "\n".join(f"{rule.code}  {rule.name:<{longest}}  {rule.summary}" for rule in RULES.values())
