"""PGF pictures for LaTeX, written on machines without LaTeX.

matplotlib's own ``savefig("x.pgf")`` starts a TeX to measure every text. Here texts are measured
with matplotlib's own font; LaTeX sets them in the document's font and anchors them where they
belong, so that only the room left around them is a guess.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TextIO

from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_pgf import RendererPgf
from matplotlib.cbook import is_math_text
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


_SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&#_{}$"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
_DOLLAR = re.compile(r"(?<!\\)\$")


class _Renderer(RendererPgf):
    """matplotlib's renderer, without the TeX that it measures texts with."""

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        return RendererBase.get_text_width_height_descent(self, s, prop, ismath)

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, ismath: Any = 0, mtext: Any = None
    ) -> None:
        draw: Any = super().draw_text
        draw(gc, x, y, escaped(s), prop, angle, ismath, mtext)


def escaped(text: str) -> str:
    """Return a text of a figure for LaTeX, which has more special characters than matplotlib.

    What stands between two ``$`` is mathematics in both, and stays; ``^`` and ``%`` matplotlib sees to.
    """
    parts = _DOLLAR.split(text) if is_math_text(text) else [text]
    return "".join(f"${part}$" if place % 2 else _plain(part) for place, part in enumerate(parts))


def _plain(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text.replace(r"\$", "$"))


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
