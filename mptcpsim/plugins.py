"""The plug-in points: read this file before writing a plug-in.

A plug-in is a class with a ``NAME``, a ``SUMMARY`` of one line for people, and
``PARAMETERS`` that a scenario may set. It is registered with ``@register`` and is
then known to scenarios and to ``mptcpsim list`` under its name::

    @register
    class Half(Reno):
        NAME = "half"
        SUMMARY = "Reno with a growth that is half as fast"

        def on_ack(self, acked, now, srtt, in_flight):
            super().on_ack(acked // 2, now, srtt, in_flight)

A plug-in sees a narrow view and decides; it never sends, and it keeps no clock
(times come in as nanoseconds) and no randomness of its own (a ``random.Random``
is handed to those that need one). A middlebox, which handles packets and may send, has its base
class in ``net/middlebox.py``.

What a hook raises, returns or leaves behind that none may ends the run with ``PluginFailure``: file and line,
the hook, what it did and what is allowed. Windows are whole numbers of bytes, at least a segment, when a
hook returns.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

from mypy_extensions import mypyc_attr

from mptcpsim.guard import guarded
from mptcpsim.suggest import did_you_mean

Value = bool | int | float | str


class Parameter(NamedTuple):
    """A parameter of a plug-in, as a scenario sets it.

    ``default`` fixes the type. ``minimum`` and ``maximum`` are inclusive.
    """

    name: str
    default: Value
    help: str
    minimum: float | None = None
    maximum: float | None = None


@mypyc_attr(native_class=False)
class PluginError(ValueError):
    """An unknown plug-in, a name that is taken, an unknown parameter or a value out of range."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Plugin:
    """What all plug-ins have in common: a family, a name and parameters.

    ``SUMMARY`` is what ``mptcpsim list`` shows; without one it takes the first line of the
    docstring, which a compiled class does not have.
    """

    FAMILY: ClassVar[str] = ""
    NAME: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = ()

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters, one value for each entry of ``PARAMETERS``; called once."""


Scope = dict[str, dict[str, type[Plugin]]]

_registry: Scope = {}
#: The user's plug-ins that the scenario at hand has named: only it knows them.
_scope: Scope = {}
#: What takes the classes that a file registers while it is read for a scenario; None: the registry does.
_collecting: Scope | None = None

P = TypeVar("P", bound=type[Plugin])


def register(cls: P) -> P:
    """Make a plug-in class known under its ``FAMILY`` and ``NAME``; returns the class.

    A class that is defined again, as in a notebook, takes the place of its older self. What a file
    registers that a scenario names is known to that scenario only.

    Raises:
        PluginError: it has no family or no name, or the name belongs to another class (a
            subclass without a ``NAME`` of its own has that of its base).
    """
    if not cls.FAMILY or not cls.NAME:
        raise PluginError(f"{cls.__qualname__} needs a FAMILY (from its base class) and a NAME")
    for known in (_registry, _collecting or {}):
        other = known.get(cls.FAMILY, {}).get(cls.NAME)
        if other is not None and _place(other) != _place(cls):
            raise PluginError(
                f"{cls.FAMILY} {cls.NAME!r} is {_place(other)} already: give {cls.__qualname__} another NAME"
            )
    target = _registry if _collecting is None else _collecting
    target.setdefault(cls.FAMILY, {})[cls.NAME] = cls
    return cls


def _place(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def collect(into: Scope | None) -> Scope | None:
    """Have ``register`` fill a scope instead of the registry (None) from now on; return the former one."""
    global _collecting
    former = _collecting
    _collecting = into
    return former


def enter_scope(scope: Scope) -> Scope:
    """Make the plug-ins of a scope known from now on, in front of the registry's; return the former scope."""
    global _scope
    former = _scope
    _scope = scope
    return former


def current_scope() -> Scope:
    """Return the scope that was entered last."""
    return _scope


def families() -> Scope:
    """Return every plug-in class that is known by family and name, both sorted."""
    return {
        family: dict(sorted({**_registry.get(family, {}), **_scope.get(family, {})}.items()))
        for family in sorted({**_registry, **_scope})
    }


def find(family: str, name: str, scope: Scope | None = None) -> type[Plugin]:
    """Return the plug-in class of a family by name.

    Args:
        family: congestion, scheduler, ...
        name: of the plug-in.
        scope: the user's plug-ins that are known beside the registry's; by default those of the
            current scope.

    Raises:
        PluginError: no such plug-in; the message says which there are.
    """
    own = (_scope if scope is None else scope).get(family)
    if own is not None and name in own:
        return own[name]
    known = _registry.get(family, {})
    if name not in known:
        names = sorted({**known, **(own or {})})
        raise PluginError(f"unknown {family} {name!r}; {did_you_mean(name, names)}")
    return known[name]


def create(family: str, name: str, given: dict[str, Value], scope: Scope | None = None) -> Plugin:
    """Return a new plug-in, configured; one of the user's is watched (``guard``).

    Raises:
        PluginError: as ``find`` and ``complete``.
        PluginFailure: a plug-in of the user's does not let itself be made.
    """
    cls = find(family, name, scope)
    made: Plugin = guarded(cls)()
    made.configure(complete(cls, given))
    return made


def complete(cls: type[Plugin], given: dict[str, Value]) -> dict[str, Value]:
    """Return ``given`` completed by the defaults, each value checked for type and range.

    Raises:
        PluginError: an unknown parameter, a wrong type or a value out of range.
    """
    values: dict[str, Value] = {p.name: p.default for p in cls.PARAMETERS}
    if not given:
        return values
    by_name = {p.name: p for p in cls.PARAMETERS}
    for name, value in given.items():
        parameter = by_name.get(name)
        if parameter is None:
            hint = did_you_mean(name, by_name)
            raise PluginError(f"{cls.FAMILY} {cls.NAME!r} has no parameter {name!r}; {hint}")
        values[name] = _checked(cls, parameter, value)
    return values


def _checked(cls: type[Plugin], parameter: Parameter, value: Value) -> Value:
    wanted = type(parameter.default)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    if type(value) is not wanted:
        raise PluginError(
            f"{cls.FAMILY} {cls.NAME!r}: parameter {parameter.name!r} takes a {wanted.__name__}, "
            f"not {value!r}"
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = parameter.minimum, parameter.maximum
        inside = (low is None or value >= low) and (high is None or value <= high)
        if not inside:
            bounds = f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"
            raise PluginError(
                f"{cls.FAMILY} {cls.NAME!r}: parameter {parameter.name!r} is {value!r}, "
                f"outside its range {bounds}"
            )
    return value


# --- Congestion control -----------------------------------------------------------------------


@mypyc_attr(allow_interpreted_subclasses=True)
class CongestionControl(Plugin):
    """Decides ``cwnd`` and ``ssthresh``, in bytes, of one subflow.

    Loss recovery (which segment is lost, when it is sent again, how many may be
    sent meanwhile: RFC 6675, 6937, 8985) is the sender's; this class is asked
    what the windows become.

    Attributes:
        cwnd: congestion window, bytes.
        ssthresh: slow-start threshold, bytes.
        mss: sender maximum segment size, bytes of payload.
    """

    FAMILY: ClassVar[str] = "congestion"

    def __init__(self) -> None:
        self.cwnd: int = 0
        self.ssthresh: int = 1 << 50
        self.mss: int = 0

    def start(self, mss: int, initial_window: int, initial_ssthresh: int, now: int) -> None:
        """Begin: the connection is established; all sizes in bytes."""
        self.mss = mss
        self.cwnd = initial_window
        self.ssthresh = initial_ssthresh

    def on_ack(self, acked: int, now: int, srtt: int, in_flight: int) -> None:
        """New data was acknowledged outside of recovery while the window was in use.

        Args:
            acked: bytes newly acknowledged (cumulatively or selectively).
            now: ns.
            srtt: smoothed round-trip time, ns.
            in_flight: bytes in flight before this acknowledgment.
        """
        raise NotImplementedError

    def on_unused_window(self, in_flight: int, now: int) -> None:
        """New data was acknowledged outside of recovery, and part of the window was not in use.

        The application or the peer's window is what limits the sender: ``in_flight``, bytes
        before this acknowledgment, says to how much. The window does not grow (RFC 7661 in spirit).
        """

    def ssthresh_after_loss(self, in_flight: int, now: int) -> int:
        """Return the new slow-start threshold, bytes, at a loss or an ECN echo.

        Called once a loss event, and on the first time-out of a segment; in_flight is
        FlightSize of RFC 5681 equation (4).
        """
        raise NotImplementedError

    def on_timeout(self, now: int) -> None:
        """The retransmission timer expired; the sender has set ssthresh and cwnd = 1 MSS."""

    def on_recovered(self, now: int) -> None:
        """Loss recovery is over; the sender has set cwnd = ssthresh."""

    def on_mss(self, mss: int) -> None:
        """Path MTU discovery changed the segment size; cwnd keeps its number of segments."""
        self.cwnd = max(mss, self.cwnd * mss // self.mss)
        self.mss = mss

    def couple(self, group: list[CongestionControl]) -> None:
        """Take the controllers of all working subflows of an MPTCP connection, this one among them.

        The list is the connection's own and changes as subflows come and go. It is never
        called for plain TCP. An uncoupled control has no use for it.
        """


# --- Queue disciplines ------------------------------------------------------------------------

# What a queue discipline says of a packet.
PASS: Final = 0
DROP: Final = 1
MARK: Final = 2


@mypyc_attr(allow_interpreted_subclasses=True)
class QueueDiscipline(Plugin):
    """Active queue management of one FIFO queue: pass, mark (ECN) or drop.

    The pipe stores the packets, enforces the queue limit (which comes after the
    discipline, as in dummynet) and turns MARK into a drop for a packet that is not
    ECN-capable. A discipline that decides at arrival alone (``AT_DEPARTURE`` false)
    runs on the analytic pipe.

    Attributes:
        limit: of the queue, slots or bytes; set before ``start`` and when it changes.
    """

    FAMILY: ClassVar[str] = "qdisc"
    AT_DEPARTURE: ClassVar[bool] = False

    limit: int = 0

    def start(self, rng: random.Random, rate_bps: int, byte_mode: bool) -> None:
        """Begin.

        Args:
            rng: the random stream of this queue.
            rate_bps: rate of the link, bit/s; 0 for unlimited. Called again when it changes.
            byte_mode: the queue limit is in bytes, not in slots.
        """

    def on_arrival(self, size: int, packets: int, queued: int, idle: int, now: int) -> int:
        """Return PASS, DROP or MARK for a packet that arrives.

        Args:
            size: bytes of the packet.
            packets: packets waiting (the one in service does not count).
            queued: bytes waiting.
            idle: ns since the queue became empty; 0 when packets are waiting.
            now: ns.
        """
        return PASS

    def on_departure(self, size: int, sojourn: int, queued: int, now: int) -> int:
        """Return PASS, DROP or MARK for a packet at the head that is about to be served.

        Args:
            size: bytes of the packet.
            sojourn: ns that it waited.
            queued: bytes waiting behind it.
            now: ns.
        """
        return PASS


@mypyc_attr(allow_interpreted_subclasses=True)
class FlowQueue:
    """One of the FIFO queues that a ``QueueScheduler`` serves, as it sees it.

    Attributes:
        weight: its share of the link, relative to the weights of the others.
        packets: waiting.
        bytes: waiting.
        head: bytes of the packet at its head; 0 if none is waiting.
        listed, credit, begin, finish: the scheduler's own, 0 at first.
    """

    __slots__ = ("begin", "bytes", "credit", "finish", "head", "listed", "packets", "weight")

    def __init__(self, weight: int = 1) -> None:
        self.weight = weight
        self.packets: int = 0
        self.bytes: int = 0
        self.head: int = 0
        self.listed: int = 0
        self.credit: int = 0
        self.begin: int = 0
        self.finish: int = 0


@mypyc_attr(allow_interpreted_subclasses=True)
class QueueScheduler(Plugin):
    """Several FIFO queues in front of one link: decides whose turn it is.

    The pipe stores the packets and finds the queue that a packet belongs to. As the ``qdisc`` of a link
    (or with dummynet, where a scheduler has no queues but its own) there is a queue for each hash of a
    packet's addresses and ports; elsewhere the queues are those that ``ipfw queue`` makes, each with
    a weight, a limit and a discipline of its own.

    A queue may lose packets otherwise than by being served, also its last one: its discipline drops them.

    Attributes:
        flows: number of hashed queues.
        limit: packets in all hashed queues together.
    """

    FAMILY: ClassVar[str] = "qdisc"
    #: Beyond ``limit`` the longest queue loses packets at its head; else what arrives is refused.
    DROPS_FROM_LONGEST: ClassVar[bool] = False

    flows: int = 1024
    limit: int = 10240

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters; those named ``flows`` and ``limit`` are kept in the attributes."""
        self.flows = int(values.get("flows", self.flows))
        self.limit = int(values.get("limit", self.limit))

    def discipline(self) -> QueueDiscipline | None:
        """Return a new discipline for a hashed queue, configured; None for none."""
        return None

    def arrived(self, queue: FlowQueue, size: int, now: int) -> None:
        """A packet has joined a queue, which counts it already.

        Args:
            queue: with at least this packet.
            size: bytes of it.
            now: ns.
        """
        raise NotImplementedError

    def select(self, now: int) -> FlowQueue | None:
        """Return the queue, not an empty one, whose head is served next; None only if all are empty.

        Asked, too, when the link has become idle.
        """
        raise NotImplementedError

    def served(self, queue: FlowQueue, size: int, now: int) -> None:
        """The head of the queue that was selected goes onto the link.

        Args:
            queue: without that packet.
            size: bytes of it.
            now: ns.
        """


# --- Schedulers -------------------------------------------------------------------------------


@mypyc_attr(allow_interpreted_subclasses=True)
class Path:
    """A subflow of an MPTCP connection, as a scheduler sees it. Sizes in bytes, times in ns."""

    @property
    def identifier(self) -> int:
        """Number of the subflow within its connection; 0 is the first one."""
        raise NotImplementedError

    @property
    def backup(self) -> bool:
        """One of the two ends wants the subflow used as a backup only."""
        raise NotImplementedError

    @property
    def srtt(self) -> int:
        """Smoothed round-trip time; 0 before the first sample."""
        raise NotImplementedError

    @property
    def cwnd(self) -> int:
        """Congestion window."""
        raise NotImplementedError

    @property
    def in_flight(self) -> int:
        """Bytes sent and, as far as is known, neither arrived nor lost."""
        raise NotImplementedError

    @property
    def mss(self) -> int:
        """Payload of a full segment."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class SendView:
    """What a scheduler may know of its connection. Sizes in bytes."""

    @property
    def paths(self) -> list[Path]:
        """The subflows that work, whether they can send at this moment or not."""
        raise NotImplementedError

    @property
    def unsent(self) -> int:
        """Bytes that were written and not yet sent on any subflow."""
        raise NotImplementedError

    @property
    def window(self) -> int:
        """Bytes that the peer's connection-level window still allows."""
        raise NotImplementedError


#: What ``Scheduler.on_blocked`` may return, added up.
WAIT: Final = 0
RESEND: Final = 1
PENALISE: Final = 2


@mypyc_attr(allow_interpreted_subclasses=True)
class Scheduler(Plugin):
    """Decides which subflow of a connection carries the next segment.

    The connection enforces what does not depend on taste: windows, congestion windows, and that
    a backup subflow carries data only while no other one works.

    Attributes:
        view: the connection.
    """

    FAMILY: ClassVar[str] = "scheduler"
    #: Every subflow carries everything, from what is not acknowledged on; ``choose`` is not asked.
    REDUNDANT: ClassVar[bool] = False

    def start(self, view: SendView) -> None:
        """Begin: the connection is established."""
        self.view = view

    def choose(self, available: list[Path], now: int) -> Path | None:
        """Return which path sends the next segment, None to send nothing for the time being.

        Asked again after every segment; who returns None is asked again at the next
        acknowledgment of any subflow.

        Args:
            available: the paths that could send a segment now, by identifier; never empty.
            now: ns.
        """
        raise NotImplementedError

    def better(self, best: Path | None, path: Path) -> Path:
        """Return which of two paths, or of one, ``choose`` would rather return.

        Who also defines this, and ``on_chosen`` if a choice changes it, spares the connection a list for
        every segment: the paths come here one after the other. Together both do just what ``choose`` does.
        A class that defines ``choose`` and not ``better`` is asked with ``choose``, whatever it inherits.

        Args:
            best: what the last call returned, or None.
            path: the next path that could send a segment now, by identifier.
        """
        raise NotImplementedError

    def on_chosen(self, path: Path) -> None:
        """The choice between the paths is made: ``path`` sends the next segment."""

    def on_blocked(self, path: Path, holder: Path, now: int) -> int:
        """Nothing new can be sent, though ``path`` could: the connection is held up.

        The next segment does not fit into the connection's window, or the send buffer is full of what
        is on its way. ``holder`` carries the oldest data that is not acknowledged. ``RESEND`` sends that
        data on ``path``, too; ``PENALISE`` halves the congestion window of ``holder`` for holding the
        connection up; ``WAIT`` does neither. Not asked for data that ``path`` has sent before.
        """
        return WAIT


# --- Path managers ----------------------------------------------------------------------------


class RemoteAddress(NamedTuple):
    """An address of the peer: from ADD_ADDR or MP_JOIN, or (identifier 0) of the first subflow.

    ``port`` is where a subflow may be opened to.
    """

    identifier: int
    address: str
    port: int


class SubflowInfo(NamedTuple):
    """A subflow that is open or being opened, as a path manager sees it."""

    identifier: int
    local: str
    local_id: int
    remote: str
    remote_id: int
    remote_port: int
    backup: bool
    #: This end sent the SYN.
    opened_here: bool


@mypyc_attr(allow_interpreted_subclasses=True)
class PathView:
    """What a path manager may know of its connection."""

    @property
    def is_client(self) -> bool:
        """This end opened the connection."""
        raise NotImplementedError

    @property
    def local_addresses(self) -> list[str]:
        """The addresses of the host, in canonical text form, in the order of its interfaces."""
        raise NotImplementedError

    @property
    def remote_addresses(self) -> list[RemoteAddress]:
        """Addresses of the peer to which subflows may be opened, by identifier.

        The first one is missing if the peer forbade to use it again (flag C of MP_CAPABLE).
        """
        raise NotImplementedError

    @property
    def subflows(self) -> list[SubflowInfo]:
        """The subflows that are open or being opened, by identifier."""
        raise NotImplementedError

    @property
    def announced(self) -> list[str]:
        """Own addresses that were announced with ADD_ADDR and not withdrawn."""
        raise NotImplementedError

    def local_id(self, address: str) -> int:
        """Return the identifier of an own address within this connection, a new one if need be."""
        raise NotImplementedError

    def source_for(self, remote: str) -> str:
        """Return the own address from which the host's routing reaches ``remote``; empty: none."""
        raise NotImplementedError


class OpenSubflow(NamedTuple):
    """Open a subflow (MP_JOIN) as soon as the connection may. ``local_port`` 0 takes a free one."""

    local: str
    remote: str
    port: int
    backup: bool = False
    local_port: int = 0


class Announce(NamedTuple):
    """Tell the peer an own address (ADD_ADDR); ``port`` 0 leaves the port out."""

    address: str
    port: int = 0


class Withdraw(NamedTuple):
    """Take an own address back (REMOVE_ADDR) and close its subflows."""

    address: str


class SetBackup(NamedTuple):
    """Change the priority of a subflow (MP_PRIO)."""

    subflow: int
    backup: bool


Action = OpenSubflow | Announce | Withdraw | SetBackup


@mypyc_attr(allow_interpreted_subclasses=True)
class PathManager(Plugin):
    """Decides which addresses are announced and which subflows are opened; one a connection.

    Every method returns what to do. When a subflow may be opened at all, a connection's
    limits and retransmissions are the mechanism's.
    """

    FAMILY: ClassVar[str] = "pathmanager"

    def may_join(self, view: PathView) -> bool:
        """Return whether the peer may open one more subflow."""
        return True

    def wants_backup(self, view: PathView, local: str) -> bool:
        """Return whether a subflow that the peer opens to an own address is to be a backup."""
        return False

    def identifier_for(self, local: str) -> int:
        """Return the identifier that an own address is to have, 1 to 255, or 0 for any."""
        return 0

    def on_established(self, view: PathView) -> list[Action]:
        """The connection is established and speaks MPTCP."""
        return []

    def on_announced(self, view: PathView, remote: RemoteAddress) -> list[Action]:
        """The peer announced an address (ADD_ADDR) that was not known before."""
        return []

    def on_withdrawn(self, view: PathView, identifier: int) -> list[Action]:
        """The peer took an address back (REMOVE_ADDR); its subflows are being closed."""
        return []

    def on_subflow_closed(self, view: PathView, subflow: SubflowInfo) -> list[Action]:
        """A subflow has ended, or could not be opened (then its identifier may be -1)."""
        return []

    def on_local_address(self, view: PathView, address: str, up: bool) -> list[Action]:
        """The host got an address, or lost one."""
        return []
