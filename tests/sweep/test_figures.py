"""The figures of a campaign: which are chosen; each kind is drawn, in every format, the same every time."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import rc_context

from mptcpsim.scenario.sweep_settings import FigureSpec, SweepSpec
from mptcpsim.sweep.choice import axis_of, chosen_figures
from mptcpsim.sweep.figures import COLUMN_INCHES, PAGE_INCHES, draw
from mptcpsim.sweep.pgf import escaped, write_pgf
from mptcpsim.sweep.store import StoreError
from tests.sweep.scenarios import GRID, run, sweep, written

BUFFERS = ("64KiB", "1MiB", "128KiB", "256KiB")
SCHEDULERS = ("minrtt", "roundrobin", "redundant")


def rows(
    ratios: int = 5, buffers: int = 4, schedulers: int = 3, replicates: int = 3, **more: Any
) -> list[dict[str, Any]]:
    """Return a made-up table: goodput rises with the ratio, and replicates differ."""
    return [
        {
            "run": f"{ratio}/{buffer}/{scheduler}/{k}", "replicate": k, "seed": k,
            "status": "done", "message": "",
            "ratio": ratio, "buffer": buffer, "scheduler": scheduler,
            "goodput_bps": 1e6 * (ratio + SCHEDULERS.index(scheduler)) + 1e4 * k, "note": "text", **more,
        }
        for ratio in range(1, ratios + 1)
        for buffer in BUFFERS[:buffers]
        for scheduler in SCHEDULERS[:schedulers]
        for k in range(replicates)
    ]  # fmt: skip


AXES = ["ratio", "buffer", "scheduler"]


def chosen(table: list[dict[str, Any]], **spec: Any) -> list[tuple[Any, ...]]:
    found = chosen_figures(table, AXES, SweepSpec.model_validate(spec))
    return [(f.kind, f.x, f.lines, f.panels, f.rows) for f in found]


class TestChoice:
    def test_numbers_are_put_in_order_and_words_as_they_come(self) -> None:
        assert axis_of("b", list(BUFFERS)).values == ["64KiB", "128KiB", "256KiB", "1MiB"]
        assert axis_of("b", list(BUFFERS)).kind == "size"
        assert axis_of("s", ["b", "a", "b"]).values == ["b", "a"]
        assert axis_of("m", ["1s", "1Mbps"]).kind == axis_of("t", [True, False]).kind == "word"

    @pytest.mark.parametrize(
        ("shape", "figure"),
        [
            ({}, ("line", "ratio", "scheduler", "buffer", None)),
            ({"buffers": 1}, ("line", "ratio", "scheduler", None, None)),
            ({"buffers": 1, "schedulers": 1}, ("line", "ratio", None, None, None)),
            ({"ratios": 1, "buffers": 1}, ("box", "scheduler", None, None, None)),
            ({"ratios": 1, "buffers": 1, "schedulers": 1}, ("cdf", None, None, None, None)),
            ({"ratios": 1}, ("line", "buffer", "scheduler", None, None)),
        ],
    )
    def test_by_the_axes(self, shape: dict[str, int], figure: tuple[Any, ...]) -> None:
        assert chosen(rows(**shape))[0] == figure

    def test_two_numeric_axes_get_a_map_and_many_replicates_their_distribution(self) -> None:
        assert chosen(rows(schedulers=1))[1] == ("heatmap", "ratio", None, None, "buffer")
        assert chosen(rows(ratios=1, buffers=1, replicates=20))[1] == ("cdf", None, "scheduler", None, None)

    def test_a_line_in_the_scenario_is_completed(self) -> None:
        figures = [
            {"name": "a", "x": "buffer"},
            {"name": "b", "rows": "scheduler"},
            {"name": "c", "kind": "box"},
        ]
        assert chosen(rows(), figures=figures) == [
            ("line", "buffer", "scheduler", "ratio", None),
            ("heatmap", "ratio", None, "buffer", "scheduler"),
            ("box", "ratio", "scheduler", "buffer", None),
        ]

    def test_sampled_axes_are_scattered(self) -> None:
        sample = {"points": 5, "axes": {"ratio": {"from": 1, "to": 5}}}
        assert chosen(rows(buffers=1), sample=sample)[0] == ("scatter", "ratio", None, "scheduler", None)

    @pytest.mark.parametrize(
        ("figure", "message"),
        [
            ({"x": "ratoi"}, "x = 'ratoi' is no column; did you mean 'ratio'?"),
            ({"y": "goodput"}, "did you mean 'goodput_bps'?"),
            ({"y": "note"}, "'note' is text"),
            ({"lines": "run"}, "lines = 'run' has 180 values, more than the 7"),
        ],
    )
    def test_what_cannot_be_drawn(self, figure: dict[str, str], message: str) -> None:
        spec = SweepSpec.model_validate({"figures": [{"name": "a", **figure}]})
        with pytest.raises(StoreError, match=re.escape(message)):
            draw(rows(), chosen_figures(rows(), AXES, spec)[0], spec)


class TestDrawing:
    @pytest.mark.parametrize("kind", ["line", "heatmap", "cdf", "box", "scatter"])
    @pytest.mark.parametrize("shape", [{"buffers": 2}, {"buffers": 1, "replicates": 1}])
    def test_every_kind_in_every_shape(self, kind: str, shape: dict[str, int], tmp_path: Path) -> None:
        spec = SweepSpec.model_validate(
            {"figures": [{"name": "a", "kind": kind}], "labels": {"ratio": "RTT ratio"}}
        )
        table = rows(**shape)
        (figure,) = chosen_figures(table, AXES, spec)
        drawn = draw(table, figure, spec, "A title with 100 % and an_underscore")
        panels = len({row[figure.panels] for row in table}) if figure.panels else 1
        bars = 1 if kind == "heatmap" else 0
        assert len(drawn.axes) == panels + bars
        assert drawn.get_figwidth() == (COLUMN_INCHES if panels == 1 else PAGE_INCHES)
        for axes in drawn.axes[:1]:
            assert axes.get_ylabel()
        write_pgf(drawn, tmp_path / "a.pgf")
        text = (tmp_path / "a.pgf").read_text(encoding="utf-8")
        assert text.count(r"\begin{pgfpicture}") == text.count(r"\end{pgfpicture}") == 1
        assert text.count(r"\begin{pgfscope}") == text.count(r"\end{pgfscope}")
        assert "RTT ratio" in text or figure.x != "ratio"
        # What needs another file, or a font that only XeLaTeX finds, is not in it.
        assert "includegraphics" not in text
        assert "setmainfont" not in text

    def test_means_and_intervals_are_drawn_where_they_are(self) -> None:
        table = rows(buffers=1, schedulers=1)
        figure = FigureSpec(name="a", kind="line", x="ratio")
        (axes,) = draw(table, figure, SweepSpec()).axes
        (line,) = axes.get_lines()
        assert np.asarray(line.get_xdata()).tolist() == [1, 2, 3, 4, 5]
        assert np.asarray(line.get_ydata()).tolist() == pytest.approx([1.01, 2.01, 3.01, 4.01, 5.01])
        (band,) = axes.collections
        # s = 0.01, n = 3: t(0.975, 2) s / sqrt(3) = 0.02484.
        low, high = band.get_paths()[0].get_extents().get_points()[:, 1]
        assert (low, high) == pytest.approx((1.01 - 0.02484, 5.01 + 0.02484), abs=1e-4)
        assert axes.get_ylabel() == "Goodput (Mbit/s)"


class TestLabels:
    """What a label says and what is drawn agree."""

    def drawn(self, labels: dict[str, str], table: list[dict[str, Any]], **figure: Any) -> Any:
        spec = SweepSpec.model_validate({"labels": labels})
        given = FigureSpec.model_validate({"name": "a", "kind": "line", "x": "delay", **figure})
        return draw(table, given, spec).axes[0]

    @staticmethod
    def delays(*delays: str) -> list[dict[str, Any]]:
        return [{"delay": delay, "replicate": 0, "status": "done", "goodput_bps": 2e6} for delay in delays]

    @pytest.mark.parametrize(
        ("label", "said", "numbers"),
        [
            ("Delay", "Delay (us)", [500, 5000]),
            ("Delay (ms)", "Delay (ms)", [0.5, 5]),
            ("Delay (µs)", "Delay (µs)", [500, 5000]),
            ("Delay (one way)", "Delay (one way), us", [500, 5000]),
            ("Delay (min)", "Delay (min), us", [500, 5000]),
            ("Delay (Mbit/s)", "Delay (Mbit/s), us", [500, 5000]),
        ],
    )
    def test_the_unit_of_a_label_is_the_unit_of_the_axis(
        self, label: str, said: str, numbers: list[float]
    ) -> None:
        axes = self.drawn({"delay": label}, self.delays("500us", "5ms"))
        assert axes.get_xlabel() == said
        assert list(axes.get_lines()[0].get_xdata()) == numbers

    @pytest.mark.parametrize(
        ("label", "said", "number"),
        [
            ("Goodput (kbit/s)", "Goodput (kbit/s)", 2000),
            ("Goodput (bit/s)", "Goodput (bit/s)", 2e6),
            ("Goodput (all flows)", "Goodput (all flows), Mbit/s", 2),
        ],
    )
    def test_so_is_that_of_a_metric(self, label: str, said: str, number: float) -> None:
        axes = self.drawn({"goodput_bps": label}, self.delays("1ms", "5ms"))
        assert axes.get_ylabel() == said
        assert list(axes.get_lines()[0].get_ydata()) == [number, number]

    def test_an_axis_far_apart_has_no_tick_with_an_exponent(self) -> None:
        axes = self.drawn({}, self.delays("500us", "5ms", "50ms"))
        assert axes.get_xlabel() == "delay (ms)"
        assert list(axes.get_lines()[0].get_xdata()) == [0.5, 5, 50]

    def test_a_long_label_is_set_in_lines(self) -> None:
        label = "One-way propagation delay of the first of two links, the longer one (ms)"
        with rc_context({"axes.labelsize": 8.0}):
            axes = self.drawn({"delay": label, "goodput_bps": label}, self.delays("1ms", "5ms"))
        axes.figure.draw_without_rendering()
        for text in (axes.xaxis.label, axes.yaxis.label):
            extent, whole = text.get_window_extent(), axes.figure.bbox
            assert whole.x0 <= extent.x0 < extent.x1 <= whole.x1
            assert whole.y0 <= extent.y0 < extent.y1 <= whole.y1

    def test_the_highest_marker_has_room(self) -> None:
        low, high = self.delays("1ms", "5ms")
        axes = self.drawn({}, [low, {**high, "goodput_bps": 2.5e6}])
        assert axes.get_ylim() == pytest.approx((0.0, 2.5 * 1.05))

    @pytest.mark.parametrize("kind", ["line", "scatter", "box", "heatmap"])
    def test_words_below_an_axis_do_not_run_into_each_other(self, kind: str) -> None:
        table = [
            {**row, "boxes": f'[{{"name": "drop", "match": "{word}"}}]', "one": 1}
            for row in self.delays("1ms")
            for word in ("data", "ack", "window-update")
        ]
        more = {"rows": "one"} if kind == "heatmap" else {}
        axes = self.drawn({}, table, kind=kind, x="boxes", **more)
        axes.figure.draw_without_rendering()
        assert {text.get_rotation() for text in axes.get_xticklabels()} == {30.0}


def test_a_campaign_draws_its_figures_the_same_every_time(tmp_path: Path) -> None:
    text = GRID + "[[sweep.figures]]\nname = 'one'\n[[sweep.figures]]\nname = 'two'\nkind = 'cdf'\n"
    scenario = written(tmp_path, text)
    drawn = sweep("run", scenario, "--out", tmp_path / "c", "--jobs", "2")
    assert drawn.exit_code == 0, drawn.output
    first = tmp_path / "c" / "figures"
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(f"{name}.{kind}" for name in ("one", "two") for kind in ("png", "pdf", "pgf"))
    assert run(scenario, tmp_path / "d", jobs=1).exit_code == 0
    assert sweep("plot", tmp_path / "d", "--out", tmp_path / "again").exit_code == 0
    for name in names:
        assert (first / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_nothing_to_draw(tmp_path: Path) -> None:
    scenario = written(tmp_path, GRID.replace("[sweep]", "[sweep]\ntime_limit = '1ns'"))
    assert run(scenario, tmp_path / "c", jobs=1).exit_code == 1
    result = sweep("plot", tmp_path / "c")
    assert result.exit_code == 2
    assert "no run is done" in result.stderr


def test_no_place_for_the_figures(tmp_path: Path) -> None:
    scenario, out = written(tmp_path), tmp_path / "c"
    assert run(scenario, out).exit_code == 0
    (out / "figures").touch()
    result = sweep("run", scenario, "--out", out)
    assert result.exit_code == 5
    assert "the figures cannot be written: File exists" in result.stderr


class TestLatex:
    @pytest.mark.parametrize(
        ("text", "latex"),
        [
            ("fq_codel & R&D #5", r"fq\_codel \& R\&D \#5"),
            ('[{"name": "drop"}]', r'[\{"name": "drop"\}]'),
            (r"a\b ~ 1 < 2", r"a\textbackslash{}b \textasciitilde{} 1 \textless{} 2"),
            ("loss $p_1$ of a_1", r"loss $p_1$ of a\_1"),
            (r"5 $ or \$5", r"5 \$ or \$5"),
            ("100 % µs", "100 % µs"),
        ],
    )
    def test_what_latex_takes_for_a_command_is_written_out(self, text: str, latex: str) -> None:
        assert escaped(text) == latex

    @pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
    def test_latex_reads_a_picture(self, tmp_path: Path) -> None:
        title = r'R&D #5 {x} 100% a_b^2 ü ~ \ $a_1$ "<>" … µs'
        table = [{**row, "scheduler": f"fq_{row['scheduler']}"} for row in rows(buffers=1)]
        spec = FigureSpec(name="a", kind="line", x="ratio", lines="scheduler")
        write_pgf(draw(table, spec, SweepSpec(), title), tmp_path / "a.pgf")
        (tmp_path / "t.tex").write_text(
            r"\documentclass{article}\usepackage{pgf}\begin{document}\input{a.pgf}\end{document}"
        )
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
        assert made.returncode == 0, made.stdout.decode(errors="replace")[-2000:]


def test_what_is_no_mathematics(tmp_path: Path) -> None:
    text = GRID + "[[sweep.figures]]\nname = 'one'\ntitle = '$\\foo$'\n"
    result = sweep("run", written(tmp_path, text), "--out", tmp_path / "c")
    assert result.exit_code == 2
    assert "figure 'one': a text with $ in it is no mathematics (ParseFatalException: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_is_not_in_a_figure_is_told(tmp_path: Path) -> None:
    text = (
        "[sweep]\n[sweep.grid]\n'links.a.delay' = ['5ms', '1s']\n[[sweep.figures]]\nname = 'one'\n"
        "title = '日本'\ny = 'bulk.completed_s'\n"
    )
    result = sweep("run", written(tmp_path, text), "--out", tmp_path / "c")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "mptcpsim: figure 'one': 1 of 2 runs have no 'bulk.completed_s', and are left out: "
        "it is that of the others",
        "mptcpsim: figure 'one': its font, DejaVu Sans, has no 日 本: a box stands there",
    ]
    database = sqlite3.connect(tmp_path / "c" / "campaign.sqlite")
    database.execute(
        "UPDATE results SET status = 'failed', summary = '' WHERE run = (SELECT max(run) FROM runs)"
    )
    database.commit()
    database.close()
    assert "1 of 2 runs are not done, and in no figure" in sweep("plot", tmp_path / "c").stderr
