"""The definitions of settings, and what is derived from them: one key is written in one place."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

import mptcpsim
from mptcpsim.cli import app
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp.profiles import TABLE
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.net.pipe_settings import PipeSettings
from mptcpsim.scenario.catalogue import load_plugins
from mptcpsim.scenario.load import dumps, loads
from mptcpsim.scenario.pipes import pipe_settings
from mptcpsim.scenario.reference import TABLES, reference, written
from mptcpsim.scenario.tables import SettingsTable, key_type, table_of
from mptcpsim.settings import (
    CHOICE,
    LIST,
    LOSS,
    NUMBER,
    PLUGIN,
    PROBABILITY,
    PROFILE,
    QUEUE,
    RATE,
    SIZE,
    SWITCH,
    TIME,
    Setting,
    defaults_of,
    setting,
    settings_of,
)
from mptcpsim.units import MILLISECOND

SETTINGS = [
    pytest.param(name, key, each, id=f"{name}.{key}")
    for name, model in TABLES.items()
    for key, each in model.SETTINGS.items()
]

#: What the values of each kind are in a configuration.
TYPES: dict[str, Any] = {
    SWITCH: bool, NUMBER: int, TIME: int, SIZE: int, RATE: int, PROBABILITY: float, CHOICE: (str, int),
    LIST: tuple, PLUGIN: str, PROFILE: str, QUEUE: int, LOSS: tuple,
}  # fmt: skip

TEXT = """\
title = "Two hosts"
duration = "5s"
hosts.A.interfaces.e = "10.0.1.1/24"
hosts.B.interfaces.e = "10.0.1.2/24"
links = [{ name = "l", ends = ["A:e", "B:e"] }]
flows = [{ client = "A", server = "B" }]
"""


@pytest.mark.parametrize(("table", "key", "definition"), SETTINGS)
class TestEveryKey:
    def test_has_help_and_a_source(self, table: str, key: str, definition: Setting) -> None:
        assert re.fullmatch(r"[A-Z][^\n]{10,}[.]", definition.help)
        assert "  " not in definition.help
        assert definition.source

    def test_has_a_default_of_its_kind_and_within_its_range(
        self, table: str, key: str, definition: Setting
    ) -> None:
        default = defaults_of(TABLES[table].CONFIG)[key]
        assert isinstance(default, TYPES[definition.kind])
        assert isinstance(default, bool) == (definition.kind == SWITCH)
        if isinstance(default, int):
            assert definition.minimum <= default
            assert definition.maximum is None or default <= definition.maximum
        if definition.choices:
            assert set(default if isinstance(default, tuple) else [default]) <= set(definition.choices)

    def test_depends_on_a_key_of_its_table(self, table: str, key: str, definition: Setting) -> None:
        if definition.needs:
            needed = TABLES[table].SETTINGS[definition.needs]
            assert table == "link" or needed.kind == SWITCH

    def test_takes_its_default_as_the_reference_writes_it(
        self, table: str, key: str, definition: Setting
    ) -> None:
        """The reference is TOML, and reading it changes nothing."""
        model = TABLES[table]
        default = written(definition, defaults_of(model.CONFIG)[key])
        text = f"defaults.{table}.{key} = {default}" if table != "link" else f"links.0.{key} = {default}"
        loaded = loads(TEXT, overrides=[text.replace(" ", "", 2)])
        found: Any
        if table == "link":
            link = loaded.links[0]
            found = pipe_settings(link, link.direction(True))
        else:
            found = loaded.flow_configs(loaded.flows[0])[0]
            found = found.mptcp if table == "mptcp" else found
        changed: dict[str, Any] = {}
        if definition.kind == PLUGIN:  # its parameters are completed by their defaults
            parameters = f"{definition.field}_parameters"
            changed[parameters] = getattr(found, parameters)
        if table == "mptcp" and key != "enabled":
            changed["enabled"] = True
        assert found == dataclasses.replace(model.CONFIG(), **changed)
        assert dumps(loads(dumps(loaded))) == dumps(loaded)


def test_a_field_that_is_no_key_belongs_to_one() -> None:
    """The parameters of plug-ins stand beside their names, MPTCP in tables of its own."""
    others = {
        TcpConfig: {"mptcp"},
        MptcpConfig: set[str](),
        PipeSettings: {"limit_in_bytes", "tick_ns", "profile", "profile_lost_from"},
    }
    for config, known in others.items():
        settings = settings_of(config).values()
        parameters = {f"{each.field}_parameters" for each in settings if each.kind == PLUGIN}
        names = {field.name for field in dataclasses.fields(config)}
        assert names == {*(each.field for each in settings), *parameters, *known}


@pytest.mark.parametrize("table", TABLES)
def test_no_key_is_without_help(table: str) -> None:
    """Those that only the scenario knows, such as the ends of a link, included."""
    entries = reference(TABLES[table])
    singles = {each.single for each in TABLES[table].SETTINGS.values()} - {""}
    keys = list(TABLES[table].model_fields)
    assert [entry.key for entry in entries] == [key for key in keys if key not in singles]
    for entry in entries:
        assert entry.values, entry.key
        assert entry.source, entry.key
        assert re.fullmatch(r"[A-Z].{10,}[.]", entry.help), entry.key


def test_profiles_change_settings_that_exist() -> None:
    keys = {field.name for field in dataclasses.fields(MptcpConfig)}
    for switches in TABLE.values():
        assert {switch.key for switch in switches} <= keys


# --- One definition is enough ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Extended:
    """A configuration with a setting of each kind that a core may want."""

    pace: int = setting(5 * MILLISECOND, "The pace.", kind=TIME, minimum=1, source="none")
    depth: int = setting(3, "The depth.", unit="segments", minimum=1, maximum=9, source="none")
    mode: str = setting("slow", "The mode.", choices=("slow", "fast"), source="none")
    careful: bool = setting(False, "Care is taken.", source="none")
    orders: tuple[int, ...] = setting((1,), "The orders.", choices=(1, 2), single="order", source="none")
    space_bits: int = setting(80, "The space.", kind=SIZE, key="space", scale=8, source="none")
    control: str = setting("cubic", "The control.", family="congestion", source="none")
    control_parameters: dict[str, object] = dataclasses.field(default_factory=dict)


@table_of(Extended)
class ExtendedTable(SettingsTable):
    """A table whose keys are nowhere written but in ``Extended``."""


class TestOneDefinition:
    def test_is_the_field_of_the_configuration(self) -> None:
        assert Extended() == Extended(5 * MILLISECOND, 3, "slow", False, (1,), 80, "cubic", {})

    def test_is_the_key_of_the_table(self) -> None:
        assert list(ExtendedTable.model_fields) == [
            "pace", "depth", "mode", "careful", "order", "orders", "space", "control",
        ]  # fmt: skip
        assert ExtendedTable.model_fields["pace"].description == "The pace."

    def test_is_what_is_read(self) -> None:
        load_plugins()
        table = ExtendedTable.model_validate(
            {"pace": "7us", "depth": 9, "mode": "fast", "careful": True, "order": 2, "space": "1kB",
             "control": "reno"}
        )  # fmt: skip
        assert table.fields() == {
            "pace": 7000, "depth": 9, "mode": "fast", "careful": True, "orders": (2,), "space_bits": 8000,
            "control": "reno",
            "control_parameters": {"abc_limit": 1},
        }  # fmt: skip
        assert ExtendedTable().fields() == {}

    @pytest.mark.parametrize(
        ("key", "value", "words"),
        [
            ("pace", "0s", "must be more than zero"),
            ("pace", 5, "is not a time: write a string with a unit"),
            ("pace", "5 mss", "did you mean"),
            ("depth", 10, "less than or equal to 9"),
            ("depth", True, "is not a whole number"),
            ("mode", "quick", "'slow' or 'fast'"),
            ("careful", 1, "valid boolean"),
            ("order", True, "it must be 1 or 2"),
            ("orders", [3], "it must be 1 or 2"),
            ("orders", [], "at least 1"),
            ("control", 7, "is not a plug-in"),
            ("speed", 7, "Extra inputs"),
        ],
    )
    def test_is_the_check_of_the_key(self, key: str, value: object, words: str) -> None:
        with pytest.raises(ValidationError, match=re.escape(words)):
            ExtendedTable.model_validate({key: value})

    def test_is_the_entry_of_the_reference(self) -> None:
        entries = {entry.key: entry[1:3] for entry in reference(ExtendedTable)}
        assert entries == {
            "pace": ("time above 0", '"5ms"'),
            "depth": ("segments, from 1 to 9", "3"),
            "mode": ('"slow" or "fast"', '"slow"'),
            "careful": ("true or false", "false"),
            "orders": ("list of 1 or 2; order: one", "[1]"),
            "space": ("size", '"10B"'),
            "control": ("a plug-in: mptcpsim list congestion", '"cubic"'),
        }

    def test_of_a_range_that_no_reader_checks_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no other range"):
            key_type(Setting("The pace.", "none", TIME, minimum=5))


#: A definition that stands in no file, and what a program sees once it does.
ONE_MORE = """\
    one_more: int = setting(
        7, "One more key.", unit="segments", minimum=1, maximum=9, needs="keepalive", source="RFC 9999"
    )
"""
WITH_ONE_MORE = """\
import sys
from mptcpsim.lint.effect import vain_keys
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.load import ScenarioSource, loads
from mptcpsim.scenario.reference import TABLES, reference

text = sys.stdin.read()
scenario, places = ScenarioSource(text + "[flows.tcp]\\none_more = 8\\n").read()
print(*(config.one_more for config in scenario.flow_configs(scenario.flows[0])))
print(*(vain.why for vain in vain_keys(scenario, places)))
for line in ("one_more = 10", "one_mor = 8"):
    try:
        loads(f"{text}[flows.tcp]\\n{line}\\n")
    except ScenarioError as error:
        print(error)
print(*next(entry for entry in reference(TABLES["tcp"]) if entry.key == "one_more"), sep="; ")
"""


def test_one_more_key_is_one_more_field(tmp_path: Path) -> None:
    """In a copy of the package with one definition more, everything else follows."""
    package = Path(mptcpsim.__file__).parent
    shutil.copytree(package, tmp_path / "mptcpsim", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    config = tmp_path / "mptcpsim/core/config.py"
    before, last, after = config.read_text().partition("    header_prediction: bool = ")
    assert last
    config.write_text(before + ONE_MORE + last + after)
    text = TEXT.replace("flows = [{", "[[flows]]\n").replace(", server", "\nserver").replace('"B" }]', '"B"')
    result = subprocess.run(
        [sys.executable, "-c", WITH_ONE_MORE],
        input=text,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert result.stderr == ""
    configured, effect, out_of_range, misspelt, entry = result.stdout.splitlines()
    assert configured == "8 8"
    assert effect == "it needs keepalive = true"
    assert "flows.0.tcp.one_more" in out_of_range
    assert "less than or equal to 9 (got 10)" in out_of_range
    assert "did you mean 'one_more'?" in misspelt
    assert entry == "one_more; segments, from 1 to 9; 7; One more key.; RFC 9999"


# --- mptcpsim list -----------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_the_keys_of_a_table_are_shown(table: str) -> None:
    shown = CliRunner().invoke(app, ["list", table], env={"COLUMNS": "400"}).stdout
    for entry in reference(TABLES[table]):
        (line,) = [line for line in shown.splitlines() if line.split()[:1] == [entry.key]]
        for cell in entry:
            assert cell in line


def test_keys_are_shown_only_when_they_are_asked_for() -> None:
    assert "keys of" not in CliRunner().invoke(app, ["list"]).stdout
