"""Named random streams: one generator per purpose, independent of all others.

A stream is seeded from the SHA-256 of the run's seed and its own name, so that
adding a link, or drawing once more somewhere, changes no number elsewhere, and
so that neither ``PYTHONHASHSEED`` nor the order of construction matters.
"""

from __future__ import annotations

import hashlib
import random


def stream(seed: int, name: str) -> random.Random:
    """Return the generator of the stream ``name`` of a run with ``seed``."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))
