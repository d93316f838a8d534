"""Offloads of an interface: work that the kernel leaves to the hardware (ethtool(8)).

A virtual interface has no hardware: its frames come with checksums that are not computed yet, and in
pieces of up to 64 KiB. Who reads raw frames has to have that switched off at the sending end.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from typing import Final

from mptcpsim.wire.devices import DeviceError

_SIOCETHTOOL: Final = 0x8946

#: The offloads by the names that ethtool(8) gives them, with the commands that set them.
OFFLOADS: Final = {"tso": 0x1F, "gso": 0x24, "gro": 0x2C, "tx": 0x17, "rx": 0x15}


def set_offload(interface: str, offload: str, on: bool) -> None:
    """Switch an offload of an interface in the calling thread's network namespace on or off.

    Raises:
        DeviceError: the interface does not exist, or does not let itself be told.
    """
    value = array.array("B", struct.pack("II", OFFLOADS[offload], int(on)))
    address, _ = value.buffer_info()
    request = struct.pack("16sP16x", interface.encode(), address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control, _SIOCETHTOOL, request)
        except OSError as error:
            word = "on" if on else "off"
            raise DeviceError(
                f"{offload} of {interface} cannot be switched {word} ({error.strerror}): "
                f"try `ethtool -K {interface} {offload} {word}` as root, or use TUN, which needs none of it"
            ) from None


def switch_off(interface: str, keep_gso: bool = False) -> None:
    """Switch off what changes frames on their way to a packet socket.

    Args:
        interface: the sender's end.
        keep_gso: the sender cuts large pieces itself, right before they leave: frames are as large as
            without it, but one mapping of MPTCP covers many.

    Raises:
        DeviceError: as ``set_offload``.
    """
    for offload in OFFLOADS:
        if not (keep_gso and offload == "gso"):
            set_offload(interface, offload, False)
