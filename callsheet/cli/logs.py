"""What callsheet logs while a command runs: one line each on standard error, for people."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from callsheet.cli.screen import notice, one_line

WIDTH = 300


OF_TURNS = ("callsheet.crews.flow", "callsheet.runtime.participant")


class _OneLine(logging.Handler):
    """Shows a record's first line without its traceback; the error that ends a run names its place.

    What a turn raised is not shown: it is the turn's answer, which stands in the conversation.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if record.name in OF_TURNS and record.exc_info:
            return
        try:
            mark = "warning: " if record.levelno == logging.WARNING else ""
            notice(mark + one_line(record.getMessage(), WIDTH))
        except (OSError, ValueError):  # standard error is closed; the command finds out for itself
            self.handleError(record)


@contextlib.contextmanager
def one_line_each() -> Iterator[None]:
    """While this holds, callsheet's warnings and errors are lines; CALLSHEET_DEBUG=1 leaves them whole."""
    if os.environ.get("CALLSHEET_DEBUG"):
        yield
        return
    ours, handler = logging.getLogger("callsheet"), _OneLine(logging.WARNING)
    before = ours.propagate
    ours.addHandler(handler)
    ours.propagate = False
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.propagate = before
