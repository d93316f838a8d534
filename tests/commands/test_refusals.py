"""A command that is refused leaves nothing behind: no file, no directory, not even an empty one."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mptcpsim.cli import app
from mptcpsim.results.directories import made
from mptcpsim.sweep.store import DATABASE, Store, StoreError
from tests.sweep.scenarios import BASE, run, sweep, written

ONE_RUN = "[sweep.grid]\n'links.a.delay' = ['5ms']\n"


def tree(directory: Path) -> list[tuple[str, bytes]]:
    """Return all that is below a directory."""
    return sorted(
        (str(path.relative_to(directory)), path.read_bytes() if path.is_file() else b"")
        for path in directory.rglob("*")
    )


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("campaign")
    assert run(written(home, ONE_RUN), home / "c", jobs=1).exit_code == 0
    return home / "c"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("[sweep.grid]\n'links.a.delay' = ['10ms', '0.01s', '10ms']\n", "one and the same scenario"),
        ("[sweep.grid]\n'links.nobody.delay' = ['1ms', '5ms']\n", "no entry named 'nobody'"),
        ("[sweep.grid]\n'links.a.delay' = ['5ms', 'fast']\n", "'fast'"),
        ("[sweep]\nwhere = 'x > 2'\n[sweep.grid]\nx = [1]\n[sweep.set]\nseed = '{x}'\n", "no point is left"),
        ("[sweep.points]\n", "sweep.points"),
    ],
)
@pytest.mark.parametrize("out", ["c", "deep/er/c"])
def test_a_sweep(tmp_path: Path, table: str, message: str, out: str) -> None:
    scenario = written(tmp_path, table)
    before = tree(tmp_path)
    result = run(scenario, tmp_path / out, jobs=1)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert tree(tmp_path) == before


def test_a_sweep_whose_twins_are_in_different_shards(tmp_path: Path) -> None:
    scenario = written(tmp_path, "[sweep.grid]\n'links.a.delay' = ['10ms', '0.01s']\n")
    before = tree(tmp_path)
    result = run(scenario, tmp_path / "c", "--shard", "1/2", jobs=1)
    assert result.exit_code == 2
    assert "one and the same scenario" in result.stderr
    assert tree(tmp_path) == before


def test_a_sweep_into_a_campaign_that_is_there(one_run: Path, tmp_path: Path) -> None:
    campaign = tmp_path / "c"
    shutil.copytree(one_run, campaign)
    scenario = written(tmp_path, "[sweep.grid]\n'links.nobody.delay' = ['1ms', '5ms']\n")
    before = tree(tmp_path)
    assert run(scenario, campaign, jobs=1).exit_code == 2
    assert tree(tmp_path) == before


def test_a_sweep_into_what_is_no_campaign(tmp_path: Path) -> None:
    scenario = written(tmp_path / "in", ONE_RUN)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    before = tree(tmp_path)
    result = run(scenario, tmp_path / "mine", jobs=1)
    assert result.exit_code == 2
    assert "is not empty and is no campaign" in result.stderr
    assert tree(tmp_path) == before


def test_a_campaign_without_a_plan_is_none(tmp_path: Path) -> None:
    """What a kill between making the database and storing the plan leaves."""
    Store(tmp_path / "c", create=True).close()
    for command in (["show"], ["status"], ["plot"], ["export", "--out", str(tmp_path / "x.csv")]):
        result = sweep(command[0], tmp_path / "c", *command[1:])
        assert result.exit_code == 2, result.output
        assert "has no plan" in result.stderr
        assert not result.stdout
    assert not (tmp_path / "x.csv").exists()
    assert run(written(tmp_path, ONE_RUN), tmp_path / "c", jobs=1).exit_code == 0
    assert sweep("show", tmp_path / "c").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "{campaign}", "--out", "{home}/nosuch/x.csv"],
        ["export", "{campaign}", "--out", "{home}/x.csv", "--means", "nosuch"],
        ["export", "{home}/nosuch", "--out", "{home}/x.csv"],
        ["plot", "{home}/nosuch", "--out", "{home}/figures"],
        ["repro", "{campaign}/nosuch", "--out", "{home}/a/b"],
        ["repro", "{home}/nosuch/1", "--out", "{home}/a/b"],
        ["merge", "{home}/nosuch", "{campaign}"],
        ["show", "{home}"],
        ["status", "{home}"],
    ],
)
def test_what_a_campaign_is_asked_for(one_run: Path, tmp_path: Path, arguments: list[str]) -> None:
    before = tree(one_run.parent)
    result = sweep(*(argument.format(campaign=one_run, home=tmp_path) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert tree(tmp_path) == []
    assert tree(one_run.parent) == before


def test_of_figures_of_which_one_cannot_be_drawn_none_is(tmp_path: Path) -> None:
    figures = "".join(
        f"[[sweep.figures]]\nname = '{name}'\nkind = 'box'\ny = '{y}'\n"
        for name, y in (("good", "goodput_bps"), ("bad", "bulk.integrity"))
    )
    assert run(written(tmp_path, ONE_RUN + figures), tmp_path / "c", jobs=1).exit_code == 0
    before = tree(tmp_path)
    result = sweep("plot", tmp_path / "c", "--out", tmp_path / "figures")
    assert result.exit_code == 2
    assert "figure 'bad'" in result.stderr
    assert tree(tmp_path) == before


def test_a_merge_of_which_one_part_does_not_belong_takes_none(one_run: Path, tmp_path: Path) -> None:
    shutil.copytree(one_run, tmp_path / "into")
    other = ONE_RUN.replace("5ms", "7ms")
    assert run(written(tmp_path / "in", other), tmp_path / "stranger", jobs=1).exit_code == 0
    before = tree(tmp_path)
    result = sweep("merge", tmp_path / "into", one_run, tmp_path / "stranger")
    assert result.exit_code == 2
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "{home}/no.toml", "--out", "{home}/a/b"],
        ["run", "{scenario}", "--set", "nosuch=1", "--out", "{home}/a/b"],
        ["run", "{scenario}", "--out", "{scenario}/a"],
        ["plot", "{home}/nosuch", "--topology", "--out", "{home}/pictures"],
        ["plot", "{home}"],
        ["plot", "{home}", "--dsn"],
    ],
)
def test_other_commands(tmp_path: Path, arguments: list[str]) -> None:
    scenario = written(tmp_path, "")
    before = tree(tmp_path)
    result = CliRunner().invoke(
        app, [argument.format(home=tmp_path, scenario=scenario) for argument in arguments]
    )
    assert result.exit_code == 2, result.output
    assert tree(tmp_path) == before


def test_a_run_that_ends_early_takes_the_directories_around_it_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mptcpsim.scenario import run as module
    from mptcpsim.sim.loop import EventBudgetExceeded

    def no_end(*unused: object, **unused_too: object) -> None:
        raise EventBudgetExceeded("no progress")

    monkeypatch.setattr(module, "run_scenario", no_end)
    scenario = written(tmp_path, "", BASE)
    before = tree(tmp_path)
    result = CliRunner().invoke(app, ["run", str(scenario), "--out", str(tmp_path / "a" / "b")])
    assert result.exit_code == 3
    assert tree(tmp_path) == before


def test_directories_that_hold_something_by_then_stay(tmp_path: Path) -> None:
    def fail() -> None:
        with made(tmp_path / "a" / "b" / "c"):
            (tmp_path / "a" / "else").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [name for name, _ in tree(tmp_path)] == ["a", "a/else"]
    with made(tmp_path / "a" / "d"):
        pass
    assert (tmp_path / "a" / "d").is_dir()


@pytest.mark.parametrize("damage", ["another layout", "no plan", "no database"])
def test_a_database_that_is_refused_is_closed(tmp_path: Path, damage: str) -> None:
    """Left to the garbage collector it would be a ``ResourceWarning`` from Python 3.13 on."""
    Store(tmp_path, create=True).close()
    file = tmp_path / DATABASE
    if damage == "another layout":
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("UPDATE campaign SET value = '99' WHERE key = 'format'")
    elif damage == "no database":
        file.write_bytes(b"no database")
    with pytest.raises(StoreError) as held:  # and with it the frames, and what their variables hold
        Store(tmp_path)
    assert damage.split()[-1] in str(held.value)
    assert file not in [
        Path(os.readlink(entry)) for entry in Path("/proc/self/fd").iterdir() if entry.exists()
    ]
