"""The plug-in registry, and a user's plug-in from its definition to a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import mptcpsim
import mptcpsim.plugins as plugins_module
from mptcpsim import ScenarioError, build, loads
from mptcpsim.cli import app
from mptcpsim.congestion.reno import Reno
from mptcpsim.plugins import (
    CongestionControl,
    Parameter,
    Plugin,
    PluginError,
    Value,
    complete,
    families,
    find,
    register,
)
from mptcpsim.results.report import plugin_summary
from mptcpsim.scenario.catalogue import load_plugins
from mptcpsim.units import SECOND

SCENARIO = """\
title = "A plug-in of one's own"
duration = "4s"
[hosts.a]
interfaces = { e = "10.0.0.1/24" }
[hosts.b]
interfaces = { e = "10.0.0.2/24" }
[[links]]
ends = ["a:e", "b:e"]
rate = "50Mbps"
delay = "50ms"
queue = 10000
[[flows]]
client = "a"
server = "b"
tcp = { ack_every = 1 }
"""


class Sample(Plugin):
    """A plug-in with a parameter of each type.

    More about it.
    """

    FAMILY: ClassVar[str] = "sample"
    NAME: ClassVar[str] = "sample"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("whole", 5, "a whole number", 1, 10),
        Parameter("number", 0.5, "any number", 0.0, 1.0),
        Parameter("open", 1.0, "a number without bounds"),
        Parameter("choice", False, "yes or no"),
        Parameter("text", "a", "a text"),
    )


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Give each test the registry as the package fills it."""
    load_plugins()
    known = plugins_module._registry
    saved = {family: dict(members) for family, members in known.items()}
    yield
    known.clear()
    known.update(saved)


class TestRegistry:
    def test_register_and_find(self) -> None:
        assert register(Sample) is Sample
        assert find("sample", "sample") is Sample
        assert families()["sample"] == {"sample": Sample}

    def test_families_and_names_are_sorted(self) -> None:
        register(Sample)
        known = families()
        assert list(known) == sorted(known)
        assert {"congestion", "middlebox", "pathmanager", "qdisc", "sample", "scheduler"} == set(known)
        for members in known.values():
            assert list(members) == sorted(members)

    def test_what_families_returns_is_a_copy(self) -> None:
        families()["congestion"].clear()
        assert find("congestion", "reno") is Reno

    def test_what_is_unknown_is_answered_with_what_is_known(self) -> None:
        with pytest.raises(PluginError, match=r"unknown congestion 'renp'; did you mean 'reno'\?"):
            find("congestion", "renp")
        with pytest.raises(PluginError, match="unknown nothing 'reno'"):
            find("nothing", "reno")

    def test_a_forgotten_name_does_not_replace_the_base_class(self) -> None:
        class Mine(Reno):
            pass

        with pytest.raises(PluginError, match=r"'reno' is mptcpsim\.congestion\.reno\.Reno already.*NAME"):
            register(Mine)
        assert find("congestion", "reno") is Reno

    def test_a_name_and_a_family_are_needed(self) -> None:
        class Nameless(CongestionControl):
            pass

        class Homeless(Plugin):
            NAME = "homeless"

        for cls in (Nameless, Homeless):
            with pytest.raises(PluginError, match=r"needs a FAMILY .* and a NAME"):
                register(cls)

    def test_a_class_defined_again_takes_its_own_place(self) -> None:
        def cell() -> type[Plugin]:
            class Mine(Reno):
                NAME = "mine"

            return register(Mine)

        assert cell() is not (second := cell())
        assert find("congestion", "mine") is second


class TestParameters:
    def test_defaults_fill_in(self) -> None:
        given = {"whole": 7}
        assert complete(Sample, {**given}) == {
            "whole": 7,
            "number": 0.5,
            "open": 1.0,
            "choice": False,
            "text": "a",
        }
        assert given == {"whole": 7}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *[("whole", value) for value in (True, 5.0, "5")],
            *[("number", value) for value in (True, "0.5")],
            *[("choice", value) for value in (0, 1, 1.0, "true")],
            *[("text", value) for value in (1, True, 1.5)],
        ],
    )
    def test_types_are_not_confused(self, name: str, value: Value) -> None:
        with pytest.raises(PluginError, match=f"parameter '{name}' takes a .*, not {value!r}"):
            complete(Sample, {name: value})

    def test_a_whole_number_is_a_number(self) -> None:
        value = complete(Sample, {"number": 1})["number"]
        assert (value, type(value)) == (1.0, float)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("whole", 0),
            ("whole", 11),
            ("whole", 10**400),
            ("number", -1e-9),
            ("number", 1.0000001),
            ("number", float("nan")),
            ("number", float("inf")),
            ("number", 10**400),
            ("number", -(10**400)),
        ],
    )
    def test_out_of_range(self, name: str, value: Value) -> None:
        with pytest.raises(PluginError, match=f"sample 'sample': parameter '{name}' is .*outside its range"):
            complete(Sample, {name: value})

    def test_bounds_belong_to_the_range(self) -> None:
        for value in (1, 10):
            assert complete(Sample, {"whole": value})["whole"] == value
        for number in (0.0, 1.0):
            assert complete(Sample, {"number": number})["number"] == number

    def test_an_unknown_parameter_is_answered_with_those_known(self) -> None:
        with pytest.raises(PluginError, match="has no parameter 'x'; known are whole, number, open"):
            complete(Sample, {"x": 1})

        class Bare(Plugin):
            FAMILY = "sample"
            NAME = "bare"

        with pytest.raises(PluginError, match="there are none"):
            complete(Bare, {"x": 1})

    VALUES = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=3))

    @given(st.dictionaries(st.sampled_from(["whole", "number", "open", "choice", "text"]), VALUES))
    def test_what_is_accepted_fits(self, given: dict[str, Any]) -> None:
        try:
            values = complete(Sample, given)
        except PluginError:
            return
        for parameter in Sample.PARAMETERS:
            value = values[parameter.name]
            assert type(value) is type(parameter.default)
            if parameter.minimum is not None and parameter.maximum is not None:
                assert parameter.minimum <= value <= parameter.maximum  # type: ignore[operator]

    def test_every_default_of_the_package_is_in_its_own_range(self) -> None:
        for members in families().values():
            for cls in members.values():
                assert complete(cls, {p.name: p.default for p in cls.PARAMETERS}) == complete(cls, {})


class TestSummaries:
    def test_every_plugin_of_the_package_has_one(self) -> None:
        every = [cls for members in families().values() for cls in members.values()]
        own = [cls for cls in every if cls.__module__.startswith("mptcpsim.")]
        assert own
        for cls in own:
            assert "SUMMARY" in vars(cls), cls
            assert cls.SUMMARY
            assert "\n" not in cls.SUMMARY

    def test_a_summary_comes_before_the_docstring(self) -> None:
        class Mine(Reno):
            """Something else."""

            SUMMARY = "what it says itself"

        assert plugin_summary(Mine) == "what it says itself"

    def test_the_docstring_is_second(self) -> None:
        class Mine(Reno):
            """Mine: the first line.

            Not the second.
            """

        assert plugin_summary(Mine) == "Mine: the first line."
        assert plugin_summary(Sample) == "A plug-in with a parameter of each type."

    def test_the_base_class_is_last(self) -> None:
        class Mine(Reno):
            pass

        assert plugin_summary(Mine) == Reno.SUMMARY

        class Bare(Plugin):
            pass

        assert plugin_summary(Bare) == ""


def register_fixed() -> type[CongestionControl]:
    """A congestion control as a user writes it: a window that never changes."""

    @register
    class Fixed(CongestionControl):
        NAME = "fixed"
        SUMMARY = "a window of constant size"
        PARAMETERS = (Parameter("segments", 10, "window in segments", 1, 1000),)

        def configure(self, values: dict[str, Value]) -> None:
            self.segments = int(values["segments"])

        def start(self, mss: int, initial_window: int, initial_ssthresh: int, now: int) -> None:
            super().start(mss, self.segments * mss, initial_ssthresh, now)

        def on_ack(self, acked: int, now: int, srtt: int, in_flight: int) -> None:
            pass

        def ssthresh_after_loss(self, in_flight: int, now: int) -> int:
            return self.segments * self.mss

    return Fixed


class TestUsersPlugin:
    @pytest.mark.parametrize("segments", [4, 20])
    def test_it_decides_the_window_of_a_run(self, segments: int) -> None:
        cls = register_fixed()
        choice = f'flows.0.tcp.congestion={{ name = "fixed", segments = {segments} }}'
        simulation = build(loads(SCENARIO, overrides=[choice]))
        simulation.env.run("4s")
        (flow,) = simulation.flows
        assert flow.client is not None
        assert flow.server is not None
        sender = flow.client.subflows[0].sender
        assert isinstance(sender.congestion, cls)
        assert sender.congestion.cwnd == segments * 1448
        # W segments a round trip: two delays, a full segment and a bare ACK to serialise.
        round_trip = 2 * 50_000_000 + (1500 + 52) * 8 * SECOND // 50_000_000
        windows = (4 * SECOND - round_trip) // round_trip
        assert flow.server.delivered == pytest.approx(windows * segments * 1448, abs=segments * 1448)
        assert sender.resent_bytes == 0

    def test_it_is_listed(self) -> None:
        register_fixed()
        result = CliRunner().invoke(app, ["list", "congestion"])
        assert result.exit_code == 0
        (line,) = [line for line in result.stdout.splitlines() if "fixed" in line]
        assert "a window of constant size" in line
        (line,) = [line for line in result.stdout.splitlines() if "segments" in line and "1 .. 1000" in line]
        assert "window in segments" in line

    def test_its_parameters_are_checked_by_the_scenario(self) -> None:
        register_fixed()
        with pytest.raises(ScenarioError, match="outside its range 1 to 1000"):
            loads(SCENARIO, overrides=['flows.0.tcp.congestion={ name = "fixed", segments = 0 }'])

    def test_the_example_at_the_top_of_the_module(self) -> None:
        """Run what the documentation shows."""
        text = (Path(mptcpsim.__file__).parent / "plugins.py").read_text(encoding="utf-8")
        lines = text[text.index("    @register") :].split("\n\nA plug-in sees")[0].splitlines()
        scope: dict[str, Any] = {"register": register, "Reno": Reno, "__name__": "example"}
        exec("\n".join(line[4:] for line in lines), scope)
        half = find("congestion", "half")
        assert half is scope["Half"]
        assert plugin_summary(half) == "Reno with a growth that is half as fast"
        simulation = build(loads(SCENARIO, overrides=["flows.0.tcp.congestion=half", "duration=1s"]))
        simulation.env.run("1s")
        reno = build(loads(SCENARIO, overrides=["flows.0.tcp.congestion=reno", "duration=1s"]))
        reno.env.run("1s")
        slow, fast = (s.flows[0].client for s in (simulation, reno))
        assert slow is not None
        assert fast is not None
        assert slow.subflows[0].sender.congestion.cwnd < fast.subflows[0].sender.congestion.cwnd
