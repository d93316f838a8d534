"""A connection as its application sees it: write, read, close.

It owns the send and receive buffers and the stream offsets of the two directions;
its subflows move the bytes. A plain TCP connection has exactly one subflow.

Usually the payload is a count, and its bytes are the pattern (``core.payload``). The connection checks that
delivered bytes have the next offset of the peer's stream: a byte that is lost, repeated or misplaced ends
the run with ``IntegrityError``. With ``payload = "bytes"`` it carries what the application writes: sent bytes
are kept until they cannot be sent again, received ones until they are read. What arrives is not judged then;
of a byte that arrives twice the first copy counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.errors import IntegrityError, LocalProtocolError
from mptcpsim.core.events import Event
from mptcpsim.core.host import TimerOwner, TransportHost
from mptcpsim.core.payload import part_is, part_of, pattern
from mptcpsim.core.segment import Segment
from mptcpsim.core.tcp.arrives import Tcp
from mptcpsim.core.tcp.autotuning import Autotuning
from mptcpsim.core.tcp.seams import Extension, Owner
from mptcpsim.core.tcp.states import CLOSED, ESTABLISHED

#: Why bytes can be neither written nor read, and what to do about it.
_NO_BYTES: Final = 'this end carries the pattern; set payload = "bytes" in its settings of TCP'


class Connection(Owner):
    """One end of a connection.

    Attributes:
        subflows: the TCP connections that carry it.
        written: bytes that the application wrote.
        delivered: bytes that arrived in order.
        consumed: bytes that the application has read.
        free_since: when a read last gave the receive buffer room for a segment again, ns.
        on_write: called with the instant before the application writes or when it closes (False), and when
            it begins to wait until it can write (True), while stalls are watched.
        on_progress: called once with the number of the subflow and the instant when bytes arrive in order,
            while stalls are watched.
        driver: what the driver of the host keeps with the connection, such as its socket.
        tuning: the receive buffer grows by itself.
        send_buffer, receive_buffer: limits, bytes.
        eager: the application reads whatever arrives at once.
        peer_closed: the peer will send no more; all of it was delivered.
        closing: the application has closed its direction.
        orphaned: it has given up reading, too.
        error: why the connection failed, or an empty string.
        wants_read, wants_write, wants_state: the application waits for data to read, for room
            to write, for a change of state; one of them puts the connection on ``Stack.ready``.
    """

    __slots__ = (
        "closing",
        "consumed",
        "delivered",
        "driver",
        "eager",
        "error",
        "free_since",
        "local_port",
        "name",
        "on_progress",
        "on_write",
        "orphaned",
        "peer_closed",
        "receive_buffer",
        "send_buffer",
        "subflows",
        "tuning",
        "wants_read",
        "wants_state",
        "wants_write",
        "written",
    )

    def __init__(
        self, host: TransportHost, identifier: int, config: TcpConfig, local_port: int, eager: bool = False
    ) -> None:
        super().__init__(host, identifier, config)
        self.name: str = ""
        self.local_port = local_port
        self.subflows: list[Tcp] = []
        self.written: int = 0
        self.delivered: int = 0
        self.consumed: int = 0
        self.send_buffer: int = config.send_buffer
        self.receive_buffer: int = config.receive_buffer
        self.eager = eager
        self.peer_closed: bool = False
        self.closing: bool = False
        self.orphaned: bool = False
        self.error: str = ""
        self.wants_read: bool = False
        self.wants_write: bool = False
        self.wants_state: bool = False
        self.free_since: int = 0
        self.on_write: Callable[[int, bool], None] | None = None
        self.on_progress: Callable[[int, int], None] | None = None
        self.driver: object | None = None
        self.tuning: Autotuning | None = None
        if config.receive_autotune:
            self.tuning = Autotuning(self.subflows, max(config.receive_buffer, config.receive_buffer_max))

    def host_events(self) -> list[Event]:
        """Return the event log of the host, oldest first."""
        return self._host.events

    def extension_of(self, tcp: TimerOwner) -> Extension | None:
        """Return None: plain TCP has no extension."""
        return None

    # --- State ---------------------------------------------------------------------------------

    @property
    def established(self) -> bool:
        """The handshake was completed (the connection may be closed again by now)."""
        return bool(self.subflows) and self.subflows[0].established_at >= 0

    @property
    def closed(self) -> bool:
        """Every subflow has reached CLOSED."""
        return all(subflow.state == CLOSED for subflow in self.subflows)

    @property
    def acked(self) -> int:
        """Bytes of the own stream that the peer has acknowledged."""
        sender = self.subflows[0].sender
        return max(0, min(sender.una, sender.end) - 1)

    @property
    def receives(self) -> bool:
        """More of the peer's stream may come, and the application may still read it."""
        return not self.orphaned and not self.peer_closed

    @property
    def readable(self) -> int:
        """Bytes that a read would return now."""
        return self.delivered - self.consumed

    @property
    def writable(self) -> int:
        """Bytes that a write would accept now."""
        if self.closing or self.closed:
            return 0
        return max(0, self.send_buffer - (self.written - self.acked))

    # --- Commands ------------------------------------------------------------------------------

    def write(self, data: int | bytes | bytearray | memoryview, now: int) -> int:
        """Append bytes to the stream, as many as find room, and return how many did.

        Args:
            data: the bytes; or a number of bytes, which are those of the pattern.
            now: ns.

        Raises:
            LocalProtocolError: the connection was closed for writing, or has failed; or it is given bytes
                and carries the pattern.
            TypeError: the data is neither.
        """
        sent = self.sent_bytes
        view: memoryview | None = None
        if isinstance(data, int):
            count = data
        elif sent is None:
            raise LocalProtocolError(f"cannot write bytes: {_NO_BYTES}")
        else:
            # A view may have items of several bytes.
            view = memoryview(data).cast("B")
            count = len(view)
        if count < 0:
            raise LocalProtocolError(f"cannot write {count} bytes")
        if self.closing:
            raise LocalProtocolError("write after close")
        if self.error:
            raise LocalProtocolError(f"write on a failed connection: {self.error}")
        accepted = min(count, self.writable)
        if accepted:
            self._before_write(now)
            if sent is not None:
                sent.append(pattern(self.written, accepted) if view is None else view[:accepted])
            self.written += accepted
            self._send_written(accepted, now)
        return accepted

    def _send_written(self, count: int, now: int) -> None:
        """Send bytes that the application has just written, as far as they may be sent."""
        subflow = self.subflows[0]
        subflow.sender.append(count)
        if subflow.state >= ESTABLISHED:
            subflow.sender.output(now)

    def read(self, limit: int, now: int) -> int:
        """Take up to ``limit`` bytes that arrived and return how many (0: nothing there, or the end)."""
        if limit < 0:
            raise LocalProtocolError(f"cannot read {limit} bytes")
        count = min(limit, self.readable)
        if count:
            self._before_read(count, now)
            self._consume(count)
            for subflow in self.subflows:
                subflow.receiver.on_read(count)
                subflow.on_read(now)
        return count

    def read_bytes(self, limit: int, now: int) -> bytes:
        """Take up to ``limit`` bytes that arrived and return them (none: nothing there, or the end).

        Raises:
            LocalProtocolError: the connection carries the pattern, reads by itself, or was released.
        """
        received = self.received_bytes
        if received is None:
            raise LocalProtocolError(f"cannot read bytes: {_NO_BYTES}")
        if self.eager:
            raise LocalProtocolError("cannot read bytes: the connection reads by itself (eager)")
        if self.orphaned:
            raise LocalProtocolError("cannot read bytes: the connection was released")
        data = received.take(self.consumed, min(max(limit, 0), self.readable))
        self.read(limit, now)
        return data

    def _consume(self, count: int) -> None:
        """The application has taken ``count`` bytes."""
        self.consumed += count
        if self.received_bytes is not None:
            self.received_bytes.forget_below(self.consumed)

    def _before_write(self, now: int) -> None:
        if self.on_write is not None:
            self.on_write(now, False)

    def waits_to_write(self, waits: bool, now: int) -> None:
        """Note whether the application waits for room to write."""
        if waits and not self.wants_write and not self.closing and self.on_write is not None:
            self.on_write(now, True)
        self.wants_write = waits
        for subflow in self.subflows:
            subflow.sender.on_writer(waits, now)

    def _before_read(self, count: int, now: int) -> None:
        had_room = self.free >= self.least_free
        if self.tuning is not None:
            self._tune(self.tuning, count, now)
        if not had_room and self.free + count >= self.least_free:
            self.free_since = now

    @property
    def free(self) -> int:
        """Room for the next bytes in order, whatever window the peer was told.

        Data out of order does not reduce it: that data lies behind the bytes that are missing.
        """
        return self.receive_buffer - self.readable

    @property
    def least_free(self) -> int:
        """Room that is worth a segment (RFC 9293 section 3.8.6.2.2): min(MSS, buffer / 2)."""
        mss = self.subflows[0].receiver.mss if self.subflows else 1
        return min(mss, self.receive_buffer // 2)

    def _tune(self, tuning: Autotuning, count: int, now: int) -> None:
        size = tuning.on_read(count, self.receive_buffer, now)
        if size > self.receive_buffer:
            self.grow_receive_buffer(size)

    def grow_receive_buffer(self, size: int) -> None:
        """Autotuning: the receive buffer has ``size`` bytes from now on."""
        more = size - self.receive_buffer
        self.receive_buffer = size
        for subflow in self.subflows:
            subflow.receiver.grow(more)

    def close(self, now: int) -> None:
        """Close the own direction once everything written was sent; reading goes on."""
        if not self.closing:
            self._stop_writing(now)
            for subflow in self.subflows:
                subflow.close(now)

    def _stop_writing(self, now: int) -> None:
        self.closing = True
        if self.on_write is not None:
            self.on_write(now, False)

    def release(self, now: int) -> None:
        """Close the own direction and give up reading: the application has released the connection.

        What was written is still sent. ``close`` is ``shutdown(2)`` with SHUT_WR, this is ``close(2)``.
        """
        self.orphaned = True
        if self.received_bytes is not None:
            self.received_bytes.clear()
        self.close(now)
        for subflow in self.subflows:
            subflow.wait_for_fin(now)

    def abort(self, now: int) -> None:
        """Reset the connection; what is not acknowledged may be lost."""
        self.closing = True
        for subflow in list(self.subflows):
            subflow.abort(now)

    # --- What the subflows report ---------------------------------------------------------------

    def on_established(self, number: int, now: int) -> None:
        """A subflow has completed its handshake."""
        self._host.on_established(self, self.local_port, self.subflows[number].passive)
        self._state_changed()

    def on_data(self, number: int, offset: int, length: int, now: int) -> None:
        """Take the next bytes of the peer's stream.

        Raises:
            IntegrityError: they are not the next ones.
        """
        if offset != self.delivered:
            raise IntegrityError(
                f"host {self._host.name}, connection {self.identifier}: bytes {offset} to "
                f"{offset + length} were delivered where byte {self.delivered} comes next"
            )
        self.delivered += length
        self.delivered_at = now
        on_progress = self.on_progress
        if on_progress is not None:
            self.on_progress = None
            on_progress(number, now)
        if self.eager:
            self._consume(length)
            self.grow_limit(number, length)
            if self.tuning is not None:
                self._tune(self.tuning, length, now)
        if self.wants_read:
            self.wants_read = False
            self._host.mark_ready(self)

    def grow_limit(self, number: int, count: int) -> None:
        """The application has read ``count`` bytes at once: the receive buffer has that much room again."""
        self.subflows[number].receiver.on_read(count)

    def take_new(self, segment: Segment, left: int, right: int, offset: int) -> None:
        """Take the content of bytes that have not arrived before: keep it, or compare it with the pattern."""
        received = self.received_bytes
        if received is None:
            if not part_is(segment, left, right, offset):
                self._refuse(segment)
        elif not self.orphaned:
            received.put(offset, part_of(segment, left, right))

    def _refuse(self, segment: Segment) -> None:
        """Note that new bytes of a segment with a right checksum are not what the peer wrote there.

        TCP delivers them as they came. The driver decides what follows: in a simulation they are a fault of
        ours or of a middlebox, and the driver ends the run (``Stack.fault``).
        """
        text = (
            f"host {self._host.name}, connection {self.identifier}: the payload of {segment!r} "
            "is not what the peer wrote there, though its checksum is right"
        )
        if segment.payload is not None:
            text += f" (if its application writes bytes: {_NO_BYTES})"
        self._host.note_fault(self, text)

    def bytes_of(self, offset: int, length: int) -> bytes:
        """Return bytes of the own stream that may still be sent."""
        sent = self.sent_bytes
        return pattern(offset, length) if sent is None else sent.take(offset, length)

    def _forget_bytes(self) -> None:
        """Nothing is sent any more, and nothing arrives: only what the application may read is kept."""
        if self.sent_bytes is not None:
            self.sent_bytes.clear()
        if self.received_bytes is not None:
            self.received_bytes.forget_from(self.delivered)
            self.received_bytes.forget_below(self.consumed)

    def on_acked(self, number: int, now: int) -> None:
        """Data was acknowledged: there may be room to write again.

        A blocked writer is woken when a third of the send buffer is free, as in Linux.
        """
        if self.sent_bytes is not None:
            self.sent_bytes.forget_below(self.acked)
        if not self.wants_write:
            return
        unacked = self.written - (self.subflows[number].sender.una - 1)
        if (self.send_buffer - unacked) * 3 >= self.send_buffer and self.writable:
            self.wants_write = False
            self.subflows[number].sender.on_writer(False, now)
            self._host.mark_ready(self)

    def on_peer_closed(self, number: int, now: int) -> None:
        """The peer's stream has ended and was delivered completely."""
        self.peer_closed = True
        self._state_changed()

    def on_fin_acked(self, number: int, now: int) -> None:
        """The peer has acknowledged our FIN: all that was sent has arrived."""

    def on_closed(self, number: int, now: int) -> None:
        """A subflow has reached CLOSED."""
        error = self.subflows[number].error
        if error:
            self.error = error
        self._forget_bytes()
        self._state_changed()

    def _state_changed(self) -> None:
        if self.wants_read or self.wants_write or self.wants_state:
            self.wants_read = self.wants_write = self.wants_state = False
            self._host.mark_ready(self)
