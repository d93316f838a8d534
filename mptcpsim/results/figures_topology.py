"""The picture of a topology: what it is made of, and which way its subflows take.

Few nodes have names, rates and delays, and very few their interfaces and addresses, too; of many only the
shape is shown. A few paths are lines of their own beside the links; of many the links tell by their
colour how many cross them.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mptcpsim.results.figures import LINE_STYLES, PALETTE, RC, WIDTH_INCHES, save
from mptcpsim.results.figures_layout import apart, layout
from mptcpsim.results.picture import HOST, ROUTER, SWITCH, Picture, PictureLink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Line = NDArray[np.float64]

NAME = "topology"

#: Nodes and links up to which interfaces are labelled, and nodes up to which anything is.
MOST_WITH_INTERFACES = 14
MOST_WITH_NAMES = 60
#: Paths up to which each is a line of its own.
MOST_LINES = 16

#: Points between the lines of two subflows on one link.
SPACING = 2.6
#: Inches that parallel links bulge away from each other.
BULGE = 0.42

TITLE_CHARACTERS = 62

NAME_SIZE, LABEL_SIZE, SMALL_SIZE = 7.5, 6.0, 5.5

_LINK_COLOUR = "#9a9a9a"
_FILL = {HOST: "#ffffff", ROUTER: "#eeeeee", SWITCH: "#c8c8c8"}
_SHAPE = {HOST: "round,pad=0.35", ROUTER: "ellipse,pad=0.25", SWITCH: "square,pad=0.35"}
_MARKER = {HOST: "s", ROUTER: "o", SWITCH: "s"}


def draw_topology(picture: Picture, directory: Path) -> Path:
    """Draw a topology into ``topology.png`` and ``topology.pdf``; return the former.

    Raises:
        OSError: they cannot be written.
    """
    import matplotlib

    with matplotlib.rc_context(RC):
        return save(_TopologyDrawing(picture).figure, directory, NAME)


class _TopologyDrawing:
    """A figure whose coordinates are inches."""

    def __init__(self, picture: Picture) -> None:
        from matplotlib.figure import Figure

        self.picture = picture
        count = len(picture.nodes)
        self.named = count <= MOST_WITH_NAMES
        self.detailed = count <= MOST_WITH_INTERFACES and len(picture.links) <= MOST_WITH_INTERFACES
        self.lines = len(picture.paths) <= MOST_LINES
        self.usual = self._usual_label()
        self.title = textwrap.wrap(picture.title, TITLE_CHARACTERS)
        #: On which side of a link its labels stand, if that is not free.
        self.outwards: dict[str, Line] = {}
        #: Rectangles that are taken by nodes and labels: x and y of the centre, half width, half height.
        self.taken: list[Line] = []
        #: Lines that labels had better not cover.
        self.drawn: list[Line] = []
        self.places, self.width, self.height = self._placed()
        #: Space below for legend and notes.
        self.foot = self._foot()
        self.figure: Figure = Figure(figsize=(self.width, self.height + self.foot))
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set_xlim(0, self.width)
        self.axes.set_ylim(-self.foot, self.height)
        self.shapes = self._link_lines()
        self._draw_links()
        if self.lines:
            self._draw_paths()
        self._draw_nodes()
        if self.named:
            self._draw_labels()
        self._draw_title_and_legend()

    # --- places ---------------------------------------------------------------------------

    def _placed(self) -> tuple[dict[str, Line], float, float]:
        """Return the places of the nodes, and the size that the picture takes, in inches."""
        raw = layout(self.picture)
        xs, ys = np.array([p[0] for p in raw.values()]), np.array([p[1] for p in raw.values()])
        side = max((self._box(name)[0] for name in raw), default=0.0) + 0.12 if self.named else 0.3
        top = 0.32 + 0.17 * len(self.title) + (0.3 if self.detailed else 0.0)
        bottom = 0.5 if self.detailed else 0.25
        across, along = float(np.ptp(xs)), float(np.ptp(ys))
        room = WIDTH_INCHES - 2 * side
        rows = len({round(y, 6) for y in ys.tolist()})
        if rows > 8 or 2 * rows > len(raw) > 6:
            stretch = 1.35 if self.named else 1.0  # room for labels
            height = min(6.0, max(2.4, stretch * room * along / across if across else room))
        else:
            height = (1.15 if self.detailed else 0.85) * (rows - 1)
        most = self._most_parallel()
        if most > 1 and self.named:
            height = max(height, BULGE * most)
        x0, y0 = float(xs.min()), float(ys.min())
        places = {
            name: np.array(
                [
                    side + (room * (x - x0) / across if across else room / 2),
                    bottom + (height * (y - y0) / along if along else height / 2),
                ]
            )
            for name, (x, y) in raw.items()
        }
        if self.named:
            apart(places, {name: self._box(name) for name in places}, 0.1 if len(places) <= 24 else 0.03)
            for place in places.values():
                np.clip(place, (side, bottom), (WIDTH_INCHES - side, bottom + height), out=place)
        return places, WIDTH_INCHES, height + top + bottom

    def _most_parallel(self) -> int:
        counts = Counter(frozenset((link.a, link.b)) for link in self.picture.links.values())
        return max(counts.values(), default=0)

    def _link_lines(self) -> dict[str, Line]:
        """Return each link as points from its first end to its second; parallel ones bulge."""
        groups: dict[frozenset[str], list[PictureLink]] = {}
        for link in self.picture.links.values():
            groups.setdefault(frozenset((link.a, link.b)), []).append(link)
        shapes: dict[str, Line] = {}
        for group in groups.values():
            for index, link in enumerate(group):
                a, b = self.places[link.a], self.places[link.b]
                if len(group) == 1:
                    shapes[link.name] = np.array([a, b])
                    continue
                # The bulge is measured from one fixed end, whichever way a link was written.
                first, second = (a, b) if (a[0], a[1]) <= (b[0], b[1]) else (b, a)
                away = BULGE * ((len(group) - 1) / 2 - index) * 2
                control = (first + second) / 2 + away * _normal(first, second)
                steps = np.linspace(0.0, 1.0, 33)[:, None]
                curve = (1 - steps) ** 2 * first + 2 * steps * (1 - steps) * control + steps**2 * second
                shapes[link.name] = curve if first is a else curve[::-1]
                if away:
                    self.outwards[link.name] = math.copysign(1.0, away) * _normal(first, second)
        return shapes

    # --- links and paths ------------------------------------------------------------------

    def _draw_links(self) -> None:
        from matplotlib import colormaps
        from matplotlib.collections import LineCollection
        from matplotlib.colors import ListedColormap
        from matplotlib.ticker import MaxNLocator

        crossing = Counter(name for path in self.picture.paths for name in dict.fromkeys(path.links))
        many = not self.lines and bool(crossing)
        thin = 0.9 if self.named else 0.45
        plain = [self.shapes[name] for name in self.shapes if not crossing[name]]
        self.axes.add_collection(LineCollection(plain, colors=_LINK_COLOUR, linewidths=thin, zorder=1))
        if not many:
            return
        used = sorted((name for name in self.shapes if crossing[name]), key=lambda name: crossing[name])
        counts = np.array([crossing[name] for name in used], dtype=float)
        shown = LineCollection(
            [self.shapes[name] for name in used],
            cmap=ListedColormap(colormaps["viridis_r"](np.linspace(0.18, 1.0, 256))),
            linewidths=thin + 1.6 * counts / counts.max(),
            zorder=2,
        )
        shown.set_array(counts)
        shown.set_clim(0, float(counts.max()))
        self.axes.add_collection(shown)
        whole = self.height + self.foot
        bar = self.figure.add_axes((0.3, 0.37 / whole, 0.4, 0.07 / whole))
        colours = self.figure.colorbar(
            shown, cax=bar, orientation="horizontal", ticks=MaxNLocator(5, integer=True)
        )
        colours.set_label("Subflows that cross the link", fontsize=LABEL_SIZE + 1, labelpad=2)
        colours.ax.tick_params(labelsize=LABEL_SIZE, length=2, pad=1.5)
        colours.outline.set_visible(False)

    def _draw_paths(self) -> None:
        """Draw each path beside the links that it crosses, in the same order on each of them."""
        on: dict[str, list[int]] = {name: [] for name in self.shapes}
        for number, path in enumerate(self.picture.paths):
            for name in path.links:
                if number not in on[name]:
                    on[name].append(number)
        for number, path in enumerate(self.picture.paths):
            here = path.start
            points: list[Line] = []
            for name in path.links:
                link = self.picture.links[name]
                shape = self.shapes[name]
                slot = on[name].index(number) - (len(on[name]) - 1) / 2
                moved = _beside(shape, slot * SPACING / 72)
                forward = here == link.a
                points.append(moved if forward else moved[::-1])
                here = link.b if forward else link.a
            if not points:
                continue
            line = np.concatenate(points)
            self.drawn.append(line)
            rounds, colour = divmod(number, len(PALETTE))
            self.axes.plot(
                line[:, 0],
                line[:, 1],
                color=PALETTE[colour],
                linestyle=LINE_STYLES[rounds % len(LINE_STYLES)],
                linewidth=1.5,
                solid_joinstyle="round",
                zorder=3,
                label=path.label,
            )

    # --- nodes ----------------------------------------------------------------------------

    def _draw_nodes(self) -> None:
        if not self.named:
            size = max(1.5, 90 / math.sqrt(len(self.picture.nodes)))
            for kind, marker in _MARKER.items():
                of = [self.places[name] for name, node in self.picture.nodes.items() if node.kind == kind]
                if of:
                    points = np.array(of)
                    small = size * (0.5 if kind == HOST else 1.0)
                    self.axes.scatter(
                        points[:, 0],
                        points[:, 1],
                        s=small,
                        marker=marker,
                        color="#ffffff" if kind == HOST else "#444444",
                        edgecolors="#444444",
                        linewidths=0.3,
                        zorder=4,
                    )
            return
        for name, node in self.picture.nodes.items():
            x, y = self.places[name]
            box = {"boxstyle": _SHAPE[node.kind], "facecolor": _FILL[node.kind], "linewidth": 0.8}
            self.axes.text(
                x, y, name, ha="center", va="center", fontsize=self._name_size(), bbox=box, zorder=5
            )

    def _name_size(self) -> float:
        return NAME_SIZE if len(self.picture.nodes) <= 24 else 5.0

    def _box(self, name: str) -> tuple[float, float]:
        """Return half the width and half the height of a node, about."""
        size = self._name_size() / 72
        return 0.31 * size * len(name) + 0.55 * size, 1.15 * size

    # --- labels ---------------------------------------------------------------------------

    def _usual_label(self) -> str:
        """Return what so many links have in common that it is said once, or nothing."""
        labels = Counter(link.label for link in self.picture.links.values() if link.label)
        if not labels or len(self.picture.links) <= MOST_WITH_INTERFACES:
            return ""
        label, count = labels.most_common(1)[0]
        return label if count >= 0.3 * len(self.picture.links) else ""

    def _draw_labels(self) -> None:
        self.taken = [np.array([*self.places[n], *self._box(n)]) for n in self.picture.nodes]
        self.dense = {name: _dense(line) for name, line in self.shapes.items()}
        self.samples = np.concatenate([*self.dense.values(), *map(_dense, self.drawn)])
        size = LABEL_SIZE if self.detailed else SMALL_SIZE - 0.5
        crossing = Counter(name for path in self.picture.paths for name in dict.fromkeys(path.links))
        # What belongs to an end has less choice, and comes first.
        for link in self.picture.links.values() if self.detailed else ():
            beside = self._beside(crossing[link.name])
            for label, line in (
                (link.a_label, self.shapes[link.name]),
                (link.b_label, self.shapes[link.name][::-1]),
            ):
                if label:
                    self._write(label, link.name, line, np.linspace(0.0, 0.45, 31), -1, beside, SMALL_SIZE)
        for link in self.picture.links.values():
            if link.label and link.label != self.usual:
                parts = np.array([0.5, 0.45, 0.55, 0.4, 0.6, 0.33, 0.67, 0.26, 0.74])
                self._write(
                    link.label,
                    link.name,
                    self.shapes[link.name],
                    parts,
                    1,
                    self._beside(crossing[link.name]),
                    size,
                )

    def _beside(self, lines: int) -> float:
        """Return how far from a link a label has to stay that has some lines on it."""
        return 0.03 + (lines * SPACING / 144 if self.lines else 0.0)

    def _write(
        self, label: str, name: str, line: Line, parts: Line, side: int, beside: float, size: float
    ) -> None:
        """Write a label beside a link, where it covers least.

        Args:
            label: the text.
            name: of the link.
            line: of the link, from the end that is meant.
            parts: of its length at which the label may stand, the best one first.
            side: 1 above or -1 below, if both are free.
            beside: distance from the line.
            size: of the letters, points.
        """
        half = _extent(label, size)
        best: Line | None = None
        least = math.inf
        for number, part in enumerate(parts):
            place, up = _along(line, float(part))
            if name in self.outwards:
                outwards = self.outwards[name]
                sides = [up if float(up @ outwards) > 0 else -up]
            else:
                sides = [side * up, -side * up]
            for order, across in enumerate(sides):
                away = beside + abs(across[0]) * half[0] + abs(across[1]) * half[1]
                box = np.array([*(place + away * across), *half])
                cost = self._covered(box) + self._mistaken(box, name) + 0.004 * number + 0.01 * order
                if cost < least:
                    best, least = box, cost
        assert best is not None
        self.taken.append(best)
        self.axes.text(
            best[0],
            best[1],
            label,
            ha="center",
            va="center",
            fontsize=size,
            color="#000000" if side > 0 else "#555555",
            linespacing=1.1,
            bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
            zorder=4,
        )

    def _mistaken(self, box: Line, name: str) -> float:
        """Return how much nearer a label is to another link than to its own."""
        own = float(np.abs(self.dense[name] - box[:2]).sum(axis=1).min())
        others = [dense for other, dense in self.dense.items() if other != name]
        nearest = min((float(np.abs(dense - box[:2]).sum(axis=1).min()) for dense in others), default=own)
        return max(0.0, own - nearest)

    def _covered(self, box: Line) -> float:
        """Return how much a rectangle covers of what is drawn already, or of the outside."""
        taken = np.array(self.taken)
        over = box[2:] + taken[:, 2:] + 0.02 - np.abs(taken[:, :2] - box[:2])
        cost = float(np.prod(np.maximum(over, 0.0), axis=1).sum()) * 20
        inside = (np.abs(self.samples - box[:2]) < box[2:]).all(axis=1)
        outside = max(0.0, float((box[2:] - box[:2]).max()), float(box[0] + box[2] - self.width))
        return cost + 0.03 * float(inside.sum()) + 10 * outside

    # --- title and legend -----------------------------------------------------------------

    def _notes(self) -> str:
        kinds = Counter(node.kind for node in self.picture.nodes.values())
        parts = []
        if not self.named:
            counts = [f"{kinds[kind]} {kind}{_plural(kind, kinds[kind])}" for kind in _SHAPE if kinds[kind]]
            parts.append(", ".join([*counts, f"{len(self.picture.links)} links"]))
        if self.usual:
            usual = self.usual.replace("\n", ", ")
            parts.append(f"links, if nothing else is said: {usual}" if self.named else f"most links: {usual}")
        return "; ".join(parts)

    def _foot(self) -> float:
        rows = 0.0
        if self.picture.paths:
            rows = 0.16 * math.ceil(len(self.picture.paths) / self._columns()) + 0.05 if self.lines else 0.5
        return 0.05 + rows + 0.2 * bool(self._notes())

    def _columns(self) -> int:
        longest = max((len(path.label) for path in self.picture.paths), default=1)
        return max(1, min(4, int(110 // (longest + 10))))

    def _draw_title_and_legend(self) -> None:
        from matplotlib.lines import Line2D

        if self.picture.title:
            self.axes.text(
                0.12, self.height - 0.1, "\n".join(self.title), fontsize=9.5, ha="left", va="top", zorder=6
            )
        present = [kind for kind in _SHAPE if any(n.kind == kind for n in self.picture.nodes.values())]
        marks: list[Any] = [
            Line2D(
                [],
                [],
                linestyle="none",
                marker=_MARKER[kind],
                markerfacecolor=_FILL[kind] if self.named or kind == HOST else "#444444",
                markeredgecolor="#000000",
                markeredgewidth=0.6,
                markersize=5.5,
                label=kind,
            )
            for kind in present
        ]
        top = 1.0
        whole = self.height + self.foot
        self.figure.legend(
            handles=marks,
            loc="upper right",
            bbox_to_anchor=(0.995, top - 0.02 / whole),
            ncols=len(marks),
            fontsize=7.0,
            handletextpad=0.1,
            columnspacing=0.9,
        )
        if notes := self._notes():
            self.axes.text(
                self.width / 2, 0.0, notes, fontsize=7.0, ha="center", va="center", color="#333333"
            )
        if self.lines and self.picture.paths:
            self.figure.legend(
                handles=[line for line in self.axes.get_lines() if not str(line.get_label()).startswith("_")],
                loc="lower center",
                bbox_to_anchor=(0.5, 0.0),
                ncols=self._columns(),
                fontsize=7.0,
            )


def _plural(kind: str, count: int) -> str:
    return "" if count == 1 else "es" if kind == SWITCH else "s"


def _normal(a: Line, b: Line) -> Line:
    """Return the unit vector to the left of the way from a to b."""
    way = b - a
    length = float(np.hypot(*way))
    return np.array([-way[1], way[0]]) / length if length else np.array([0.0, 1.0])


def _beside(line: Line, away: float) -> Line:
    """Return a line moved to its left by a distance."""
    before = np.vstack([line[:1], line[:-1]])
    after = np.vstack([line[1:], line[-1:]])
    return np.array([p + away * _normal(a, b) for p, a, b in zip(line, before, after, strict=True)])


def _along(line: Line, part: float) -> tuple[Line, Line]:
    """Return the point after some part of a line, and the direction across the line that points upwards."""
    lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    ends = np.concatenate([[0.0], np.cumsum(lengths)])
    at = part * float(ends[-1])
    index = min(int(np.searchsorted(ends, at, side="right")) - 1, len(lengths) - 1)
    rest = (at - ends[index]) / lengths[index] if lengths[index] else 0.0
    across = _normal(line[index], line[index + 1])
    if across[1] < 0 or (across[1] == 0 and across[0] < 0):
        across = -across
    return line[index] + rest * (line[index + 1] - line[index]), across


def _dense(line: Line) -> Line:
    """Return points of a line that are not far from each other."""
    steps = np.linspace(0.0, 1.0, max(2, 60 // len(line)), endpoint=False)[:, None]
    return np.concatenate([a + steps * (b - a) for a, b in pairwise(line)])


def _extent(text: str, size: float) -> Line:
    """Return half the width and half the height of a text, inches, about."""
    rows = text.split("\n")
    return np.array([0.29 * size * max(len(row) for row in rows) / 72, 0.6 * size * len(rows) / 72])
