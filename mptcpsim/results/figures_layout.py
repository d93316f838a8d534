"""Where the nodes of a topology are drawn.

Given coordinates count if all nodes have some; nodes without, such as hosts that were added to a map, are
put beside their neighbours. Two hosts and what is between them are drawn from left to right in layers. All
else is drawn by stress majorisation (Gansner, Koren and North, "Graph drawing by stress majorization",
GD 2004): distances on paper as near as possible to the numbers of links between the nodes; it begins with
pivot MDS (Brandes and Pich, "Eigensolver methods for progressive multidimensional scaling", GD 2006).

``networkx.kamada_kawai_layout`` minimises the same stress from a circle: it leaves a torus tangled (a stress
0.7 times higher) and takes more than ten times as long at 600 nodes, so that a thousand are out of reach.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from mptcpsim.results.picture import HOST, Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Point = NDArray[np.float64]

#: Nodes up to which stress is minimised; above, pivot MDS alone has to do.
MOST_FOR_STRESS = 2000
#: Nodes from which distances are measured for pivot MDS.
PIVOTS = 64
ITERATIONS = 50

#: Nodes up to which two hosts make a picture in layers.
MOST_IN_LAYERS = 60

Positions = dict[str, tuple[float, float]]


def layout(picture: Picture) -> Positions:
    """Return x and y of each node, in any unit; the same ones for the same picture."""
    near = picture.neighbours()
    given = _given(picture, near)
    if given is not None:
        return given
    ends = _two_ends(picture)
    if ends is not None and len(picture.nodes) <= MOST_IN_LAYERS:
        found = _layers(picture, near, *ends)
        if found is not None:
            return found
    return _stress(near)


def distances(near: dict[str, list[str]], start: str) -> dict[str, int]:
    """Return the number of links from a node to each one that can be reached."""
    known = {start: 0}
    edge = [start]
    while edge:
        onward: list[str] = []
        for name in edge:
            for other in near[name]:
                if other not in known:
                    known[other] = known[name] + 1
                    onward.append(other)
        edge = onward
    return known


# --- Given coordinates --------------------------------------------------------------------------


def _given(picture: Picture, near: dict[str, list[str]]) -> Positions | None:
    """Return given coordinates, nodes without any beside their neighbours; None if too few have some."""
    placed = {name: node.position for name, node in picture.nodes.items() if node.position is not None}
    missing = [name for name in picture.nodes if name not in placed]
    if not placed or any(not any(other in placed for other in near[name]) for name in missing):
        return None
    if len(set(placed.values())) < 2:
        return None
    xs, ys = zip(*placed.values(), strict=True)
    reach = 0.5 * math.hypot(max(xs) - min(xs), max(ys) - min(ys)) / math.sqrt(len(placed))
    centre = (sum(xs) / len(xs), sum(ys) / len(ys))
    beside: dict[tuple[float, float], int] = {}
    found: Positions = dict(placed)
    for name in missing:
        around = [placed[other] for other in near[name] if other in placed]
        x, y = sum(p[0] for p in around) / len(around), sum(p[1] for p in around) / len(around)
        number = beside.get((x, y), 0)
        beside[x, y] = number + 1
        # Outwards, and each further one at the same place a little further round.
        angle = math.atan2(y - centre[1], x - centre[0]) + 2.4 * number
        found[name] = (x + reach * math.cos(angle), y + reach * math.sin(angle))
    return found


# --- Layers -------------------------------------------------------------------------------------


def _two_ends(picture: Picture) -> tuple[str, str] | None:
    """Return the two hosts of the topology, where the paths begin first; None if it has not two."""
    hosts = [name for name, node in picture.nodes.items() if node.kind == HOST]
    if len(hosts) != 2:
        return None
    first = picture.paths[0].start if picture.paths else hosts[0]
    return (first, hosts[0] if first == hosts[1] else hosts[1]) if first in hosts else (hosts[0], hosts[1])


def _layers(picture: Picture, near: dict[str, list[str]], left: str, right: str) -> Positions | None:
    """Return a picture from left to right, what is joined without the two hosts on rows of its own.

    None if it has no such form: nodes of a mesh off the shortest way would lie between the columns.
    """
    from_left, from_right = distances(near, left), distances(near, right)
    if set(from_left) != set(picture.nodes) or right not in from_left:
        return None
    found: Positions = {}
    row = 0.0
    for group in _groups([name for name in picture.nodes if name not in (left, right)], near):
        layers: dict[float, list[str]] = {}
        for name in group:
            layers.setdefault(from_left[name] / (from_left[name] + from_right[name]), []).append(name)
        if len(layers) >= min(from_left[name] + from_right[name] for name in group):
            return None
        height = max(len(layer) for layer in layers.values())
        order = {name: float(index) for layer in layers.values() for index, name in enumerate(layer)}
        for _ in range(4):
            for place in [*sorted(layers), *sorted(layers, reverse=True)]:
                layers[place].sort(key=lambda name: _mean(order.get(other) for other in near[name]))
                order.update({name: float(index) for index, name in enumerate(layers[place])})
        for place, layer in layers.items():
            for index, name in enumerate(layer):
                found[name] = (place, -(row + (height - len(layer)) / 2 + index))
        row += height
    middle = -(row - 1) / 2 if row else 0.0
    found[left], found[right] = (0.0, middle), (1.0, middle)
    return found


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0


def _groups(names: list[str], near: dict[str, list[str]]) -> list[list[str]]:
    """Return the nodes in groups that are joined to each other, in their order."""
    allowed = set(names)
    inside = {name: [other for other in near[name] if other in allowed] for name in names}
    groups: list[list[str]] = []
    seen: set[str] = set()
    for name in names:
        if name not in seen:
            members = distances(inside, name)
            seen |= set(members)
            groups.append([other for other in names if other in members])
    return groups


# --- Stress -------------------------------------------------------------------------------------


def _stress(near: dict[str, list[str]]) -> Positions:
    names = list(near)
    count = len(names)
    if count < 3:
        return {name: (float(index), 0.0) for index, name in enumerate(names)}
    everything = count <= MOST_FOR_STRESS
    number = {name: index for index, name in enumerate(names)}
    rows: list[NDArray[np.float64]] = []
    #: Distance of each node to the nearest pivot so far.
    nearest = np.full(count, np.inf)
    start = 0
    for step in range(count if everything else PIVOTS):
        origin = step if everything else start
        row = np.full(count, np.inf)
        for name, steps in distances(near, names[origin]).items():
            row[number[name]] = steps
        rows.append(row)
        nearest = np.minimum(nearest, row)
        start = int(np.argmax(nearest))
    matrix = np.array(rows)
    # Parts that are not joined stand side by side.
    finite = matrix[np.isfinite(matrix)].max(initial=1.0)
    matrix[~np.isfinite(matrix)] = finite + 1
    places = _pivot_mds(matrix)
    if everything:
        places = _majorised(places, matrix)
    places -= places.mean(axis=0)
    # The longest extent lies across.
    _, axes = np.linalg.eigh(places.T @ places)
    places = places @ axes[:, ::-1]
    return {
        name: (round(float(x), 6), round(float(y), 6)) for name, (x, y) in zip(names, places, strict=True)
    }


def _pivot_mds(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places from the distances of all nodes (columns) to some of them (rows)."""
    squares = matrix.T**2
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()
    _, vectors = np.linalg.eigh(centred.T @ centred)
    places = centred @ vectors[:, :-3:-1]
    places /= np.abs(places).max(axis=0, initial=1e-9)
    # Nodes that are alike to all pivots, such as the hosts of one router, would lie on each other.
    angles = np.arange(len(places)) * 2.4
    spread = 0.1 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(places * matrix.max() / 2 + spread)


def _majorised(places: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places whose distances are nearer to what is wanted, weighted by 1 / distance^2."""
    count = len(wanted)
    away = wanted + np.eye(count)
    weights = 1.0 / away**2
    np.fill_diagonal(weights, 0.0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    # Adding the mean makes it regular; the centre stays where it is.
    inverse = np.linalg.inv(laplacian + 1.0 / count)
    for _ in range(ITERATIONS):
        squares = (places**2).sum(axis=1)
        gaps = squares[:, None] + squares[None, :] - 2.0 * (places @ places.T)
        pull = weights * wanted / np.sqrt(np.maximum(gaps, 1e-9))
        np.fill_diagonal(pull, 0.0)
        places = inverse @ (pull.sum(axis=1)[:, None] * places - pull @ places)
    return np.asarray(places)


def apart(places: dict[str, Point], boxes: dict[str, tuple[float, float]], gap: float) -> None:
    """Move nodes, in place, until none covers another one: as little as is needed, and not for ever.

    Args:
        places: the nodes' centres.
        boxes: half the width and half the height of each.
        gap: to be left between two.
    """
    names = list(places)
    for _ in range(60):
        moved = False
        for index, name in enumerate(names):
            for other in names[index + 1 :]:
                way = places[other] - places[name]
                need = np.array(boxes[name]) + np.array(boxes[other]) + gap
                over = need - np.abs(way)
                if (over > 1e-6).all():
                    axis = int(np.argmin(over))
                    step = (over[axis] / 2 + 1e-6) * (1.0 if way[axis] >= 0 else -1.0)
                    places[name][axis] -= step
                    places[other][axis] += step
                    moved = True
        if not moved:
            return
