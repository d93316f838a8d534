"""Several subflows between one pair of addresses: the ports differ."""

from __future__ import annotations

from typing import ClassVar

from mptcpsim.pathmanagers.addresses import forbids_first_address
from mptcpsim.plugins import Action, OpenSubflow, Parameter, PathManager, PathView, Value, register


class NDiffPorts(PathManager):
    """The client opens more subflows between the addresses of the first one.

    Routers that spread flows by their ports (ECMP, RFC 2992) may carry them on different
    paths.
    """

    NAME: ClassVar[str] = "ndiffports"
    SUMMARY: ClassVar[str] = "several subflows between the first pair of addresses, from different ports"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("subflows", 2, "subflows of the connection, the first one included", 1, 255),
    )

    def __init__(self) -> None:
        super().__init__()
        self.subflows: int = 2

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        self.subflows = int(values["subflows"])

    def on_established(self, view: PathView) -> list[Action]:
        """Open what is missing, if the peer allows it."""
        if not view.is_client or forbids_first_address(view):
            return []
        first = view.subflows[0]
        another = OpenSubflow(first.local, first.remote, first.remote_port)
        return [another] * (self.subflows - 1)


register(NDiffPorts)
