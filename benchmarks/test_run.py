"""The entry point of the benchmarks, and every workload once, very small."""

from __future__ import annotations

import json
from pathlib import Path

import cases
import pytest
import run
from cases import CASES, chosen
from run import Cost

ROOT = Path(__file__).resolve().parent.parent

#: The share of the full size at which each workload still has something to measure.
TINY = {
    "W1": 0.003,
    "W2": 0.01,
    "W2/ack-every-1": 0.01,
    "W3/1000/one": 0.06,
    "W4": 0.02,
    "W5": 0.001,
    "W6": 0.004,
    "W8": 0.005,
    "window": 0.04,
    "loss": 0.005,
    "hops": 0.01,
    "W3": 0.03,
    "subflows": 0.02,
}
#: They take too long for a test, even when they are small: a thousand pairs of hosts, 128 hosts. They run
#: what their smaller brothers run.
LARGE = {"W3/1000/pairs", "W4/k8/1", "W4/k8/4", "W4/k8/8", "window/30", "window/100", "W7/figures"}


def share(name: str) -> float:
    return TINY.get(name, TINY.get(name.partition("/")[0], 1.0))


@pytest.mark.parametrize("name", [name for name in CASES if name not in LARGE])
def test_each_workload_gives_its_figures(name: str) -> None:
    cost = Cost(CASES[name], str(ROOT))
    run.measure(cost, share(name))
    for figure in cost.case.decides:
        assert cost.median(figure) is not None
    figures = cost.runs[0]
    assert all(value >= 0 for value in figures.values())
    if "us/hop" in figures:
        assert figures["hops"] > figures["packets"] > 0
        assert {"simulated/wall", "peak MiB", "hops/CPU s"} <= set(figures)


def test_every_name_is_of_a_workload() -> None:
    assert set(CASES) >= LARGE
    assert {name.partition("/")[0] for name in CASES} >= {name.partition("/")[0] for name in TINY}


def test_a_name_stands_for_all_that_begin_with_it() -> None:
    assert [case.name for case in chosen(["W3/100", "W1"])] == ["W1", "W3/100/one", "W3/100/pairs"]
    assert [case.name for case in chosen(["W?"])] == ["W1", "W2", "W5", "W6", "W8"]


def test_an_unknown_name_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["W9"]) == 2
    printed = capsys.readouterr().err
    assert "no workload is called 'W9'" in printed
    assert "W3/1000/pairs" in printed


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["W1", "--against", str(tmp_path)]) == 2
    assert "name the root of a checkout" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--repeat", "0"), ("--size", "0"), ("--size", "nan")])
def test_a_number_out_of_range_is_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(["W1", option, value])
    assert ended.value.code == 2
    assert f"{option} {value}" in capsys.readouterr().err


def test_another_package_than_the_one_named_is_not_measured(tmp_path: Path) -> None:
    """A checkout whose interpreter finds the package elsewhere."""
    (tmp_path / "mptcpsim").symlink_to(ROOT / "mptcpsim")
    with pytest.raises(run.Failed, match="was measured"):
        run.measure(Cost(CASES["W1"], str(tmp_path)), 0.003)


def test_a_workload_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["W1", "--size", "1e-6", "--repeat", "1"]) == 2
    printed = capsys.readouterr().err
    assert "W1 in" in printed
    assert "larger --size" in printed


def test_checkouts_take_turns_and_medians_are_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turns: list[str] = []
    times = {"old": iter((9.0, 4.0, 5.0)), "new": iter((1.0, 2.5, 3.0))}

    def measure(cost: Cost, size: float) -> None:
        turns.append(cost.checkout)
        cost.core = "compiled"
        cost.runs.append({"us/packet": next(times[cost.checkout]), "peak MiB": 40.0})

    monkeypatch.setattr(run, "measure", measure)
    assert run.main(["W1", "--against", "old", "--checkout", "new", "--repeat", "3"]) == 0
    assert turns == ["old", "new"] * 3
    lines = capsys.readouterr().out.splitlines()
    old, new = (next(line.split() for line in lines if name in line) for name in ("old", "new"))
    assert old[3:7] == ["5", "4", "9", "us/packet"]
    assert new[3:9] == ["2.5", "1", "3", "us/packet", "0.500", "(1/2.00)"]
    assert new[-1] == "40"


def test_every_figure_goes_into_the_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "measure", lambda cost, size: cost.runs.append({"us/packet": 1.5}))
    file = tmp_path / "figures.json"
    assert run.main(["W1", "--repeat", "2", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert [cost["runs"] for cost in found["costs"]] == [[{"us/packet": 1.5}] * 2]
    assert found["costs"][0]["workload"] == "W1"


def test_what_is_measured_before_a_failure_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(cost: Cost, size: float) -> None:
        if cost.case.name != "W1":
            raise run.Failed("no")
        cost.runs.append({"us/packet": 1.5})

    monkeypatch.setattr(run, "measure", measure)
    assert run.main(["W1", "W2", "--repeat", "1"]) == 2
    assert "1.5" in capsys.readouterr().out


def test_workloads_are_the_same_run_after_run() -> None:
    """Figures of two runs differ in times alone."""
    one, other = (cases.CASES["W2"].measure(0.01) for _ in range(2))
    for name in ("packets", "hops", "drops", "events"):
        assert one[name] == other[name]
