"""Named random streams: the same for the same name, unrelated otherwise."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.streams import stream

SEEDS = st.integers(0, (1 << 63) - 1)
NAMES = st.text(max_size=20)


def draws(seed: int, name: str, count: int = 4) -> list[int]:
    generator = stream(seed, name)
    return [generator.getrandbits(64) for _ in range(count)]


def test_the_numbers_are_these() -> None:
    """Every stored result depends on them: SHA-256 of ``seed/name`` seeds a Mersenne Twister."""
    assert draws(1, "link/a", 2) == [4148844268428724925, 16835208698168714325]


@given(SEEDS, NAMES)
def test_a_stream_is_a_function_of_seed_and_name(seed: int, name: str) -> None:
    assert draws(seed, name) == draws(seed, name)


@given(SEEDS, NAMES, SEEDS, NAMES)
def test_another_seed_or_name_is_another_stream(seed: int, name: str, seed2: int, name2: str) -> None:
    if (seed, name) != (seed2, name2):
        assert draws(seed, name) != draws(seed2, name2)


def test_the_border_between_seed_and_name_counts() -> None:
    assert draws(1, "1/a") != draws(11, "/a") != draws(1, "a")


def test_drawing_from_one_stream_moves_no_other() -> None:
    alone = draws(7, "b", 8)
    first, second = stream(7, "a"), stream(7, "b")
    mixed = []
    for _ in range(8):
        first.random()
        mixed.append(second.getrandbits(64))
    assert mixed == alone


def test_hash_randomisation_has_no_influence() -> None:
    program = "from mptcpsim.streams import stream; print(stream(3, 'link').random())"
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(found) == 1


def test_streams_are_not_correlated() -> None:
    """Mean of the products of 20,000 centred pairs: its standard deviation is 1/12/sqrt(20000)."""
    first, second = stream(1, "link/0"), stream(1, "link/1")
    products = [(first.random() - 0.5) * (second.random() - 0.5) for _ in range(20_000)]
    assert abs(sum(products) / len(products)) < 4 / 12 / 20_000**0.5
