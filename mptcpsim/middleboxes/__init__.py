"""Middleboxes; importing this package registers them. How to write one: ``mptcpsim.net.middlebox``."""

from mptcpsim.middleboxes.ack import EarlyAck
from mptcpsim.middleboxes.drop import Drop
from mptcpsim.middleboxes.hold import Hold
from mptcpsim.middleboxes.nat import Nat
from mptcpsim.middleboxes.payload import Payload
from mptcpsim.middleboxes.resegment import Coalesce, Split
from mptcpsim.middleboxes.sequence import Sequence
from mptcpsim.middleboxes.strip import Strip

__all__ = ["Coalesce", "Drop", "EarlyAck", "Hold", "Nat", "Payload", "Sequence", "Split", "Strip"]
