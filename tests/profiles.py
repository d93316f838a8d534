"""Hypothesis profiles: reproducible in the suite, 10^5 random examples in `make fuzz`."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

FUZZ_EXAMPLES = 100_000
#: Tests of a machine in `make fuzz`.
FUZZ_PARTS = 20


def register() -> None:
    """Register the profiles; `--hypothesis-profile=fuzz` chooses another one.

    "first" is "suite" that stops at the first failure and does not shrink it.
    """
    calm = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
    settings.register_profile(
        "suite", derandomize=True, deadline=None, database=None, max_examples=100, suppress_health_check=calm
    )
    settings.register_profile(
        "fuzz", deadline=None, max_examples=FUZZ_EXAMPLES, print_blob=True, suppress_health_check=calm
    )
    settings.register_profile(
        "first", settings.get_profile("suite"), phases=(Phase.generate,), report_multiple_bugs=False
    )
    settings.load_profile("suite")


def fuzzing() -> bool:
    """Return whether this is `make fuzz`."""
    return settings.default is not None and settings.default.max_examples >= FUZZ_EXAMPLES


def examples(count: int, share: int = 1) -> settings:
    """Return settings for ``count`` examples in the suite, and for all of them in `make fuzz`.

    ``share`` is the number of tests among which the examples in `make fuzz` are divided.

    A number given to ``settings`` directly would override the profile; use this instead::

        @examples(300)
        @given(...)
        def test_law(...): ...

        TestMachine = Machine.TestCase
        TestMachine.settings = examples(2000)
    """
    return settings(max_examples=FUZZ_EXAMPLES // share if fuzzing() else count)


def parts() -> range:
    """Return the numbers of the tests into which `make fuzz` divides a machine; one in the suite.

    Hypothesis remembers every example of a test, some 250 kB each for a machine: all of them in one
    test would need more memory than there is. Parts also share out over processes, and show progress.
    """
    return range(FUZZ_PARTS if fuzzing() else 1)
