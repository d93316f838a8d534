"""The variables of the sending half of an MPTCP connection, and the choice of its scheduler.

``data_sender.DataSender`` sends new data, ``reinjection.Reinjections`` sends data again. Data sequence
numbers are relative: the first byte is 1.
"""

from __future__ import annotations

from mptcpsim.core.mptcp.session import Session, SubflowState
from mptcpsim.core.mptcp_options import Dss
from mptcpsim.core.sequences import DataNumbers, NumberReader
from mptcpsim.core.tcp.seams import DataSource
from mptcpsim.plugins import Path, Scheduler
from mptcpsim.units import NEVER


def compares(scheduler: Scheduler) -> bool:
    """Return whether a scheduler chooses with ``better``: the class whose ``choose`` counts has both."""
    return _definer(type(scheduler), "choose") is _definer(type(scheduler), "better")


def _definer(cls: type, method: str) -> type:
    """Return the class that a class has a method from."""
    found = getattr(cls, method)
    return [base for base in cls.__mro__ if getattr(base, method, None) is found][-1]


class DataSendState(DataSource):
    """Send state of a connection; sizes in bytes, times in ns.

    Attributes:
        scheduler: the plug-in.
        idsn: the own initial data sequence number.
        octets: of a DSN that is sent, 4 or 8.
        numbers: the form of both on the wire.
        una: the DATA_ACK: the lowest DSN that is not acknowledged.
        nxt: the next DSN to send for the first time.
        end: DSN after the last byte that the application wrote.
        wnd_end: right edge of the peer's window: the largest DATA_ACK + window seen on any subflow.
        max_window: largest window the peer ever offered.
        fin_wanted, fin_sent: the application closed; the DATA_FIN has a number (``end``) and was sent.
        may_push: ``push`` may send. It is False while ``push`` waits for a DATA_ACK, which happens only with
            ``wake_on_window = false``.
        declined_at: when the scheduler was last asked for a subflow and chose none, ns, or -1.
        repeated_while_closed: bytes sent again while the peer's window was closed, probes included.
    """

    __slots__ = (
        "_acks",
        "_compares",
        "_connection",
        "declined_at",
        "end",
        "fin_sent",
        "fin_wanted",
        "idsn",
        "max_window",
        "may_push",
        "numbers",
        "nxt",
        "octets",
        "repeated_while_closed",
        "scheduler",
        "una",
        "wnd_end",
    )

    def __init__(self, connection: Session, scheduler: Scheduler, idsn: int) -> None:
        mptcp = connection.config.mptcp
        super().__init__(mptcp.subflow_probe, mptcp.persist_min, mptcp.persist_shift)
        self._connection = connection
        self.scheduler = scheduler
        #: The scheduler compares two paths at a time; it needs no list.
        self._compares: bool = compares(scheduler)
        self.idsn = idsn
        self.octets: int = mptcp.dsn_octets
        self.numbers = DataNumbers(idsn, self.octets)
        #: Reads the DATA_ACKs that arrive.
        self._acks = NumberReader(idsn)
        self.una: int = 1
        self.nxt: int = 1
        self.end: int = 1
        self.wnd_end: int = 1 if mptcp.connection_window else NEVER
        self.max_window: int = 0
        self.fin_wanted: bool = False
        self.fin_sent: bool = False
        self.may_push: bool = True
        self.declined_at: int = -1
        self.repeated_while_closed: int = 0

    # --- What a scheduler sees ----------------------------------------------------------------

    @property
    def paths(self) -> list[Path]:
        """The subflows that work."""
        paths: list[Path] = []
        for subflow in self._connection.usable():
            paths.append(subflow)
        return paths

    @property
    def unsent(self) -> int:
        """Bytes written and not sent."""
        return self.end - self.nxt

    @property
    def window(self) -> int:
        """Bytes that the connection's window allows."""
        return max(0, self.wnd_end - self.nxt)

    # --- Small services -------------------------------------------------------------------------

    def ack_of(self, dss: Dss) -> int:
        """Return the relative form of the DATA_ACK of a DSS that arrived."""
        return self._acks.read(dss.ack, dss.ack_numbers, dss.data_ack_octets, self.una)

    def highest(self) -> int:
        """Return the highest DATA_ACK that makes sense."""
        return self.end + 1 if self.fin_sent else self.nxt

    def wake(self) -> None:
        """Let ``push`` send without waiting for a DATA_ACK."""
        self.may_push = True

    def on_repeated(self, count: int) -> None:
        """Bytes are sent again."""
        if self.wnd_end <= self.nxt:
            self.repeated_while_closed += count

    def choose(self, usable: list[SubflowState], left: int, excluded: int, now: int) -> SubflowState | None:
        """Have the scheduler choose a subflow for ``left`` bytes, other than ``excluded``; None for none."""
        compares = self._compares
        best: Path | None = None
        available: list[Path] = []
        for subflow in usable:
            sender = subflow.tcp.sender
            if subflow.number == excluded or sender.nxt < sender.end:
                # Data that was mapped ahead comes first.
                continue
            if subflow.room(now) >= min(left, sender.mss):
                if compares:
                    best = self.scheduler.better(best, subflow)
                else:
                    available.append(subflow)
        if best is not None:
            self.scheduler.on_chosen(best)
            return self._connection.extensions[best.identifier]
        if not available:
            return None
        chosen = self.scheduler.choose(available, now)
        if chosen is None:
            self.declined_at = now
            return None
        return self._connection.extensions[chosen.identifier]
