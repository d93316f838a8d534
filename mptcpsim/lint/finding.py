"""What lint says: rules with their codes, and what each of them has found where."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from mptcpsim.lint.remark import Remark
from mptcpsim.lint.subject import Subject
from mptcpsim.scenario.places import Place

ERROR: Final = "error"
WARNING: Final = "warning"
NOTE: Final = "note"

#: The letter with which the codes of a severity begin; the gravest one first.
SEVERITIES: Final = {"E": ERROR, "W": WARNING, "N": NOTE}


#: Yields what it finds.
LintCheck = Callable[[Subject], Iterable[Remark]]


class LintRule(NamedTuple):
    """An entry of the catalogue.

    Attributes:
        code: such as ``E201``: the letter is the severity, the first digit the family.
        name: what it is called among people.
        summary: a sentence for lists.
        reason: why it matters, and what to do.
        check: looks for it.
        late: it tells of consequences, and leaves those out that have been explained.
    """

    code: str
    name: str
    summary: str
    reason: str
    check: LintCheck
    late: bool = False

    @property
    def severity(self) -> str:
        """How grave it is: the scenario does not do what it says, may not, or is worth a look."""
        return SEVERITIES[self.code[0]]

    @property
    def family(self) -> str:
        """What it is about."""
        return FAMILIES[self.code[1]]


#: By the first digit of the code.
FAMILIES: Final = {
    "1": "Names and addresses",
    "2": "Routes and paths",
    "3": "pf",
    "4": "ipfw and dummynet",
    "5": "Multipath TCP",
    "6": "Buffers, queues and packets",
    "7": "Time",
    "8": "Settings without effect",
}


class Finding(NamedTuple):
    """A remark, the rule that made it, and its place.

    Attributes:
        rule: that found it.
        place: where.
        problem: what is wrong.
        remedy: what to write instead.
    """

    rule: LintRule
    place: Place
    problem: str
    remedy: str

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return {
            "code": self.rule.code,
            "name": self.rule.name,
            "severity": self.rule.severity,
            **self.place._asdict(),
            "problem": self.problem,
            "remedy": self.remedy,
        }


class Family:
    """The rules of one family, as their functions are defined: ``@family.rule("E201", "off-link")``."""

    def __init__(self) -> None:
        self.rules: list[LintRule] = []

    def rule(self, code: str, name: str, late: bool = False) -> Callable[[LintCheck], LintCheck]:
        """Make a function a rule: the first line of its docstring is the summary, the rest the reason."""

        def register(check: LintCheck) -> LintCheck:
            summary, _, reason = (check.__doc__ or "").partition("\n")
            text = " ".join(reason.split())
            self.rules.append(LintRule(code, name, summary.strip().rstrip("."), text, check, late))
            return check

        return register
