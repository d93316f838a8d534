"""Several subflows between one pair of addresses: the ports differ."""

from __future__ import annotations

from typing import ClassVar

from mptcpsim.pathmanagers.addresses import forbids_first_address
from mptcpsim.plugins import (
    Action,
    OpenSubflow,
    Parameter,
    PathManager,
    PathView,
    PluginError,
    Value,
    register,
)


class NDiffPorts(PathManager):
    """The client opens more subflows between the addresses of the first one.

    Routers that spread flows by their ports (ECMP, RFC 2992) may carry them on different
    paths, or some of them on the same one: a flow's ``distinct_paths`` chooses ``ports`` for which
    they do not.
    """

    NAME: ClassVar[str] = "ndiffports"
    SUMMARY: ClassVar[str] = "several subflows between the first pair of addresses, from different ports"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("subflows", 2, "subflows of the connection, the first one included", 1, 255),
        Parameter(
            "ports", "", "local ports of the further subflows, such as [40001, 40002]; empty: free ones"
        ),
    )

    def __init__(self) -> None:
        super().__init__()
        self.subflows: int = 2
        self.ports: list[int] = []

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        self.subflows = int(values["subflows"])
        words = str(values["ports"]).replace(",", " ").split()
        for word in words:
            if not (word.isascii() and word.isdecimal() and len(word) <= 5 and 1 <= int(word) <= 65535):
                raise PluginError(f"ports: {word!r} is no port; write numbers from 1 to 65535")
        self.ports = [int(word) for word in words]

    def on_established(self, view: PathView) -> list[Action]:
        """Open what is missing, if the peer allows it."""
        if not view.is_client or forbids_first_address(view):
            return []
        first = view.subflows[0]
        further = self.subflows - 1
        ports = [*self.ports[:further], *[0] * (further - len(self.ports))]
        return [OpenSubflow(first.local, first.remote, first.remote_port, local_port=port) for port in ports]


register(NDiffPorts)
