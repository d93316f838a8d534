"""From ``[sweep]`` to points: axes, expressions, samples, seeds, and what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim import loads
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.load import ScenarioSource, dumps
from mptcpsim.scenario.sweep_settings import RangeSpec, SampleSpec, SweepSpec
from mptcpsim.sweep.agenda import Sweep
from mptcpsim.sweep.campaign import group
from mptcpsim.sweep.expressions import Expression, ExpressionError, Template
from mptcpsim.sweep.plan import Plan
from mptcpsim.sweep.sampling import axis_values, sampled_points
from mptcpsim.sweep.statistics import Interval, mean_interval
from tests.sweep.scenarios import BASE, GRID, sweep, written


def plan(**table: Any) -> Plan:
    return Plan(SweepSpec.model_validate(table))


def points(**table: Any) -> list[tuple[Any, ...]]:
    return [tuple(point.parameters.values()) for point in plan(**table).points]


class TestAxes:
    def test_a_grid_is_every_combination_in_the_order_of_the_file(self) -> None:
        assert points(grid={"a.x": [1, 2], "a.y": ["u", "v"]}) == [(1, "u"), (1, "v"), (2, "u"), (2, "v")]

    def test_zipped_axes_go_side_by_side(self) -> None:
        assert points(zip={"a.x": [1, 2], "a.y": ["u", "v"]}) == [(1, "u"), (2, "v")]

    def test_points_are_taken_as_they_are(self) -> None:
        assert points(points=[{"a.x": 1, "a.y": 2}, {"a.y": 4, "a.x": 3}]) == [(1, 2), (3, 4)]

    def test_parts_are_crossed(self) -> None:
        found = points(points=[{"p.p": 0}, {"p.p": 1}], zip={"z.z": [5, 6]}, grid={"g.g": [8, 9]})
        assert found == [(p, z, g) for p in (0, 1) for z in (5, 6) for g in (8, 9)]

    def test_names_may_be_written_as_tables(self) -> None:
        text = BASE + "[sweep.grid]\nlinks.a.delay = ['5ms']\nlinks.b.queue = {from = 1, to = 3, step = 1}\n"
        spec = loads(text).sweep
        assert spec is not None
        assert Plan(spec).axes == ["links.a.delay", "links.b.queue"]
        assert len(Plan(spec)) == 3

    @pytest.mark.parametrize(
        ("table", "values"),
        [
            ({"from": 1, "to": 10, "steps": 10}, list(range(1, 11))),
            ({"from": 1, "to": 10, "step": 3}, [1, 4, 7, 10]),
            ({"from": 1, "to": 9, "step": 3}, [1, 4, 7]),
            ({"from": 0.0, "to": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
            ({"from": 1, "to": 2, "step": 0.5}, [1.0, 1.5, 2.0]),
            ({"from": 1, "to": 1000, "steps": 4, "scale": "log"}, [1, 10, 100, 1000]),
            ({"from": 1, "to": 3, "steps": 9}, [1, 2, 3]),
            ({"from": "10ms", "to": "30ms", "steps": 3}, ["10ms", "20ms", "30ms"]),
            ({"from": "64KiB", "to": "1MiB", "steps": 5, "scale": "log"},
             ["64KiB", "128KiB", "256KiB", "512KiB", "1MiB"]),
            ({"from": "1Mbps", "to": "2Mbps", "step": "500kbps"}, ["1Mbps", "1500kbps", "2Mbps"]),
            ({"from": 7, "to": 7, "steps": 1}, [7]),
        ],
    )  # fmt: skip
    def test_a_range_is_counted_out(self, table: dict[str, Any], values: list[Any]) -> None:
        assert axis_values(RangeSpec.model_validate(table)) == values

    @given(
        st.integers(1, 1000), st.integers(0, 10**9), st.integers(2, 50), st.sampled_from(["linear", "log"])
    )
    def test_a_range_keeps_to_its_ends_and_rises(self, low: int, width: int, steps: int, scale: str) -> None:
        spec = RangeSpec.model_validate({"from": low, "to": low + width, "steps": steps, "scale": scale})
        values = axis_values(spec)
        assert values[0] == low
        assert values[-1] == low + width or len(values) == 1
        assert values == sorted(set(values))

    def test_combinations_that_come_twice_count_once(self) -> None:
        assert points(grid={"a.x": [1, 1, 2]}) == [(1,), (2,)]

    def test_conditions_leave_points_out(self) -> None:
        found = points(grid={"links.a.delay": ["5ms", "1s"], "n": [1, 2]}, set={"a.b": "{n}"},
                       where=["links.a.delay < '20ms' or n == 2", "not n > 2"])  # fmt: skip
        assert found == [("5ms", 1), ("5ms", 2), ("1s", 2)]

    def test_keys_of_the_scenario_are_set_from_axes(self) -> None:
        made = plan(
            grid={"ratio": [1, 2.5], "buffer": ["64KiB"]},
            set={"links.b.delay": "{ratio * 10}ms", "x.snd": "{buffer}", "x.rcv": "{buffer}", "x.n": 7},
        )
        changes = [{".".join(c.keys): c.value for c in made.changes(point)} for point in made.points]
        common = {"x.snd": "64KiB", "x.rcv": "64KiB", "x.n": 7}
        assert changes == [{"links.b.delay": "10ms", **common}, {"links.b.delay": "25ms", **common}]


class TestSamples:
    @pytest.mark.parametrize("method", ["latin-hypercube", "sobol", "random"])
    def test_a_sample_is_the_same_for_the_same_seed_and_lies_within_its_ranges(self, method: str) -> None:
        table = {
            "method": method, "points": 32, "seed": 3,
            "axes": {"a.delay": {"from": "1ms", "to": "100ms", "scale": "log"}, "a.x": {"from": 1.0, "to": 2.0},
                     "a.w": ["u", "v"]},
        }  # fmt: skip
        found = sampled_points(SampleSpec.model_validate(table))
        assert found == sampled_points(SampleSpec.model_validate(table))
        assert found != sampled_points(SampleSpec.model_validate({**table, "seed": 4}))
        assert len(found) == 32
        assert all(1.0 <= point["a.x"] <= 2.0 for point in found)
        assert {point["a.w"] for point in found} == {"u", "v"}

    def test_a_latin_hypercube_has_one_point_in_every_slice(self) -> None:
        spec = SampleSpec.model_validate(
            {"points": 20, "axes": {"a.x": {"from": 0.0, "to": 20.0}, "a.y": {"from": 0.0, "to": 20.0}}}
        )
        for axis in ("a.x", "a.y"):
            assert sorted(int(point[axis]) for point in sampled_points(spec)) == list(range(20))

    def test_sobol_points_are_balanced(self) -> None:
        spec = SampleSpec.model_validate(
            {
                "method": "sobol",
                "points": 16,
                "axes": {"a.x": {"from": 0.0, "to": 16.0}, "a.y": {"from": 0.0, "to": 16.0}},
            }
        )
        for axis in ("a.x", "a.y"):
            assert sorted(int(point[axis]) for point in sampled_points(spec)) == list(range(16))


class TestExpressions:
    VALUES: ClassVar[dict[str, Any]] = {
        "ratio": 4,
        "buffer": "128KiB",
        "scheduler": "minrtt",
        "links.a.delay": "20ms",
        "on": True,
    }

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("ratio * 10 + 1", 41),
            ("-ratio // 3 % 5 + 2 ** 3", 11),
            ("ratio > 1 and scheduler != 'redundant'", True),
            ("buffer <= '128KiB'", True),
            ("buffer < '0.1MiB'", False),
            ("1 < ratio <= 4", True),
            ("1 < ratio < 4", False),
            ("links.a.delay == '0.02s'", True),
            ("scheduler in ['minrtt', 'blest']", True),
            ("buffer not in ['64KiB']", True),
            ("not on or ratio == 5", False),
            ("ratio if scheduler == 'minrtt' else 0", 4),
            ("max(ratio, 2.5) + min(1, 2) + round(1.4) + abs(-1)", 7),
        ],
    )
    def test_values(self, text: str, value: Any) -> None:
        found = Expression(text)(self.VALUES)
        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("ratio >", "is not an expression"),
            ("", "is not an expression"),
            ("rati > 1", "'rati' is no axis of the sweep; axes are ratio, buffer"),
            ("buffer * 2", "'128KiB' is not a number; make the axis one of plain numbers"),
            ("buffer < 3", "compares '128KiB', a size, with 3, a number: write both in one unit"),
            ("scheduler < 3", "cannot be evaluated"),
            ("ratio / 0", "cannot be evaluated: division by zero"),
            ("9 ** 9 ** 9", "the exponent"),
            ("__import__('os')", "is not allowed; use numbers"),
            ("ratio.__class__", "is no axis"),
            ("(lambda: 1)()", "is not allowed"),
            ("[x for x in [1]]", "is not allowed"),
            ("ratio is 4", "compare with == and !="),
            ("open('x')", "is not allowed"),
        ],
    )
    def test_what_is_refused(self, text: str, message: str) -> None:
        with pytest.raises(ExpressionError, match=re.escape(message)):
            Expression(text)(self.VALUES)

    def test_names_are_those_of_axes(self) -> None:
        assert Expression("max(ratio, links.a.delay) > n").names == {"ratio", "links.a.delay", "n"}

    def test_a_template_that_is_one_expression_keeps_its_type(self) -> None:
        values = {"n": 3, "on": True, "text": "x"}
        assert [Template(text)(values) for text in ("{n}", "{on}", "{n}ms", "{n / 2}ms", "{n / 3}", "a{text}b{n}")] == [
            3, True, "3ms", "1.5ms", 1.0, "axb3"
        ]  # fmt: skip
        assert Template(5)(values) == 5
        nested = Template([{"via": "10.0.0.{n}", "metric": 1}, "{on}", []])
        assert nested.names == {"n", "on"}
        assert nested(values) == [{"via": f"10.0.0.{values['n']}", "metric": 1}, values["on"], []]


class TestSeeds:
    def seeds(self, **table: Any) -> list[list[int]]:
        made = plan(grid={"a.x": [1, 2]}, replicates=3, **table)
        return [[made.seed(9, point, replicate) for replicate in range(3)] for point in made.points]

    def test_common_seeds_are_the_same_at_every_point(self) -> None:
        first, second = self.seeds()
        assert first == second
        assert first[0] == 9
        assert len(set(first)) == 3

    def test_independent_seeds_are_not(self) -> None:
        first, second = self.seeds(seeds="independent")
        assert len({*first, *second}) == 6
        assert all(0 <= seed < 1 << 63 for seed in first)

    def test_a_point_that_is_added_changes_no_other(self) -> None:
        few = plan(grid={"a.x": [1]}, seeds="independent")
        many = plan(grid={"a.x": [0, 1]}, seeds="independent")
        assert few.seed(9, few.points[0], 1) == many.seed(9, many.points[1], 1)


WRONG = [
    ("[sweep.grid]\n", "sweep: there is no axis"),
    ("[sweep.grid]\n'links.a.delay' = []\n", "line 25: sweep.grid.links.a.delay: an axis without values"),
    ("[sweep.grid]\n'links.a.delay' = 5\n", "5 is not an axis: write a list"),
    ("[sweep.grid]\nduration = {from = 1, to = 0, steps = 2}\n", "runs backwards"),
    ("[sweep.grid]\nduration = {from = '1s', to = '1Mbps', steps = 2}\n", "a time and a rate; give both ends one"),
    ("[sweep.grid]\nduration = {from = '1s', to = '2x', steps = 2}\n", "'2x' is not a quantity"),
    ("[sweep.grid]\nduration = {from = 1, to = 2}\n", "either steps (how many values) or step"),
    ("[sweep.grid]\nduration = {from = 0, to = 2, steps = 2, scale = 'log'}\n", "begins above zero"),
    ("[sweep.grid]\nduration = {from = 0, to = 2, step = 0}\n", "leads nowhere"),
    ("[sweep]\nreplicates = 5\nprecision = {relative = 0.1, max_replicates = 3}\n", "max_replicates = 3 is less than the 5"),
    ("[sweep.grid]\nratio = [1, 2]\n", "the axis 'ratio' changes nothing"),
    ("[sweep.grid]\nrun = [1, 2]\n[sweep.set]\nseed = '{run}'\n", "'run' is a column of every table"),
    ("[sweep.grid]\nratio = [1, 2]\n[sweep.set]\n'links.a.queue' = '{ratoi}'\n", "did you mean 'ratio'?"),
    ("[sweep.grid]\nn = [1, 2]\n[sweep.set]\nqueue = '{n}'\n", "'queue' is no key of a scenario"),
    ("[sweep.grid]\nn = [1, 2]\n[sweep.set]\nseed = '{n +}'\n", "sweep.set.seed: 'n +' is not an expression"),
    ("[sweep]\nwhere = 'n <'\n[sweep.grid]\nn = [1]\n[sweep.set]\nseed = '{n}'\n", "sweep.where.0: 'n <' is not an"),
    ("[sweep]\nwhere = 'seed > 5'\n[sweep.grid]\nseed = [1, 2]\n", "sweep.where: no point is left"),
    ("[sweep]\nreplicates = 2\n[sweep.grid]\nseed = [1, 2]\n", "sweep.replicates: an axis is the seed already"),
    ("[sweep]\nreplicats = 2\n", "unknown key 'replicats'; did you mean 'replicates'?"),
    ("[sweep.zip]\nseed = [1, 2]\nduration = ['1s']\n", "zipped axes are equally long, these have 'seed' 2, 'duration' 1"),
    ("[sweep.zip]\nseed = [1, 2]\n[sweep.grid]\nseed = [1]\n", "the axis 'seed' is in two parts"),
    ("[[sweep.points]]\nseed = 1\n[[sweep.points]]\nduration = '1s'\n", "all points have the same keys"),
    ("[sweep.sample]\npoints = 4\n", "the key 'axes' is missing"),
    ("[sweep.sample]\npoints = 4\nmethod = 'sobel'\n[sweep.sample.axes]\nseed = [1]\n", "sweep.sample.method"),
    ("[sweep.grid]\n'links.a.delay' = ['5ms', '5 furlongs']\n", "links.0.delay (from [sweep] links.a.delay = '5 furlongs')"),
    ("[sweep.grid]\n'links.c.delay' = ['5ms']\n", "has no entry named 'c'"),
    ("[sweep.grid]\n'flows.bulk.client' = ['A', 'Z']\n", "flows.0.client (from [sweep] flows.bulk.client = 'Z')"),
    ("[sweep.grid]\n'links.a.delay' = ['5ms', '0.005s']\n", "are one and the same scenario"),
    ("[sweep]\nwhere = 'links.0.queue > 5'\n[sweep.grid]\n'links.0.queue' = [1, 9]\n", "give the axis a word of your own"),
    ("[sweep]\nmetrics = { seed = 'seed' }\n[sweep.grid]\nseed = [1, 2]\n", "'seed' is another column of the table"),
    ("[sweep]\nmetrics = { status = 'seed' }\n[sweep.grid]\nseed = [1, 2]\n", "'status' is another column of the table"),
    ("[sweep.grid]\nseed = [1]\n[[sweep.figures]]\nname = 'a'\n[[sweep.figures]]\nname = 'a'\n", "two figures are called 'a'"),
    ("", "the scenario has no table [sweep]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_sweep_gets_one_message_and_status_2(text: str, message: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    result = sweep("run", file, "--out", tmp_path / "out", "--jobs", "1")
    assert result.exit_code == 2, result.output
    said = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(said) == 1
    assert said[0].startswith(f"mptcpsim: {file}: ")
    assert message in said[0]
    left = [path.name for path in (tmp_path / "out").glob("*")]
    assert "scenario.toml" not in left


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("links.a.delay=1ms", "links.a.delay is an axis"),
        ("links.b.queue=7", "links.b.queue is in [sweep.set]"),
        ("defaults.mptcp.scheduler=minrtt", "defaults.mptcp is an axis"),
    ],
)
def test_a_change_that_every_point_undoes_is_refused(change: str, where: str, tmp_path: Path) -> None:
    text = (
        "[sweep.grid]\n'links.a.delay' = ['5ms']\n'defaults.mptcp' = [false]\nn = [1]\n"
        "[sweep.set]\nlinks.b.queue = '{n}'\n"
    )
    file = written(tmp_path, text)
    result = sweep("run", file, "--out", tmp_path / "out", "--dry-run", "--set", change)
    assert result.exit_code == 2
    assert f"--set {change!r} changes nothing, as {where}: change it there" in result.stderr
    assert (
        sweep("run", file, "--out", tmp_path / "out", "--dry-run", "--set", "links.a.queue=7").exit_code == 0
    )


def test_a_scenario_with_a_sweep_survives_being_written_and_read() -> None:
    text = BASE + GRID + (
        "queue = {from = 5, to = 20, steps = 4}\n[sweep.set]\n'links.b.queue' = '{queue}'\n"
        "[sweep.sample]\npoints = 4\n[sweep.sample.axes]\nduration = {from = '1s', to = '2s'}\n"
        "[[sweep.figures]]\nname = 'one'\nkind = 'box'\n[sweep.precision]\nrelative = 0.1\n"
    )  # fmt: skip
    scenario = loads(text)
    assert loads(dumps(scenario)) == scenario


def test_where_a_sweep_is_wrong_the_scenario_may_still_be_run() -> None:
    assert loads(BASE + "[sweep.grid]\nratio = [1]\n").sweep is not None
    with pytest.raises(ScenarioError, match="changes nothing"):
        Sweep(ScenarioSource(BASE + "[sweep.grid]\nratio = [1]\n"))


@given(st.lists(st.floats(0.001, 1000), min_size=2, max_size=8))
def test_t_intervals_hold_the_mean_and_widen_with_confidence(values: list[float]) -> None:
    narrow, wide = mean_interval(values, confidence=0.9), mean_interval(values, confidence=0.99)
    assert math.isclose(narrow.mean, sum(values) / len(values))
    assert wide.low <= narrow.low <= narrow.mean + 1e-9
    assert narrow.mean - 1e-9 <= narrow.high <= wide.high


def test_an_interval_is_the_textbooks() -> None:
    from mptcpsim.sweep.statistics import is_narrow

    # Mean 3, s = sqrt(2.5), t(0.975, 4) = 2.776445: 3 +- 1.963243.
    found = mean_interval([1, 2, 3, 4, 5])
    assert (found.values, found.mean) == (5, 3.0)
    assert math.isclose(found.half_width, 1.963243, rel_tol=1e-6)
    assert is_narrow([1, 2, 3, 4, 5], 0.66)
    assert not is_narrow([1, 2, 3, 4, 5], 0.65)
    assert not is_narrow([1], 10.0)
    assert is_narrow([7, 7], 1e-9)
    boot = mean_interval([1, 2, 3, 4, 5], "bootstrap")
    assert boot == mean_interval([1, 2, 3, 4, 5], "bootstrap")
    assert 1.4 < boot.low < 2.2
    assert 3.8 < boot.high < 4.6


class TestPooled:
    """Means over points that are fixed, and replicates that are not."""

    #: Two points far apart; replicates differ by one, by common seeds in both alike.
    ROWS = tuple(
        {"a": a, "status": "done", "seed": 10 + k, "replicate": k, "y": 100.0 * a + k}
        for a in range(2)
        for k in range(3)
    )

    def interval(self, rows: Sequence[dict[str, Any]], **spec: Any) -> Interval:
        (found,) = group(rows, "y", [], SweepSpec.model_validate({"grid": {"a": [0, 1]}, **spec}))
        return found.interval

    def test_the_interval_is_that_of_the_replicates(self) -> None:
        assert self.interval(self.ROWS) == pytest.approx(mean_interval([50, 51, 52]))

    def test_of_a_replicate_that_one_point_lacks_nothing_counts(self) -> None:
        assert self.interval(self.ROWS[:-1]) == pytest.approx(mean_interval([50, 51]))
        # No replicate in common: each point counts the same, and nothing is known of chance.
        found = self.interval([self.ROWS[0], self.ROWS[1], self.ROWS[5]])
        assert found.mean == pytest.approx((0.5 + 102) / 2)
        assert math.isnan(found.low)

    def test_independent_seeds_are_told_by_their_number(self) -> None:
        rows = [{**row, "seed": number} for number, row in enumerate(self.ROWS)]
        assert self.interval(rows, seeds="independent") == pytest.approx(mean_interval([50, 51, 52]))

    def test_an_axis_of_seeds_has_replicates(self) -> None:
        rows = [{**row, "replicate": 0} for row in self.ROWS]
        grid = {"a": [0, 1], "seed": [10, 11, 12]}
        assert self.interval(rows, grid=grid) == pytest.approx(mean_interval([50, 51, 52]))

    def test_points_of_a_sample_are_chance_themselves(self) -> None:
        sample = {"points": 2, "axes": {"a": {"from": 0, "to": 1}}}
        assert self.interval(self.ROWS, grid={}, sample=sample) == pytest.approx(mean_interval([1, 101]))
