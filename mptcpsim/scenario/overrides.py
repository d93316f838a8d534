"""``--set key.path=value``: change a scenario before it is checked. A point of a sweep does the same."""

from __future__ import annotations

import copy
import re
import tomllib
from typing import Any

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.net.pipe_settings import PipeSettings
from mptcpsim.scenario.errors import KeyPath, Problem, dotted
from mptcpsim.scenario.links import default_link_name
from mptcpsim.scenario.mptcp_settings import mptcp_table
from mptcpsim.settings import plugins_of
from mptcpsim.suggest import did_you_mean

#: Keys whose value may be the name of a plug-in, in place of a table.
PLUGIN_KEYS = {key for config in (TcpConfig, MptcpConfig, PipeSettings) for key in plugins_of(config)}

_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^.\"'=]+)")


class Override:
    """One ``key.path=value``, taken apart.

    Attributes:
        text: as it was given.
        keys: the parts of the path, as text.
        value: the value: TOML where it is TOML, else a string.
        path: the path with list names turned into indices, once applied.
        origin: who asks for it: ``--set`` or ``[sweep]``.
    """

    def __init__(self, text: str) -> None:
        self.origin = "--set"
        self.text = text
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name or not value.strip():
            raise Problem((), f"--set {text!r} is not of the form key=value; write for instance --set seed=2")
        self.keys = _split(name, self.said)
        self.value: Any = _value(value.strip())
        self.path: KeyPath = ()

    @classmethod
    def of_point(cls, key: str, value: Any) -> Override:
        """Return the change that gives ``key`` the ``value`` that a point of a sweep has for it."""
        change = cls.__new__(cls)
        change.origin = "[sweep]"
        change.text = f"{key} = {value!r}"
        change.keys = _split(key, change.said)
        change.value = copy.deepcopy(value)
        change.path = ()
        return change

    @property
    def said(self) -> str:
        """Where the change comes from and what it is, for messages."""
        return f"{self.origin} {self.text!r}" if self.origin == "--set" else f"{self.origin} {self.text}"

    def apply(self, data: dict[str, Any]) -> None:
        """Put the value into a scenario's data.

        Raises:
            Problem: the path leads through something that is not there.
        """
        node: Any = data
        path: KeyPath = ()
        for position, key in enumerate(self.keys):
            last = position == len(self.keys) - 1
            if isinstance(node, list):
                index = _index(node, key, path, self.said)
                path = (*path, index)
                if last:
                    node[index] = self.value
                else:
                    node = _inside(node, index, key, path, self.said)
            else:
                path = (*path, key)
                if last:
                    node[key] = self.value
                else:
                    node.setdefault(key, {})
                    node = _inside(node, key, key, path, self.said)
        self.path = path


def _split(name: str, said: str) -> list[str]:
    keys: list[str] = []
    position = 0
    while True:
        match = _PART.match(name, position)
        if match is None:
            break
        keys.append(next(part for part in match.groups() if part is not None).strip())
        position = match.end()
        if position == len(name):
            return keys
        if name[position] != ".":
            break
        position += 1
    raise Problem((), f"{said}: {name!r} is not a path of keys; write for instance links.0.rate=8Mbps")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}\n")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text


def _names(items: list[Any], path: KeyPath) -> list[str]:
    names = []
    for index, item in enumerate(items):
        name = item.get("name") if isinstance(item, dict) else None
        if name is None and isinstance(item, dict):
            name = default_link_name(item) if path == ("links",) else f"flow{index}"
        names.append(str(name))
    return names


def _index(items: list[Any], key: str, path: KeyPath, said: str) -> int:
    if key.isdecimal():
        index = int(key)
        if index < len(items):
            return index
        raise Problem(
            path, f"{said}: {dotted(path)} has {len(items)} entries, 0 to {len(items) - 1}; no {key}"
        )
    names = _names(items, path)
    if key in names:
        return names.index(key)
    raise Problem(path, f"{said}: {dotted(path)} has no entry named {key!r}; {did_you_mean(key, names)}")


def _inside(node: Any, place: str | int, key: str, path: KeyPath, said: str) -> Any:
    inner = node[place]
    # Short forms, such as "cubic" for {name = "cubic"}: what is in them can be set all the same.
    if isinstance(inner, str) and path[-1] in PLUGIN_KEYS:
        inner = node[place] = {"name": inner}
    elif isinstance(inner, str | bool) and path[-1] in ("mptcp", "client_mptcp", "server_mptcp"):
        inner = node[place] = mptcp_table(inner)
    if not isinstance(inner, dict | list):
        raise Problem(path, f"{said}: {dotted(path)} is {inner!r}, it has no keys of its own")
    return inner
