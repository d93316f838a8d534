"""Hypothesis profiles: reproducible in the suite, 10^5 random examples in `make fuzz`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

FUZZ_EXAMPLES = 100_000


def register() -> None:
    """Register the profiles; `--hypothesis-profile=fuzz` chooses the other one."""
    calm = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
    settings.register_profile(
        "suite", derandomize=True, deadline=None, database=None, max_examples=100, suppress_health_check=calm
    )
    settings.register_profile(
        "fuzz", deadline=None, max_examples=FUZZ_EXAMPLES, print_blob=True, suppress_health_check=calm
    )
    settings.load_profile("suite")


def examples(count: int) -> settings:
    """Return settings for ``count`` examples in the suite, and for all of them in `make fuzz`.

    A number given to ``settings`` directly would override the profile; use this instead::

        @examples(300)
        @given(...)
        def test_law(...): ...

        TestMachine = Machine.TestCase
        TestMachine.settings = examples(2000)
    """
    fuzzing = settings.default is not None and settings.default.max_examples >= FUZZ_EXAMPLES
    return settings(max_examples=FUZZ_EXAMPLES if fuzzing else count)
