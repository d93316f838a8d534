"""Flows: a client, a server, and the applications at both ends of one connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.sim.apps import Process, Reader, Source, read_exactly, write_all
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.sockets import ConnectionFailed, Socket, Sockets


class Flow:
    """One connection and its applications, from the SYN to the end.

    Attributes:
        name: for people.
        start: when the client connects, ns.
        client_host, server_host: names of the two hosts.
        client, server: connections of both ends; None before they exist.
        completed_at: when the reader of the data reached its end, ns, or -1.
        failed_at: when the flow failed, ns, or -1.
        error: why the flow failed, or an empty string.
        latencies: of requests, ns, in order; empty for other flows.
        on_connection: called when one of the two connections has come to be, before its application runs.
    """

    def __init__(
        self,
        env: Environment,
        name: str,
        client: Sockets,
        server: Sockets,
        local: str,
        remote: tuple[str, int],
        client_config: TcpConfig,
        server_config: TcpConfig,
        start: int,
        listen: int = 0,
        bind: str = "",
        client_port: int = 0,
    ) -> None:
        """Begin as soon as the clock runs.

        Args:
            env: clock and processes.
            name: for people.
            client: sockets of the host that connects.
            server: those of the host that is connected to.
            local: address of the client.
            remote: address and port of the server.
            client_config: behaviour of the client's end.
            server_config: of the server's; that of the first flow counts where several have one port.
            start: when the client connects, ns.
            listen: when the server begins to listen, ns; -1: never.
            bind: the address to which the server is bound; empty: all of its host.
            client_port: the port of the client; 0 takes a free one.
        """
        self.env = env
        self.name = name
        self.start = start
        self.client_host = client.host.name
        self.server_host = server.host.name
        self.client: Connection | None = None
        self.server: Connection | None = None
        self.completed_at: int = -1
        self.failed_at: int = -1
        self.error: str = ""
        self.latencies: list[int] = []
        self.on_connection: Callable[[], None] | None = None
        self._sockets = (client, server)
        self._local = local
        self._remote = remote
        self._configs = (client_config, server_config)
        self._paused: set[str] = set()
        self._listen = listen
        self._bind = bind
        self._client_port = client_port
        self._named(self._serve(), "server")
        self._named(self._connect(), "client")

    # --- What a kind of flow says -------------------------------------------------------------

    def eager(self, at_client: bool) -> bool:
        """Return whether that end reads whatever arrives at once, without a process."""
        return False

    def at_client(self, socket: Socket) -> Process:
        """Run the client's application."""
        raise NotImplementedError

    def at_server(self, socket: Socket) -> Process:
        """Run the server's application."""
        raise NotImplementedError

    @property
    def client_sends(self) -> bool:
        """Whether the client's end sends the data."""
        return True

    # --- The two ends -------------------------------------------------------------------------

    @property
    def sender(self) -> Connection | None:
        """The end that sends the data."""
        return self.client if self.client_sends else self.server

    @property
    def receiver(self) -> Connection | None:
        """The end that receives the data."""
        return self.server if self.client_sends else self.client

    @property
    def sender_host(self) -> str:
        """Name of the host that sends the data."""
        return self.client_host if self.client_sends else self.server_host

    @property
    def receiver_host(self) -> str:
        """Name of the host that receives the data."""
        return self.server_host if self.client_sends else self.client_host

    # --- What its applications have done ------------------------------------------------------

    @property
    def wants_mptcp(self) -> bool:
        """Whether the client is to offer MPTCP."""
        return self._configs[0].mptcp.enabled

    @property
    def written(self) -> int:
        """Bytes of the data that were written."""
        return 0 if self.sender is None else self.sender.written

    @property
    def delivered(self) -> int:
        """Bytes of the data that have arrived."""
        return 0 if self.receiver is None else self.receiver.delivered

    @property
    def closing(self) -> bool:
        """Whether the end that sends the data has closed its direction."""
        return self.sender is not None and self.sender.closing

    # --- Pauses -------------------------------------------------------------------------------

    def pause(self, side: str, paused: bool) -> bool:
        """Stop what reads the flow's data (``reader``) or writes it (``writer``), or let it go on.

        Returns:
            Whether it has not been so already.
        """
        changes = (side in self._paused) != paused
        (self._paused.add if paused else self._paused.discard)(side)
        self._apply_pauses()
        return changes

    def _begin(self) -> None:
        """One of the connections is there: what was said before it was, holds."""
        self._apply_pauses()
        if self.on_connection is not None:
            self.on_connection()

    def _apply_pauses(self) -> None:
        """Tell the sockets, as far as there are any."""
        client, server = self._sockets
        for connection, sockets in ((self.client, client), (self.server, server)):
            if connection is None:
                continue
            if connection is self.receiver:
                sockets.of(connection).set_reading("reader" not in self._paused)
            if connection is self.sender:
                sockets.of(connection).set_writing("writer" not in self._paused)

    # --- Both ends ----------------------------------------------------------------------------

    def _named(self, process: Process, end: str) -> None:
        # SimPy names a process after its generator; the event budget's message shows the name.
        setattr(process, "__name__", f"{self.name} {end}")  # noqa: B010 (not declared on Generator)
        self.env.process(process)

    def _serve(self) -> Process:
        if self._listen < 0:
            return
        if self._listen:
            yield self.env.timeout(self._listen)
        server, port = self._sockets[1], self._remote[1]
        listening = server.listening(port)
        if listening is None:
            listening = server.listen(port, self._configs[1], eager=self.eager(False), address=self._bind)
        socket: Socket = yield listening.accept(self._is_mine)
        self.server = socket.connection
        self._begin()
        yield from self._guarded(self.at_server(socket), socket)

    def _connect(self) -> Process:
        if self.start:
            yield self.env.timeout(self.start)
        client = self._sockets[0]
        if self._local not in client.host.addresses:
            self._fail(f"{self._local} is no address of the client any more (can't assign requested address)")
            return
        socket = client.connect(
            self._local,
            self._remote,
            self._configs[0],
            eager=self.eager(True),
            local_port=self._client_port,
        )
        self.client = socket.connection
        self._begin()
        yield from self._guarded(self._established(socket), socket)

    def _is_mine(self, connection: Connection) -> bool:
        """Return whether the other end of a connection is this flow's client (unless a NAT lies between)."""
        client = self.client
        return client is not None and client.subflows[0].flow == connection.subflows[0].flow.reverse()

    def _established(self, socket: Socket) -> Process:
        yield socket.established()
        yield from self.at_client(socket)

    def _guarded(self, application: Process, socket: Socket) -> Process:
        """Run an application; a connection that fails, even after it, is a result and not a crash."""
        try:
            yield from application
            socket.release()
            yield socket.closed()
            if socket.connection.error:
                self._fail(socket.connection.error)
        except ConnectionFailed as failure:
            self._fail(str(failure))

    def _fail(self, why: str) -> None:
        if not self.error and self.completed_at < 0:
            self.error = why
            self.failed_at = self.env.now

    def _done(self) -> None:
        if self.completed_at < 0:
            self.completed_at = self.env.now


class OneWayFlow(Flow):
    """Data in one direction: a source at one end, a reader at the other."""

    def __init__(self, *args: Any, source: Source, reader: Reader | None, reverse: bool = False) -> None:
        self._source = source
        self._reader = reader
        self._reverse = reverse
        super().__init__(*args)

    def eager(self, at_client: bool) -> bool:
        """Read at once where the data goes, unless there is a reader."""
        return self._reader is None and at_client == self._reverse

    @property
    def client_sends(self) -> bool:
        """Whether the client sends: unless the flow is reversed."""
        return not self._reverse

    def at_client(self, socket: Socket) -> Process:
        """Send, or with ``reverse`` receive."""
        return self._receive(socket) if self._reverse else self._send(socket)

    def at_server(self, socket: Socket) -> Process:
        """Receive, or with ``reverse`` send."""
        return self._send(socket) if self._reverse else self._receive(socket)

    def _send(self, socket: Socket) -> Process:
        yield from self._source.run(self.env, socket)
        socket.close()

    def _receive(self, socket: Socket) -> Process:
        if self._reader is not None:
            yield from self._reader.run(self.env, socket)
        else:
            # The connection reads by itself; only the end of the stream is waited for.
            while not socket.at_end:
                yield socket.peer_closed()
        self._done()
        socket.close()


class TwoWayFlow(Flow):
    """The client asks, the server answers; requests follow each other after ``every`` ns at least."""

    def __init__(self, *args: Any, request: int, response: int, every: int, count: int | None) -> None:
        self._request = request
        self._response = response
        self._every = every
        self._count = count
        super().__init__(*args)

    @property
    def client_sends(self) -> bool:
        """The server sends: its responses are the data."""
        return False

    def at_client(self, socket: Socket) -> Process:
        """Ask, wait for the whole answer, note how long it took."""
        due = self.env.now
        asked = 0
        while self._count is None or asked < self._count:
            if due > self.env.now:
                yield self.env.timeout(due - self.env.now)
            begun = self.env.now
            due = begun + self._every
            yield from write_all(socket, self._request)
            yield from read_exactly(socket, self._response)
            if socket.at_end:
                break
            self.latencies.append(self.env.now - begun)
            asked += 1
        self._done()
        socket.close()

    def at_server(self, socket: Socket) -> Process:
        """Answer each request once it is there completely."""
        while True:
            yield from read_exactly(socket, self._request)
            if socket.at_end:
                break
            yield from write_all(socket, self._response)
        socket.close()
