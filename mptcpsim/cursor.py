"""The words of a line and a reader's place among them: what the readers of all dialects begin from."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Cursor:
    """The words of a line, read from left to right.

    What makes a word a number, an address or a rule is the business of each dialect.

    Attributes:
        words: all of them.
        next: the number of the first unread one.
        error: makes the error for which the line is to blame, of what is wrong and what to do about it.
    """

    def __init__(self, words: Sequence[str], error: Callable[[str], ValueError]) -> None:
        self.words = words
        self.next = 0
        self.error = error

    def left(self) -> bool:
        """Return whether a word is unread."""
        return self.next < len(self.words)

    def peek(self, ahead: int = 0) -> str:
        """Return the next word, or one behind it; empty at the end."""
        return self.words[self.next + ahead] if self.next + ahead < len(self.words) else ""

    def take(self, what: str = "a word") -> str:
        """Return the next word and go on.

        Args:
            what: is missing if the line ends here.

        Raises:
            ValueError: there is none.
        """
        if not self.left():
            raise self.error(f"the line ends where {what} is missing: write it")
        self.next += 1
        return self.words[self.next - 1]

    def rest(self) -> list[str]:
        """Return all unread words and go on to the end."""
        found = list(self.words[self.next :])
        self.next = len(self.words)
        return found

    def maybe(self, *words: str) -> bool:
        """Go on behind some words if they are the next ones."""
        if any(self.peek(ahead) != word for ahead, word in enumerate(words)):
            return False
        self.next += len(words)
        return True

    def expect(self, word: str, where: str = "", remedy: str = "write it") -> None:
        """Go on behind a word.

        Args:
            word: that has to be the next one.
            where: behind what, for the message.
            remedy: what to do if another one stands there.

        Raises:
            ValueError: another one stands there.
        """
        if not self.maybe(word):
            found = f"{self.peek()!r} stands" if self.peek() else "the line ends"
            behind = f" behind {where}" if where else ""
            raise self.error(f"{found} where {word!r} is missing{behind}: {remedy}")

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            ValueError: there is.
        """
        if self.left():
            raise self.error(f"{self.peek()!r} is too much: leave it out")
