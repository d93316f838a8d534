"""The only bytes: packets to wire format and back, and captures."""

from __future__ import annotations

from mptcpsim.codec.errors import DecodeError, EncodeError
from mptcpsim.codec.packet import decode, encode

__all__ = ["decode", "encode", "DecodeError", "EncodeError"]
