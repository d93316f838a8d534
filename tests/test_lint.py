"""Every rule of lint: a scenario that yields exactly it, and its mended twin that yields nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from mptcpsim.cli import app
from mptcpsim.lint.catalogue import FAMILIES, RULES, markdown
from mptcpsim.lint.finding import SEVERITIES, Finding
from mptcpsim.lint.lint import lint
from mptcpsim.lint.subject import Subject
from mptcpsim.scenario.load import loads

ROOT = Path(__file__).resolve().parent.parent

#: A has two addresses in two networks behind one router, each used by its own interface.
TWO_NETWORKS = """\
title = "Two networks"
description = "A1 (192.168.5.2) and A2 (192.168.0.2) reach B1 (10.0.1.2)."
duration = "5s"

[defaults.mptcp]
profile = "caia-v0.4"

[hosts.A]
interfaces = { A1 = "192.168.5.2/24", A2 = "192.168.0.2/24" } # A2: 192.168.0.2
default_route = "192.168.5.1"

[hosts.B]
interfaces = { B1 = "10.0.1.2/24" }
default_route = "10.0.1.1"

[routers.R]
interfaces = { r5 = "192.168.5.1/24", r0 = "192.168.0.1/24", r1 = "10.0.1.1/24" }

[[links]]
name = "five"
ends = ["A:A1", "R:r5"]
rate = "10Mbps"

[[links]]
name = "zero"
ends = ["A:A2", "R:r0"]
rate = "10Mbps"

[[links]]
name = "one"
ends = ["R:r1", "B:B1"]
rate = "10Mbps"

[[flows]]
name = "iperf"
client = "A"
server = "B"
app = "bulk"
duration = "4s"
"""

#: One network around a switch; A speaks to B as Linux does.
ONE_NETWORK = """\
title = "One network"
duration = "5s"

[hosts.A]
interfaces = { a = "10.0.0.1/24" }
mptcp = { profile = "linux-6.18", path_manager = { name = "endpoints", subflows = 2, add_addr_accepted = 1 } }

[hosts.B]
interfaces = { b = "10.0.0.2/24", c = "10.0.9.2/24" }
mptcp = { profile = "linux-6.18", path_manager = { name = "endpoints" } }

[switches.S]

[[links]]
name = "near"
ends = ["A:a", "S"]
rate = "10Mbps"

[[links]]
name = "far"
ends = ["S", "B:b"]
rate = "10Mbps"

[[links]]
name = "other"
ends = ["S", "B:c"]
rate = "10Mbps"

[[flows]]
name = "bulk"
client = "A"
server = "B"
server_interface = "b"
app = "bulk"
bytes = "1MB"

[[events]]
at = "1s"
link = "near"
action = "down"

[[events]]
at = "2s"
link = "near"
action = "up"
"""


class Case(NamedTuple):
    """A scenario that is wrong in one thing.

    Attributes:
        code: of the rule that says so.
        base: that is right.
        old: what is right in it.
        new: what is wrong instead.
        says: a part of the problem or of the remedy.
        line: where.
    """

    code: str
    base: str
    old: str
    new: str
    says: str
    line: int = 0


CASES = [
    Case("W101", TWO_NETWORKS, "A1 (192.168.5.2) and", "A1 (192.168.0.2) and", "the address of A:A2", 2),
    Case("W101", TWO_NETWORKS, "# A2: 192.168.0.2", "# A2: 192.168.5.2", "the address of A:A1", 9),
    Case("W101", TWO_NETWORKS, "# A2: 192.168.0.2", "# 192.168.5.2 (A2)", "the address of A:A1", 9),
    Case("W101", TWO_NETWORKS, "# A2: 192.168.0.2", "# A2 (A1)", "A2 is not A1", 9),
    Case("W102", TWO_NETWORKS, "and A2 (192", "and Host B2 and A2 (192", "write B or B1", 2),
    Case("W103", TWO_NETWORKS, "# A2: 192.168.0.2", "# on 192.168.0.5", "192.168.0.2 (A:A2)", 9),
    Case(
        "W502",
        TWO_NETWORKS,
        'default_route = "192.168.5.1"\n',
        'default_route = "192.168.5.1"\n'
        'mptcp = { path_manager = { name = "mp_addresses", addresses = "192.168.5.2" } }\n',
        "192.168.0.2",
        11,
    ),
    Case(
        "W503",
        ONE_NETWORK,
        'path_manager = { name = "endpoints" }',
        'path_manager = { name = "endpoints", endpoints = "10.0.9.2 subflow" }',
        "a server opens no subflow",
        10,
    ),
    Case(
        "W505",
        TWO_NETWORKS,
        '[hosts.B]\n',
        '[hosts.B]\nmptcp = false\n',
        "B does not",
    ),
    Case("W506", TWO_NETWORKS, '[hosts.B]\n', '[hosts.B]\nmptcp = { version = 1 }\n', "version 0"),
    Case("W603", TWO_NETWORKS, 'r5"]\n', 'r5"]\nqueue = "50B"\n', "such as 50", 22),
    Case("W604", ONE_NETWORK, '"S"]\n', '"S"]\nmtu = 9000\n', "such as 1500", 17),
    Case("N702", TWO_NETWORKS, 'duration = "4s"', 'duration = "6s"', "raise the duration", 39),
    Case("W703", ONE_NETWORK, 'action = "down"', 'action = "up"', "is up already"),
]  # fmt: skip


def found_in(text: str, name: str = "scenario.toml") -> list[Finding]:
    return lint(Subject(loads(text, name), name, text))


def told(findings: list[Finding]) -> list[str]:
    return [f"{finding.rule.code} {finding.line}: {finding.problem}" for finding in findings]


@pytest.mark.parametrize("base", [TWO_NETWORKS, ONE_NETWORK])
def test_nothing_is_said_of_what_is_right(base: str) -> None:
    assert told(found_in(base)) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.says}")
def test_a_rule_finds_its_mistake_and_nothing_else(case: Case) -> None:
    assert case.base.count(case.old) >= 1
    wrong = case.base.replace(case.old, case.new, 1)
    findings = found_in(wrong)
    assert {finding.rule.code for finding in findings} == {case.code}, told(findings)
    assert any(case.says in f"{finding.problem} {finding.remedy}" for finding in findings), told(findings)
    if case.line:
        assert findings[0].line == case.line, told(findings)


def test_every_rule_has_a_scenario() -> None:
    assert {case.code for case in CASES} == set(RULES)


def test_the_catalogue_is_in_order() -> None:
    names = [rule.name for rule in RULES.values()]
    assert len(set(names)) == len(names)
    assert len({code[1:] for code in RULES}) == len(RULES)
    for code, rule in RULES.items():
        assert code == rule.code
        assert code[0] in SEVERITIES
        assert code[1] in FAMILIES
        assert len(code) == 4
        assert rule.summary
        assert rule.reason.endswith(".")


def test_the_catalogue_in_the_documentation_is_this_one() -> None:
    text = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    assert text.partition("<!-- catalogue -->\n")[2] == markdown()


# --- The experiments -----------------------------------------------------------------------------

#: What lint says of them, and why that is right.
KNOWN: dict[str, set[str]] = {}


def scenarios() -> list[Path]:
    return sorted(path for path in (ROOT / "experiments").rglob("*.toml"))


@pytest.mark.parametrize("path", scenarios(), ids=lambda path: str(path.relative_to(ROOT / "experiments")))
def test_no_false_alarm(path: Path) -> None:
    from mptcpsim.lint.subject import subject_of

    findings = lint(subject_of(path))
    expected = KNOWN.get(str(path.relative_to(ROOT / "experiments")), set())
    assert {finding.rule.code for finding in findings} == expected, told(findings)


# --- The command ---------------------------------------------------------------------------------


def lint_command(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["lint", *arguments])
    return result.exit_code, result.stdout, result.stderr


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "scenario.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_nothing_found(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_NETWORKS)
    assert lint_command(path) == (0, f"{path}: nothing found\n", "")


def test_warnings_are_no_failure(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_NETWORKS)
    status, out, _ = lint_command(path, "--set", "links.five.queue=50B")
    assert status == 0
    assert "W603 [queue-below-a-packet] links.0.queue\n" in out
    assert out.endswith(f"1 warning in {path}; `mptcpsim lint --explain W603` says more\n")


def test_a_rule_can_be_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_NETWORKS.replace('r5"]\n', 'r5"]\nqueue = "50B"\n'))
    assert "W603" in lint_command(path)[1]
    assert lint_command(path, "--ignore", "W603")[1] == f"{path}: nothing found\n"
    assert lint_command(path, "--ignore", "queue-below-a-packet")[1] == f"{path}: nothing found\n"


def test_json(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_NETWORKS.replace('r5"]\n', 'r5"]\nqueue = "50B"\n'))
    status, out, _ = lint_command(path, "--format", "json")
    whole = json.loads(out)
    assert status == 0
    assert (whole["scenario"], whole["error"], whole["warning"], whole["note"]) == (path, 0, 1, 0)
    (finding,) = whole["findings"]
    assert finding["code"] == "W603"
    assert (finding["file"], finding["line"], finding["key"]) == (path, 22, "links.0.queue")
    assert finding["problem"]
    assert finding["remedy"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.toml"], "no such file"),
        (["{}", "--set", "flows.0.server=B2"], "no host is called 'B2'; did you mean 'B'?"),
        (["{}", "--ignore", "E999"], "there is no rule 'E999'"),
        (["--explain", "W604x"], "did you mean 'W604'?"),
        ([], "name a scenario"),
    ],
)
def test_wrong_input_is_status_2(tmp_path: Path, arguments: list[str], says: str) -> None:
    path = written(tmp_path, TWO_NETWORKS)
    status, out, err = lint_command(*[word.format(path) for word in arguments])
    assert (status, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_name_that_does_not_exist_gets_the_message_of_run(tmp_path: Path) -> None:
    path = written(tmp_path, TWO_NETWORKS.replace('server = "B"', 'server = "B2"'))
    ran = CliRunner().invoke(app, ["run", path])
    assert lint_command(path) == (2, "", ran.stderr)
    assert ran.exit_code == 2


@pytest.mark.parametrize("word", ["W604", "w604", "mtu-differs"])
def test_a_rule_is_explained(word: str) -> None:
    status, out, _ = lint_command("--explain", word)
    assert status == 0
    assert out.startswith("W604 [mtu-differs], warning: ")


def test_all_rules_are_listed() -> None:
    status, out, _ = lint_command("--list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == list(RULES)
