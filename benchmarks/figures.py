"""Figures as people read them: tables of medians with their spread, and which of the wanted ones were reached.

A figure's name has up to three parts, `load · contender · what`: figures of the first two parts are a row, those
of the last one a column. A figure with one part is a line of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SEPARATOR = " · "
DETAIL = "… "
"""What begins the last part of a figure that belongs into a table of its own, behind the others."""

Rows = dict[tuple[str, ...], dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a figure's median has to be; `given` says of another figure where alone that is asked."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None
    given: Wanted | None = None

    def reached(self, figures: Mapping[str, Any]) -> bool | None:
        """Whether the figure is as wanted; None where it was not measured, or is not asked."""
        if self.figure not in figures:
            return None
        if self.given is not None and not self.given.reached(figures):
            return None
        value = middle(figures[self.figure])
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    @property
    def bound(self) -> str:
        """The bound in words."""
        low = [] if self.at_least is None else [f"at least {number(self.at_least)}"]
        high = [] if self.at_most is None else [f"at most {number(self.at_most)}"]
        return ", ".join(low + high)


def name(*parts: str) -> str:
    """A figure's name of its parts."""
    return SEPARATOR.join(parts)


def middle(value: Any) -> float:
    """The median of a spread; a number is its own."""
    return float(value["median"] if isinstance(value, Mapping) else value)


def number(value: float) -> str:
    """Three digits that count, whatever the size."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def shown(value: Any) -> str:
    """A figure with its spread."""
    if not isinstance(value, Mapping):
        return number(value) if isinstance(value, (int, float)) else str(value)
    if value["n"] == 1:
        return number(value["median"])
    return f"{number(value['median'])} ({number(value['min'])}–{number(value['max'])})"


def render(figures: Mapping[str, Any], wanted: Iterable[Wanted] = ()) -> str:
    """The figures as tables, and below them what was wanted, with ✓, ✗, or – where it was not measured."""
    lines: list[str] = []
    tables: tuple[Rows, Rows] = {}, {}
    for figure, value in figures.items():
        *row, column = figure.split(SEPARATOR)
        if row:
            tables[column.startswith(DETAIL)].setdefault(tuple(row), {})[column] = shown(value)
        else:
            lines.append(f"  {figure:<52}{shown(value):>24}")
    for rows in tables:
        lines += _table(rows)
    asked = list(wanted)
    if asked:
        lines.append("  wanted:")
    for want in asked:
        mark = {True: "✓", False: "✗", None: "–"}[want.reached(figures)]
        value = shown(figures[want.figure]) if want.figure in figures else "not measured"
        lines.append(f"  {mark} {want.figure}: {value}, {want.bound}")
    return "\n".join(lines)


def _table(rows: Rows) -> list[str]:
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    table = [["", *columns]] if rows else []
    for row, cells in rows.items():
        table.append([SEPARATOR.join(row), *(cells.get(column, "") for column in columns)])
    widths = [max(len(line[i]) for line in table) for i in range(len(columns) + 1)] if rows else []
    return [
        "  "
        + line[0].ljust(widths[0])
        + "".join(f"  {cell:>{w}}" for cell, w in zip(line[1:], widths[1:], strict=True))
        for line in table
    ]
