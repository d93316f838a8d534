"""GraphML (http://graphml.graphdrawing.org), read so that every mistake has its line.

``networkx.read_graphml`` builds a tree first, which forgets the lines, and makes a node called None
of an edge without an end; the tests compare with it what both read. Expat alone sees the text here:
a document type, and with it every entity of the document's own, is refused before it could expand.
"""

from __future__ import annotations

from typing import Any, Final
from xml.parsers import expat

from mptcpsim.suggest import did_you_mean
from mptcpsim.topologies.plan import PlanEdge, TopologyError, TopologyPlan

#: What the namespace begins with; writers differ in the rest.
NAMESPACE: Final = "http://graphml.graphdrawing.org/"

#: yEd's element with the text that stands in the drawing of a node.
NODE_LABEL: Final = "NodeLabel"

#: Elements inside each other, at most; GraphML needs five.
MAX_DEPTH: Final = 64

_TRUTH: Final = {"true": True, "false": False, "1": True, "0": False}


def _boolean(text: str) -> bool:
    return _TRUTH[text.lower()]


#: The types of ``attr.type``.
_TYPES: Final[dict[str, Any]] = {
    "string": str,
    "int": int,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": _boolean,
}


class _Key:
    """A ``key`` element: what ``data`` elements that name it mean."""

    def __init__(self, domain: str, name: str, kind: str, drawn: bool = False) -> None:
        self.domain = domain
        #: yEd's drawing of a node: of its elements only the text that people see is read.
        self.drawn = drawn
        self.name = name
        self.kind = kind
        self.default: Any = None

    def read(self, text: str) -> Any:
        """Return the value that a text stands for; numbers of more than 40 digits are nobody's.

        Raises:
            ValueError: it is none of the key's type.
        """
        if self.kind not in ("string", "boolean"):
            text = text.strip()
            if len(text) > 40:
                raise ValueError
        try:
            return _TYPES[self.kind](text.strip() if self.kind == "boolean" else text)
        except KeyError:
            raise ValueError from None


class _GraphmlReader:
    """Expat's callbacks, and what they have found so far."""

    def __init__(self) -> None:
        self.plan = TopologyPlan()
        self.keys: dict[str, _Key] = {}
        self.path: list[str] = []
        self.graphs = 0
        self.directed_edges: set[bool] = set()
        #: The node or edge whose data come now: its attributes, and None outside of both.
        self.owner: dict[str, Any] | None = None
        self.domain = ""
        self.key: _Key | None = None
        #: The element inside yEd's drawing whose text is read, by its depth; 0 outside of one.
        self.drawn_at = 0
        self.text: list[str] = []
        self.edges: list[PlanEdge] = []
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data

    @property
    def at(self) -> str:
        return f"line {self.parser.CurrentLineNumber}"

    def _refuse(self, *unused: Any) -> None:
        raise TopologyError(f"{self.at}: a document type, which GraphML does not need; remove <!DOCTYPE ...>")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition(" ")
        known = not namespace or namespace.startswith(NAMESPACE)
        self.path.append(name if known else "")
        if len(self.path) > MAX_DEPTH:
            raise TopologyError(
                f"{self.at}: more than {MAX_DEPTH} elements inside each other; write them flat"
            )
        if len(self.path) == 1:
            if not known or name != "graphml":
                raise TopologyError(f"{self.at}: the outermost element is <{name}>, not <graphml>")
        elif self.key is not None and self.key.drawn:
            if name == NODE_LABEL and not self.drawn_at:
                self.drawn_at, self.text = len(self.path), []
        elif known and self.key is None:
            begin = getattr(self, f"_start_{name}", None)
            if begin is not None:
                begin(attributes)

    def _end(self, tag: str) -> None:
        depth = len(self.path)
        name = self.path.pop()
        if self.drawn_at == depth and self.key is not None:
            self._store_label("".join(self.text).strip())
        if name in ("data", "default") and self.key is not None and len(self.path) == self.depth:
            if not self.key.drawn:
                self._store("".join(self.text), name == "default")
            self.key = None if name == "data" else self.key
        elif name in ("node", "edge"):
            self.owner = None
        elif name == "key":
            self.key = None

    def _data(self, text: str) -> None:
        if self.key is not None and (not self.key.drawn or self.drawn_at == len(self.path)):
            self.text.append(text)

    # --- elements -------------------------------------------------------------------------

    def _start_key(self, attributes: dict[str, str]) -> None:
        identity = attributes.get("id")
        if identity is None:
            raise TopologyError(f"{self.at}: a <key> without an id; add id=")
        domain = attributes.get("for", "all")
        kind = attributes.get("attr.type", "string").lower()
        name = attributes.get("attr.name", identity)
        if kind not in _TYPES:
            hint = did_you_mean(kind, _TYPES)
            raise TopologyError(f"{self.at}: key {identity!r}: unknown attr.type {kind!r}; {hint}")
        drawn = any(attribute.split(" ")[-1] == "yfiles.type" for attribute in attributes)
        self.keys[identity] = _Key(domain, name, kind, drawn)
        self.default_of = self.keys[identity]

    def _start_default(self, attributes: dict[str, str]) -> None:
        if self.path[-2] == "key":
            self.key, self.text, self.depth = self.default_of, [], len(self.path) - 1

    def _start_graph(self, attributes: dict[str, str]) -> None:
        self.graphs += 1
        if self.graphs > 1:
            raise TopologyError(
                f"{self.at}: a second <graph>; a topology is one, with no graphs inside nodes"
            )
        self.plan.directed = attributes.get("edgedefault") == "directed"

    def _start_node(self, attributes: dict[str, str]) -> None:
        identity = attributes.get("id")
        if identity is None:
            raise TopologyError(f"{self.at}: a <node> without an id; add id=")
        self.owner, self.domain = self._defaults("node"), "node"
        self.plan.add_node(identity, self.owner, self.at)

    def _start_edge(self, attributes: dict[str, str]) -> None:
        ends = attributes.get("source"), attributes.get("target")
        for end, key in zip(ends, ("source", "target"), strict=True):
            if end is None:
                raise TopologyError(f"{self.at}: an <edge> without a {key}; add {key}=")
        self.directed_edges.add(
            {"true": True, "false": False}.get(attributes.get("directed", ""), self.plan.directed)
        )
        self.owner, self.domain = self._defaults("edge"), "edge"
        # Nodes may stand behind their edges.
        self.edges.append(PlanEdge(str(ends[0]), str(ends[1]), self.owner, self.at))

    def _start_data(self, attributes: dict[str, str]) -> None:
        if self.owner is None or self.path[-2] != self.domain:
            return
        identity = attributes.get("key")
        if identity is None or identity not in self.keys:
            raise TopologyError(
                f"{self.at}: <data> with the key {identity!r}, which no <key> declares; add that"
            )
        self.key, self.text, self.depth = self.keys[identity], [], len(self.path) - 1

    def _start_hyperedge(self, attributes: dict[str, str]) -> None:
        raise TopologyError(f"{self.at}: a <hyperedge>; draw it as a switch with an edge to each end")

    # --- values ---------------------------------------------------------------------------

    def _defaults(self, domain: str) -> dict[str, Any]:
        return {
            key.name: key.default
            for key in self.keys.values()
            if key.default is not None and key.domain in (domain, "all")
        }

    def _store_label(self, text: str) -> None:
        self.drawn_at = 0
        if text and self.owner is not None:
            self.owner.setdefault(NODE_LABEL, text)

    def _store(self, text: str, default: bool) -> None:
        key = self.key
        assert key is not None
        if not default and not text.strip():
            return  # no text: yEd's elements, which draw and mean nothing here
        try:
            value = key.read(text)
        except ValueError:
            shown = text.strip()
            shown = repr(shown if len(shown) <= 40 else f"{shown[:40]}...")
            raise TopologyError(f"{self.at}: {key.name}: {shown} is no {key.kind}; mend the value") from None
        if default:
            key.default = value
        elif self.owner is not None:
            self.owner[key.name] = value

    depth: int = 0
    default_of: _Key


def read_graphml(data: bytes) -> TopologyPlan:
    """Return the graph of a GraphML document.

    Raises:
        TopologyError: it is none; the text has the line.
    """
    reader = _GraphmlReader()
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError as error:
        text = expat.errors.messages.get(error.code, "no XML")
        raise TopologyError(
            f"line {error.lineno}: not well-formed XML: {text}; mend the syntax there"
        ) from None
    except (LookupError, UnicodeError) as error:
        raise TopologyError(f"{reader.at}: cannot be decoded: {error}; save the file in UTF-8") from None
    if not reader.graphs:
        raise TopologyError("it has no <graph>; name a GraphML file with one")
    if len(reader.directed_edges) > 1:
        raise TopologyError("it has directed and undirected edges; make them all of one kind")
    if reader.directed_edges:
        reader.plan.directed = True in reader.directed_edges
    for edge in reader.edges:
        reader.plan.add_edge(edge)
    return reader.plan
