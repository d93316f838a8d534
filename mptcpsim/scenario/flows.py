"""Flows of a scenario: who talks to whom, with which application."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, model_validator

from mptcpsim.scenario.fields import Model
from mptcpsim.scenario.mptcp_settings import MptcpField, MptcpSettings
from mptcpsim.scenario.nodes import AddressText
from mptcpsim.scenario.quantities import (
    PositiveRate,
    PositiveSize,
    PositiveTime,
    Size,
    Time,
    TimeOrNever,
    Whole,
)
from mptcpsim.scenario.tcp_settings import TcpSettings

Count = Annotated[Whole, Field(ge=1)]
PortNumber = Annotated[Whole, Field(ge=1, le=65535)]


class ReaderSpec(Model):
    """A reader that takes at most ``read_size``, every so often or (0) whenever there is data.

    With ``pause`` it stops for so long, once, after it has read ``pause_after``. Without a reader everything
    is taken at once.
    """

    read_size: PositiveSize
    every: Time = 0
    pause: Time = 0
    pause_after: Size = 0


class FlowSpec(Model):
    """What all flows have in common: who talks to whom, from when on, with which settings.

    Flows to one port of a server share it, and then have to agree in all that is the server's.
    """

    name: Annotated[str, Field(min_length=1)]
    client: str
    server: str
    client_interface: str | None = None
    server_interface: str | None = None
    client_address: AddressText | None = None
    server_address: AddressText | None = None
    port: PortNumber = 5001
    #: ECMP is to carry the subflows that ``ndiffports`` opens on different paths, if it can.
    distinct_paths: StrictBool = False
    start: Time = 0
    #: When the server begins to listen: before that, or with "never", connections are refused.
    listen: TimeOrNever = 0
    #: The server is bound to this address; connections to others are refused.
    bind: AddressText | None = None
    reader: ReaderSpec | None = None
    tcp: TcpSettings = TcpSettings()
    client_tcp: TcpSettings = TcpSettings()
    server_tcp: TcpSettings = TcpSettings()
    mptcp: MptcpField = MptcpSettings()
    client_mptcp: MptcpField = MptcpSettings()
    server_mptcp: MptcpField = MptcpSettings()

    @model_validator(mode="after")
    def _one_place(self) -> FlowSpec:
        for end in ("client", "server"):
            if getattr(self, f"{end}_interface") is not None and getattr(self, f"{end}_address") is not None:
                raise ValueError(f"{end}_interface and {end}_address exclude each other: keep one of them")
        return self


class _Limited(FlowSpec):
    """A flow that ends by itself: after so many bytes, after a time, or not at all."""

    bytes: PositiveSize | None = None
    duration: PositiveTime | None = None
    reverse: StrictBool = False

    @model_validator(mode="after")
    def _one_limit(self) -> _Limited:
        if self.bytes is not None and self.duration is not None:
            raise ValueError("bytes and duration exclude each other: keep one of them")
        return self


class BulkFlow(_Limited):
    """As much as goes, as iperf does; the client sends, or with ``reverse`` the server."""

    app: Literal["bulk"] = "bulk"
    #: Bytes of one write; without it as much is written as fits.
    write_size: PositiveSize | None = None


class ConstantRateFlow(_Limited):
    """A message of ``message`` bytes as often as ``rate`` says."""

    app: Literal["constant-rate"]
    rate: PositiveRate
    message: PositiveSize = 1000


class OnOffFlow(_Limited):
    """Constant rate during ``on``, silence during ``off``; both are means if ``random``."""

    app: Literal["on-off"]
    rate: PositiveRate
    message: PositiveSize = 1000
    on: PositiveTime
    off: PositiveTime
    random: StrictBool = False


class RequestResponseFlow(FlowSpec):
    """The client sends a request, the server answers; the next one follows after ``every``.

    ``every`` counts from request to request (0: at once after the response); a request that
    is due while the last response is not complete waits for it.
    """

    app: Literal["request-response"]
    request: PositiveSize = 100
    response: PositiveSize = 10_000
    every: Time = 0
    count: Count | None = None


AnyFlow = BulkFlow | ConstantRateFlow | OnOffFlow | RequestResponseFlow

#: The model of each value of ``app``.
FLOWS: dict[str, type[FlowSpec]] = {
    "bulk": BulkFlow,
    "constant-rate": ConstantRateFlow,
    "on-off": OnOffFlow,
    "request-response": RequestResponseFlow,
}
