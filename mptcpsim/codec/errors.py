"""What the codec raises."""

from __future__ import annotations


class DecodeError(ValueError):
    """Bytes that are no packet for TCP: cut off, inconsistent, or of another protocol."""


class EncodeError(ValueError):
    """A packet that has no bytes: a field out of range, or a size that is not that of its parts."""
