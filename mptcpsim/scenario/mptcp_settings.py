"""The ``mptcp`` tables of a scenario: a profile, and what differs from it.

They stand where the ``tcp`` tables stand: ``[defaults.mptcp]``, ``[hosts.A.mptcp]`` and in a
flow ``mptcp``, ``client_mptcp`` and ``server_mptcp``; the closer one wins, key by key. Without
any of them the ends speak plain TCP. Three rules go beyond that:

* The switches of a ``profile`` lie below every key that is written by hand, be it in a table further out: the
  closest table that names a profile decides which one it is.
* Any key enables MPTCP, unless ``enabled = false`` stands beside it.
* ``mptcp = "linux-6.18"`` is short for ``{profile = "linux-6.18"}``, ``mptcp = true`` for
  ``{profile = "rfc8684"}`` and ``mptcp = false`` for ``{enabled = false}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from mptcpsim.core.mptcp.profiles import PROFILES
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.scenario.catalogue import parameters
from mptcpsim.scenario.fields import Model, PluginField
from mptcpsim.scenario.quantities import PositiveSize, PositiveTime, Time, Whole
from mptcpsim.suggest import did_you_mean

#: The keys that choose a plug-in, and the family of each.
PLUGINS: Final = {"scheduler": "scheduler", "path_manager": "pathmanager"}


def _profile(value: Any) -> Any:
    if not isinstance(value, str) or value not in PROFILES:
        raise ValueError(f"unknown profile {value!r}; {did_you_mean(str(value), PROFILES)}")
    return value


def _number(*choices: int) -> BeforeValidator:
    """Return what takes one of a few numbers; a Literal would take ``true`` for 1."""

    def read(value: Any) -> Any:
        if type(value) is not int or value not in choices:
            raise ValueError(f"it must be {' or '.join(map(str, choices))} (got {value!r})")
        return value

    return BeforeValidator(read)


Profile = Annotated[str, BeforeValidator(_profile)]
Version = Annotated[int, _number(0, 1)]
Octets = Annotated[int, _number(4, 8)]
Tries = Annotated[Whole, Field(ge=0, le=127)]


class MptcpSettings(Model):
    """Some of the fields of ``core.mptcp_config.MptcpConfig``; what is absent keeps its value."""

    enabled: StrictBool | None = None
    profile: Profile | None = None
    version: Version | None = None
    versions: Annotated[tuple[Version, ...], Field(min_length=1)] | None = None
    checksum: StrictBool | None = None
    deny_join_initial: StrictBool | None = None
    scheduler: PluginField | None = None
    path_manager: PluginField | None = None
    join_after: Literal["dss", "add-addr", "at-once"] | None = None
    max_subflows: Annotated[Whole, Field(ge=1, le=255)] | None = None
    initial_key: Annotated[Whole, Field(ge=-1, lt=1 << 64)] | None = None
    initial_dsn: Annotated[Whole, Field(ge=-1, lt=1 << 64)] | None = None
    dsn_octets: Octets | None = None
    data_ack_octets: Octets | None = None
    mapping_segments: Annotated[Whole, Field(ge=1, le=64)] | None = None
    syns_with_option: Annotated[Whole, Field(ge=1, le=128)] | None = None
    validate_hmac: StrictBool | None = None
    hold_unmapped: StrictBool | None = None
    infinite_mapping: StrictBool | None = None
    keep_until_acked: StrictBool | None = None
    share_send_window: StrictBool | None = None
    window_update: Literal["all", "one", "none"] | None = None
    window_update_rule: Literal["rfc", "bsd", "linux"] | None = None
    receive_window: Literal["connection", "subflow", "own"] | None = None
    data_ack_on_updates: StrictBool | None = None
    data_ack_lag: Time | None = None
    connection_window: StrictBool | None = None
    fill_window: StrictBool | None = None
    wake_on_window: StrictBool | None = None
    map_ahead: StrictBool | None = None
    subflow_probe: Literal["empty", "byte", "none"] | None = None
    persist_min: Time | None = None
    persist_shift: Annotated[Whole, Field(ge=0, le=16)] | None = None
    persist_blocks: StrictBool | None = None
    data_probe: StrictBool | None = None
    invalid_ratelimit: Time | None = None
    data_timeout: Time | None = None
    data_retries: Annotated[Whole, Field(ge=-1, le=127)] | None = None
    data_retransmit: PositiveSize | None = None
    add_addr_timeout: PositiveTime | None = None
    add_addr_retries: Tries | None = None
    fail_timeout: PositiveTime | None = None
    subflow_retries: Annotated[Whole, Field(ge=1, le=127)] | None = None
    stale_timeouts: Annotated[Whole, Field(ge=1, le=127)] | None = None
    path_probe: Time | None = None
    close_timeout: Time | None = None
    fastclose: Literal["ack", "rst"] | None = None
    cache_versions: StrictBool | None = None

    @model_validator(mode="after")
    def _versions_once(self) -> MptcpSettings:
        if self.version is not None and self.versions is not None:
            raise ValueError("version and versions exclude each other: keep one of them")
        if self.versions is not None and len(set(self.versions)) < len(self.versions):
            raise ValueError("versions has one version twice: write [1], [0], [1, 0] or [0, 1]")
        return self

    def over(self, base: MptcpConfig) -> MptcpConfig:
        """Return ``base`` with the fields given here replaced; a profile lies below, see ``mptcp_config``."""
        given: dict[str, Any] = {
            name: value
            for name in type(self).model_fields
            if name not in ("profile", "version", *PLUGINS) and (value := getattr(self, name)) is not None
        }
        if self.version is not None:
            given["versions"] = (self.version,)
        for key, family in PLUGINS.items():
            choice = getattr(self, key)
            if choice is not None:
                given[key] = choice.name
                given[f"{key}_parameters"] = parameters(family, choice.name, choice.parameters)
        if not given and self.profile is None:
            return base
        return replace(base, **{"enabled": True, **given})


def mptcp_config(layers: Sequence[MptcpSettings]) -> MptcpConfig:
    """Return what tables amount to, the closest one last: its profile, and on it the keys of all of them."""
    profiles = [layer.profile for layer in layers if layer.profile is not None]
    config = PROFILES[profiles[-1]] if profiles else MptcpConfig()
    for layer in layers:
        config = layer.over(config)
    return config


def mptcp_table(short: str | bool) -> dict[str, Any]:
    """Return the table that a shorthand stands for."""
    if isinstance(short, str):
        return {"profile": short}
    return {"profile": "rfc8684"} if short else {"enabled": False}


def _mptcp(value: Any) -> Any:
    if isinstance(value, str | bool):
        return mptcp_table(value)
    if not isinstance(value, dict | MptcpSettings):
        raise ValueError(f'{value!r} is no MPTCP setting: write true, false, "rfc8684" or a table of keys')
    return value


MptcpField = Annotated[MptcpSettings, BeforeValidator(_mptcp)]
