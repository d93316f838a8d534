"""The tools that count instructions: arithmetic, output, what is stored, and callgrind itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import expected
import instructions
import pytest
from expected import Stored
from instructions import Cost
from run import Failed

ROOT = Path(__file__).resolve().parent.parent
MARKS = ("events: Ir\ntotals: 700\n", "events: Ir\ntotals: 123456\n")


def output(packets: int = 100) -> str:
    return json.dumps({"packets": packets, "compiled": True, "checkout": str(ROOT)})


def cost(per_packet: int, checkout: str = "a", workload: str = "W1") -> Cost:
    return Cost(workload, checkout, 100 * per_packet, 100, True)


# --- instructions.py ----------------------------------------------------------------------------


def test_what_comes_before_the_first_mark_is_not_counted() -> None:
    found = instructions.read_cost("W1", str(ROOT), output(), MARKS)
    assert found == Cost("W1", str(ROOT), 123456, 100, True)
    assert found.per_packet == 1234.56


@pytest.mark.parametrize("marks", [MARKS[:1], (), (*MARKS, MARKS[0]), (MARKS[0], "events: Ir\n")])
def test_a_missing_mark_is_an_error(marks: tuple[str, ...]) -> None:
    with pytest.raises(Failed, match="two were to be"):
        instructions.read_cost("W1", str(ROOT), output(), marks)


def test_no_packet_is_an_error() -> None:
    with pytest.raises(Failed, match="further apart"):
        instructions.read_cost("W1", str(ROOT), output(0), MARKS)


def test_another_package_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="is the path right"):
        instructions.read_cost("W1", str(tmp_path), output(), MARKS)


def test_each_checkout_is_compared_with_the_first() -> None:
    costs = [cost(50_000, "a"), cost(51_000, "b"), cost(45_000, "c")]
    assert [instructions.change(one, costs) for one in costs] == [None, pytest.approx(2), pytest.approx(-10)]


def test_a_folder_without_the_package_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert instructions.main([str(tmp_path)]) == 2
    assert "name the root of a checkout" in capsys.readouterr().err


@pytest.mark.parametrize(("after", "status"), [(50_900, 0), (51_100, 1)])
def test_the_limit_decides_the_exit_status(
    after: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = {"a": cost(50_000), "b": cost(after)}
    monkeypatch.setattr(instructions, "measure", lambda workload, checkout, *_: costs[checkout])
    assert instructions.main(["a", "b", "--workloads", "W1", "--limit", "2"]) == status
    printed = capsys.readouterr()
    assert f"{after / 500 - 100:+.2f} %" in printed.out
    assert ("more than +2 %" in printed.err) == (status == 1)


@pytest.mark.tool("valgrind")
def test_more_work_a_packet_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callgrind itself, with programs whose packets take a known number of additions each."""
    script = tmp_path / "counted.py"
    monkeypatch.setattr(instructions, "COUNTED", script)
    costs = []
    for additions in (100, 100, 150):
        script.write_text(COUNTED.format(additions=additions, root=str(ROOT)), encoding="utf-8")
        costs.append(instructions.measure("W1", str(ROOT), (0.1, 0.3), sys.executable))
    plain, again, slower = costs
    assert plain.packets == 2000
    assert again.instructions == pytest.approx(plain.instructions, rel=1e-4)
    assert 1.4 < slower.per_packet / plain.per_packet < 1.55


#: A program in the form of counted.py.
COUNTED = """
import json, os, sys

def run(seconds):
    packets = round(seconds * 10_000)
    for _ in range(packets):
        for _ in range({additions}):
            pass
    return packets

before = run(float(sys.argv[2]))
os.getppid()
after = before + run(float(sys.argv[3]) - float(sys.argv[2]))
os.getppid()
print(json.dumps(dict(packets=after - before, compiled=False, checkout={root!r})))
"""


# --- expected.py --------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of figures: W1 takes 1,000 instructions, W2 2,000."""
    file = tmp_path / "expected.json"
    monkeypatch.setattr(expected, "FILE", file)
    monkeypatch.setattr(expected, "key", lambda compiled: "this one" if compiled else "interpreted")
    expected.write(file, {"this one": {"W1": Stored(1000), "W2": Stored(2000, "checksums")}})
    return file


def measured(monkeypatch: pytest.MonkeyPatch, w1: int, w2: int) -> None:
    costs = [cost(w1, workload="W1"), cost(w2, workload="W2")]
    monkeypatch.setattr(expected, "measure", lambda root: costs)


@pytest.mark.parametrize(
    ("w1", "w2", "status"),
    [(1000, 2000, 0), (1029, 2058, 0), (500, 900, 0), (1031, 2000, 1), (1000, 2061, 1)],
)
def test_three_per_cent_more_are_too_much(
    w1: int,
    w2: int,
    status: int,
    stored: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured(monkeypatch, w1, w2)
    assert expected.main([]) == status
    printed = capsys.readouterr().out
    assert f"W1: {w1:,} instructions a data packet, 1,000 stored" in printed
    assert ("--reason TEXT" in printed) == (status == 1)
    assert ("less: store it" in printed) == (w1 == 500)


def test_what_is_less_is_stored(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 900, 1999)
    assert expected.main(["--write"]) == 0
    assert expected.read(stored) == {"this one": {"W1": Stored(900), "W2": Stored(1999)}}


def test_what_is_more_is_stored_with_a_reason_only(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 1001, 1500)
    assert expected.main(["--write"]) == 1
    assert expected.read(stored) == {"this one": {"W1": Stored(1000), "W2": Stored(1500)}}
    assert expected.main(["--write", "--reason", "pacing"]) == 0
    assert expected.read(stored)["this one"]["W1"] == Stored(1001, "pacing")


def test_an_unknown_interpreter_is_compared_with_the_base(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The base is checked out for real; what it takes is given."""
    expected.write(stored, {"another one": {"W1": Stored(1), "W2": Stored(1)}})
    roots: list[Path] = []

    def measure(root: Path) -> list[Cost]:
        roots.append(root)
        assert (root / "mptcpsim" / "__init__.py").exists()
        factor = 1 if len(roots) == 1 else 2
        return [Cost(workload, str(root), 1000 * factor, 1, False) for workload in ("W1", "W2")]

    monkeypatch.setattr(expected, "measure", measure)
    monkeypatch.setattr(expected, "base_commit", lambda: "HEAD")
    assert expected.main([]) == 0
    assert "1,000 instructions a data packet, 2,000 at HEAD (-50.00 %)" in capsys.readouterr().out
    assert roots[0] == ROOT
    assert not roots[1].exists()
    assert str(roots[1]) not in expected.git("worktree", "list")


def test_the_base_is_one_of_the_history() -> None:
    assert expected.git("cat-file", "-t", expected.base_commit()) == "commit"


def test_without_a_base_the_remedy_is_named(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(monkeypatch, 1000, 2000)
    stored.unlink()
    monkeypatch.setattr(expected, "git", lambda *_: "")
    assert expected.main([]) == 2
    assert "fetch the history, or name one by --base" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"a": {"W1": 3}}', '{"a": {"W1": {"cost": 3}}}'])
def test_a_file_that_is_something_else_is_refused(
    text: str, stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(monkeypatch, 1000, 2000)
    stored.write_text(text, encoding="utf-8")
    assert expected.main([]) == 2
    assert f"{stored}: " in capsys.readouterr().err


def test_the_key_names_interpreter_machine_and_compiler() -> None:
    found = expected.key(True)
    assert f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro} (" in found
    assert ", compiled by " in found
    assert expected.key(False).endswith(", interpreted")


@pytest.mark.parametrize(
    "options", [["--reason", "pacing"], ["--base", "HEAD", "--write"]], ids=["reason", "base"]
)
def test_options_that_exclude_each_other_are_refused(options: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        expected.main(options)
    assert ended.value.code == 2


def test_what_is_in_the_repository_can_be_read() -> None:
    for name, entries in expected.read(ROOT / "benchmarks" / "expected.json").items():
        assert set(entries) == set(instructions.SPANS), name
        assert all(entry.instructions > 0 for entry in entries.values())
