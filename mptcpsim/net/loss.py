"""Loss models: which packets a pipe loses before they reach its queue.

``plr`` is dummynet's packet loss rate (ipfw(8), section on traffic shaping): one
number for independent losses, or four, ``K, p, H, r``, for the model of Gilbert
and Elliott. The other models lose packets by their number and need no randomness.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class LossModel:
    """Decides for each packet, in the order of arrival, whether it is lost."""

    __slots__ = ()

    def lost(self) -> bool:
        """Return whether the packet that arrives now is lost; called once a packet."""
        raise NotImplementedError


class RandomLoss(LossModel):
    """Each packet is lost with the same probability, independently (``plr p``)."""

    __slots__ = ("probability", "rng")

    def __init__(self, probability: float, rng: random.Random) -> None:
        self.probability = probability
        self.rng = rng

    def lost(self) -> bool:
        """Return whether the packet that arrives now is lost."""
        return self.rng.random() < self.probability


class GilbertElliott(LossModel):
    """Losses in bursts, by a chain of two states (``plr K,p,H,r``).

    A packet is judged by the state that it finds; the transition is drawn before, as
    in dummynet. The mean loss is (K r + H p) / (p + r).

    Attributes:
        k: probability of a loss in the good state.
        p: probability of a transition from good to bad.
        h: probability of a loss in the bad state.
        r: probability of a transition from bad to good.
        bad: the state is the bad one.
    """

    __slots__ = ("bad", "h", "k", "p", "r", "rng")

    def __init__(self, k: float, p: float, h: float, r: float, rng: random.Random) -> None:
        self.k = k
        self.p = p
        self.h = h
        self.r = r
        self.rng = rng
        self.bad = False

    def lost(self) -> bool:
        """Return whether the packet that arrives now is lost."""
        draw = self.rng.random
        if self.bad:
            if draw() < self.r:
                self.bad = False
            return draw() < self.h
        if draw() < self.p:
            self.bad = True
        return draw() < self.k


class PeriodicLoss(LossModel):
    """Every n-th packet is lost: the deterministic loss of RFC 9438 section 5.

    Attributes:
        every: period, packets; ``ValueError`` if it is not positive.
        left: packets until the next loss, that one included.
    """

    __slots__ = ("every", "left")

    def __init__(self, every: int, first: int = 0) -> None:
        if every < 1 or first < 0:
            raise ValueError("a periodic loss needs a period of at least one packet")
        self.every = every
        self.left = first or every

    def lost(self) -> bool:
        """Return whether the packet that arrives now is lost."""
        self.left -= 1
        if self.left:
            return False
        self.left = self.every
        return True


class ListedLoss(LossModel):
    """The packets with the given numbers are lost; the first packet has the number 1."""

    __slots__ = ("count", "numbers")

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = frozenset(numbers)
        self.count = 0

    def lost(self) -> bool:
        """Return whether the packet that arrives now is lost."""
        self.count += 1
        return self.count in self.numbers


def random_loss(plr: Sequence[float], rng: random.Random) -> LossModel | None:
    """Return the model for dummynet's ``plr``: no, one or four probabilities.

    Raises:
        ValueError: another number of values, or one outside 0 to 1.
    """
    for value in plr:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"plr {value!r} is no probability: it lies outside 0 to 1")
    if not plr or not any(plr):
        return None
    if len(plr) == 1:
        return RandomLoss(float(plr[0]), rng)
    if len(plr) != 4:
        raise ValueError(f"plr takes one value or four (K, p, H, r), not {len(plr)}")
    k, p, h, r = plr
    return GilbertElliott(float(k), float(p), float(h), float(r), rng)
