"""PGF pictures for LaTeX, written on machines without LaTeX.

matplotlib's own ``savefig("x.pgf")`` starts a TeX to measure every text. Here texts are measured
with matplotlib's own font; LaTeX sets them in the document's font and anchors them where they
belong, so that only the room left around them is a guess.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_pgf import RendererPgf
from matplotlib.figure import Figure

_HEAD = r"""% To include: \usepackage{pgf}, then \input{FILE.pgf}
\begingroup
\providecommand{\mathdefault}[1]{#1}
\makeatletter
\begin{pgfpicture}
"""
_TAIL = r"""\end{pgfpicture}
\makeatother
\endgroup
"""


class _Renderer(RendererPgf):
    """matplotlib's renderer, without the TeX that it measures texts with."""

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        return RendererBase.get_text_width_height_descent(self, s, prop, ismath)


def write_pgf(figure: Figure, path: Path) -> None:
    """Write a figure as a PGF picture; it must have no raster images in it."""
    with path.open("w", encoding="utf-8") as file:
        _write(figure, file)


def _write(figure: Figure, file: TextIO) -> None:
    width, height = figure.get_size_inches()
    file.write(_HEAD)
    file.write(
        rf"\pgfpathrectangle{{\pgfpointorigin}}{{\pgfqpoint{{{width:f}in}}{{{height:f}in}}}}%"
        "\n"
        r"\pgfusepath{use as bounding box, clip}%"
        "\n"
    )
    mixed: Any = MixedModeRenderer
    pgf: Any = _Renderer
    renderer = mixed(figure, width, height, figure.dpi, pgf(figure, file))
    figure.draw(renderer)
    file.write(_TAIL)
