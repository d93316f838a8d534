"""The bytes of further TCP options: an entry for each (see ``core.tcp.further_options``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from mptcpsim.codec.errors import DecodeError, EncodeError
from mptcpsim.codec.option_list import NO_OPERATION
from mptcpsim.core.segment import TcpOption
from mptcpsim.core.sequences import UNKNOWN

#: RFC 4727: kinds for experiments. The first two bytes of the body are their identifier (RFC 6994).
EXPERIMENTS: Final = (253, 254)
_IDENTIFIER: Final = 2


class Layout(NamedTuple):
    """How one option is written and read.

    Attributes:
        option: its class.
        write: returns the body, what follows kind, length and the identifier of an experiment.
        read: returns the option of a body; raises ``DecodeError`` if it has none of the layouts.
    """

    option: type[TcpOption]
    write: Callable[[Any], bytes]
    read: Callable[[bytes], TcpOption]


#: By kind and identifier of the experiment (RFC 6994); the latter is ``UNKNOWN`` for a kind of its own.
LAYOUTS: Final[dict[tuple[int, int], Layout]] = {
    # (kind, experiment): Layout(option, write, read),
}


def write_further(option: TcpOption) -> bytes:
    """Return a whole option, followed by as many NOPs as fill it up to a multiple of four.

    Raises:
        EncodeError: no entry of ``LAYOUTS`` has its class, or its length is not what it says.
    """
    for (kind, experiment), layout in LAYOUTS.items():
        if type(option) is layout.option:
            body = b"" if experiment == UNKNOWN else experiment.to_bytes(_IDENTIFIER, "big")
            body += layout.write(option)
            length = len(body) + 2
            if length != option.wire_length():
                raise EncodeError(f"{option!r} has {length} bytes, and says {option.wire_length()}")
            return bytes((kind, length)) + body + bytes((NO_OPERATION,)) * (-length & 3)
    raise EncodeError(f"{option!r} has no entry in codec.further_options.LAYOUTS")


def read_further(kind: int, body: bytes) -> TcpOption | None:
    """Return the option with this kind and body, None for one that is unknown or malformed."""
    experiment = UNKNOWN
    if kind in EXPERIMENTS:
        if len(body) < _IDENTIFIER:
            return None
        experiment = int.from_bytes(body[:_IDENTIFIER], "big")
        body = body[_IDENTIFIER:]
    layout = LAYOUTS.get((kind, experiment))
    if layout is None:
        return None
    try:
        return layout.read(body)
    except DecodeError:
        return None
