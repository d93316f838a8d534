"""The ``tcp`` tables of a scenario."""

from __future__ import annotations

from dataclasses import replace

from mptcpsim.core.config import TcpConfig
from mptcpsim.scenario.tables import SettingsTable, table_of


@table_of(TcpConfig)
class TcpSettings(SettingsTable):
    """Some of the settings of ``core.config.TcpConfig``; what is absent keeps its value.

    Those of MPTCP have tables of their own, see ``scenario.mptcp_settings``.
    """

    def over(self, base: TcpConfig) -> TcpConfig:
        """Return ``base`` with the fields that are given here replaced."""
        return replace(base, **self.fields())
