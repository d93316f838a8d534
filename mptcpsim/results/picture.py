"""What a picture of a topology shows: nodes, links, and the paths of subflows over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

HOST = "host"
ROUTER = "router"
SWITCH = "switch"


class PictureNode(NamedTuple):
    """A node; ``position`` is x and y (to the right, upwards), or None."""

    name: str
    kind: str
    position: tuple[float, float] | None = None


class PictureLink(NamedTuple):
    """A link: names of the nodes at its ends, what is written beside it, and what at each end."""

    name: str
    a: str
    b: str
    label: str = ""
    a_label: str = ""
    b_label: str = ""


class PicturePath(NamedTuple):
    """The way of a subflow: where it starts, and the names of the links one after the other."""

    label: str
    start: str
    links: tuple[str, ...]


class Picture:
    """A topology to be drawn.

    Attributes:
        title: printed above.
        nodes: by name.
        links: by name.
        paths: of subflows, in the order of the legend.
    """

    def __init__(
        self,
        title: str,
        nodes: Sequence[PictureNode],
        links: Sequence[PictureLink],
        paths: Sequence[PicturePath] = (),
    ) -> None:
        self.title = title
        self.nodes = {node.name: node for node in nodes}
        self.links = {link.name: link for link in links}
        self.paths = list(paths)

    def neighbours(self) -> dict[str, list[str]]:
        """Return the neighbours of each node, each once, in the order of the links."""
        near: dict[str, dict[str, None]] = {name: {} for name in self.nodes}
        for link in self.links.values():
            near[link.a][link.b] = None
            near[link.b][link.a] = None
        return {name: list(found) for name, found in near.items()}
