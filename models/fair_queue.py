"""Who is next: runs take turns, so that one with five hundred calls does not keep the others waiting.

Calls that fall under the same limits stand in one line. In a line each run has its own calls, first come
first served, and the runs go round: one call each. Lines do not wait for each other.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

L = TypeVar("L", bound=Hashable)
T = TypeVar("T")


class FairQueue(Generic[L, T]):
    """Waiting calls, by line and run. Every operation takes constant time, but `lines`."""

    def __init__(self) -> None:
        self._lines: dict[L, _Line[T]] = {}
        self._numbers = itertools.count()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, line: L, run: str, item: T) -> None:
        """Let it wait: at the end of its run's calls."""
        self._lines.setdefault(line, _Line()).add(run, item, next(self._numbers))
        self._size += 1

    def remove(self, line: L, run: str, item: T) -> bool:
        """Take it out, wherever it stands; its run keeps its place if it has other calls. False if it is not there."""
        found = self._lines.get(line)
        if found is None or not found.remove(run, item):
            return False
        self._size -= 1
        if not found.runs:
            del self._lines[line]
        return True

    def next(self, line: L) -> T | None:
        """The call whose turn it is in that line; it stays."""
        found = self._lines.get(line)
        return None if found is None else found.head()

    def take(self, line: L) -> T:
        """The call whose turn it is in that line, taken out; its run goes to the end. Raises KeyError for no line."""
        found = self._lines[line]
        item = found.take(next(self._numbers))
        self._size -= 1
        if not found.runs:
            del self._lines[line]
        return item

    def lines(self) -> list[L]:
        """The lines that are not empty."""
        return list(self._lines)

    def since(self, line: L) -> int:
        """When the run whose turn it is in that line began to wait for it: the lower, the longer ago."""
        return self._lines[line].since()

    def __iter__(self) -> Iterator[T]:
        for line in self._lines.values():
            for _, items in line.runs.values():
                yield from items


class _Line(Generic[T]):
    """The runs of a line in the order of their turns, each with the number it drew when it took its place."""

    __slots__ = ("runs",)

    def __init__(self) -> None:
        self.runs: dict[str, tuple[int, deque[T]]] = {}

    def add(self, run: str, item: T, number: int) -> None:
        if run not in self.runs:
            self.runs[run] = (number, deque())
        self.runs[run][1].append(item)

    def remove(self, run: str, item: T) -> bool:
        _, items = self.runs.get(run, (0, deque()))
        if item not in items:
            return False
        items.remove(item)
        if not items:
            del self.runs[run]
        return True

    def head(self) -> T:
        return next(iter(self.runs.values()))[1][0]

    def since(self) -> int:
        return next(iter(self.runs.values()))[0]

    def take(self, number: int) -> T:
        run = next(iter(self.runs))
        _, items = self.runs.pop(run)
        item = items.popleft()
        if items:
            self.runs[run] = (number, items)
        return item
