"""Scripts of sh(1), as far as those need it that set firewalls up: variables, conditions, loops, functions.

Read are comments, quotes, assignments (``cmd="ipfw -q add"``), ``$cmd``, ``${cmd}`` and ``${cmd:-word}``,
``;``, ``&&`` and ``||``, ``if``, ``case``, ``for``, functions and ``[ ... ]``. Commands always succeed. What
would need a machine around it is refused: pipes, redirections to other places than /dev/null, command
substitution, arithmetic, files that are looked for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from mptcpsim.freebsd.lines import LONGEST_WORD, MOST_WORDS, Line
from mptcpsim.freebsd.shell_words import NEEDS_A_SHELL, ShellToken, WordPart, tokens_of
from mptcpsim.suggest import did_you_mean

#: Commands that a script may run, and constructs inside each other: more are a mistake, or hostile.
MOST_COMMANDS: Final = 100_000
DEEPEST: Final = 50

_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_KEYWORDS: Final = frozenset(
    ("if", "then", "elif", "else", "fi", "for", "in", "do", "done", "case", "esac", "while", "until", "{",
     "}", "function", "!")
)  # fmt: skip


# --- Words ---------------------------------------------------------------------------------------


# --- Running -------------------------------------------------------------------------------------


class _Left(Exception):
    """``return`` or ``exit``: the rest of the function or of the script is not run."""


class TypedCommand(NamedTuple):
    """A command with its variables put in.

    Attributes:
        at: its line.
        words: of it; there is at least one.
        alone: it stands on a line of its own, outside of all constructs.
    """

    at: Line
    words: list[str]
    alone: bool


class Shell:
    """Runs a script and hands its commands over.

    Attributes:
        variables: by name.
        defaults: of variables that the script does not set.
        unused: the assignments of variables that nothing has asked for.
    """

    def __init__(
        self,
        carry_out: Callable[[TypedCommand], None],
        is_setting: Callable[[str], bool] = lambda name: False,
    ) -> None:
        """Begin.

        Args:
            carry_out: takes each command.
            is_setting: whether ``NAME=VALUE`` is a command, not a variable.
        """
        self.variables: dict[str, str] = {}
        self.unused: dict[str, Line] = {}
        self.defaults: dict[str, str] = {}
        self._carry_out = carry_out
        self._is_setting = is_setting
        self._functions: dict[str, list[ShellToken]] = {}
        self._tokens: list[ShellToken] = []
        self._next = 0
        self._count = 0
        self._depth = 0
        self._lines: dict[int, int] = {}

    def run(self, lines: Sequence[tuple[Line, str]]) -> None:
        """Run a script.

        Args:
            lines: each with the text that is to be run, without a prompt.

        Raises:
            DialectError: it is not understood, or needs a machine.
        """
        tokens: list[ShellToken] = []
        for at, text in lines:
            found = tokens_of(at, text)
            # "in the background" is how applications run anyway
            while found and found[-1].operator == "&":
                found.pop()
            self._lines[at.number] = sum(1 for token in found if token.operator) + any(
                token.word.plain in _KEYWORDS for token in found
            )
            tokens += [*found, ShellToken(at, "\n")]
        with contextlib.suppress(_Left):
            self._run(tokens)

    def _run(self, tokens: list[ShellToken]) -> None:
        """Run tokens to their end."""
        before = self._tokens, self._next
        self._tokens, self._next = tokens, 0
        self._depth += 1
        if self._depth > DEEPEST:
            raise tokens[0].at.error(f"more than {DEEPEST} functions inside each other: one calls itself")
        self._list(True, ())
        if self._next < len(tokens):
            token = tokens[self._next]
            raise token.at.error(f"{token.operator or token.word.plain!r} stands where no construct is open")
        self._depth -= 1
        self._tokens, self._next = before

    # --- Tokens ---

    def _peek(self) -> ShellToken | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _keyword(self) -> str:
        """Return the next word if it is not quoted, an operator, or empty at the end."""
        token = self._peek()
        return "" if token is None else token.operator or token.word.plain

    def _skip_ends(self) -> None:
        while self._keyword() in (";", "\n", "&") and self._peek() is not None:
            self._next += 1

    def _expect(self, word: str, begin: ShellToken) -> None:
        self._skip_ends()
        if self._keyword() != word:
            raise begin.at.error(f"{word!r} is missing of what begins here: write it")
        self._next += 1

    # --- Constructs: run if ``live``, else passed over ---

    def _list(self, live: bool, until: tuple[str, ...]) -> None:
        while True:
            self._skip_ends()
            word = self._keyword()
            if self._peek() is None or word in until:
                return
            if word in ("then", "elif", "else", "fi", "do", "done", "esac", ";;", "}", ")"):
                return
            self._and_or(live)

    def _and_or(self, live: bool) -> None:
        succeeded = self._command(live)
        while self._keyword() in ("&&", "||"):
            operator = self._keyword()
            self._next += 1
            while self._keyword() == "\n":
                self._next += 1
            goes_on = succeeded == (operator == "&&")
            result = self._command(live and goes_on)
            succeeded = result if goes_on else succeeded

    def _command(self, live: bool) -> bool:
        """Run a command and return whether it succeeds."""
        token = self._peek()
        if token is None:
            return True
        word = self._keyword()
        if token.operator:
            raise token.at.error(f"{token.operator!r} {NEEDS_A_SHELL}")
        self._depth += 1
        if self._depth > DEEPEST:
            raise token.at.error(f"more than {DEEPEST} constructs inside each other: write them flat")
        try:
            if word == "!":
                self._next += 1
                return not self._command(live)
            if word == "if":
                return self._if(live)
            if word == "for":
                return self._for(live)
            if word == "case":
                return self._case(live)
            if word in ("while", "until", "function"):
                raise token.at.error(f"{word!r} {NEEDS_A_SHELL}")
            if word == "{":
                self._next += 1
                self._list(live, ("}",))
                self._expect("}", token)
                return True
            if self._is_function():
                self._define(live)
                return True
            return self._simple(live)
        finally:
            self._depth -= 1

    def _if(self, live: bool) -> bool:
        begin = self._tokens[self._next]
        self._next += 1
        done = False
        while True:
            holds = self._condition(live and not done)
            self._expect("then", begin)
            self._list(live and not done and holds, ("elif", "else", "fi"))
            done = done or holds
            self._skip_ends()
            if self._keyword() != "elif":
                break
            self._next += 1
        if self._keyword() == "else":
            self._next += 1
            self._list(live and not done, ("fi",))
        self._expect("fi", begin)
        return True

    def _condition(self, live: bool) -> bool:
        """Run the commands of a condition and return whether the last one succeeds."""
        succeeded = True
        while True:
            self._skip_ends()
            if self._keyword() == "then" or self._peek() is None:
                return succeeded
            succeeded = self._command(live)
            while self._keyword() in ("&&", "||"):
                operator = self._keyword()
                self._next += 1
                other = self._command(live)
                succeeded = (succeeded and other) if operator == "&&" else (succeeded or other)

    def _for(self, live: bool) -> bool:
        begin = self._tokens[self._next]
        self._next += 1
        name = self._keyword()
        if _NAME.fullmatch(name) is None:
            raise begin.at.error("'for' needs the name of a variable: write for i in A B; do ... done")
        self._next += 1
        self._expect("in", begin)
        values: list[str] = []
        while (token := self._peek()) is not None and not token.operator:
            values += self._expanded(token) if live else []
            self._next += 1
        self._expect("do", begin)
        body = self._next
        self._list(False, ("done",))
        self._expect("done", begin)
        after = self._next
        for value in values if live else ():
            self._next = body
            self._assign(begin.at, name, value)
            self._list(True, ("done",))
        self._next = after
        return True

    def _case(self, live: bool) -> bool:
        begin = self._tokens[self._next]
        self._next += 1
        token = self._peek()
        if token is None or token.operator:
            raise begin.at.error("'case' needs a word: write case $x in A) ... ;; esac")
        value = " ".join(self._expanded(token)) if live else ""
        self._next += 1
        self._expect("in", begin)
        done = False
        while True:
            self._skip_ends()
            if self._keyword() == "esac":
                break
            if self._keyword() == "(":
                self._next += 1
            matches = False
            while (token := self._peek()) is not None and token.operator != ")":
                if token.operator not in ("", "|"):
                    break
                if not token.operator and live:
                    matches = matches or any(fnmatchcase(value, p) for p in self._expanded(token))
                self._next += 1
            self._expect(")", begin)
            self._list(live and matches and not done, (";;", "esac"))
            done = done or matches
            self._skip_ends()
            if self._keyword() == ";;":
                self._next += 1
        self._expect("esac", begin)
        return True

    def _is_function(self) -> bool:
        ahead = self._tokens[self._next : self._next + 3]
        return len(ahead) == 3 and [t.operator for t in ahead] == ["", "(", ")"]

    def _define(self, live: bool) -> None:
        begin = self._tokens[self._next]
        name = begin.word.plain
        self._next += 3
        self._expect("{", begin)
        body = self._next
        self._list(False, ("}",))
        if live:
            self._functions[name] = self._tokens[body : self._next]
        self._expect("}", begin)

    # --- Simple commands ---

    def _simple(self, live: bool) -> bool:
        begin = self._tokens[self._next]
        at = begin.at
        tokens: list[ShellToken] = []
        while (token := self._peek()) is not None and not token.operator:
            tokens.append(token)
            self._next += 1
        if (token := self._peek()) is not None and token.operator in ("|", "("):
            raise at.error(f"{token.operator!r} {NEEDS_A_SHELL}")
        if not live:
            return True
        self._count += 1
        if self._count > MOST_COMMANDS:
            raise at.error(f"more than {MOST_COMMANDS} commands are run: this is no configuration")
        assigned = 0
        while tokens and (name := self._assigned(tokens[0])):
            self._assign(at, name, self._value(tokens[0], len(name) + 1))
            tokens.pop(0)
            assigned += 1
        if assigned and tokens:
            raise at.error("a variable in front of a command: write the assignment on a line of its own")
        words = [word for token in tokens for word in self._expanded(token)]
        if not words:
            return True
        return self._called(at, words, self._depth <= 2 and self._lines.get(at.number, 0) == 0)

    def _called(self, at: Line, words: list[str], alone: bool) -> bool:
        name = words[0]
        if name in ("[", "test"):
            return self._test(at, words)
        if name in ("return", "exit"):
            raise _Left(name)
        if name in (":", "echo", "true", "export", "readonly", "local"):
            return True
        if name == "false":
            return False
        if name == ".":
            raise at.error("'.': files are not read into a script: write their lines here")
        if name in self._functions:
            before = dict(self.variables)
            for number, value in enumerate(words[1:], 1):
                self.variables[str(number)] = value
            depth, place = self._depth, (self._tokens, self._next)
            try:
                self._run(self._functions[name])
            except _Left as left:
                self._depth, (self._tokens, self._next) = depth, place
                if str(left) == "exit":
                    raise
            for number in range(1, len(words)):
                self.variables.pop(str(number))
                if str(number) in before:
                    self.variables[str(number)] = before[str(number)]
            return True
        variable, _, value = name.partition("=")
        if self._is_setting(variable):
            self.variables[variable] = value
        self._carry_out(TypedCommand(at, words, alone))
        return True

    def _test(self, at: Line, words: list[str]) -> bool:
        arguments = words[1:]
        if words[0] == "[":
            if arguments[-1:] != ["]"]:
                raise at.error("'[' without ']': close it")
            arguments = arguments[:-1]
        negated = arguments[:1] == ["!"]
        arguments = arguments[negated:]
        return _holds(at, arguments) != negated

    # --- Variables ---

    def _assigned(self, token: ShellToken) -> str:
        """Return the name of the variable that a word sets; empty if it is no assignment."""
        first = token.word.parts[0] if token.word.parts else WordPart("", "")
        match = re.match(r"([A-Za-z_]\w*)=", first.text) if not first.quote else None
        if match is None or self._is_setting(match[1]):
            return ""
        return match[1]

    def _value(self, token: ShellToken, skip: int) -> str:
        first = token.word.parts[0]
        parts = (WordPart(first.text[skip:], ""), *token.word.parts[1:])
        return "".join(self._filled(token.at, part) for part in parts)

    def _assign(self, at: Line, name: str, value: str) -> None:
        if len(value) > LONGEST_WORD:
            raise at.error(f"the value of {name} has more than {LONGEST_WORD} characters: this is no value")
        self.variables[name] = value
        self.unused.setdefault(name, at)

    def _expanded(self, token: ShellToken) -> list[str]:
        """Return the words that one becomes: what stands in a variable outside of quotes is divided."""
        found: list[str] = []
        current: str | None = None
        for part in token.word.parts:
            text = self._filled(token.at, part)
            if part.quote or not part.text.startswith("$"):
                current = (current or "") + text
                continue
            pieces = text.split()
            if text[:1].isspace() and current is not None:
                found.append(current)
                current = None
            if pieces:
                found += [(current or "") + pieces[0], *pieces[1:]]
                current = None if text[-1:].isspace() else found.pop()
        if current is not None:
            found.append(current)
        if len(found) > MOST_WORDS:
            raise token.at.error(f"more than {MOST_WORDS} words: this is no command")
        return found

    def _filled(self, at: Line, part: WordPart) -> str:
        """Return the text of a piece of a word with its variables put in."""
        if part.quote == "'" or "$" not in part.text:
            return part.text
        text = re.sub(r"\\([$\"\\`])", "\0\\1", part.text) if part.quote else part.text

        def fill(match: re.Match[str]) -> str:
            if match[0].startswith("\0"):
                return match[0][1:]
            return self._variable(at, match[1] if match[1] is not None else match[2])

        return re.sub(r"\0.|\$\{([^}]*)\}|\$(\w+)", fill, text)

    def _variable(self, at: Line, inside: str) -> str:
        match = re.fullmatch(r"(\w+)(?:(%%?|##?)(.*)|:?([-=+?])(.*))?", inside)
        if match is None:
            raise at.error(f"'${{{inside}}}' {NEEDS_A_SHELL}")
        name, cut, pattern, operator, other = match.groups()
        self.unused.pop(name, None)
        value = self.variables.get(name, self.defaults.get(name, ""))
        if operator in ("-", "=") and not value:
            return str(other)
        if operator == "+":
            return str(other) if value else ""
        if name not in self.variables and name not in self.defaults:
            hint = did_you_mean(name, self.variables) if self.variables else f"write {name}=VALUE"
            raise at.error(f"${name} is not set above this line: {hint}")
        return _without(value, cut, pattern) if cut else value


def _without(value: str, cut: str, pattern: str) -> str:
    """Return a value without what matches a pattern at its end (``%``) or its beginning (``#``)."""
    places = range(len(value) + 1)
    if cut.startswith("%"):
        found = [place for place in places if fnmatchcase(value[place:], pattern)]
        return value[: (min if cut == "%%" else max)(found)] if found else value
    found = [place for place in places if fnmatchcase(value[:place], pattern)]
    return value[(max if cut == "##" else min)(found) :] if found else value


def _holds(at: Line, arguments: list[str]) -> bool:
    """Return whether the expression of ``[`` holds."""
    for sign, combine in (("-o", any), ("-a", all)):
        if sign in arguments:
            place = arguments.index(sign)
            return combine((_holds(at, arguments[:place]), _holds(at, arguments[place + 1 :])))
    if len(arguments) <= 1:
        return bool(arguments and arguments[0])
    if len(arguments) == 2 and arguments[0] in ("-n", "-z"):
        return bool(arguments[1]) == (arguments[0] == "-n")
    if len(arguments) == 3 and arguments[1] in ("=", "==", "!="):
        return (arguments[0] == arguments[2]) == (arguments[1] != "!=")
    comparisons: dict[str, Callable[[int, int], bool]] = {
        "-eq": lambda a, b: a == b, "-ne": lambda a, b: a != b, "-lt": lambda a, b: a < b,
        "-le": lambda a, b: a <= b, "-gt": lambda a, b: a > b, "-ge": lambda a, b: a >= b,
    }  # fmt: skip
    if len(arguments) == 3 and arguments[1] in comparisons:
        numbers = arguments[0], arguments[2]
        if all(re.fullmatch(r"-?[0-9]{1,18}", number) for number in numbers):
            return comparisons[arguments[1]](int(numbers[0]), int(numbers[1]))
    raise at.error(f"[ {' '.join(arguments)} ] {NEEDS_A_SHELL}")
