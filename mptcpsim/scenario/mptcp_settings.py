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
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, model_validator

from mptcpsim.core.mptcp.profiles import PROFILES
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.scenario.tables import SettingsTable, table_of
from mptcpsim.settings import plugins_of

#: The keys that choose a plug-in, and the family of each.
PLUGINS: Final = plugins_of(MptcpConfig)


@table_of(MptcpConfig)
class MptcpSettings(SettingsTable):
    """Some of the settings of ``core.mptcp_config.MptcpConfig``; what is absent keeps its value."""

    @model_validator(mode="after")
    def _versions_once(self) -> MptcpSettings:
        given = self.given()
        if "version" in given and "versions" in given:
            raise ValueError("version and versions exclude each other: keep one of them")
        versions = given.get("versions", ())
        if len(set(versions)) < len(versions):
            raise ValueError("versions has one version twice: write [1], [0], [1, 0] or [0, 1]")
        return self

    @property
    def named_profile(self) -> str | None:
        """The profile that the table names."""
        name: str | None = self.given().get("profile")
        return name

    def over(self, base: MptcpConfig) -> MptcpConfig:
        """Return ``base`` with the fields given here replaced; a profile lies below, see ``mptcp_config``."""
        values = self.fields()
        if not values:
            return base
        values.pop("profile", None)
        return replace(base, **{"enabled": True, **values})


def mptcp_config(layers: Sequence[MptcpSettings]) -> MptcpConfig:
    """Return what tables amount to, the closest one last: its profile, and on it the keys of all of them."""
    profiles = [layer.named_profile for layer in layers if layer.named_profile is not None]
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
