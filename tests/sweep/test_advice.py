"""What a sweep says of itself: before the runs what has no effect, after them what has had none."""

from __future__ import annotations

from pathlib import Path

import pytest

from mptcpsim.sweep.advice import MOST_FINDINGS, Advice, Look, advice, sample
from mptcpsim.sweep.equality import Result, equalities
from mptcpsim.sweep.plan import Point
from tests.sweep.scenarios import BASE, run, sweep, written

#: Nothing in it is a matter of chance.
CERTAIN = BASE.replace("loss = 0.01\n", "")
OWN_KEY = CERTAIN.replace('"192.168.0.10/24" }\n', '"192.168.0.10/24" }\ntcp = { congestion = "cubic" }\n')
HIDDEN = "[sweep.grid]\n'defaults.tcp.congestion' = ['cubic', 'reno']\n'links.a.delay' = ['1ms', '2ms']\n"


def said(scenario: Path, out: Path, *arguments: str) -> list[str]:
    result = run(scenario, out, *arguments, jobs=1)
    assert result.exit_code == 0, result.output
    return [line.removeprefix("mptcpsim: ") for line in result.stderr.splitlines()]


def test_an_axis_that_a_key_of_the_host_hides(tmp_path: Path) -> None:
    scenario = written(tmp_path, HIDDEN, OWN_KEY)
    before = "the axis 'defaults.tcp.congestion' changes nothing: hosts.A.tcp.congestion stands closer, "
    before += "B sends no data"
    after = "the axis 'defaults.tcp.congestion' has changed nothing: the runs of all 2 values are equal"
    assert said(scenario, tmp_path / "c") == [before, after]
    dry = sweep("run", scenario, "--out", tmp_path / "d", "--jobs", "1", "--dry-run")
    assert before in dry.stderr
    assert after not in dry.stderr
    assert said(scenario, tmp_path / "e", "--no-lint") == [after]


def test_a_name_of_ones_own_that_is_set_where_it_changes_nothing(tmp_path: Path) -> None:
    table = "[sweep.grid]\ncc = ['cubic', 'reno']\n[sweep.set]\n'hosts.B.tcp.congestion' = '{cc}'\n"
    assert said(written(tmp_path, table, CERTAIN), tmp_path / "c") == [
        "'hosts.B.tcp.congestion' in [sweep.set] changes nothing: B sends no data",
        "the axis 'cc' has changed nothing: the runs of all 2 values are equal",
    ]


def test_an_axis_that_changes_something_at_some_points_only(tmp_path: Path) -> None:
    table = (
        "[sweep.grid]\n'defaults.tcp.congestion' = ['cubic', 'reno']\n'flows.bulk.reverse' = [false, true]\n"
    )
    first, *others = said(written(tmp_path, table, OWN_KEY), tmp_path / "c", "--dry-run")
    assert "congestion of defaults.tcp has no effect" in first
    assert first.endswith(
        "(at 2 of 4 points, such as {defaults.tcp.congestion = 'cubic', flows.bulk.reverse = False})"
    )
    assert "congestion of hosts.A.tcp has no effect: A sends no data (at 2 of 4 points" in others[0]
    assert len(others) == 1


def test_a_scheduler_in_defaults_counts_on_hosts_that_name_a_profile(tmp_path: Path) -> None:
    text = CERTAIN.replace('/24" }\n', "/24\" }\nmptcp = 'linux-6.18'\n")
    table = "[sweep.grid]\nscheduler = ['minrtt', 'roundrobin']\n"
    table += "[sweep.set]\ndefaults.mptcp.scheduler = '{scheduler}'\n"
    (after,) = said(written(tmp_path, table, text), tmp_path / "c")
    assert after.startswith("the axis 'scheduler' has changed nothing")  # there is one subflow only


@pytest.mark.parametrize(
    ("base", "told"),
    [
        (CERTAIN, ["the 3 replicates of each point are equal: nothing in these runs is random"]),
        (BASE.replace("0.01", "0.05"), []),
    ],
)
def test_replicates(tmp_path: Path, base: str, told: list[str]) -> None:
    table = "[sweep]\nreplicates = 3\n[sweep.grid]\n'links.a.delay' = ['1ms', '2ms']\n"
    assert said(written(tmp_path, table, base), tmp_path / "c") == told


def test_seeds(tmp_path: Path) -> None:
    assert said(written(tmp_path, "[sweep.grid]\nseed = [1, 2]\n", CERTAIN), tmp_path / "c") == [
        "the runs of all 2 seeds are equal: nothing in them is random"
    ]


def test_a_single_value_is_no_axis_to_speak_of(tmp_path: Path) -> None:
    assert said(written(tmp_path, "[sweep.grid]\n'links.a.delay' = ['1ms']\n", CERTAIN), tmp_path / "c") == []


def result(mark: str, replicate: int = 0, **values: str) -> Result:
    return Result(values, replicate, mark)


class TestEqualities:
    def test_an_axis_is_judged_where_nothing_else_differs(self) -> None:
        found = [result(x, x=x, y=y) for x in "ab" for y in "pq"]
        assert equalities(found, ["x", "y"]) == [
            "the axis 'y' has changed nothing: the runs of all 2 values are equal"
        ]
        assert equalities([*found, result("c", x="a", y="r")], ["x", "y"]) == []

    def test_zipped_axes_are_judged_together(self) -> None:
        assert equalities([result("m", x=v, y=v) for v in "abc"], ["x", "y"]) == [
            "the axes 'x' and 'y' have changed nothing: the runs of all 3 values are equal"
        ]
        assert equalities([result(v, x=v, y=v) for v in "abc"], ["x", "y"]) == []

    def test_replicates_are_compared_with_their_like(self) -> None:
        found = [result(str(k), k, x=x) for x in "ab" for k in range(2)]
        assert equalities(found, ["x"]) == [
            "the axis 'x' has changed nothing: the runs of all 2 values are equal"
        ]

    def test_one_point_with_chance_is_enough(self) -> None:
        found = [result("m", k, x="a") for k in range(3)] + [result(str(k), k, x="b") for k in range(3)]
        assert equalities(found, ["x"]) == []

    def test_of_nothing(self) -> None:
        assert equalities([], ["x"]) == []


def test_of_many_points_a_sample_is_looked_at_always_the_same() -> None:
    assert sample(5) == set(range(5))
    assert len(sample(1000)) == 64
    assert sample(1000) == sample(1000) <= set(range(1000))


def test_many_findings_are_cut() -> None:
    looks = [Look({}, tuple(Advice("W101", str(n), f"text {n}") for n in range(MOST_FINDINGS + 3)))]
    lines = advice([Point(0, {})], looks, [])
    assert len(lines) == MOST_FINDINGS + 1
    assert lines[-1] == "and 3 more of this kind"


def test_lint_that_fails_is_no_reason_not_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mptcpsim.scenario.load import ScenarioSource
    from mptcpsim.sweep import advice as module

    def broken(*unused: object) -> None:
        raise ZeroDivisionError("0/0")

    monkeypatch.setattr(module, "warnings_of", broken)
    scenario, places = ScenarioSource(BASE).read()
    look = module.look_at(scenario, places, [], whole=True)
    assert look.findings == (Advice("", "", "lint has failed (ZeroDivisionError: 0/0)"),)
