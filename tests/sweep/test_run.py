"""Campaigns from the outside: what they store, print and return, and that they go on where they were."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mptcpsim import load
from mptcpsim.results.rundir import RunDirectoryError
from mptcpsim.sweep import identity
from mptcpsim.sweep.campaign import Campaign
from mptcpsim.sweep.cost import expected_packets
from mptcpsim.sweep.identity import scenario_data
from mptcpsim.sweep.statistics import mean_interval
from mptcpsim.sweep.store import Store, StoreError
from mptcpsim.sweep.worker import pack, unpack
from tests.paths import EXPERIMENTS
from tests.sweep.scenarios import BASE, GRID, run, sweep, table, written


def rows(campaign: Path, *arguments: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table(campaign, *arguments))))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign of 6 points and 2 replicates, carried out on two processes."""
    home = tmp_path_factory.mktemp("finished")
    text = GRID + '[sweep.metrics]\ntimeouts = "counters.A.TcpExtTCPTimeouts"\n'
    result = run(
        written(home, text.replace("replicates = 2", "replicates = 2\nseries = ['cwnd_bytes']")), home / "c"
    )
    assert result.exit_code == 0, result.output
    assert "12 of 12 runs done" in result.stdout
    return home / "c"


class TestTable:
    def test_a_row_for_each_run_in_the_order_of_the_plan(self, finished: Path) -> None:
        found = rows(finished)
        assert [(r["point"], r["replicate"]) for r in found] == [
            (str(p), str(k)) for p in range(6) for k in range(2)
        ]
        assert [r["links.a.delay"] for r in found] == ["5ms"] * 6 + ["20ms"] * 6
        assert {r["status"] for r in found} == {"done"}
        assert all(float(r["goodput_bps"]) > 0 for r in found)
        assert all(r["bulk.bytes_delivered"] == "100000" for r in found)
        assert found[0]["timeouts"] != ""
        assert not {"wall_s", "finished", "worker"} & set(found[0])
        assert len({r["run"] for r in found}) == 12

    def test_replicates_differ_and_replicate_0_is_the_base_scenario(self, finished: Path) -> None:
        found = rows(finished)
        assert found[0]["seed"] == "1"
        assert found[0]["seed"] == found[2]["seed"] != found[1]["seed"] == found[3]["seed"]
        assert len({r["goodput_bps"] for r in found}) > 6

    def test_one_process_or_two_the_tables_are_identical(self, finished: Path) -> None:
        scenario = finished / "scenario.toml"
        assert run(scenario, finished.parent / "alone", jobs=1).exit_code == 0
        assert table(finished) == table(finished.parent / "alone")
        with Store(finished) as one, Store(finished.parent / "alone") as other:
            assert [r.summary for r in one.runs()] == [r.summary for r in other.runs()]

    def test_parquet_has_the_same_table_with_types(self, finished: Path, tmp_path: Path) -> None:
        import pyarrow.parquet as pq

        for name in ("one", "two"):
            assert sweep("export", finished, "--format", "parquet", "--out", tmp_path / name).exit_code == 0
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
        found = pq.read_table(tmp_path / "one")
        assert found.num_rows == 12
        assert str(found.schema.field("goodput_bps").type) == "double"
        assert str(found.schema.field("replicate").type) == "int64"
        assert str(found.schema.field("bulk.multipath").type) == "bool"

    def test_means_as_a_file(self, finished: Path, tmp_path: Path) -> None:
        out = tmp_path / "means.csv"
        assert sweep("export", finished, "--means", "goodput_bps", "--out", out).exit_code == 0
        (first, *others) = csv.DictReader(io.StringIO(out.read_text(encoding="utf-8")))
        assert len(others) == 5
        group = Campaign(finished).means("goodput_bps")[0]
        assert first["links.b.rate"] == "1Mbps"
        assert [float(first[f"goodput_bps.{part}"]) for part in ("runs", "mean", "low", "high")] == list(
            group.interval
        )
        assert sweep("export", finished, "--means", "x", "--out", out).exit_code == 2

    def test_timings_are_there_for_who_asks(self, finished: Path) -> None:
        assert all(float(r["wall_s"]) > 0 and r["worker"] for r in rows(finished, "--timings"))

    def test_pandas_and_sql(self, finished: Path) -> None:
        campaign = Campaign(finished)
        frame = campaign.to_pandas()
        means = frame.groupby("links.b.rate")["goodput_bps"].mean()
        found = campaign.sql(
            'select "links.b.rate" as rate, avg(goodput_bps) as mean from runs group by 1'
        ).df()
        assert {r.rate: pytest.approx(r.mean) for r in found.itertuples()} == dict(means)
        found = campaign.sql(
            "select count(distinct run) from series join runs using (run) where metric = 'cwnd_bytes'"
        )
        assert found.fetchall() == [(12,)]

    def test_means_with_intervals(self, finished: Path) -> None:
        campaign = Campaign(finished)
        groups = campaign.means("goodput_bps")
        assert [tuple(group.parameters.values()) for group in groups][:2] == [
            ("5ms", "1Mbps"),
            ("5ms", "2Mbps"),
        ]
        assert all(group.interval.values == 2 for group in groups)
        by_rate = campaign.means("goodput_bps", ["links.b.rate"], "bootstrap")
        assert [len(group.values) for group in by_rate] == [4, 4, 4]
        # How the delays differ is no chance: the means of the two replicates over both delays are.
        for place, one in enumerate(by_rate):
            values = [groups[place].values, groups[place + 3].values]
            expected = mean_interval([(values[0][k] + values[1][k]) / 2 for k in range(2)], "bootstrap")
            assert one.interval == pytest.approx(expected)
        assert all(group.interval.low <= group.interval.mean <= group.interval.high for group in by_rate)
        with pytest.raises(StoreError, match="did you mean 'goodput_bps'"):
            campaign.means("goodput")

    def test_a_bootstrap_of_few_values_says_so(self, finished: Path) -> None:
        said = " ".join(sweep("show", finished, "--bootstrap").stdout.split())
        assert "(bootstrap, too narrow for fewer than 10 values)" in said
        assert "too narrow" not in sweep("show", finished).stdout

    def test_an_axis_may_be_called_like_a_timing(self, tmp_path: Path) -> None:
        text = "[sweep.grid]\nworker = [5, 20]\n[sweep.set]\n'links.a.delay' = '{worker}ms'\n"
        assert run(written(tmp_path, text), tmp_path / "c").exit_code == 0
        found = rows(tmp_path / "c", "--timings")
        assert [row["worker"] for row in found] == ["5", "20"]
        assert list(found[0])[5:7] == ["worker", "status"]

    def test_where_nothing_is_done_yet(self, tmp_path: Path) -> None:
        out = tmp_path / "c"
        assert run(written(tmp_path, "[sweep.grid]\nseed = [1]\n"), out).exit_code == 0
        database = sqlite3.connect(out / "campaign.sqlite")
        database.execute("DELETE FROM results")
        database.commit()
        database.close()
        export = ["export", out, "--means", "goodput_bps", "--out", tmp_path / "x"]
        commands: tuple[list[Any], ...] = (["show", out], export)
        for arguments in commands:
            result = sweep(*arguments)
            assert result.exit_code == 2
            assert "no run is done, so there is no 'goodput_bps' yet" in result.stderr
        again = sweep("repro", f"{out}/{rows(out)[0]['run']}", "--out", tmp_path / "r", "--no-figures")
        assert again.exit_code == 1
        assert "the campaign has no result of this run yet" in again.stderr

    def test_summaries_of_another_version_have_what_they_have(self, tmp_path: Path) -> None:
        out = tmp_path / "c"
        assert run(written(tmp_path, "[sweep.grid]\nseed = [1]\n"), out).exit_code == 0
        database = sqlite3.connect(out / "campaign.sqlite")
        (text,) = database.execute("SELECT summary FROM results").fetchone()
        summary = json.loads(text)
        for key in ("stalls", "error", "latency_ms"):
            del summary["flows"][0][key]
        del summary["flows"][0]["subflows"][0]["bytes_reinjected"]
        del summary["links"]["a"]["utilisation"]
        database.execute("UPDATE results SET summary = ?", (json.dumps(summary),))
        database.commit()
        database.close()
        (found,) = rows(out)
        assert float(found["goodput_bps"]) > 0
        assert found["bulk.stalls"] == found["bulk.bytes_reinjected"] == found["a.utilisation"] == ""

    def test_what_is_no_file(self, finished: Path, tmp_path: Path) -> None:
        for out in (Path(), tmp_path):
            result = sweep("export", finished, "--out", out)
            assert result.exit_code == 2
            assert "is a directory; name a file in it for --out" in result.stderr

    def test_means_have_no_timings(self, finished: Path, tmp_path: Path) -> None:
        result = sweep("export", finished, "--means", "goodput_bps", "--timings", "--out", tmp_path / "x.csv")
        assert result.exit_code == 2
        assert "--timings is for a row a run, not for --means" in result.stderr

    def test_another_title_is_no_other_run(self, tmp_path: Path) -> None:
        out = tmp_path / "c"
        text = "[sweep.grid]\nseed = [1, 2]\n"
        assert run(written(tmp_path, text), out).exit_code == 0
        renamed = written(
            tmp_path, "series = true\n".join(("[sweep]\n", text)), BASE.replace("Short", "Quick")
        )
        result = run(renamed, out)
        assert "2 of 2 runs done" in result.stdout
        assert "runs now" not in result.stdout
        assert Campaign(out).title == "Quick transfers"
        name = rows(out)[0]["run"]
        assert sweep("repro", f"{out}/{name}", "--out", tmp_path / "r", "--no-figures").exit_code == 0
        # Nor are series that were not kept.
        assert "2 runs have no series, which were not wanted when they ran" in result.stderr
        with pytest.raises(RunDirectoryError, match=f"no series of run {name} are kept"):
            Campaign(out).series(name)

    def test_series_are_kept_as_far_as_asked(self, finished: Path) -> None:
        campaign = Campaign(finished)
        name = campaign.rows()[3]["run"]
        assert {one.key.metric for one in campaign.series(name[:6])} == {"cwnd_bytes"}
        assert campaign.summary(name)["flows"][0]["bytes_delivered"] == 100_000


class TestCommands:
    def test_status(self, finished: Path) -> None:
        said = sweep("status", finished).stdout
        assert "12 runs: 12 done" in said
        assert "12 results (the plan)" in said

    def test_show(self, finished: Path) -> None:
        said = sweep("show", finished, "--metric", "goodput_bps", "--metric", "bulk.completed_s").stdout
        assert said.count("Mbit/s [") + said.count("kbit/s [") == 6
        grouped = sweep("show", finished, "--by", "links.b.rate", "--bootstrap").stdout
        assert grouped.count("bit/s [") == 3
        assert sweep("show", finished, "--runs").stdout.count("done") == 12

    def test_show_of_one_run(self, finished: Path) -> None:
        name = rows(finished)[5]["run"]
        said = sweep("show", finished, name[:8]).stdout
        assert f"run {name}: point 2, replicate 1" in said
        assert "links.b.rate = '4Mbps'" in said
        assert "A -> B" in said

    def test_any_run_can_be_repeated_and_is_the_same(self, finished: Path, tmp_path: Path) -> None:
        for number, row in enumerate(rows(finished)):
            out = tmp_path / str(number)
            result = sweep("repro", f"{finished}/{row['run']}", "--out", out, "--no-figures")
            assert result.exit_code == 0, result.output
            assert "identical to the stored run" in result.stdout
            with Store(finished) as store:
                assert (out / "summary.json").read_text(encoding="utf-8") == store.summary(row["run"])

    def test_with_captures_it_is_the_same_though_the_captures_have_frames(self, tmp_path: Path) -> None:
        down, up = ("50ms", "down"), ("2s", "up")
        cut = "".join(f"[[events]]\nat = '{at}'\nlink = 'b'\naction = '{what}'\n" for at, what in (down, up))
        scenario = written(tmp_path, "[sweep.grid]\nseed = [1]\n", BASE + cut)
        assert run(scenario, tmp_path / "c", jobs=1).exit_code == 0
        (only,) = rows(tmp_path / "c")
        assert int(only["bulk.stalls"]) > 0
        again = sweep(
            "repro", f"{tmp_path}/c/{only['run']}", "--out", tmp_path / "again", "--no-figures", "--pcap"
        )
        assert again.exit_code == 0, again.output
        assert list((tmp_path / "again").glob("*.pcapng"))

    def test_a_scenario_with_a_sweep_runs_its_base_point(self, finished: Path, tmp_path: Path) -> None:
        from tests.sweep.scenarios import CliRunner, app

        result = CliRunner().invoke(
            app, ["run", str(finished / "scenario.toml"), "--out", str(tmp_path / "base"), "--no-figures"]
        )
        assert result.exit_code == 0
        assert "the scenario has a [sweep]" in result.stderr
        assert json.loads((tmp_path / "base" / "summary.json").read_text())["seed"] == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["status", "{out}"], "no such campaign; name a directory"),
            (["status", "{home}"], "is no campaign; name a directory"),
            (["show", "{campaign}", "zz"], "no run is called 'zz'"),
            (["show", "{campaign}", "--metric", "x"], "the table has no column 'x'"),
            (["repro", "{campaign}/zz"], "no run is called 'zz'"),
            (["repro", "zz"], "write it as CAMPAIGN/RUN"),
            (["export", "{out}", "--out", "x"], "no such campaign"),
            (["export", "{campaign}", "--out", "/proc/x/y.csv"], "there is no directory /proc/x"),
            (["export", "{campaign}", "--out", "/proc/y.csv"], "cannot be written"),
            (["merge", "{campaign}", "{out}"], "no such campaign"),
            (["run", "{out}.toml"], "no such file"),
            (["run", "{campaign}/scenario.toml", "--out", "{home}"], "is not empty and is no campaign"),
            (["run", "{campaign}/scenario.toml", "--shard", "3/2"], "--shard '3/2' is no part of a whole"),
            (["run", "{campaign}/scenario.toml", "--executor", "dask"], "needs --address"),
            (["run", "{campaign}/scenario.toml", "--address", "x:1"], "goes with --executor dask"),
            (["run", "{campaign}/scenario.toml", "--set", "links.zz.rate=1Mbps"], "no entry named 'zz'"),
        ],
    )
    def test_wrong_input(self, finished: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
        names = {"campaign": str(finished), "home": str(finished.parent), "out": str(tmp_path / "none")}
        result = sweep(*(argument.format(**names) for argument in arguments))
        assert result.exit_code == 2, result.output
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


class TestGoingOn:
    def test_only_what_is_missing_runs(self, tmp_path: Path) -> None:
        scenario, out = written(tmp_path, GRID), tmp_path / "c"
        assert run(scenario, out).exit_code == 0
        whole = table(out)
        with sqlite3.connect(out / "campaign.sqlite") as database:
            database.execute("DELETE FROM results WHERE run IN (SELECT run FROM runs WHERE number IN (1, 4))")
        database.close()
        assert table(out).count("missing") == 4
        assert "4 missing, " in sweep("status", out).stdout or "4 missing" in sweep("status", out).stdout
        dry = sweep("run", scenario, "--out", out, "--jobs", "1", "--dry-run")
        assert "6 points, 12 runs, 8 of them stored" in dry.stdout
        assert "from the runs that are stored" in dry.stdout
        assert "4 runs now" in run(scenario, out).stdout
        assert table(out) == whole
        assert "runs now" not in run(scenario, out).stdout

    def test_a_plan_that_grows_keeps_what_there_is(self, tmp_path: Path) -> None:
        out = tmp_path / "c"
        assert run(written(tmp_path, GRID), out).exit_code == 0
        more = GRID.replace('"1Mbps", ', '"8Mbps", "1Mbps", ')
        assert "4 runs now" in run(written(tmp_path, more), out).stdout
        assert len(rows(out)) == 16
        fewer = GRID.replace('"5ms", ', "")
        said = run(written(tmp_path, fewer), out).stdout
        assert "6 of 6 runs done" in said
        assert "10 results of former plans" in said
        assert len(rows(out)) == 6
        assert len(rows(out, "--everything")) == 16

    def test_another_version_of_the_code_runs_anew_and_is_not_mixed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "c"
        plugin = tmp_path / "mine.py"
        text = "from mptcpsim.congestion.reno import Reno\nfrom mptcpsim import register\n" + (
            "@register\nclass Mine(Reno):\n    NAME = 'mine'\n    SUMMARY = 'x'\n"
        )
        plugin.write_text(text)
        base = BASE.replace(
            'duration = "3s"', 'duration = "3s"\nplugins = ["mine.py"]\n[defaults.tcp]\ncongestion = "mine"'
        )
        scenario = written(tmp_path, "[sweep.grid]\nseed = [1, 2]\n", base)
        assert run(scenario, out).exit_code == 0
        first = rows(out)
        plugin.write_text(text + "    def on_ack(self, acked, now, srtt, in_flight):\n        pass\n")
        result = run(scenario, out)
        assert "2 runs now" in result.stdout
        assert "2 results of former plans or other versions of the code" in result.stdout
        second = rows(out)
        assert {r["code"] for r in first}.isdisjoint({r["code"] for r in second})
        assert first[0]["goodput_bps"] != second[0]["goodput_bps"]
        said = sweep("export", out, "--out", tmp_path / "x.csv")
        assert "2 results of other versions of the code are left out" in said.stderr
        assert len(rows(out, "--everything")) == 4
        # Both plug-ins are in the campaign: the older run is repeated with the older one.
        plugin.unlink()
        again = sweep("repro", f"{out}/{first[0]['run']}", "--out", tmp_path / "again", "--no-figures")
        assert again.exit_code == 0, again.output
        assert (tmp_path / "again" / "mine.py").read_text() == text

    def test_the_package_is_part_of_the_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = identity.code_version(())
        monkeypatch.setattr(identity, "package_version", lambda: "other")
        assert identity.code_version(()) != before

    def test_two_at_once_are_refused(self, tmp_path: Path) -> None:
        out = tmp_path / "c"
        with Store(out, create=True) as store:
            store.lock()
            result = run(written(tmp_path), out)
            assert result.exit_code == 2
            assert "another `mptcpsim sweep` is writing to it" in result.stderr


HOOKED = BASE.replace(
    'duration = "3s"', 'duration = "3s"\nplugins = ["hook.py"]\n[defaults.tcp]\ncongestion = "hook"'
)

#: A congestion control that does what its parameter says when the window first grows.
HOOK = """\
import os, signal, time
from mptcpsim import Parameter, register
from mptcpsim.congestion.reno import Reno

@register
class Hook(Reno):
    NAME = "hook"
    SUMMARY = "a fault on demand"
    PARAMETERS = (Parameter("fault", "none", "what to do"),)

    def configure(self, values):
        self.fault = values["fault"]

    def on_ack(self, acked, now, srtt, in_flight):
        if self.fault == "raise":
            raise ZeroDivisionError("on purpose")
        if self.fault == "hang":
            while True:
                pass
        if self.fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        super().on_ack(acked, now, srtt, in_flight)
"""


class TestFailures:
    def test_they_are_kept_with_message_and_scenario_and_the_others_go_on(self, tmp_path: Path) -> None:
        (tmp_path / "hook.py").write_text(HOOK)
        faults = "[sweep]\ntime_limit = '2s'\n[sweep.grid]\n'defaults.tcp.congestion.fault' = "
        scenario = written(tmp_path, faults + "['none', 'raise', 'hang', 'die', 'also none']\n", HOOKED)
        out = tmp_path / "c"
        result = run(scenario, out)
        assert result.exit_code == 1, result.output
        found = rows(out)
        assert [r["status"] for r in found] == ["done", "failed", "timeout", "died", "done"]
        said = "hook.py: line 16: congestion 'hook': on_ack raised ZeroDivisionError: on purpose"
        assert found[1]["message"] == f"{said}; mend the plug-in"
        assert found[2]["message"].startswith("the run took longer than its time limit of 2 s")
        assert found[3]["message"] == "its worker process died 3 times (SIGKILL: out of memory?)"
        assert found[1]["goodput_bps"] == ""
        assert "3 runs failed" in result.stderr
        shown = sweep("show", out, found[1]["run"]).stdout
        assert "hook.py" in shown
        assert "ZeroDivisionError: on purpose" in shown
        # Kept, and not repeated unless asked for.
        assert "runs now" not in run(scenario, out).stdout
        assert run(scenario, out).exit_code == 1
        assert "3 runs now" in run(scenario, out, "--retry-failed").stdout
        again = sweep("repro", f"{out}/{found[1]['run']}", "--out", tmp_path / "again", "--no-figures")
        assert again.exit_code == 0
        assert "ZeroDivisionError: on purpose" in again.stderr or "on purpose" in again.stderr
        assert not (tmp_path / "again").exists()

    def test_a_run_that_goes_on_and_on_is_stopped_by_the_event_loop(self, tmp_path: Path) -> None:
        scenario = written(tmp_path, "[sweep]\ntime_limit = '200ms'\n[sweep.grid]\nseed = [1]\n",
                           BASE.replace('"3s"', '"1000h"').replace('bytes = "100kB"', 'duration = "1000h"')
                           + "[output]\nsample_interval = '1h'\n")  # fmt: skip
        assert run(scenario, tmp_path / "c", jobs=1).exit_code == 1
        (found,) = rows(tmp_path / "c")
        assert found["message"] == "the run took longer than its time limit of 200 ms"


class TestShards:
    @pytest.mark.parametrize("precision", ["", "[sweep.precision]\nrelative = 0.01\nmax_replicates = 4\n"])
    def test_merged_they_are_the_whole_campaign(self, tmp_path: Path, precision: str) -> None:
        scenario = written(tmp_path, GRID + precision)
        assert run(scenario, tmp_path / "whole").exit_code == 0
        for part in (1, 2, 3):
            assert run(scenario, tmp_path / str(part), "--shard", f"{part}/3").exit_code == 0
        sizes = [len(rows(tmp_path / str(part))) for part in (1, 2, 3)]
        assert sum(sizes) == len(rows(tmp_path / "whole"))
        assert all(sizes)
        assert sweep("merge", tmp_path / "1", tmp_path / "2", tmp_path / "3").exit_code == 0
        assert table(tmp_path / "1") == table(tmp_path / "whole")

    def test_what_does_not_belong_together_is_merged_on_demand_only(self, tmp_path: Path) -> None:
        assert run(written(tmp_path), tmp_path / "one", "--shard", "1/4").exit_code == 0
        other = written(tmp_path, GRID.replace("4Mbps", "8Mbps"), name="other.toml")
        assert run(other, tmp_path / "two", "--shard", "1/4").exit_code == 0
        refused = sweep("merge", tmp_path / "one", tmp_path / "two")
        assert refused.exit_code == 2
        assert "has another sweep than" in refused.stderr
        assert sweep("merge", tmp_path / "one", tmp_path / "two", "--mixed").exit_code == 0

    def test_one_after_the_other_in_one_directory_they_are_the_whole_campaign(self, tmp_path: Path) -> None:
        scenario, out = written(tmp_path), tmp_path / "c"
        assert run(scenario, tmp_path / "whole").exit_code == 0
        for part in (1, 2):
            result = run(scenario, out, "--shard", f"{part}/2")
            assert result.exit_code == 0
            assert "kept beside" not in result.stdout
        assert table(out) == table(tmp_path / "whole")
        # Of another plan nothing is left.
        assert run(scenario, out, "--shard", "1/2", "--set", "links.b.queue=5").exit_code == 0
        assert len(rows(out)) == 6

    def test_a_shard_with_another_setting_is_no_part_of_the_campaign(self, tmp_path: Path) -> None:
        scenario = written(tmp_path)
        one, two = tmp_path / "one", tmp_path / "two"
        assert run(scenario, one).exit_code == 0
        before = table(one)
        assert run(scenario, two, "--set", "links.b.queue=3").exit_code == 0
        assert (two / "scenario.toml").read_text().endswith("\n\n# changed by --set links.b.queue=3\n")
        refused = sweep("merge", one, two)
        assert refused.exit_code == 2
        assert "has another scenario (by --set, or in a file that it names) than" in refused.stderr
        # Even if that is wanted, two runs of the same values and seed are not two replicates.
        mixed = sweep("merge", one, two, "--mixed")
        assert mixed.exit_code == 0
        assert "12 of them have the values and seeds of other runs" in mixed.stderr
        assert table(one) == before
        assert len(rows(one, "--everything")) == 24
        # Those of other seeds are.
        three = tmp_path / "three"
        assert run(scenario, three, "--set", "seed=7").exit_code == 0
        assert sweep("merge", one, three, "--mixed").exit_code == 0
        assert len(rows(one)) == 24


class TestPrecision:
    TEXT = (
        "[sweep]\nreplicates = 3\n[sweep.grid]\n'links.a.loss' = [0.0, 0.05]\n"
        "[sweep.precision]\nmetric = 'goodput_bps'\nrelative = 0.05\nmax_replicates = 9\n"
    )

    def test_a_point_stops_when_its_interval_is_narrow(self, tmp_path: Path) -> None:
        result = run(written(tmp_path, self.TEXT), tmp_path / "c")
        assert result.exit_code == 0, result.output
        found = rows(tmp_path / "c")
        counts = [sum(r["point"] == point for r in found) for point in "01"]
        assert counts == [3, 9]
        for jobs, name in ((1, "alone"), (2, "c")):
            assert run(written(tmp_path, self.TEXT), tmp_path / name, jobs=jobs).exit_code == 0
        assert table(tmp_path / "alone") == table(tmp_path / "c")

    def test_a_metric_of_words(self, tmp_path: Path) -> None:
        text = self.TEXT.replace("replicates", "metrics = { said = 'flows.bulk.integrity' }\nreplicates", 1)
        result = run(written(tmp_path, text.replace("goodput_bps", "said")), tmp_path / "c")
        assert result.exit_code == 2
        assert "sweep.precision.metric: 'said' is text, and has no mean" in result.stderr

    def test_an_unknown_metric(self, tmp_path: Path) -> None:
        result = run(written(tmp_path, self.TEXT.replace("goodput_bps", "goodput")), tmp_path / "c")
        assert result.exit_code == 2
        assert (
            "sweep.precision.metric: the runs have no metric 'goodput'; did you mean 'goodput_bps'?"
            in result.stderr
        )


def test_a_kill_while_a_campaign_is_made_is_no_obstacle(tmp_path: Path) -> None:
    out = tmp_path / "c"
    (out / "series").mkdir(parents=True)
    (out / "campaign.sqlite.partial").write_bytes(b"half")
    scenario = written(tmp_path, "[sweep.grid]\nseed = [1]\n")
    (out / "series" / "mine").touch()
    assert "is not empty and is no campaign" in run(scenario, out).stderr
    (out / "series" / "mine").unlink()
    assert run(scenario, out).exit_code == 0
    assert not (out / "campaign.sqlite.partial").exists()


def test_a_dry_run_counts_estimates_and_writes_nothing(tmp_path: Path) -> None:
    result = sweep("run", written(tmp_path), "--out", tmp_path / "c", "--jobs", "2", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "6 points, 12 runs, 0 of them stored" in result.stdout
    assert "12 to run: about " in result.stdout
    assert not (tmp_path / "c").exists()


def test_a_database_of_another_layout_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "c", create=True).close()
    with sqlite3.connect(tmp_path / "c" / "campaign.sqlite") as database:
        database.execute("UPDATE campaign SET value = '99' WHERE key = 'format'")
    database.close()
    result = sweep("status", tmp_path / "c")
    assert result.exit_code == 2
    assert "another version of mptcpsim" in result.stderr


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(100)])
def test_a_damaged_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "campaign.sqlite").write_bytes(content)
    result = sweep("status", tmp_path)
    assert result.exit_code == 2
    assert "cannot be used" in result.stderr


def test_metrics_reach_into_a_summary() -> None:
    from mptcpsim.sweep.metrics import value_at

    summary: dict[str, Any] = {
        "flows": [{"name": "a.b", "stalls": [{"cause": "path"}], "subflows": [{"srtt_ms": 2.5}]}],
        "counters": {"A": {"TcpTimeouts": 3}},
    }
    assert value_at(summary, "flows.a.b.subflows.0.srtt_ms") == 2.5
    assert value_at(summary, "flows.0.stalls.0.cause") == "path"
    assert value_at(summary, "flows.a.b.stalls") == 1
    assert value_at(summary, "counters.A.TcpTimeouts") == 3
    assert value_at(summary, "counters.A.Other") is None
    assert value_at(summary, "flows.7.name") is None


@pytest.mark.parametrize(
    "file", sorted(EXPERIMENTS.rglob("*.toml")), ids=lambda file: str(file.relative_to(EXPERIMENTS))
)
def test_a_scenario_survives_the_way_to_a_worker(file: Path) -> None:
    scenario = load(file)
    again = unpack(pack(scenario_data(scenario)), scenario.seed)
    assert again.model_copy(update={"plugins": scenario.plugins, "sweep": scenario.sweep}) == scenario
    assert expected_packets(scenario) > 0


def test_a_key_of_the_topology_can_be_an_axis(tmp_path: Path) -> None:
    base = """\
title = "A dumbbell"
duration = "1s"
[topology]
generator = "dumbbell"
pairs = 1
[[flows]]
client = "c0"
server = "s0"
bytes = "10kB"
"""
    sweep_table = "[sweep]\nmetrics = {hosts = 'counters'}\n[sweep.grid]\n'topology.pairs' = [1, 3]\n"
    assert run(written(tmp_path, sweep_table, base), tmp_path / "c", jobs=1).exit_code == 0
    assert [row["hosts"] for row in rows(tmp_path / "c")] == ["2", "6"]
