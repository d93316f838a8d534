"""Taps: what passes a device, as a capture (pcapng)."""

from __future__ import annotations

import time
from collections.abc import Callable

from mptcpsim.codec.pcap import INBOUND, OUTBOUND, CaptureWriter
from mptcpsim.wire.devices import WireDevice, WrappedDevice


class CaptureTap(WrappedDevice):
    """A device whose packets are written to a capture, with the time of day.

    Around a fault injector it shows what the stack sends and sees; inside of it, what crosses the wire.

    Args:
        inner: the device.
        capture: an open capture, which several taps may share; who opened it closes it.
        clock: gives the time, ns.
    """

    def __init__(
        self, inner: WireDevice, capture: CaptureWriter, clock: Callable[[], int] = time.time_ns
    ) -> None:
        super().__init__(inner)
        self._capture = capture
        self._number = capture.add_interface(inner.name)
        self._clock = clock

    def take(self, data: bytes) -> None:
        """Note a packet that comes in, and hand it on."""
        self._capture.write(self._number, self._clock(), data, INBOUND)
        super().take(data)

    def write(self, data: bytes, next_hop: str) -> None:
        """Note a packet that goes out, and send it."""
        self._capture.write(self._number, self._clock(), data, OUTBOUND)
        super().write(data, next_hop)
