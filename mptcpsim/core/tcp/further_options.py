"""TCP options that this TCP does not need itself: where a new one is put in.

A new option takes three places:

1. here: its layout (a class derived from ``TcpOption``), what a connection does with it (a class
   derived from ``OptionUse``), and its line in ``USES``;
2. its bytes: an entry of ``LAYOUTS`` in ``codec/further_options.py``;
3. its key: a definition in ``core/config.py`` with the name that it has in ``USES``.

The 40 bytes of options go first to timestamps and MPTCP, of a SYN to all that ``core.options`` counts;
a further option that does not fit is left out of the segment: beside timestamps the longest DSS, of
28 bytes, leaves no room. MSS and SACK blocks make room for it. A RST carries none. A connection with
further options takes the ordered steps of RFC 9293 for every segment, not the short path.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.options import OPTION_SPACE, further_length
from mptcpsim.core.segment import TCP_HEADER, Segment, TcpOption, ip_header_length


class OptionUse:
    """What one connection does with one option; this one does nothing.

    Attributes:
        length: bytes of the option on a segment after the SYNs, padded to a multiple of four; 0 if
            it goes with SYNs alone. ``take_syn`` sets it, and nothing changes it later.
    """

    __slots__ = ("length",)

    def __init__(self, config: TcpConfig) -> None:
        self.length: int = 0

    def syn_option(self, answer: bool) -> TcpOption | None:
        """Return the option of a SYN, or with ``answer`` of a SYN/ACK; None to send none."""
        return None

    def take_syn(self, segment: Segment) -> None:
        """Take the peer's SYN or SYN/ACK, with the option or without."""

    def segment_option(self) -> TcpOption | None:
        """Return the option of a segment after the SYNs, of ``length`` bytes; None if that is 0."""
        return None

    def take(self, segment: Segment, now: int) -> None:
        """Take an acceptable segment of an open connection, with the option or without; times in ns."""


#: What to do with an option, by the key of the configuration that switches it on.
USES: Final[dict[str, type[OptionUse]]] = {
    # "key": ClassDerivedFromOptionUse,
}


class FurtherOptions:
    """The further options of one connection.

    Attributes:
        length: bytes that they take at most on a segment after the SYNs.
    """

    __slots__ = ("_uses", "length")

    def __init__(self, uses: list[OptionUse]) -> None:
        self._uses = uses
        self.length: int = 0

    def complete_syn(self, segment: Segment, answer: bool) -> None:
        """Add to a SYN, or SYN/ACK, those options that fit."""
        _add_what_fits(segment, [use.syn_option(answer) for use in self._uses])

    def take_syn(self, segment: Segment) -> None:
        """Take the peer's SYN or SYN/ACK: ``length`` is known then."""
        for use in self._uses:
            use.take_syn(segment)
        self.length = sum([use.length for use in self._uses])

    def complete(self, segment: Segment) -> None:
        """Add to a segment, which has all its other options and may have these, those that fit."""
        if self.length and segment.further_options is None:
            _add_what_fits(segment, [use.segment_option() for use in self._uses])

    def take(self, segment: Segment, now: int) -> None:
        """Act on the options of an acceptable segment."""
        for use in self._uses:
            use.take(segment, now)


def _add_what_fits(segment: Segment, options: list[TcpOption | None]) -> None:
    header = ip_header_length(segment.flow.dst) + TCP_HEADER
    room = OPTION_SPACE - (segment.size - segment.length - header)
    chosen: list[TcpOption] = []
    taken = 0
    for option in options:
        if option is not None:
            length = further_length((option,))
            if taken + length <= room:
                chosen.append(option)
                taken += length
    if chosen:
        segment.carry_further(tuple(chosen), taken)


def further_options(config: TcpConfig) -> FurtherOptions | None:
    """Return the further options that are switched on, None if there is none."""
    uses = [use(config) for key, use in USES.items() if getattr(config, key)]
    return FurtherOptions(uses) if uses else None
