"""A connection as a path manager sees it, written down by a test."""

from __future__ import annotations

from mptcpsim.plugins import (
    OpenSubflow,
    PathManager,
    PathView,
    RemoteAddress,
    SubflowInfo,
    Value,
    complete,
    find,
)
from mptcpsim.scenario.catalogue import load_plugins

load_plugins()

PORT = 5001
CLIENT_PORT = 40000


class FakeView(PathView):
    """A connection of a host; whoever asks for an identifier gets the next one."""

    def __init__(self, is_client: bool, addresses: list[str], subflows: list[SubflowInfo]) -> None:
        self.client = is_client
        self.addresses = addresses
        self.open = subflows
        first = subflows[0]
        self.remotes = {0: RemoteAddress(0, first.remote, first.remote_port)}
        self.own = {first.local: 0}
        self.told: list[str] = []
        self.sources: dict[str, str] = {}

    @property
    def is_client(self) -> bool:
        return self.client

    @property
    def local_addresses(self) -> list[str]:
        return list(self.addresses)

    @property
    def remote_addresses(self) -> list[RemoteAddress]:
        return [self.remotes[key] for key in sorted(self.remotes)]

    @property
    def subflows(self) -> list[SubflowInfo]:
        return list(self.open)

    @property
    def announced(self) -> list[str]:
        return list(self.told)

    def local_id(self, address: str) -> int:
        return self.own.setdefault(address, len(self.own))

    def source_for(self, remote: str) -> str:
        source = self.sources.get(remote, "")
        return source if source in self.addresses else ""

    def add(self, action: OpenSubflow) -> SubflowInfo:
        """Open a subflow, as the connection would."""
        remote = next(
            r for r in self.remotes.values() if r.address == action.remote and r.port == action.port
        )
        number = 1 + max((s.identifier for s in self.open), default=0)
        info = SubflowInfo(
            number, action.local, self.local_id(action.local), action.remote, remote.identifier, action.port,
            action.backup, True,
        )  # fmt: skip
        self.open.append(info)
        return info

    def hear(self, identifier: int, address: str, port: int = PORT) -> RemoteAddress:
        """Take an address of the peer, as an ADD_ADDR brings it."""
        self.remotes[identifier] = RemoteAddress(identifier, address, port)
        return self.remotes[identifier]


def client(*addresses: str, server: str = "10.0.1.2") -> FakeView:
    first = SubflowInfo(0, addresses[0], 0, server, 0, PORT, False, True)
    return FakeView(True, list(addresses), [first])


def server(*addresses: str, peer: str = "10.0.1.1") -> FakeView:
    first = SubflowInfo(0, addresses[0], 0, peer, 0, CLIENT_PORT, False, False)
    return FakeView(False, list(addresses), [first])


def manager(name: str, **values: Value) -> PathManager:
    cls = find("pathmanager", name)
    made = cls()
    made.configure(complete(cls, values))
    assert isinstance(made, PathManager)
    return made
