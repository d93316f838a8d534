"""The bytes of one direction of a stream that have to be kept: not acknowledged yet, or not read yet.

They lie in pages of equal size, found by their offset in the stream. A segment costs one look-up,
whatever the window and however many holes it has. A page is as long as what it holds, and goes as a whole.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.errors import IntegrityError

#: A page has 2 ** this number of bytes.
_SHIFT: Final = 14
PAGE: Final = 1 << _SHIFT


class ByteStore:
    """Bytes of a stream by their offset, which counts from 0.

    The store does not know which of its bytes are there: the two users of it do, the buffer of a sender
    and the reassembly of a receiver.

    Attributes:
        end: offset after the last byte that was put.
    """

    __slots__ = ("_first", "_pages", "end")

    def __init__(self) -> None:
        self.end: int = 0
        self._pages: dict[int, bytearray] = {}
        #: No page below this number is left.
        self._first: int = 0

    def __len__(self) -> int:
        """Return how many bytes of memory the pages take, gaps included."""
        return sum(len(page) for page in self._pages.values())

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Put bytes behind the last one."""
        self.put(self.end, data)

    def put(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Put bytes at an offset, over those that are there."""
        number = offset >> _SHIFT
        start = offset - (number << _SHIFT)
        length = len(data)
        if offset + length > self.end:
            self.end = offset + length
        if start + length <= PAGE:
            self._put(number, start, data)
            return
        done = PAGE - start
        self._put(number, start, data[:done])
        while done < length:
            number += 1
            self._put(number, 0, data[done : done + PAGE])
            done += PAGE

    def _put(self, number: int, start: int, data: bytes | bytearray | memoryview) -> None:
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = bytearray()
        if len(page) < start:
            page.extend(bytes(start - len(page)))
        page[start : start + len(data)] = data

    def take(self, offset: int, length: int) -> bytes:
        """Return bytes, which stay in the store.

        Raises:
            IntegrityError: they were forgotten, or never put.
        """
        number = offset >> _SHIFT
        start = offset - (number << _SHIFT)
        if start + length <= PAGE:
            data = self._part(number, start, start + length)
        else:
            parts = [self._part(number, start, PAGE)]
            left = length - (PAGE - start)
            while left > 0:
                number += 1
                parts.append(self._part(number, 0, left if left < PAGE else PAGE))
                left -= PAGE
            data = b"".join(parts)
        if len(data) != length:
            raise IntegrityError(f"bytes {offset} to {offset + length} of a stream are not kept any more")
        return data

    def _part(self, number: int, start: int, end: int) -> bytes:
        page = self._pages.get(number)
        return b"" if page is None else bytes(page[start:end])

    def forget_below(self, offset: int) -> None:
        """Forget the pages that lie below an offset, and the last one with its last byte."""
        if offset >= self.end:
            self._pages.clear()
            self._first = offset >> _SHIFT
            return
        last = offset >> _SHIFT
        while self._first < last:
            self._pages.pop(self._first, None)
            self._first += 1

    def forget_from(self, offset: int) -> None:
        """Forget the bytes from an offset on."""
        for number in [number for number in self._pages if number << _SHIFT >= offset]:
            del self._pages[number]
        number = offset >> _SHIFT
        if number in self._pages:
            del self._pages[number][offset - (number << _SHIFT) :]
        self.end = min(self.end, offset)

    def clear(self) -> None:
        """Forget everything."""
        self.forget_below(self.end)
