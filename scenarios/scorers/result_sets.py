"""Whether a query's result is the wanted one: rows compared as a multiset, columns by what is in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

_ASIDE = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")
_MAX_TRIES = 10_000
"""Ways of pairing columns that are tried, at most; answers made to confuse have no more claim."""

Table = Sequence[Sequence[Any]]


def orders_rows(query: str) -> bool:
    """Whether the query itself, not one within it, orders its rows."""
    bare = _ASIDE.sub(" ", query)
    depth, outside = 0, []
    for character in bare:
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif depth == 0:
            outside.append(character)
    return re.search(r"\border\s+by\b", "".join(outside), re.IGNORECASE) is not None


def same_result(rows: Table, wanted: Table, *, ordered: bool, width: int = 0) -> bool:
    """Whether `rows` hold what is wanted: each wanted column is a column of its own among theirs, row by row.

    Their other columns, and all columns' names and order, do not matter; the order of rows does if `ordered`.
    Numbers are equal by value (also in text, to 9 digits where they are not whole). `width` is the number of
    columns of `wanted`, for results without rows.
    """
    if len(rows) != len(wanted):
        return False
    if not wanted:
        return True
    width = width or len(wanted[0])
    given = [tuple(map(_plain, row)) for row in rows]
    gold = [tuple(map(_plain, row)) for row in wanted]
    columns = list(zip(*given, strict=True))
    targets = list(zip(*gold, strict=True))[:width]
    if len(columns) < len(targets):
        return False
    fits = _fits_in_order if ordered else _fits_as_bag
    return _Pairing(columns, targets, fits).found()


class _Pairing:
    """A search for columns that together are the wanted ones, column by column, given up early."""

    def __init__(self, columns: list[Any], targets: list[Any], fits: Any) -> None:
        self._columns, self._targets, self._fits = columns, targets, fits
        self._tries = 0

    def found(self, chosen: tuple[int, ...] = ()) -> bool:
        if len(chosen) == len(self._targets):
            return True
        seen = set()
        wanted = self._targets[: len(chosen) + 1]
        for index, column in enumerate(self._columns):
            # Of columns that are the same throughout, one try is enough.
            if index in chosen or column in seen:
                continue
            seen.add(column)
            self._tries += 1
            if self._tries > _MAX_TRIES:
                return False
            together = [self._columns[number] for number in (*chosen, index)]
            if self._fits(together, wanted) and self.found((*chosen, index)):
                return True
        return False


def _fits_in_order(columns: list[Any], targets: list[Any]) -> bool:
    return bool(columns[-1] == targets[-1])  # those before were compared already


def _fits_as_bag(columns: list[Any], targets: list[Any]) -> bool:
    if Counter(columns[-1]) != Counter(targets[-1]):
        return False
    return len(columns) == 1 or Counter(zip(*columns, strict=True)) == Counter(zip(*targets, strict=True))


def _plain(value: Any) -> Any:
    """A value as values are compared; never one kind for another: 1 and "1" are the same number, 1 and "01" not."""
    if isinstance(value, bool):
        return ("number", int(value))
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value) if "." in value else int(value)
    if isinstance(value, int):
        return ("number", value)
    if isinstance(value, float):
        near = value if value.is_integer() else float(f"{value:.9g}")
        return ("number", int(near) if near.is_integer() else near)
    if isinstance(value, (bytes, bytearray)):
        return ("blob", bytes(value))
    return (type(value).__name__, value)
