"""A run of `mptcpsim wire`: a testbed, a host, and connections between it and the kernel."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

from mptcpsim.codec.pcap import CaptureWriter
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.profiles import PROFILES, profile
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.plugins import PluginError, Value, find
from mptcpsim.suggest import did_you_mean
from mptcpsim.units import MILLISECOND, SECOND, UnitError, parse_size
from mptcpsim.wire.devices import WireDevice
from mptcpsim.wire.faults import FaultRates, Faults
from mptcpsim.wire.host import WireHost
from mptcpsim.wire.kernel import KernelPaths
from mptcpsim.wire.tap import CaptureTap
from mptcpsim.wire.testbed import DEFAULT_MTU, TUN, Testbed

#: What a flow may be given, with an example of each.
FLOW_WORDS: Final = {
    "profile": "profile=linux-6.18",
    "rcvbuf": "rcvbuf=64KiB",
    "sndbuf": "sndbuf=1MiB",
    "congestion": "congestion=reno",
    "nodelay": "nodelay",
}

#: The profile of a flow that speaks plain TCP.
PLAIN: Final = "tcp"

DEFAULT_PROFILE: Final = "linux-6.18"


class WireInputError(ValueError):
    """What the user asked for cannot be; the text says what, and what to write instead."""


class Interrupted(BaseException):
    """A signal has asked the run to end; the number of it is the argument."""


@dataclass(frozen=True)
class FlowSettings:
    """One connection, as its words have it.

    Attributes:
        profile: of MPTCP; ``tcp`` is plain TCP.
        receive_buffer, send_buffer: bytes; 0: as the stack has it.
        congestion: its congestion control; empty: as the stack has it.
        nodelay: Nagle's algorithm is off.
    """

    profile: str = DEFAULT_PROFILE
    receive_buffer: int = 0
    send_buffer: int = 0
    congestion: str = ""
    nodelay: bool = False


@dataclass(frozen=True)
class BedSettings:
    """The testbed of a run.

    Attributes:
        paths: how many.
        device: ``tun`` or ``packet``.
        ipv6: connections use IPv6.
        mtu: bytes.
        loss: of each packet, in both directions, as a probability.
        seed: of keys, ports and losses; None takes secrets.
        pcap: where a capture goes.
    """

    paths: int = 2
    device: str = TUN
    ipv6: bool = False
    mtu: int = DEFAULT_MTU
    loss: float = 0.0
    seed: int | None = None
    pcap: Path | None = None


def parse_flow(text: str, base: FlowSettings) -> FlowSettings:
    """Return the connection that words such as ``profile=rfc8684 rcvbuf=64KiB nodelay`` ask for.

    Raises:
        WireInputError: a word is not known, or its value cannot be.
    """
    settings = base
    for word in text.split():
        key, _, value = word.partition("=")
        if key not in FLOW_WORDS:
            raise WireInputError(f"flow {text!r}: {key!r} is no setting; {did_you_mean(key, FLOW_WORDS)}")
        if ("=" in FLOW_WORDS[key]) != bool(value):
            raise WireInputError(f"flow {text!r}: write {FLOW_WORDS[key]}")
        if key == "profile":
            settings = replace(settings, profile=value)
        elif key == "congestion":
            settings = replace(settings, congestion=value)
        elif key == "nodelay":
            settings = replace(settings, nodelay=True)
        else:
            try:
                size = parse_size(value)
            except UnitError as error:
                raise WireInputError(f"flow {text!r}: {key}: {error}") from None
            if key == "rcvbuf":
                settings = replace(settings, receive_buffer=size)
            else:
                settings = replace(settings, send_buffer=size)
    check_flow(settings)
    return settings


def check_flow(settings: FlowSettings) -> None:
    """Complain of a profile, a congestion control or a size that cannot be.

    Raises:
        WireInputError: the text says what is wrong.
    """
    names = [PLAIN, *PROFILES]
    if settings.profile not in names:
        raise WireInputError(
            f"profile {settings.profile!r} is not known; {did_you_mean(settings.profile, names)}"
        )
    if settings.profile != PLAIN and 1 not in profile(settings.profile).versions:
        raise WireInputError(
            f"profile {settings.profile}: it speaks version 0 of MPTCP, which no Linux kernel does; take "
            "rfc8684, linux-6.18, or tcp"
        )
    if settings.congestion:
        try:
            find("congestion", settings.congestion)
        except PluginError as error:
            raise WireInputError(str(error)) from None
    for name in ("receive_buffer", "send_buffer"):
        size = getattr(settings, name)
        if size and not 2048 <= size <= 1 << 30:
            raise WireInputError(f"a {name.replace('_', ' ')} of {size} bytes: write 2KiB to 1GiB")


def flow_config(settings: FlowSettings, endpoints: str) -> TcpConfig:
    """Return the behaviour of a connection.

    Args:
        settings: the connection.
        endpoints: of its path manager, in the words of ip-mptcp(8).
    """
    mptcp = MptcpConfig()
    if settings.profile != PLAIN:
        manager: dict[str, Value] = {"endpoints": endpoints, "subflows": 8, "add_addr_accepted": 8}
        mptcp = replace(profile(settings.profile), path_manager_parameters=manager)
    # A run is over when its connections are: nobody waits a minute for what may still be on the way.
    values: dict[str, Any] = {"time_wait": 100 * MILLISECOND, "fin_timeout": SECOND}
    if settings.receive_buffer:
        values["receive_buffer"] = settings.receive_buffer
    if settings.send_buffer:
        values["send_buffer"] = settings.send_buffer
    if settings.congestion:
        values["congestion"] = settings.congestion
    return TcpConfig(payload="bytes", mptcp=mptcp, nagle=not settings.nodelay, **values)


@dataclass
class WireSession:
    """A testbed and a host on it.

    Attributes:
        bed: the testbed.
        host: our end.
        settings: what was asked for.
    """

    bed: Testbed
    host: WireHost
    settings: BedSettings
    faults: list[Faults] = field(default_factory=list)

    @property
    def near(self) -> str:
        """Our address of the first path."""
        return self.bed.paths[0].our_address(self.settings.ipv6)

    @property
    def far(self) -> str:
        """The kernel's address of the first path."""
        return self.bed.paths[0].their_address(self.settings.ipv6)

    def endpoints(self, use: str) -> str:
        """Return our endpoints: the addresses of the further paths, for ``subflow`` or ``signal``."""
        return ", ".join(f"{path.our_address(self.settings.ipv6)} {use}" for path in self.bed.paths[1:])

    def config(self, flow: FlowSettings, use: str) -> TcpConfig:
        """Return the behaviour of a connection, with the endpoints of this run."""
        return flow_config(flow, self.endpoints(use))


@contextlib.contextmanager
def wire_session(settings: BedSettings) -> Iterator[WireSession]:
    """Make a testbed and a host on it, and remove both at the end, however that comes.

    Raises:
        DeviceError: something cannot be had.
        OSError: the capture cannot be written.
    """
    capture = None if settings.pcap is None else CaptureWriter(settings.pcap)
    with contextlib.ExitStack() as stack:
        if capture is not None:
            stack.callback(capture.close)
        bed = Testbed(settings.paths, settings.device, settings.mtu)
        stack.callback(_undisturbed, bed.close)
        host = WireHost(TcpConfig(), settings.seed)
        stack.callback(host.close)
        session = WireSession(bed, host, settings)
        KernelPaths(bed.kernel).set_limits(8, 8)
        for path in bed.paths:
            device: WireDevice = path.device
            if capture is not None:
                device = CaptureTap(device, capture)
            if settings.loss:
                rates = FaultRates(drop=settings.loss)
                faulty = Faults(device, host.env.loop, rates, rates, settings.seed or 1)
                session.faults.append(faulty)
                device = faulty
            bed.attach_path(host, path, device)
        yield session


def _undisturbed(action: Any) -> None:
    """Do something that a signal must not break off."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        action()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_end_the_run() -> Iterator[None]:
    """Have SIGINT, SIGTERM and SIGHUP end the run by ``Interrupted``, so that it removes what it has made."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
