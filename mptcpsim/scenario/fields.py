"""What the parts of a scenario's model are made of: their base, and the choice of a plug-in."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from mptcpsim.plugins import Value


class Model(BaseModel):
    """What all parts of a scenario have in common: no unknown keys, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class PluginChoice(Model):
    """A plug-in and its parameters: ``"cubic"`` or ``{name = "cubic", c = 0.4}``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def parameters(self) -> dict[str, Value]:
        """The parameters that the scenario gives."""
        return dict(self.model_extra or {})


def _plugin(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and "name" not in value:
        raise ValueError('a plug-in is a name or a table with a name, such as "cubic" or {name = "cubic"}')
    if not isinstance(value, dict | PluginChoice):
        raise ValueError(f'{value!r} is not a plug-in: write a name such as "cubic", or {{name = "cubic"}}')
    return value


def _plugin_out(choice: PluginChoice) -> Any:
    return {"name": choice.name, **choice.parameters} if choice.parameters else choice.name


PluginField = Annotated[PluginChoice, BeforeValidator(_plugin), PlainSerializer(_plugin_out)]
