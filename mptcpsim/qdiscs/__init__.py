"""Queue disciplines; importing this package registers them."""

from mptcpsim.qdiscs.codel import CoDel
from mptcpsim.qdiscs.droptail import DropTail
from mptcpsim.qdiscs.red import Gred, Red

__all__ = ["CoDel", "DropTail", "Gred", "Red"]
