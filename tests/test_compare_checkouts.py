"""The comparison of two checkouts finds what differs, and tells it from what is new."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mptcpsim
from mptcpsim import loads
from mptcpsim.results.rundir import RunDirectory
from mptcpsim.scenario.run import run_scenario
from tests import compare_checkouts
from tests.compared_results import compare_directories
from tests.random_scenarios import random_scenario

ROOT = Path(mptcpsim.__file__).resolve().parent.parent

#: A package whose main module does something before the real one is run.
MAIN = "import sys\n{before}\nfrom mptcpsim.cli import main\nmain()\n"
OTHER_DELAY = 'sys.argv += ["--set", "links.0.delay=33ms"]'
NEW_KEY = """
from mptcpsim.results.rundir import RunDirectory
write = RunDirectory.write_json
def wider(self, name, value):
    for flow in value.get("flows", ()):
        flow["novel"] = 1
    write(self, name, value)
RunDirectory.write_json = wider
"""


def checkout(directory: Path, before: str = "") -> Path:
    """Copy the package; ``before`` is done before every run."""
    shutil.copytree(ROOT / "mptcpsim", directory / "mptcpsim", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "experiments").mkdir()
    shutil.copyfile(ROOT / "README.md", directory / "README.md")
    (directory / "mptcpsim" / "__main__.py").write_text(MAIN.format(before=before), encoding="utf-8")
    return directory


@pytest.mark.slow
def test_of_two_checkouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = checkout(tmp_path / "before")
    how = ["--only", "random", "--random", "2", "--jobs", "1", "--cache", str(tmp_path / "cache")]

    def compare(after: Path) -> tuple[int, str]:
        status = compare_checkouts.main([str(before), str(after), *how])
        return status, capsys.readouterr().out

    assert compare(before) == (0, "2 of 2 equal to the bit (runs by exit status: 0: 2).\n")
    status, text = compare(checkout(tmp_path / "wider", NEW_KEY))
    assert status == 0
    assert "summary.json: flows.*.novel  (2 runs)" in text
    status, text = compare(checkout(tmp_path / "other", OTHER_DELAY))
    assert status == 1
    assert "0 of 2 equal" in text
    for name in ("summary.json", "series.parquet", "pcapng", "scenario.toml"):
        assert name in text


def test_every_group_has_jobs_with_names_of_their_own() -> None:
    for group in compare_checkouts.GROUPS:
        jobs = compare_checkouts.jobs_of([group], ROOT, 3)
        assert len({job.name for job in jobs}) == len(jobs) > 1


def test_what_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_checkouts.main(["no-such-commit"]) == 2
    assert "neither a directory with the package mptcpsim nor a commit" in capsys.readouterr().err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a short run."""
    out = tmp_path_factory.mktemp("run") / "out"
    with RunDirectory(out) as directory:
        run_scenario(loads(random_scenario(1).text), directory, pcap=True)
    return out


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


class TestFiles:
    def test_equal_runs(self, run: Path, copy: Path) -> None:
        meta = json.loads((copy / "meta.json").read_text())
        (copy / "meta.json").write_text(json.dumps(meta | {"wall_s": 1e9, "git_revision": "x"}))
        assert compare_directories(run, copy) == ([], [], [])

    def test_a_value_of_the_summary(self, run: Path, copy: Path) -> None:
        summary = json.loads((copy / "summary.json").read_text())
        summary["flows"][0]["subflows"][0]["cwnd_bytes"] += 1
        (copy / "summary.json").write_text(json.dumps(summary))
        (found,) = compare_directories(run, copy).differences
        assert (found.file, found.where) == ("summary.json", "flows.0.subflows.0.cwnd_bytes")

    def test_a_key_that_is_gone_and_a_number_of_another_type(self, run: Path, copy: Path) -> None:
        text = (copy / "summary.json").read_text()
        summary = json.loads(text)
        del summary["flows"][0]["goodput_bps"]
        (copy / "summary.json").write_text(json.dumps(summary))
        (found,) = compare_directories(run, copy).differences
        assert (found.where, found.after) == ("flows.0.goodput_bps", "(absent)")
        summary = json.loads(text)
        summary["seed"] = float(summary["seed"])
        (copy / "summary.json").write_text(json.dumps(summary))
        (found,) = compare_directories(run, copy).differences
        assert found.where == "seed"

    def test_the_last_bit_of_a_series(self, run: Path, copy: Path) -> None:
        table = pq.read_table(copy / "series.parquet")
        values = table["value"].to_pylist()
        values[57] = math.nextafter(values[57], math.inf)
        pq.write_table(table.set_column(5, "value", pa.array(values)), copy / "series.parquet")
        (found,) = compare_directories(run, copy).differences
        assert found.file == "series.parquet"
        assert found.where.startswith("row 57, value, ")

    def test_series_that_are_new_and_series_that_are_gone(self, run: Path, copy: Path) -> None:
        table = pq.read_table(copy / "series.parquet")
        metrics = ["novel" if name == "cwnd_bytes" else name for name in table["metric"].to_pylist()]
        novel = table.set_column(4, "metric", pa.array(metrics))
        both = pa.concat_tables([novel.slice(0, 100), table, novel.slice(100)])
        only_new = pa.array([name == "novel" for name in both["metric"].to_pylist()])
        index = [i for i, new in enumerate(only_new.to_pylist()) if new or 100 <= i < 100 + len(table)]
        pq.write_table(both.take(index), copy / "series.parquet")
        found = compare_directories(run, copy)
        assert found.differences == []
        assert set(found.new) == {"series.parquet: novel"}
        pq.write_table(novel, copy / "series.parquet")
        assert compare_directories(run, copy).differences

    def test_an_octet_of_a_capture(self, run: Path, copy: Path) -> None:
        path = copy / "C.eth0.pcapng"
        data = bytearray(path.read_bytes())
        data[-12] ^= 1
        path.write_bytes(data)
        (found,) = compare_directories(run, copy).differences
        assert found.file == "C.eth0.pcapng"
        assert found.where.startswith("packet ")
        path.write_bytes(data[: len(data) // 2])
        assert compare_directories(run, copy).differences
        path.unlink()
        (found,) = compare_directories(run, copy).differences
        assert (found.file, found.after) == ("C.eth0.pcapng", "missing")


def test_random_scenarios_are_the_same_for_the_same_number_and_can_be_run() -> None:
    texts = [random_scenario(number).text for number in range(200)]
    assert texts[:20] == [random_scenario(number).text for number in range(20)]
    assert len(set(texts)) == 200
    for text in texts[::10]:
        loads(text)
