"""Where the suite finds the files of the repository, and those beside it."""

from __future__ import annotations

from pathlib import Path

#: The repository.
ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
DATA = TESTS / "data"
EXPERIMENTS = ROOT / "experiments"
SEED = EXPERIMENTS / "seed"
DOCS = ROOT / "docs"
#: Captures and topologies that belong to others: a test that needs them skips where they are absent.
SHARED = ROOT.parent / "shared"
