"""Read a scenario file: TOML, overrides, model, check; any mistake becomes one ``ScenarioError``."""

from __future__ import annotations

import copy
import pathlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit

from mptcpsim.scenario.catalogue import known, load_user_plugins
from mptcpsim.scenario.check import check
from mptcpsim.scenario.dialect import expand as expand_dialect
from mptcpsim.scenario.errors import Problem, ScenarioError
from mptcpsim.scenario.overrides import Override
from mptcpsim.scenario.patterns import expand_patterns
from mptcpsim.scenario.places import Places
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.topology import KEY as TOPOLOGY
from mptcpsim.scenario.topology import expand_topology
from mptcpsim.scenario.typed import TABLE
from mptcpsim.scenario.validate import validate
from mptcpsim.topologies.plan import TopologyPlan


def load(path: str | pathlib.Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario from a file and change it by ``key.path=value`` overrides.

    Raises:
        ScenarioError: whatever is wrong with the file or the overrides, in one message with
            file, key and remedy.
    """
    return open_source(path, overrides).scenario()


def loads(
    text: str,
    name: str = "scenario",
    overrides: Sequence[str] = (),
    directory: pathlib.Path = pathlib.Path(),
) -> Scenario:
    """Read a scenario from a TOML text; ``name`` stands for the file in messages.

    Paths in the scenario are relative to ``directory``.

    Raises:
        ScenarioError: as ``load``.
    """
    return ScenarioSource(text, name, overrides, directory).scenario()


def open_source(path: str | pathlib.Path, overrides: Sequence[str] = ()) -> ScenarioSource:
    """Read a scenario file without making a scenario of it yet.

    Raises:
        ScenarioError: the file cannot be read or is not TOML.
    """
    name = str(path)
    where = pathlib.Path(path)
    return ScenarioSource(_read(where, name), name, overrides, where.parent)


class ScenarioSource:
    """The text of a scenario and its overrides: what a scenario, or each point of a sweep, is made of.

    Attributes:
        text: the TOML text.
        name: what messages call it.
        directory: what paths in the scenario are relative to.
        overrides: what ``--set`` changes.
    """

    def __init__(
        self,
        text: str,
        name: str = "scenario",
        overrides: Sequence[str] = (),
        directory: pathlib.Path = pathlib.Path(),
    ) -> None:
        self.text = text
        self.name = name
        self.directory = directory
        self.overrides = tuple(overrides)
        try:
            self._data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ScenarioError(f"{name}: not valid TOML: {error}; mend the syntax there") from None

    def scenario(self, changes: Sequence[Override] = ()) -> Scenario:
        """Return the scenario, checked as a whole; ``changes`` come after the overrides.

        Raises:
            ScenarioError: as ``load``.
        """
        return self.read(changes)[0]

    def read(self, changes: Sequence[Override] = ()) -> tuple[Scenario, Places]:
        """Return the scenario as ``scenario`` does, and where its parts come from.

        Raises:
            ScenarioError: as ``load``.
        """
        overrides: list[str | Override] = [*self.overrides, *changes]
        places = self._places()
        return from_data(
            copy.deepcopy(self._data), self.name, overrides, self.directory, places=places
        ), places

    def _places(self) -> Places:
        return Places(self.name, self.text, self.directory, self._data)

    def error(self, problem: Problem) -> ScenarioError:
        """Return the error that tells the user of a problem: with the file and the line."""
        return ScenarioError(self._places().message(problem))


def from_data(
    data: dict[str, Any],
    name: str = "scenario",
    overrides: Sequence[str | Override] = (),
    directory: pathlib.Path = pathlib.Path(),
    plan: TopologyPlan | None = None,
    places: Places | None = None,
) -> Scenario:
    """Return the scenario of data as TOML has them.

    Args:
        data: tables and lists.
        name: stands for the file in messages.
        overrides: as for ``load``.
        directory: what paths are relative to.
        plan: the graph that ``topology`` describes, in place of a file.
        places: is told where the parts of the scenario come from.

    Raises:
        ScenarioError: as ``load``.
    """
    if places is None:
        places = Places(name, "", directory, data)
    try:
        places.changes = changes = [Override(item) if isinstance(item, str) else item for item in overrides]
        # What the network is made from is changed before it is made, everything else afterwards.
        for change in changes:
            if change.keys[0] == TOPOLOGY:
                change.apply(data)
        places.expansion = expand_topology(data, directory, plan)
        data = places.expansion.data
        for change in changes:
            if change.keys[0] not in (TOPOLOGY, "flows"):
                change.apply(data)
        expanded = expand_dialect(data, directory)
        data, places.origins = expanded.data, expanded.origins
        # Flows may come from the dialect; and what is given here counts more than what is typed there.
        for change in changes:
            if change.keys[0] == "flows" or (
                places.origins and change.keys[0] != TOPOLOGY and TABLE not in change.keys
            ):
                change.apply(data)
        places.patterns = expand_patterns(data)
        if places.patterns is not None:
            data = {**data, "flows": places.patterns.flows}
        plugins = load_user_plugins(data.get("plugins", []), directory)
        with known(plugins):
            scenario = validate(Scenario, {**data, "plugins": plugins}, more=(TOPOLOGY,))
            check(scenario)
        if expanded.problem is not None:
            raise expanded.problem
    except Problem as problem:
        raise ScenarioError(places.message(problem)) from None
    return scenario


def dumps(scenario: Scenario) -> str:
    """Return a scenario as TOML, every default written out; ``loads`` gives the same scenario back."""
    data = _pruned(scenario.model_dump(mode="json", exclude_none=True))
    switches = {name: tomlkit.item(data.get("switches", {}).get(name, {})) for name in scenario.switches}
    return tomlkit.dumps({**data, "switches": switches} if switches else data)


def _pruned(value: Any) -> Any:
    """Return nested data without its empty tables and lists."""
    if isinstance(value, Mapping):
        inner = {key: _pruned(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in ({}, [])}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


def _read(path: pathlib.Path, name: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # some editors begin UTF-8 with a byte order mark
    except FileNotFoundError:
        raise ScenarioError(f"{name}: no such file; name an existing scenario file") from None
    except IsADirectoryError:
        raise ScenarioError(f"{name}: is a directory; name the scenario file in it") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(
            f"{name}: not UTF-8 text (byte {error.start}); save the scenario in UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ScenarioError(f"{name}: cannot be read: {reason}; check the path and its permissions") from None
