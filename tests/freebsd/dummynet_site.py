"""The dummynet of a host on a clock of its own, driven by commands of ipfw."""

from __future__ import annotations

from mptcpsim.core.segment import FourTuple, Packet
from mptcpsim.freebsd.dummynet_config import Config
from mptcpsim.freebsd.dummynet_host import Dummynet
from mptcpsim.freebsd.ipfw import ObjectCommand, read_ipfw
from mptcpsim.sim.loop import Loop
from mptcpsim.units import NEVER

FLOW = FourTuple("10.0.0.1", 1000, "10.0.0.2", 2000)


class Site:
    """The dummynet of a host, and everything that comes out of it."""

    def __init__(
        self,
        *commands: str,
        seed: int = 1,
        tick_ns: int = 0,
        files: dict[str, str] | None = None,
    ) -> None:
        self.loop = Loop()
        self.dummynet = Dummynet(self.loop, "r1", seed, tick_ns, files)
        self.out: list[tuple[int, FourTuple]] = []
        self.sent = 0
        for command in commands:
            self.do(command)

    def do(self, text: str) -> str:
        (command,) = read_ipfw(text)
        assert isinstance(command, Config | ObjectCommand)
        return self.dummynet.execute(command)

    def send(
        self, count: int, size: int = 1500, flow: FourTuple = FLOW, kind: str = "pipe", number: int = 1
    ) -> None:
        queue = self.dummynet.queue(kind, number)
        self.sent += count
        for _ in range(count):
            queue.enter(Packet(flow, size), lambda packet: self.out.append((self.loop.now, packet.flow)))

    def at(self, when: int, text: str) -> None:
        self.loop.schedule(when, lambda: print(self.do(text)))

    def run(self, until: int = NEVER) -> list[int]:
        self.loop.run(until)
        return [now for now, _ in self.out]

    def times(self, flow: FourTuple) -> list[int]:
        return [now for now, found in self.out if found == flow]

    def drops(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for report in self.dummynet.reports():
            for reason, count in report.drops.items():
                found[reason] = found.get(reason, 0) + count
        return found
