"""Short variants of experiments/http: HTTP/1.1 between two ends that know nothing of a simulator."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.experiments.programs import program


@pytest.fixture(scope="module")
def http() -> Any:
    pytest.importorskip("h11", reason="h11 is not installed (pip install 'mptcpsim[wire]')")
    return program("http", "run")


def test_a_page_comes_over_both_paths(http: Any) -> None:
    row = http.fetch("MPTCP", images=6)
    assert row.requests == row.right == 8
    assert row.content > 500_000
    assert len(row.paths) == 2
    assert min(row.paths) > 100_000
    assert row.sent_again > 0, "the paths lose packets"


def test_a_path_goes_in_the_midst_of_an_answer(http: Any) -> None:
    row = http.fetch("MPTCP, path 1 goes after 1 s", images=6)
    assert row.requests == row.right == 8


def test_bytes_by_reference_and_encoded_are_the_same(http: Any) -> None:
    """Through segments that are cut, put together and numbered anew, too."""
    boxes = 'links.path1.middleboxes=[{name="split", size=700}, "coalesce", "sequence"]'
    rows = [http.fetch("MPTCP, checksums", 3, 50_000, [boxes], roundtrip) for roundtrip in (False, True)]
    assert rows[0] == rows[1]
    assert rows[0].requests == rows[0].right == 5


def test_plain_tcp_and_the_table(http: Any) -> None:
    rows = [http.fetch("TCP, path 1", images=2)]
    assert rows[0].requests == rows[0].right == 4
    assert len(rows[0].paths) == 1
    assert http.table(rows).count("\n") == 3


def test_without_h11_the_experiment_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h11", None)
    with pytest.raises(SystemExit, match=r"needs h11: pip install 'mptcpsim\[wire\]'"):
        program("http", "run")
