"""What the core raises: mistakes of the application, and faults of the simulation itself."""

from __future__ import annotations

from mypy_extensions import mypyc_attr


@mypyc_attr(native_class=False)
class LocalProtocolError(RuntimeError):
    """The application did something that the state of the connection does not allow."""


@mypyc_attr(native_class=False)
class IntegrityError(RuntimeError):
    """A byte was delivered that is not the next byte of the peer's stream."""
