"""The switches of a command, as getopt(3) reads them."""

from __future__ import annotations

from mptcpsim.freebsd.lines import Line, LineCursor


def read_switches(
    at: Line, command: str, words: list[str], flags: str, valued: str, hint: str = ""
) -> dict[str, str]:
    """Return the switches of a command, as getopt(3) reads them, with their values.

    Args:
        at: the line.
        command: its name.
        words: behind it.
        flags: letters of switches without a value, which may stand in one word.
        valued: letters of those with one, in the same word or in the next.
        hint: what to say of a word that belongs to no switch.
    """
    found: dict[str, str] = {}
    cursor = LineCursor(at, words)
    while cursor.left():
        word = cursor.take()
        if not word.startswith("-") or word == "-":
            raise at.error(
                f"{word!r} is not understood here: {hint}switches of {command} are {_letters(flags + valued)}"
            )
        if word.startswith("--"):
            raise at.error(
                f"{word!r}: write the switch with one letter; {command} has {_letters(flags + valued)}"
            )
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in flags + valued:
                raise at.error(
                    f"{command} has no switch -{letter} here: known are {_letters(flags + valued)}"
                )
            if letter in flags:
                found[letter] = ""  # again and again: -vv is usual
                continue
            if letter in found:
                raise at.error(f"-{letter} stands twice: leave one of them out")
            found[letter] = letters or cursor.take(f"the value of -{letter}")
            letters = ""
    return found


def _letters(letters: str) -> str:
    return " ".join(f"-{letter}" for letter in letters)
