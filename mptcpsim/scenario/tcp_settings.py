"""The keys of TCP in a scenario, each with its range."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool

from mptcpsim.core.config import TcpConfig
from mptcpsim.scenario.catalogue import parameters
from mptcpsim.scenario.fields import Model, PluginField
from mptcpsim.scenario.quantities import (
    PositiveSize,
    PositiveTime,
    Size,
    Time,
    Whole,
)

Segments = Annotated[Whole, Field(ge=1, le=1000)]


class TcpSettings(Model):
    """Some of the fields of ``core.config.TcpConfig``; what is absent keeps its value.

    Those of MPTCP have tables of their own, see ``scenario.mptcp_settings``.
    """

    mss: Annotated[Whole, Field(ge=0, le=65495)] | None = None
    congestion: PluginField | None = None
    initial_window_segments: Segments | None = None
    initial_ssthresh: Size | None = None
    send_buffer: PositiveSize | None = None
    receive_buffer: PositiveSize | None = None
    receive_autotune: StrictBool | None = None
    receive_buffer_max: PositiveSize | None = None
    window_scaling: StrictBool | None = None
    window_scale: Annotated[Whole, Field(ge=-1, le=14)] | None = None
    timestamps: StrictBool | None = None
    sack: StrictBool | None = None
    rack_tlp: StrictBool | None = None
    limited_transmit: StrictBool | None = None
    ecn: StrictBool | None = None
    nagle: StrictBool | None = None
    ack_every: Segments | None = None
    delayed_ack: Time | None = None
    rto_initial: PositiveTime | None = None
    rto_min: PositiveTime | None = None
    rto_max: PositiveTime | None = None
    rto_granularity: PositiveTime | None = None
    syn_retries: Annotated[Whole, Field(ge=0, le=127)] | None = None
    data_retries: Annotated[Whole, Field(ge=0, le=127)] | None = None
    persist_max: PositiveTime | None = None
    zero_window_probe: Literal["byte", "empty"] | None = None
    keepalive: StrictBool | None = None
    keepalive_idle: PositiveTime | None = None
    keepalive_interval: PositiveTime | None = None
    keepalive_probes: Annotated[Whole, Field(ge=1, le=127)] | None = None
    time_wait: Time | None = None
    fin_timeout: Time | None = None
    path_mtu_discovery: StrictBool | None = None
    slow_start_after_idle: StrictBool | None = None
    challenge_ack_limit: Annotated[Whole, Field(ge=0)] | None = None
    initial_sequence: Annotated[Whole, Field(ge=-1, lt=1 << 32)] | None = None
    initial_timestamp: Annotated[Whole, Field(ge=-1, lt=1 << 32)] | None = None
    header_prediction: StrictBool | None = None

    def over(self, base: TcpConfig) -> TcpConfig:
        """Return ``base`` with the fields that are given here replaced."""
        given: dict[str, Any] = {
            name: value
            for name in type(self).model_fields
            if name != "congestion" and (value := getattr(self, name)) is not None
        }
        if self.congestion is not None:
            given["congestion"] = self.congestion.name
            given["congestion_parameters"] = parameters(
                "congestion", self.congestion.name, self.congestion.parameters
            )
        return replace(base, **given)
