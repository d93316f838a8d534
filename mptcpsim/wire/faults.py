"""Faults on purpose: packets of a device that are lost, doubled, late or damaged.

Which packets it hits depends on a seed and on the number of the packet in its direction alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, NamedTuple

from mptcpsim.sim.loop import Loop
from mptcpsim.streams import stream
from mptcpsim.units import MILLISECOND
from mptcpsim.wire.devices import WireDevice, WrappedDevice

IN: Final = "in"
OUT: Final = "out"

#: Changes a packet, or takes it away (None).
Change = Callable[[bytes], bytes | None]


class FaultRates(NamedTuple):
    """How often a packet suffers what; each a probability from 0 to 1.

    Attributes:
        drop: it is lost.
        duplicate: it comes twice.
        reorder: it comes ``delay`` later than those behind it.
        corrupt: one bit of it, anywhere, is flipped.
        delay: of a packet that is reordered, ns.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    delay: int = 5 * MILLISECOND

    def check(self) -> None:
        """Complain of a rate that is none.

        Raises:
            ValueError: the text names it.
        """
        for name, value in zip(self._fields[:4], self[:4], strict=True):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}: a probability lies between 0 and 1")


class _Direction:
    """One direction of the device."""

    def __init__(
        self, loop: Loop, rates: FaultRates, rng: random.Random, onward: Callable[[bytes, str], None]
    ) -> None:
        rates.check()
        self.rates = rates
        self.change: Change | None = None
        self.cut: bool = False
        self.counts: dict[str, int] = {"dropped": 0, "duplicated": 0, "reordered": 0, "corrupted": 0}
        self._loop = loop
        self._rng = rng
        self._onward = onward

    def take(self, data: bytes, next_hop: str) -> None:
        if self.change is not None:
            changed = self.change(data)
            if changed is None:
                self.counts["dropped"] += 1
                return
            data = changed
        rates = self.rates
        draw = self._rng.random
        # All are drawn for each packet, so that one rate changes nothing of another's choice.
        dropped, doubled, late, damaged = (
            draw() < rates.drop,
            draw() < rates.duplicate,
            draw() < rates.reorder,
            draw() < rates.corrupt,
        )
        place = self._rng.getrandbits(32)
        if dropped or self.cut:
            self.counts["dropped"] += 1
            return
        if damaged and data:
            self.counts["corrupted"] += 1
            bit = place % (8 * len(data))
            data = data[: bit >> 3] + bytes((data[bit >> 3] ^ (1 << (bit & 7)),)) + data[(bit >> 3) + 1 :]
        if doubled:
            self.counts["duplicated"] += 1
            self._onward(data, next_hop)
        if late:
            self.counts["reordered"] += 1
            loop = self._loop
            loop.schedule(loop.now + rates.delay, _Later(self._onward, data, next_hop))
        else:
            self._onward(data, next_hop)


class _Later:
    """A packet that is handed on later."""

    __slots__ = ("data", "next_hop", "onward")

    def __init__(self, onward: Callable[[bytes, str], None], data: bytes, next_hop: str) -> None:
        self.onward = onward
        self.data = data
        self.next_hop = next_hop

    def __call__(self) -> None:
        self.onward(self.data, self.next_hop)


class Faults(WrappedDevice):
    """A device whose packets suffer faults.

    Args:
        inner: the device.
        loop: the clock of the stack.
        outgoing, incoming: how often, in each direction.
        seed: of the choice.

    Raises:
        ValueError: a rate is no probability.
    """

    def __init__(
        self,
        inner: WireDevice,
        loop: Loop,
        outgoing: FaultRates = FaultRates(),  # noqa: B008 (a tuple)
        incoming: FaultRates = FaultRates(),  # noqa: B008
        seed: int = 1,
    ) -> None:
        super().__init__(inner)
        self._directions = {
            OUT: _Direction(loop, outgoing, stream(seed, f"wire/{inner.name}/out"), self._hand_out),
            IN: _Direction(loop, incoming, stream(seed, f"wire/{inner.name}/in"), self._hand_in),
        }

    def take(self, data: bytes) -> None:
        """Let a packet come in, or not."""
        self._directions[IN].take(data, "")

    def write(self, data: bytes, next_hop: str) -> None:
        """Send a packet, or not."""
        self._directions[OUT].take(data, next_hop)

    def set_change(self, direction: str, change: Change | None) -> None:
        """Have each packet of a direction (``IN`` or ``OUT``) changed, or taken away, from now on."""
        self._directions[direction].change = change

    def change_of(self, direction: str) -> Change | None:
        """Return what changes the packets of a direction, if anything does."""
        return self._directions[direction].change

    def set_cut(self, cut: bool) -> None:
        """Lose everything, in both directions, or nothing more: the path has died, the interface has not."""
        for direction in self._directions.values():
            direction.cut = cut

    def counts(self, direction: str) -> dict[str, int]:
        """Return how many packets of a direction suffered what."""
        return dict(self._directions[direction].counts)

    def _hand_out(self, data: bytes, next_hop: str) -> None:
        super().write(data, next_hop)

    def _hand_in(self, data: bytes, next_hop: str) -> None:
        super().take(data)
