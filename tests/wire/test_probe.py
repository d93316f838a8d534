"""What the machine can do, and what is said where it cannot."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mptcpsim.wire import probe


def test_every_look_finds_something_or_says_what_to_do() -> None:
    for finding in [*probe.look(), *probe.programs()]:
        assert finding.detail
        if not finding.there:
            assert any(
                word in finding.detail for word in ("run as", "install", "take Linux", "sysctl", "mod")
            )


@pytest.mark.kernel
def test_all_that_is_needed_is_here() -> None:
    assert {finding.what for finding in probe.look() if finding.there} >= {
        probe.RIGHTS,
        probe.PYROUTE2,
        probe.NAMESPACES,
        probe.TUN,
        probe.PACKET,
        probe.MPTCP,
    }
    probe.require([probe.TUN, probe.PACKET, probe.MPTCP])


ASK = """
from mptcpsim.wire import probe
try:
    probe.require([probe.TUN, probe.MPTCP])
except probe.Unavailable as error:
    print(error)
print(len(probe.look([probe.TUN])))
"""


@pytest.mark.kernel
def test_missing_rights_are_named_once() -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.fail("setpriv of util-linux is not there")
    found = subprocess.run(
        [setpriv, "--bounding-set=-net_admin", "--inh-caps=-all", sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stderr == ""
    message, looks = found.stdout.splitlines()
    assert message.startswith("CAP_NET_ADMIN missing: run as root")
    assert message.count(";") == 0
    assert looks == "2", "rights and the library: without rights nothing is tried"


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(probe.Unavailable, match=r"pyroute2 is not installed: pip install 'mptcpsim\[wire\]'"):
        probe.require([])


def test_mptcp_that_is_switched_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not probe.mptcp().there:
        pytest.skip("no live wire here: the kernel has no MPTCP")
    switch = tmp_path / "enabled"
    switch.write_text("0\n")
    monkeypatch.setattr(probe, "_MPTCP_SYSCTL", switch)
    found = probe.mptcp()
    assert not found.there
    assert "sysctl -w net.mptcp.enabled=1" in found.detail
