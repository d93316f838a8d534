"""ACKs that answer segments which are unacceptable or bring nothing new, and their rate limit."""

from __future__ import annotations

from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.tcp.control_block import ControlBlock
from mptcpsim.core.tcp.states import SYN_RECEIVED
from mptcpsim.units import SECOND

_PERIOD: Final = 5 * SECOND
#: Applies where challenge ACKs are off, too: an answer may be lost and has to be repeated.
_LEAST: Final = 10


class Answers:
    """The answers of one TCP connection."""

    __slots__ = ("_count", "_limit", "_since", "_tcp")

    def __init__(self, tcp: ControlBlock, config: TcpConfig) -> None:
        self._tcp = tcp
        self._limit: int = config.challenge_ack_limit
        self._count: int = 0
        self._since: int = -_PERIOD

    def send(self, now: int) -> None:
        """Answer an unacceptable segment with an ACK of RCV.NXT (RFC 9293 section 3.10.7.4, first step).

        A join that still waits for the third ACK repeats its SYN/ACK instead, which acknowledges as much.
        The opener would take an ACK for the fourth one and go on without MP_JOIN (RFC 8684 section 3.2).
        """
        tcp = self._tcp
        if tcp.state == SYN_RECEIVED and tcp.extension is not None and tcp.extension.answers_with_syn():
            tcp.emit_syn(now)
        else:
            tcp.send_ack(now)

    def allowed(self, now: int) -> bool:
        """Return whether one more segment without news may be answered: ten in five seconds.

        Without a limit, two ends that each answer the other's answer would never stop.
        """
        return self._within(max(self._limit, _LEAST), now)

    def challenge(self, now: int) -> None:
        """Send a challenge ACK, at most ten in five seconds (RFC 5961 sections 3 to 5 and 7)."""
        if self._within(self._limit, now):
            self._tcp.count("TcpExtTCPChallengeACK")
            self.send(now)

    def _within(self, limit: int, now: int) -> bool:
        if now - self._since >= _PERIOD:
            self._since = now
            self._count = 0
        if self._count >= limit:
            return False
        self._count += 1
        return True
