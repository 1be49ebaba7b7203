"""What is shown and where: tables and answers on standard output, notices on standard error.

Text of users and models is shown as it is: no markup is read in it, and control characters, which could
move the cursor or forge lines of ours, are shown as `�`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from callsheet.cli.streams import answers

answered_in_json = False
"""Whether this command line has printed its JSON: what goes wrong then is not printed as a second value."""

if TYPE_CHECKING:
    from rich.console import Console

# C0 without tab and line feed, DEL, C1, and the marks that reverse the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return _CONTROL.sub("�", text.replace("\r\n", "\n"))


def as_text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def one_line(text: str, width: int) -> str:
    """The text on one line of at most `width` characters."""
    joined = " ".join(printable(text).split())
    return joined if len(joined) <= width else joined[: width - 1].rstrip() + "…"


def console(stream: TextIO | None = None) -> Console:
    """A console on a stream (standard error if none is given): no markup, no guessing at highlights."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> NoReturn:
            # Rich would end the program here; the command line decides that.
            raise BrokenPipeError

    out = stream or sys.stderr
    # Without a terminal nothing is wrapped or cut: whoever reads it has its own width.
    width = None if out.isatty() else 10_000
    return Plain(file=out, markup=False, highlight=False, emoji=False, soft_wrap=True, width=width)


def notice(text: str) -> None:
    """A line on standard error."""
    console().print(printable(text), style="dim")


class Notices(list[str]):
    """A list that shows each line that is appended to it."""

    def append(self, line: str) -> None:
        """Keep and show a line."""
        super().append(line)
        notice(line)


def print_error(message: str, hint: str = "") -> None:
    """`error: …` and what to do about it, on standard error."""
    screen = console()
    screen.print("error: ", style="bold red", end="")
    screen.print(printable(message))
    for line in printable(hint).splitlines():
        screen.print(f"  {line}")


def print_answer(text: str) -> None:
    """The answer on standard output."""
    answers().write(printable(text).rstrip("\n") + "\n")


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    global answered_in_json
    answered_in_json = True
    answers().write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """A table on standard output, or on standard error what it means that there is nothing to show."""
    from rich.table import Table

    if not rows:
        notice(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(printable("" if cell is None else str(cell)) for cell in row))
    console(answers()).print(table, soft_wrap=False)
