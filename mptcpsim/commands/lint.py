"""``mptcpsim lint``: what is wrong with a scenario, before anything runs.

Exit status: 0 no errors, be there warnings or not; 1 errors; 2 the scenario cannot be read, or names
something that does not exist, with the message of ``run``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from mptcpsim.commands.progress import Progress
from mptcpsim.guard import PluginFailure

if TYPE_CHECKING:
    from mptcpsim.scenario.places import Places
    from mptcpsim.scenario.schema import Scenario

EXIT_ERRORS = 1
EXIT_INPUT = 2


def _fail(message: str) -> NoReturn:
    print(f"mptcpsim: {message}", file=sys.stderr)
    raise typer.Exit(EXIT_INPUT)


def warn_of(scenario: Scenario, places: Places) -> None:
    """Print on stderr, a line each, what is wrong with a scenario that is about to run."""
    from mptcpsim.lint.lint import warnings_of
    from mptcpsim.lint.report import brief

    try:
        findings = warnings_of(scenario, places)
    except PluginFailure:
        return  # the run tells of it
    except Exception as error:  # whatever it is: the run does not depend on it
        print(
            f"mptcpsim: lint has failed ({type(error).__name__}: {error}); the run goes on", file=sys.stderr
        )
        return
    for finding in findings:
        print(f"mptcpsim: {brief(finding)}", file=sys.stderr)
    if findings:
        print(f"mptcpsim: what to write instead: mptcpsim lint {places.name}", file=sys.stderr)


def lint(
    scenario: Annotated[Path | None, typer.Argument(help="The scenario file (TOML).")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key first, as for `run`. Repeatable."),
    ] = None,
    form: Annotated[
        Literal["text", "json"], typer.Option("--format", help="For people, or for programs.")
    ] = "text",
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="A rule that is not asked. Repeatable.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option(metavar="CODE", help="Say what a rule is about, and stop.")
    ] = None,
    catalogue: Annotated[bool, typer.Option("--list", help="List all rules, and stop.")] = False,
) -> None:
    """Find the mistakes in a scenario before it runs."""
    from mptcpsim.lint.catalogue import RULES, find_rule
    from mptcpsim.lint.lint import count
    from mptcpsim.lint.lint import lint as find
    from mptcpsim.lint.report import explained, json_of, listed, text_of
    from mptcpsim.lint.subject import subject_of
    from mptcpsim.scenario.errors import ScenarioError
    from mptcpsim.suggest import did_you_mean

    if catalogue:
        print(listed())
        return
    ignored = []
    for word in [*(ignore or []), *([explain] if explain else [])]:
        rule = find_rule(word)
        if rule is None:
            _fail(f"there is no rule {word!r}; {did_you_mean(word, list(RULES))}")
        ignored.append(rule.code)
        if word == explain:
            print(explained(rule))
            return
    if scenario is None:
        _fail("name a scenario: mptcpsim lint SCENARIO")
    try:
        with Progress("looking at the scenario"):
            subject = subject_of(scenario, changes or [])
            findings = find(subject, ignored)
    except ScenarioError as error:
        _fail(str(error))
    print(json_of(findings, subject.name) if form == "json" else text_of(findings, subject))
    if count(findings)["error"]:
        raise typer.Exit(EXIT_ERRORS)
