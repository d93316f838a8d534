"""The ``freebsd`` table of a host or router: the commands that are typed at it, and its files.

A text is a string, or ``{ file = "hostA.sh" }`` for what stands in a file beside the scenario::

    [hosts.A.freebsd]
    aliases = { A1 = "em0" }          # the name of the document, and the system's
    commands = "ifconfig A1 inet 192.168.0.10/24"
    files = { "/etc/pf.conf" = { file = "pf.conf" }, "/etc/rc.conf" = 'pf_enable="YES"' }

    [[hosts.A.freebsd.later]]
    at = "2s"
    commands = "pfctl -d"
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool

from mptcpsim.scenario.fields import Model
from mptcpsim.scenario.quantities import PositiveTime


class FileText(Model):
    """The text of a file beside the scenario."""

    file: Annotated[str, Field(min_length=1)]


def _text(value: Any) -> Any:
    if not isinstance(value, str | dict | FileText):
        raise ValueError(f'{value!r} is no text: write a string, or {{ file = "NAME" }}')
    return value


TextOrFile = Annotated[str | FileText, BeforeValidator(_text)]


class Block(Model):
    """Commands that are typed at an instant of the run."""

    at: PositiveTime
    commands: TextOrFile


class FreebsdSpec(Model):
    """What is typed at a host or router of the seed document, and what stands in its files.

    Once the scenario is loaded, what was typed at the beginning about addresses, routes, variables and
    applications stands in the tables of the host, in ``flows`` and in ``output``, and is a comment here.
    """

    aliases: dict[str, str] = Field(default_factory=dict)
    #: What the last rule of ipfw does: FreeBSD denies, unless net.inet.ip.fw.default_to_accept is set.
    default_to_accept: StrictBool = False
    files: dict[str, TextOrFile] = Field(default_factory=dict)
    commands: TextOrFile = ""
    later: tuple[Block, ...] = ()
