"""Hypothesis strategies for the behaviour of an MPTCP end, and a path manager that does what rules say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import strategies as st

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.profiles import PROFILES
from mptcpsim.plugins import (
    Action,
    Announce,
    OpenSubflow,
    Parameter,
    PathManager,
    PathView,
    RemoteAddress,
    Value,
    register,
)
from mptcpsim.units import MICROSECOND, MILLISECOND, SECOND
from tests.core.mptcp.pair import C1, C2, S1, S2
from tests.core.tcp.configs import tcp_configs

#: What a client opens as soon as it may.
FIRST_JOINS = ((C2, S1), (C2, S2), (C1, S2))


@register
class Ruled(PathManager):
    """Opens some subflows at once; what follows is up to the rules of a machine."""

    NAME = "ruled"
    SUMMARY = "opens some subflows at once"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("joins", 0, "subflows to open at once"),
        Parameter("announces", 0, "announce the second address at once"),
        Parameter("follows", 0, "open a subflow to every address that is announced"),
        Parameter("port", 0, "port of the peer"),
    )

    def configure(self, values: dict[str, Value]) -> None:
        self.joins = int(values["joins"])
        self.announces = int(values["announces"])
        self.follows = int(values["follows"])
        self.port = int(values["port"])

    def on_established(self, view: PathView) -> list[Action]:
        actions: list[Action] = []
        if self.announces:
            actions.append(Announce(C2 if view.is_client else S2))
        for one, other in FIRST_JOINS[: self.joins]:
            if view.is_client:
                actions.append(OpenSubflow(one, other, self.port))
        return actions

    def on_announced(self, view: PathView, remote: RemoteAddress) -> list[Action]:
        # A hostile peer may announce an address of IPv6.
        if not self.follows or ":" in remote.address:
            return []
        return [OpenSubflow(C1 if view.is_client else S1, remote.address, remote.port)]


@st.composite
def mptcp_configs(draw: Any, fixed: dict[str, Any], profiles: tuple[str, ...]) -> dict[str, Any]:
    """Draw the fields of ``MptcpConfig`` of one end, ``profile`` among them; some are fixed."""
    values = {
        "profile": draw(st.sampled_from(profiles)),
        "versions": draw(st.sampled_from(((), (), (1, 0)))),
        "checksum": draw(st.sampled_from((False, False, False, True))),
        "scheduler": draw(st.sampled_from(("", "", "minrtt", "roundrobin", "redundant"))),
        "mapping_segments": draw(st.sampled_from((1, 1, 3))),
        "dsn_octets": draw(st.sampled_from((0, 0, 4, 8))),
        "data_ack_octets": draw(st.sampled_from((0, 0, 4, 8))),
        "max_subflows": draw(st.sampled_from((4, 4, 2, 8))),
        "subflow_retries": draw(st.sampled_from((7, 7, 2))),
        "window_update": draw(st.sampled_from(("", "", "all", "one"))),
        "window_update_rule": draw(st.sampled_from(("", "", "bsd", "linux"))),
        "data_probe": draw(st.sampled_from((False, False, True))),
        "fill_window": draw(st.sampled_from((False, False, True))),
        "data_ack_lag": draw(st.sampled_from((0, 0, 150 * MICROSECOND, MILLISECOND, SECOND))),
        "add_addr_timeout": draw(st.sampled_from((2 * SECOND, 120 * SECOND))),
        "deny_join_initial": draw(st.sampled_from((False, False, False, True))),
        "path_manager_parameters": {
            "joins": draw(st.sampled_from((0, 1, 1, 2, 3))),
            "announces": draw(st.sampled_from((0, 0, 1))),
            "follows": draw(st.sampled_from((0, 1))),
        },
    }
    values |= fixed
    return {name: value for name, value in values.items() if value not in ("", 0, False, ()) or name in fixed}


def config_of(tcp: dict[str, Any], mptcp: dict[str, Any], port: int) -> TcpConfig:
    """Return the configuration of an end from what was drawn for it; ``port`` is the peer's."""
    values = dict(mptcp)
    name = values.pop("profile")
    if name == "plain":
        return TcpConfig(**tcp)
    parameters = values.pop("path_manager_parameters") | {"port": port}
    fields: dict[str, Any] = values | {"path_manager": "ruled", "path_manager_parameters": parameters}
    if "scheduler" in values:
        fields["scheduler_parameters"] = {}
    return TcpConfig(**tcp, mptcp=replace(PROFILES[name], **fields))


__all__ = ["Ruled", "config_of", "mptcp_configs", "tcp_configs"]
