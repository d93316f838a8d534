"""What a sweep is told before its runs: settings without effect, and what lint finds at its points."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from mptcpsim.lint.effect import vain_keys
from mptcpsim.lint.lint import warnings_of
from mptcpsim.lint.report import brief
from mptcpsim.scenario.errors import KeyPath
from mptcpsim.scenario.overrides import Override
from mptcpsim.scenario.places import Places
from mptcpsim.scenario.schema import Scenario
from mptcpsim.sweep.plan import Point

#: Points that lint looks at; of more a sample, always the same one. Keys without effect are looked for
#: at all of them.
MOST_POINTS: Final = 64

#: Findings that are told, at most.
MOST_FINDINGS: Final = 20

#: The family of rules about keys without effect.
_EFFECT: Final = "8"


class Advice(NamedTuple):
    """What lint finds at a point.

    Attributes:
        code: of the rule.
        key: that is to blame.
        text: for people.
    """

    code: str
    key: str
    text: str


class Look(NamedTuple):
    """What there is to say of one point.

    Attributes:
        vain: what the point gives a value that changes nothing there: its key, and why.
        findings: of lint; None if it was not asked.
    """

    vain: dict[str, str]
    findings: tuple[Advice, ...] | None


def sample(points: int) -> frozenset[int]:
    """Return the points, by their numbers, that lint looks at."""
    numbers = range(points)
    return frozenset(numbers if points <= MOST_POINTS else random.Random(0).sample(numbers, MOST_POINTS))


def look_at(scenario: Scenario, places: Places, changes: Sequence[Override], whole: bool) -> Look:
    """Look at a point of a sweep.

    Args:
        scenario: of the point.
        places: where its parts come from.
        changes: what the point changes.
        whole: with all rules of lint.
    """
    reasons = {vain.path: vain.why for vain in vain_keys(scenario, places)}
    vain: dict[str, str] = {}
    for change in changes:
        leaves = [path for path in _written_below(scenario, change.path) if _related(path, change.path)]
        whys = [reasons.get(places.written(path)) for path in leaves]
        if whys and all(why is not None for why in whys):
            vain[".".join(change.keys)] = str(whys[0])
    findings = None
    if whole:
        try:
            found = warnings_of(scenario, places)
        except Exception as error:  # whatever it is: the runs do not depend on it
            return Look(vain, (Advice("", "", f"lint has failed ({type(error).__name__}: {error})"),))
        findings = tuple(Advice(f.rule.code, f.place.key, brief(f)) for f in found)
    return Look(vain, findings)


def _related(one: KeyPath, other: KeyPath) -> bool:
    """Return whether one of two keys is the other, or stands in it."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _written_below(scenario: Scenario, path: KeyPath) -> list[KeyPath]:
    """Return the keys, of those whose effect is known, that a change has written."""
    found: list[KeyPath] = []
    tables: list[tuple[KeyPath, object]] = []
    for kind in ("tcp", "mptcp"):
        tables.append((("defaults", kind), getattr(scenario.defaults, kind)))
        tables += [(("hosts", name, kind), getattr(host, kind)) for name, host in scenario.hosts.items()]
        for side in ("", "client_", "server_"):
            tables += [
                (("flows", index, f"{side}{kind}"), getattr(flow, f"{side}{kind}"))
                for index, flow in enumerate(scenario.flows)
                if path[:1] == ("flows",)
            ]
    for index, link in enumerate(scenario.links):
        tables.append((("links", index), link))
        tables += [(("links", index, side), getattr(link, side)) for side in ("forward", "backward")]
    for table, settings in tables:
        if _related(table, path):
            keys = sorted(getattr(settings, "model_fields_set", ()))
            found += [(*table, key) for key in keys if key not in ("forward", "backward")]
    return found


def advice(points: Sequence[Point], looks: Sequence[Look], axes: Sequence[str]) -> list[str]:
    """Return what is to be said before the runs, a line each.

    Args:
        points: of the plan.
        looks: one for each of them.
        axes: the names of the axes; what else is in vain is a key of ``[sweep.set]``.
    """
    lines = []
    vain = {key: why for key, why in looks[0].vain.items() if all(key in look.vain for look in looks)}
    for key, why in vain.items():
        what = f"the axis {key!r}" if key in axes else f"{key!r} in [sweep.set]"
        lines.append(f"{what} changes nothing: {why}")
    told: dict[tuple[str, str], list[int]] = {}
    texts: dict[tuple[str, str], str] = {}
    asked = 0
    for number, look in enumerate(looks):
        asked += look.findings is not None
        for finding in look.findings or ():
            if finding.code[1:2] == _EFFECT and finding.key in vain:
                continue
            told.setdefault((finding.code, finding.key), []).append(number)
            texts.setdefault((finding.code, finding.key), finding.text)
    for mark, numbers in list(told.items())[:MOST_FINDINGS]:
        lines.append(texts[mark] + _where(points, sorted(set(numbers)), asked))
    if len(told) > MOST_FINDINGS:
        lines.append(f"and {len(told) - MOST_FINDINGS} more of this kind")
    return lines


def _where(points: Sequence[Point], numbers: Sequence[int], asked: int) -> str:
    """Return at which points something was found; nothing if it is at all of them."""
    if len(numbers) == asked:
        return ""
    return f" (at {len(numbers)} of {asked} points, such as {point_text(points[numbers[0]])})"


def point_text(point: Point) -> str:
    """Return the values of a point for people."""
    return "{" + ", ".join(f"{name} = {value!r}" for name, value in point.parameters.items()) + "}"
