"""The programs of the experiments, which lie outside the package and often have the same file name."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from tests.paths import EXPERIMENTS


def program(folder: str, name: str) -> Any:
    """Return a program in a folder of experiments/ as a module."""
    file = EXPERIMENTS / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(
        f"{folder.replace('/', '_').replace('-', '_')}_{name}", file
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
