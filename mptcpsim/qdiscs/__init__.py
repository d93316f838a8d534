"""Queue disciplines; importing this package registers them."""

from mptcpsim.qdiscs.codel import CoDel
from mptcpsim.qdiscs.droptail import DropTail
from mptcpsim.qdiscs.drr import Drr
from mptcpsim.qdiscs.flow_queueing import FqCoDel, FqPie
from mptcpsim.qdiscs.pie import Pie
from mptcpsim.qdiscs.red import Gred, Red
from mptcpsim.qdiscs.wf2q import Wf2qPlus

__all__ = ["CoDel", "DropTail", "Drr", "FqCoDel", "FqPie", "Gred", "Pie", "Red", "Wf2qPlus"]
