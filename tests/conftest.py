"""What the whole suite shares: Hypothesis profiles, system tools, strictness about skipped tests."""

from __future__ import annotations

import functools
import importlib.machinery
import os
import shutil
import tomllib
from pathlib import Path

import pytest

import mptcpsim
from tests import profiles
from tests.paths import TESTS

PACKAGE = Path(mptcpsim.__file__).resolve().parent
STRICT = os.environ.get("MPTCPSIM_STRICT") == "1"

profiles.register()


def compiled_modules() -> list[Path]:
    """Return the extension modules that stand beside their sources."""
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    return sorted(path for path in PACKAGE.rglob("*") if path.name.endswith(suffixes))


def stale_modules() -> list[str]:
    """Return the sources that are newer than the extension module built from them."""
    stale = []
    for library in compiled_modules():
        source = library.with_name(library.name.split(".")[0] + ".py")
        if source.exists() and source.stat().st_mtime > library.stat().st_mtime:
            stale.append(str(source.relative_to(PACKAGE.parent)))
    return stale


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to test something else than what was asked for."""
    if stale := stale_modules():
        raise pytest.UsageError(
            f"compiled modules are older than their sources ({', '.join(stale)}): "
            "run `make uncompiled` or `make compiled`"
        )
    if os.environ.get("MPTCPSIM_EXPECT") == "compiled" and not compiled_modules():
        raise pytest.UsageError("MPTCPSIM_EXPECT=compiled, but no compiled module is there")


def pytest_report_header() -> str:
    """Say whether the hot modules are compiled."""
    count = len(compiled_modules())
    state = f"compiled ({count} extension modules)" if count else "interpreted"
    return f"mptcpsim: {state}{', strict about skips' if STRICT else ''}"


@functools.cache
def missing_for_the_wire() -> str:
    """Return what this machine lacks for tests against its own kernel; empty: nothing."""
    from mptcpsim.wire import probe

    try:
        probe.require([probe.TUN, probe.PACKET, probe.MPTCP, probe.H11])
    except probe.Unavailable as error:
        return str(error)
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose system tool is missing, or for which the kernel cannot be had."""
    if item.get_closest_marker("kernel") is not None and missing_for_the_wire():
        pytest.skip(f"no live wire here: {missing_for_the_wire()}")
    for marker in item.iter_markers("tool"):
        name = marker.args[0]
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")


# --- Strict mode: a skipped test is a failure ---------------------------------------------------


def allowed_reasons() -> list[str]:
    """Return the texts of which one must occur in the reason of a tolerated skip."""
    entries = tomllib.loads((TESTS / "allowed_skips.toml").read_text(encoding="utf-8")).get("allowed", [])
    for entry in entries:
        if not entry.get("reason") or not entry.get("why"):
            raise pytest.UsageError(f"tests/allowed_skips.toml: {entry} needs a reason and a why")
    return [entry["reason"] for entry in entries]


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why a test was skipped."""
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")


def forbidden_skips(reports: list[pytest.TestReport], allowed: list[str]) -> list[str]:
    """Return a line for each skip whose reason is not on the allow-list."""
    lines = []
    for report in reports:
        reason = skip_reason(report)
        if not any(text in reason for text in allowed):
            lines.append(f"{report.nodeid}: {reason}")
    return lines


def _forbidden(config: pytest.Config) -> list[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not STRICT or reporter is None or hasattr(config, "workerinput"):
        return []
    return forbidden_skips(reporter.stats.get("skipped", []), allowed_reasons())


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a run with a forbidden skip into a failure."""
    if exitstatus == pytest.ExitCode.OK and _forbidden(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the forbidden skips, above pytest's own last line."""
    lines = _forbidden(config)
    if lines:
        terminalreporter.section("skipped, and not on the list in tests/allowed_skips.toml", red=True)
        for line in lines:
            terminalreporter.line(line, red=True)
