"""Run directories, series, summaries and figures."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mptcpsim.results import series as series_module
from mptcpsim.results.figures import draw_figures, draw_queue, draw_throughput
from mptcpsim.results.report import pause_lines
from mptcpsim.results.rundir import RunDirectory, RunDirectoryError, free_name, json_text, read_json
from mptcpsim.results.series import FILE_NAME, Series, SeriesKey, SeriesRecorder, read_series
from mptcpsim.results.summary import DirectionResult, FlowResult, LinkResult, Summary
from mptcpsim.units import MILLISECOND


def a_run(directory: Path, *others: str) -> None:
    """Make a directory as a run leaves it, with other files of the user's."""
    directory.mkdir()
    for name in others:
        (directory / name).touch()
    (directory / "meta.json").write_text(json_text({"mptcpsim": "0.1.0"}), encoding="utf-8")


class TestRunDirectory:
    def test_it_has_its_name_only_when_complete(self, tmp_path: Path) -> None:
        final = tmp_path / "deep" / "run"
        with RunDirectory(final) as run:
            run.write_text("a.txt", "text")
            assert not final.exists()
            assert run.path.parent == final.parent
        assert [path.name for path in final.iterdir()] == ["a.txt"]
        assert [path.name for path in final.parent.iterdir()] == ["run"]

    def test_nothing_remains_of_a_run_that_failed(self, tmp_path: Path) -> None:
        def fail() -> None:
            with RunDirectory(tmp_path / "run") as run:
                run.write_text("a.txt", "text")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_run_leaves_what_it_was_to_replace(self, tmp_path: Path) -> None:
        a_run(tmp_path / "run", "old")
        with pytest.raises(ZeroDivisionError), RunDirectory(tmp_path / "run", force=True):
            raise ZeroDivisionError
        assert (tmp_path / "run" / "old").exists()

    def test_a_run_is_replaced_only_by_force(self, tmp_path: Path) -> None:
        a_run(tmp_path / "run", "old")
        with pytest.raises(RunDirectoryError, match="--force"):
            RunDirectory(tmp_path / "run")
        with RunDirectory(tmp_path / "run", force=True) as run:
            run.write_text("new", "")
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["new"]
        assert [path.name for path in tmp_path.iterdir()] == ["run"]

    @pytest.mark.parametrize("content", [None, "", "[]", '{"name": "a package"}', "\xff"])
    def test_what_no_run_has_written_is_never_replaced(self, tmp_path: Path, content: str | None) -> None:
        """A home directory, for instance."""
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "thesis.tex").touch()
        if content is not None:
            (tmp_path / "home" / "meta.json").write_text(content, encoding="latin-1")
        for force in (False, True):
            with pytest.raises(RunDirectoryError, match="was not written by a run"):
                RunDirectory(tmp_path / "home", force)
        assert (tmp_path / "home" / "thesis.tex").exists()

    def test_an_empty_directory_may_be_used(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        with RunDirectory(tmp_path / "run") as run:
            run.write_text("new", "")
        assert (tmp_path / "run" / "new").exists()

    def test_others_may_read_it(self, tmp_path: Path) -> None:
        before = os.umask(0o022)
        try:
            with RunDirectory(tmp_path / "run"):
                pass
        finally:
            os.umask(before)
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755

    def test_a_file_is_no_directory(self, tmp_path: Path) -> None:
        (tmp_path / "run").touch()
        for name in ("run", "run/below"):
            with pytest.raises(RunDirectoryError, match="is not a directory"):
                RunDirectory(tmp_path / name)

    def test_a_free_name(self, tmp_path: Path) -> None:
        assert free_name(tmp_path, "run") == tmp_path / "run"
        (tmp_path / "run").mkdir()
        (tmp_path / "run-2").mkdir()
        assert free_name(tmp_path, "run") == tmp_path / "run-3"

    def test_json_is_the_same_for_the_same_value(self) -> None:
        assert json_text({"b": 1, "a": [1.5, None]}) == json_text({"a": [1.5, None], "b": 1})
        with pytest.raises(ValueError, match="JSON compliant"):
            json_text({"a": float("nan")})

    def test_what_cannot_be_read_is_explained(self, tmp_path: Path) -> None:
        with pytest.raises(RunDirectoryError, match=r"has no summary\.json; name a directory"):
            read_json(tmp_path / "summary.json")
        (tmp_path / "summary.json").write_text("{", encoding="utf-8")
        with pytest.raises(RunDirectoryError, match="cannot be read"):
            read_json(tmp_path / "summary.json")
        with pytest.raises(RunDirectoryError, match="is not a directory"):
            read_json(tmp_path / "summary.json" / "summary.json")


keys = st.builds(
    SeriesKey,
    st.sampled_from(["A", "B", "core forward"]),
    st.sampled_from([None, "bulk", "web"]),
    st.sampled_from([None, 0, 1]),
    st.sampled_from(["cwnd_bytes", "srtt_ms"]),
)
rows = st.lists(st.tuples(keys, st.integers(0, 10**15), st.floats(allow_nan=False)), max_size=40)


class TestSeries:
    @given(rows, st.integers(1, 7))
    def test_what_is_recorded_is_read(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[SeriesKey, int, float]], chunk: int
    ) -> None:
        path = tmp_path_factory.mktemp("series") / FILE_NAME
        usual = series_module.CHUNK_ROWS
        series_module.CHUNK_ROWS = chunk
        try:
            with SeriesRecorder(path) as recorder:
                for key, now, value in rows:
                    recorder.append(recorder.series(*key), now, value)
        finally:
            series_module.CHUNK_ROWS = usual
        expected: dict[SeriesKey, list[tuple[float, float]]] = {}
        for key, now, value in rows:
            expected.setdefault(key, []).append((now / 1e9, value))
        found = {one.key: list(zip(one.times, one.values, strict=True)) for one in read_series(path)}
        assert found == expected
        assert recorder.rows == len(rows)

    def test_equal_series_are_equal_files(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            with SeriesRecorder(tmp_path / name) as recorder:
                number = recorder.series("A", "bulk", 0, "cwnd_bytes")
                for step in range(1000):
                    recorder.append(number, step * MILLISECOND, step * 1448.0)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_no_more_than_a_chunk_is_kept(self, tmp_path: Path) -> None:
        """Nor is more written at once: the memory of a run does not depend on how long it goes on."""
        import pyarrow.parquet as pq

        chunk = series_module.CHUNK_ROWS
        most = 0
        with SeriesRecorder(tmp_path / FILE_NAME) as recorder:
            number = recorder.series("A", "bulk", 0, "cwnd_bytes")
            for step in range(3 * chunk + 100):
                recorder.append(number, step, 1.0)
                most = max(most, len(recorder._times))
        assert most < chunk <= 1 << 15
        metadata = pq.read_metadata(tmp_path / FILE_NAME)
        groups = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
        assert groups == [chunk, chunk, chunk, 100]

    def test_arrow_has_its_own_allocator_back(self, tmp_path: Path) -> None:
        import pyarrow as pa

        before = pa.default_memory_pool().backend_name
        with SeriesRecorder(tmp_path / FILE_NAME) as recorder:
            recorder.append(recorder.series("A", "bulk", 0, "cwnd_bytes"), 1, 1.0)
        assert pa.default_memory_pool().backend_name == before
        with suppress(RuntimeError), series_module.plain_memory():
            assert pa.default_memory_pool().backend_name == "system"
            raise RuntimeError
        assert pa.default_memory_pool().backend_name == before

    def test_the_columns_are_those_promised(self, tmp_path: Path) -> None:
        import pyarrow.parquet as pq

        with SeriesRecorder(tmp_path / FILE_NAME):
            pass
        names = ["time_s", "host", "connection", "subflow", "metric", "value"]
        assert pq.read_schema(tmp_path / FILE_NAME).names == names

    def test_damage_is_explained(self, tmp_path: Path) -> None:
        with pytest.raises(RunDirectoryError, match=r"has no series\.parquet"):
            read_series(tmp_path / FILE_NAME)
        (tmp_path / FILE_NAME).write_text("no parquet", encoding="utf-8")
        with pytest.raises(RunDirectoryError, match="cannot be read"):
            read_series(tmp_path / FILE_NAME)


def some_series(flows: int = 2) -> list[Series]:
    times: NDArray[np.float64] = np.arange(1, 51, dtype=np.float64) * 0.1
    found = [
        Series(SeriesKey("core forward", None, None, "queue_packets"), times, np.minimum(times * 10, 30.0)),
        Series(SeriesKey("core backward", None, None, "queue_packets"), times, times * 0.0),
    ]
    for flow in range(flows):
        for metric, factor in (
            ("throughput_bps", 1e6),
            ("cwnd_bytes", 1e4),
            ("ssthresh_bytes", 5e3),
            ("srtt_ms", 20.0),
        ):
            found.append(Series(SeriesKey("A", f"flow{flow}", 0, metric), times, factor * (1 + flow + times)))
    return found


def record(directory: Path, content: list[Series]) -> None:
    directory.mkdir(exist_ok=True)
    with SeriesRecorder(directory / FILE_NAME) as recorder:
        for one in content:
            for now, value in zip(one.times, one.values, strict=True):
                recorder.append(recorder.series(*one.key), round(now * 1e9), float(value))


class TestFigures:
    def test_every_figure_is_drawn_as_png_and_pdf(self, tmp_path: Path) -> None:
        record(tmp_path, some_series())
        written = draw_figures(tmp_path, "A title")
        assert [path.name for path in written] == ["throughput.png", "cwnd.png", "rtt.png", "queue.png"]
        for path in written:
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")

    def test_equal_series_are_equal_figures(self, tmp_path: Path) -> None:
        contents = []
        for name in ("a", "b"):
            record(tmp_path / name, some_series())
            pictures = draw_figures(tmp_path / name, "A title")
            contents.append([(p.read_bytes(), p.with_suffix(".pdf").read_bytes()) for p in pictures])
        assert contents[0] == contents[1]

    def test_without_data_there_is_no_figure(self, tmp_path: Path) -> None:
        record(tmp_path, [])
        assert draw_figures(tmp_path) == []

    def test_labels_have_units_and_names(self) -> None:
        figure = draw_throughput(some_series(), "A title")
        assert figure is not None
        (axes,) = figure.axes
        assert axes.get_xlabel() == "Time (s)"
        assert axes.get_ylabel() == "Throughput (Mbit/s)"
        assert axes.get_title(loc="left") == "A title"
        assert axes.get_ylim()[0] == 0.0
        assert [line.get_label() for line in axes.get_lines()] == ["total", "flow0", "flow1"]

    def test_one_flow_has_no_total(self) -> None:
        figure = draw_throughput(some_series(flows=1))
        assert figure is not None
        assert [line.get_label() for line in figure.axes[0].get_lines()] == ["flow0"]

    def test_the_total_is_the_sum_where_a_flow_starts_late(self) -> None:
        key = SeriesKey("B", "early", 0, "throughput_bps")
        early = Series(key, np.array([1.0, 2.0, 3.0]), np.array([1e6, 2e6, 3e6]))
        late = Series(key._replace(connection="late"), np.array([2.0, 3.0]), np.array([5e6, 5e6]))
        figure = draw_throughput([early, late])
        assert figure is not None
        total = figure.axes[0].get_lines()[0]
        assert np.asarray(total.get_ydata()).tolist() == [1.0, 1.0, 7.0, 8.0]
        assert np.asarray(total.get_xdata()).tolist() == [0.0, 1.0, 2.0, 3.0]

    def test_only_links_that_queue_are_shown(self) -> None:
        figure = draw_queue(some_series())
        assert figure is not None
        assert [line.get_label() for line in figure.axes[0].get_lines()] == ["core forward"]

    def test_colours_differ_while_they_last_and_styles_after_that(self) -> None:
        figure = draw_throughput(some_series(flows=12))
        assert figure is not None
        looks = [(line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines()]
        assert len(set(looks)) == len(looks) == 13


class TestSummary:
    def test_links_add_up(self) -> None:
        link = LinkResult.of(
            DirectionResult(10, 15000, {"loss": 1, "queue": 2}, 0.5),
            DirectionResult(5, 200, {"loss": 3}, 0.1),
        )
        assert (link.packets, link.bytes, link.utilisation) == (15, 15200, 0.5)
        assert link.drops == {"loss": 4, "queue": 2}

    def test_an_unlimited_link_has_no_utilisation(self) -> None:
        free = DirectionResult(1, 1, {}, None)
        assert LinkResult.of(free, free).utilisation is None

    def test_the_keys_are_those_of_the_design(self) -> None:
        flow = FlowResult("bulk", "A", "B", 1, 1, 8.0, None, "ok", False, False)
        summary = Summary("title", 1, 5.0, [flow], {"A": {"InSegs": 1}}, {})
        content = json.loads(json_text(summary.as_dict()))
        assert set(content) == {"scenario", "seed", "duration_s", "flows", "counters", "links", "nodes"}
        assert set(content["flows"][0]) == {
            *("name", "client", "server", "bytes_written", "bytes_delivered", "goodput_bps", "completed_s"),
            *(
                "integrity",
                "multipath",
                "fallback",
                "stalls",
                "subflows",
                "error",
                "latency_ms",
                "failed",
                "failed_s",
            ),
            *("mptcp_version", "fallback_reason"),
            *("stalled_s", "pauses", "bytes_duplicate", "bytes_repeated_while_closed", "bytes_unread_most"),
        }
        assert summary.intact
        flow.integrity = "byte 7 is wrong"
        assert not summary.intact


class TestPauseLines:
    """One line for each flow that has paused, in words."""

    @staticmethod
    def line(count: int, longest: float, **causes: float) -> list[str]:
        pauses = {
            "count": count,
            "sum_s": sum(causes.values()),
            "longest_s": longest,
            "causes": {cause.replace("_", " "): {"sum_s": seconds} for cause, seconds in causes.items()},
        }
        return pause_lines({"flows": [{"name": "f", "pauses": pauses}]})

    def test_no_pause_is_no_line(self) -> None:
        assert self.line(0, 0.0) == []

    def test_one_pause_says_its_length_once(self) -> None:
        assert self.line(1, 0.212, loss_recovery=0.212) == ["Flow f paused once, for 0.212 s (loss recovery)"]

    def test_several_of_one_cause(self) -> None:
        assert self.line(2, 0.449, loss_recovery=0.82) == [
            "Flow f paused 2 times, for 0.820 s in all, at most 0.449 s at a time (loss recovery)"
        ]

    def test_several_causes_have_their_times_the_longest_first(self) -> None:
        assert self.line(3, 0.5, loss_recovery=0.25, head_of_line=0.75) == [
            "Flow f paused 3 times, for 1.000 s in all, at most 0.500 s at a time "
            "(0.750 s head of line, 0.250 s loss recovery)"
        ]
