"""The tool that counts instructions: its arithmetic, its reading of output, and callgrind itself."""

from __future__ import annotations

import sys
from pathlib import Path

import instructions
import pytest
from instructions import Cost, Failed, Run

LOG = "==7== Callgrind\n==7== Events    : Ir\n==7== Collected : 123456789\n"
OUTPUT = "compiled             True\ndelivered packets    6271\n"

#: A workload in the form of w1.py whose packets take a known number of additions each.
WORKLOAD = """
import sys
packets = round(float(sys.argv[2]) * 10_000)
for _ in range(packets):
    for _ in range({additions}):
        pass
print("compiled             False")
print("delivered packets   ", packets)
"""


def cost(checkout: str, instructions_of_long: int) -> Cost:
    return Cost("w1", checkout, Run(1_000_000, 10, True), Run(instructions_of_long, 110, True))


def test_start_and_building_are_not_counted() -> None:
    assert cost("a", 6_000_000).per_packet == 50_000


def test_each_checkout_is_compared_with_the_first() -> None:
    costs = [cost("a", 6_000_000), cost("b", 6_100_000), cost("c", 5_500_000)]
    assert [instructions.change(one, costs) for one in costs] == [None, pytest.approx(2), pytest.approx(-10)]


def test_the_figures_are_read_from_both_outputs() -> None:
    assert instructions.read_run(OUTPUT, LOG) == Run(123456789, 6271, True)


@pytest.mark.parametrize(
    ("output", "log", "missing"),
    [
        (OUTPUT, "", "callgrind's total"),
        ("compiled             True\n", LOG, "delivered packets"),
        ("delivered packets    6271\n", LOG, "compiled"),
    ],
)
def test_a_missing_figure_is_named(output: str, log: str, missing: str) -> None:
    with pytest.raises(Failed, match=missing):
        instructions.read_run(output, log)


def test_a_folder_without_the_workload_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert instructions.main([str(tmp_path)]) == 2
    assert "name the root of a checkout" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.tool("valgrind")
def test_more_work_a_packet_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two checkouts under callgrind itself; the second one does half as much again for each packet."""
    for name, additions in (("before", 100), ("after", 150)):
        script = tmp_path / name / "benchmarks" / "w1.py"
        script.parent.mkdir(parents=True)
        script.write_text(WORKLOAD.format(additions=additions))
    names = [str(tmp_path / "before"), str(tmp_path / "after")]
    options = ["--python", sys.executable, "--workloads", "w1", "--limit", "30"]
    assert instructions.main([*names, *options]) == 1
    printed = capsys.readouterr()
    row = next(line for line in printed.out.splitlines() if names[1] in line)
    assert 40 < float(row.split()[-2]) < 52
    assert "more than +30 %" in printed.err


def test_a_small_change_is_within_the_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = {"a": cost("a", 6_000_000), "b": cost("b", 6_090_000)}
    monkeypatch.setattr(instructions, "measure", lambda workload, checkout, *_: costs[checkout])
    assert instructions.main(["a", "b", "--workloads", "w1", "--limit", "2"]) == 0
    assert "+1.80 %" in capsys.readouterr().out
