"""From ``[sweep]`` to points: which values each of them has, and which keys of the scenario they change."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mptcpsim.scenario.errors import KeyPath, Problem
from mptcpsim.scenario.overrides import Override
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.sweep_settings import MAX_VALUES, SweepSpec
from mptcpsim.streams import stream
from mptcpsim.suggest import did_you_mean
from mptcpsim.sweep.expressions import Expression, ExpressionError, Template
from mptcpsim.sweep.sampling import axis_values, sampled_points

#: Columns of a campaign's table that an axis cannot be called.
RESERVED = ("run", "point", "replicate", "code", "status", "message")

#: The axis that is no parameter of a scenario but the source of its randomness.
SEED = "seed"


class Point(NamedTuple):
    """One combination of values.

    Attributes:
        number: its place in the plan, from 0.
        parameters: the value of each axis.
    """

    number: int
    parameters: dict[str, Any]


class Plan:
    """The points of a sweep.

    Attributes:
        spec: the table ``[sweep]``.
        axes: the names of the axes, in the order of the table.
        points: what is left of the combinations after ``where``.
    """

    def __init__(self, spec: SweepSpec) -> None:
        """Work out all points.

        Raises:
            Problem: the table contradicts itself, names an axis that does nothing, or gives no point.
        """
        self.spec = spec
        self._templates: dict[str, Template] = {}
        for key, value in spec.set.items():
            with _at("sweep", "set", key):
                self._templates[key] = Template(value)
        parts = list(_parts(spec))
        self.axes = [name for _, part in parts for name in part[0]]
        self._check_axes(parts)
        self.points = [Point(number, values) for number, values in enumerate(self._combinations(parts))]
        if not self.points:
            raise Problem(("sweep", "where"), "no point is left: loosen a condition or add values")

    def _check_axes(self, parts: list[tuple[KeyPath, list[dict[str, Any]]]]) -> None:
        if not parts:
            raise Problem(
                ("sweep",), 'there is no axis: add one, such as grid = {"links.0.rate" = ["1Mbps", "2Mbps"]}'
            )
        seen: dict[str, KeyPath] = {}
        for path, part in parts:
            for name in part[0]:
                if name in seen:
                    raise Problem((*path, name), f"the axis {name!r} is in two parts of the sweep: keep one")
                if name in RESERVED:
                    raise Problem((*path, name), f"{name!r} is a column of every table: choose another name")
                seen[name] = path
        for key, template in self._templates.items():
            if not _is_key(key):
                raise Problem(
                    ("sweep", "set", key),
                    f"{key!r} is no key of a scenario; {did_you_mean(key, list(Scenario.model_fields))}",
                )
            if key in seen:
                raise Problem(("sweep", "set", key), f"{key!r} is an axis, too: keep one of the two")
            for name in sorted(template.names - set(seen)):
                raise Problem(
                    ("sweep", "set", key),
                    f"{name!r} is no axis of the sweep; {did_you_mean(name, list(seen))}",
                )
        for name in self.spec.metrics:
            if name in seen or name in RESERVED or name == SEED:
                raise Problem(
                    ("sweep", "metrics", name),
                    f"{name!r} is another column of the table: choose another name",
                )
        used = {name for template in self._templates.values() for name in template.names}
        for name, path in seen.items():
            if not _is_key(name) and name not in used:
                raise Problem(
                    (*path, name),
                    f"the axis {name!r} changes nothing: it is no key of a scenario, and [sweep.set] does "
                    f'not use it; add a line such as "links.0.delay" = "{{{name}}}" there',
                )
        if SEED in seen and self.spec.replicates > 1:
            raise Problem(("sweep", "replicates"), "an axis is the seed already: keep one of the two")
        if SEED in seen and self.spec.precision is not None:
            raise Problem(("sweep", "precision"), "an axis is the seed, so there are no replicates: drop it")

    def _combinations(self, parts: list[tuple[KeyPath, list[dict[str, Any]]]]) -> Iterator[dict[str, Any]]:
        """Cross the parts, leave out what ``where`` excludes and what came before."""
        total = 1
        for _, part in parts:
            total *= len(part)
        if total > MAX_VALUES:
            raise Problem(("sweep",), f"{total} points are more than the {MAX_VALUES} that a sweep may have")
        conditions = []
        for number, text in enumerate(self.spec.where):
            with _at("sweep", "where", number):
                conditions.append(Expression(text))
        seen: set[str] = set()
        for combination in itertools.product(*(part for _, part in parts)):
            values = {name: value for piece in combination for name, value in piece.items()}
            with _at("sweep", "where"):
                if not all(condition(values) for condition in conditions):
                    continue
            mark = json.dumps(values, sort_keys=True, default=str)
            if mark not in seen:
                seen.add(mark)
                yield values

    def changes(self, point: Point) -> list[Override]:
        """Return what a point changes in the scenario.

        Raises:
            Problem: a template of ``[sweep.set]`` cannot be filled in.
        """
        changes = [
            Override.of_point(name, value) for name, value in point.parameters.items() if _is_key(name)
        ]
        for key, template in self._templates.items():
            with _at("sweep", "set", key):
                changes.append(Override.of_point(key, template(point.parameters)))
        return changes

    def refuse_vain(self, overrides: Sequence[Override]) -> None:
        """Refuse ``--set`` of a key that every point gives a value of its own.

        Raises:
            Problem: one of them would change nothing.
        """
        axes = [Override.of_point(name, None) for name in self.axes if _is_key(name)]
        templates = [Override.of_point(key, None) for key in self._templates]
        for where, changes in (("an axis", axes), ("in [sweep.set]", templates)):
            for change in changes:
                for override in overrides:
                    if override.keys[: len(change.keys)] == change.keys:
                        raise Problem(
                            (), f"{override.said} changes nothing, as {'.'.join(change.keys)} is {where}: "
                            "change it there, or drop the --set",
                        )  # fmt: skip

    def seed(self, base: int, point: Point, replicate: int) -> int:
        """Return the seed of a replicate.

        Replicate 0 of common seeds has the scenario's own; the others' are independent of it and
        of each other. With independent seeds the point's values are mixed in, so that points that
        are added change nothing for the others.
        """
        if SEED in point.parameters:
            return base
        if self.spec.seeds == "common":
            return base if replicate == 0 else stream(base, f"replicate/{replicate}").getrandbits(62)
        values = json.dumps(point.parameters, sort_keys=True, default=str)
        return stream(base, f"replicate/{replicate}/{values}").getrandbits(62)

    def __len__(self) -> int:
        return len(self.points)


def _parts(spec: SweepSpec) -> Iterator[tuple[KeyPath, list[dict[str, Any]]]]:
    """Return the parts that are crossed: where each stands, and its points."""
    if spec.points:
        names = list(spec.points[0])
        for number, values in enumerate(spec.points):
            if set(values) != set(names):
                odd = sorted(set(values) ^ set(names))
                raise Problem(
                    ("sweep", "points", number),
                    f"all points have the same keys, and {odd[0]!r} is not in all of them: add it",
                )
        yield ("sweep", "points"), [{name: values[name] for name in names} for values in spec.points]
    if spec.zip:
        columns = {name: axis_values(axis) for name, axis in spec.zip.items()}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            each = ", ".join(f"{name!r} {length}" for name, length in lengths.items())
            raise Problem(("sweep", "zip"), f"zipped axes are equally long, these have {each}: even them out")
        rows = zip(*columns.values(), strict=True)
        yield ("sweep", "zip"), [dict(zip(columns, row, strict=True)) for row in rows]
    for name, axis in spec.grid.items():
        yield ("sweep", "grid"), [{name: value} for value in axis_values(axis)]
    if spec.sample is not None:
        yield ("sweep", "sample", "axes"), sampled_points(spec.sample)


def _is_key(name: str) -> bool:
    """Return whether an axis is named by a key of the scenario, not by a word of the user's own."""
    return "." in name or name in Scenario.model_fields


class _at:  # noqa: N801 - reads as a preposition
    """Turns an ``ExpressionError`` into the problem of a place."""

    def __init__(self, *path: str | int) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ExpressionError):
            raise Problem(self._path, str(error)) from None
