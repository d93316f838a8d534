"""Connections as SimPy processes use them: ``yield socket.readable()``.

A user's application is an ordinary SimPy process::

    def client(env, sockets):
        socket = sockets.connect("10.0.0.1", ("10.0.0.2", 80))
        yield socket.established()
        socket.write(1000)
        yield socket.readable()
        print(env.now, socket.read(4096))
        socket.close()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simpy.events import Event

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.stack import Listener
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.net.host import Host
from mptcpsim.sim.engine import Environment

#: More than any receive buffer holds.
_EVERYTHING: Final = 1 << 62


class ConnectionFailed(Exception):
    """The connection was refused, reset, or timed out; the text says which."""


class Socket:
    """One end of a connection, for processes.

    Attributes:
        connection: the connection itself, with its counters.
        reads, writes: the application does so; while it is paused (``set_reading``, ``set_writing``),
            nothing is read, or written and closed, and who waits for it goes on waiting.
    """

    def __init__(self, sockets: Sockets, connection: Connection) -> None:
        self._env = sockets.env
        self._host = sockets.host
        self.connection = connection
        #: One event for each condition that is waited for, however many processes do.
        self._waiting: dict[str, Event] = {}
        self.reads: bool = True
        self.writes: bool = True
        self._eager: bool = False
        self._to_close: bool = False
        self._released: bool = False

    # --- Events -------------------------------------------------------------------------------

    def established(self) -> Event:
        """Return an event for the end of the handshake."""
        return self._wait("established")

    def readable(self) -> Event:
        """Return an event for: a read returns something, or the peer has closed."""
        return self._wait("readable")

    def writable(self) -> Event:
        """Return an event for: there is room in the send buffer (a third of it, once it was full)."""
        return self._wait("writable")

    def peer_closed(self) -> Event:
        """Return an event for: the peer has closed, and all it sent has arrived."""
        return self._wait("peer-closed")

    def closed(self) -> Event:
        """Return an event for the end of the connection, orderly or not."""
        return self._wait("closed")

    # --- Commands -----------------------------------------------------------------------------

    def write(self, data: int | bytes | bytearray | memoryview) -> int:
        """Write bytes, or a number of bytes of the pattern; return how many found room.

        Raises:
            ConnectionFailed: the connection was refused, reset, or timed out.
            LocalProtocolError: this end has closed the connection; or it is given bytes and carries the
                pattern (the setting ``payload`` of ``TcpConfig``).
        """
        if self.connection.error:
            raise ConnectionFailed(self.connection.error)
        if not self.writes:
            return 0
        accepted = self.connection.write(data, self._env.now)
        self._host.drain()
        return accepted

    def read(self, limit: int) -> int:
        """Read up to ``limit`` bytes; return how many there were.

        On a connection that carries bytes, those are thrown away: ``read_bytes`` returns them.
        """
        if not self.reads:
            return 0
        count = self.connection.read(limit, self._env.now)
        self._host.drain()
        return count

    def read_bytes(self, limit: int = _EVERYTHING) -> bytes:
        """Read up to ``limit`` bytes and return them; none if there are none, or at the end.

        Raises:
            LocalProtocolError: the connection carries the pattern (the setting ``payload`` of ``TcpConfig``),
                reads by itself (``eager``), or was released.
        """
        if not self.reads:
            return b""
        data = self.connection.read_bytes(limit, self._env.now)
        self._host.drain()
        return data

    def close(self) -> None:
        """Close the own direction, as ``shutdown(2)`` with SHUT_WR; what was written is still sent.

        Reading goes on, however long the peer writes.
        """
        if not self.writes:
            self._to_close = True
            return
        if self._released:
            self.connection.release(self._env.now)
        else:
            self.connection.close(self._env.now)
        self._host.drain()

    def release(self) -> None:
        """Close the own direction and read no more, as ``close(2)`` and the end of a process do.

        A peer that never closes holds the connection for ``fin_timeout`` then, no longer.
        """
        self._released = True
        self.close()

    def abort(self) -> None:
        """Reset the connection."""
        self.connection.abort(self._env.now)
        self._host.drain()

    def set_reading(self, reads: bool) -> None:
        """Pause the reading of the application, or let it go on."""
        if reads == self.reads:
            return
        self.reads = reads
        connection = self.connection
        if not reads:
            self._eager, connection.eager = connection.eager, False
        else:
            connection.eager = self._eager
            if self._eager and connection.readable:
                self.read(connection.readable)
        self._resumed()

    def set_writing(self, writes: bool) -> None:
        """Pause the writing of the application, or let it go on."""
        if writes == self.writes:
            return
        self.writes = writes
        if writes and self._to_close:
            self._to_close = False
            self.close()
        self._resumed()

    def _resumed(self) -> None:
        self._ask()
        self.wake()
        self._host.drain()

    @property
    def at_end(self) -> bool:
        """The peer has closed and everything was read."""
        return self.connection.peer_closed and self.connection.readable == 0

    # --- Waiting ------------------------------------------------------------------------------

    def _holds(self, condition: str) -> bool:
        connection = self.connection
        if condition == "established":
            return connection.established
        if condition in ("readable", "peer-closed") and not self.reads:
            return False
        if condition == "readable":
            return connection.readable > 0 or connection.peer_closed
        if condition == "writable":
            return self.writes and connection.established and connection.writable > 0
        if condition == "peer-closed":
            return connection.peer_closed
        return connection.closed

    def _wait(self, condition: str) -> Event:
        event = self._waiting.get(condition)
        if event is None:
            event = Event(self._env)
            if not self._settle(condition, event):
                self._waiting[condition] = event
                self._ask()
        return event

    def _settle(self, condition: str, event: Event) -> bool:
        """Trigger the event if its condition holds, or can never hold; return whether it did."""
        if self._holds(condition):
            event.succeed(self)
            return True
        connection = self.connection
        if connection.error or connection.closed:
            event.fail(ConnectionFailed(connection.error or "the connection is closed"))
            # Who waits gets the exception. If nobody does any more, as after
            # ``readable() | timeout``, the failure is no error of the program.
            event.defused = True
            return True
        return False

    def _ask(self) -> None:
        """Tell the connection what its application waits for."""
        waiting = self._waiting
        self.connection.wants_read = "readable" in waiting
        self.connection.waits_to_write("writable" in waiting, self._env.now)
        self.connection.wants_state = bool(waiting)

    def wake(self) -> None:
        """Look again at everything that is waited for; the host calls this."""
        for condition, event in list(self._waiting.items()):
            if self._settle(condition, event):
                del self._waiting[condition]
        if self._waiting:
            self._ask()


#: Tells whether an accepted connection is the one that is waited for.
Wanted = Callable[[Connection], bool]


class ListeningSocket:
    """A port that accepts connections.

    Attributes:
        listener: the listener of the stack.
    """

    def __init__(self, sockets: Sockets, listener: Listener) -> None:
        self._sockets = sockets
        self.listener = listener
        self._waiting: list[tuple[Event, Wanted | None]] = []

    def accept(self, wanted: Wanted | None = None) -> Event:
        """Return an event whose value is the ``Socket`` of the next connection.

        Where several wait, a connection is given to the first one that has ``wanted`` it, else to the
        first one.
        """
        event = Event(self._sockets.env)
        self._waiting.append((event, wanted))
        self.wake()
        return event

    def close(self) -> None:
        """Accept no more; connections that nobody has taken are reset, those taken go on.

        Who waits for one waits in vain.

        Raises:
            LocalProtocolError: it is closed already.
        """
        self._sockets.forget(self)

    def wake(self) -> None:
        """Hand out connections that have arrived; the host calls this."""
        while self._waiting and self.listener.accepted:
            connection = self.listener.accepted.pop(0)
            choice = (i for i, (_, wanted) in enumerate(self._waiting) if wanted and wanted(connection))
            self._waiting.pop(next(choice, 0))[0].succeed(self._sockets.of(connection))


class Sockets:
    """The socket layer of one host under SimPy.

    Attributes:
        env: the environment.
        host: the host.
    """

    def __init__(self, env: Environment, host: Host) -> None:
        self.env = env
        self.host = host
        self._listening: dict[int, ListeningSocket] = {}
        host.on_ready = self._on_ready
        host.on_arrival = self._on_arrival

    def connect(
        self,
        local: str,
        remote: tuple[str, int],
        config: TcpConfig | None = None,
        *,
        eager: bool = False,
        local_port: int = 0,
    ) -> Socket:
        """Open a connection; see ``Stack.connect``. ``eager`` reads whatever arrives at once."""
        connection = self.host.stack.connect(local, remote, self.env.now, config, local_port)
        connection.eager = eager
        socket = self.of(connection)
        self.host.drain()
        return socket

    def listen(
        self, port: int, config: TcpConfig | None = None, *, eager: bool = False, address: str = ""
    ) -> ListeningSocket:
        """Accept connections on a port; see ``Stack.listen``."""
        listener = self.host.stack.listen(port, config, address)
        listener.eager = eager
        listening = ListeningSocket(self, listener)
        self._listening[port] = listening
        return listening

    def listening(self, port: int) -> ListeningSocket | None:
        """Return what listens on a port, or None."""
        return self._listening.get(port)

    def forget(self, listening: ListeningSocket) -> None:
        """Close a listening socket; see ``ListeningSocket.close``."""
        self.host.stack.unlisten(listening.listener, self.env.now)
        self._listening.pop(listening.listener.port, None)
        self.host.drain()

    def of(self, connection: Connection) -> Socket:
        """Return the socket of a connection of this host."""
        # Kept there, so that it is forgotten with the connection and not before.
        socket = connection.driver
        if not isinstance(socket, Socket):
            socket = connection.driver = Socket(self, connection)
        return socket

    def _on_ready(self, connection: Connection) -> None:
        self.of(connection).wake()

    def _on_arrival(self, listener: Listener) -> None:
        listening = self._listening.get(listener.port)
        if listening is not None:
            listening.wake()
