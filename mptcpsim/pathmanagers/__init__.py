"""Path managers; importing this package registers them."""

from mptcpsim.pathmanagers.endpoints import Endpoints
from mptcpsim.pathmanagers.mp_addresses import MpAddresses
from mptcpsim.pathmanagers.ndiffports import NDiffPorts

__all__ = ["Endpoints", "MpAddresses", "NDiffPorts"]
