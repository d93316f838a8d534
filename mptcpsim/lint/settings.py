"""Rules about keys that change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from mptcpsim.lint.effect import HIDDEN, LACKING, UNUSED
from mptcpsim.lint.finding import Family
from mptcpsim.lint.remark import Remark
from mptcpsim.lint.subject import Subject
from mptcpsim.scenario.errors import dotted

FAMILY: Final = Family()


def _told(subject: Subject, kind: str, remedy: str) -> Iterator[Remark]:
    """Yield a remark for each table and reason, the keys together."""
    found = [vain for vain in subject.vain_keys if vain.kind == kind]
    for (table, why), group in groupby(found, lambda vain: (vain.path[:-1], vain.why)):
        keys = [str(vain.path[-1]) for vain in group]
        have = "has" if len(keys) == 1 else "have"
        named = " and ".join([", ".join(keys[:-1]), keys[-1]] if len(keys) > 1 else keys)
        yield Remark((*table, keys[0]), f"{named} of {dotted(table)} {have} no effect: {why}", remedy)


@FAMILY.rule("W801", "hidden-setting")
def hidden_setting(subject: Subject) -> Iterator[Remark]:
    """A key has no effect, because the same key stands in a closer table wherever it would hold.

    The closest table counts, key by key: that of one end of a flow, of the flow, of the host, [defaults]; of
    a link, that of a direction. The switches of a profile lie below all keys that are written by hand.
    """
    return _told(subject, HIDDEN, "leave it out here, or in the closer table")


@FAMILY.rule("W802", "setting-at-the-wrong-end")
def setting_at_the_wrong_end(subject: Subject) -> Iterator[Remark]:
    """A key has no effect at the end where it stands.

    Schedulers, congestion controls and send buffers belong to the end that sends the data, receive buffers
    and window updates to the one that receives it, ndiffports to the client.
    """
    return _told(subject, UNUSED, "write it at the other end, or in [defaults] for both")


@FAMILY.rule("W803", "setting-needs-another")
def setting_needs_another(subject: Subject) -> Iterator[Remark]:
    """A key has no effect without another one.

    Such as the intervals of keepalives where there are none.
    """
    return _told(subject, LACKING, "write that key, too, or leave this one out")
