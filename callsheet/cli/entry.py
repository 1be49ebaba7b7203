"""From arguments to an exit status: every mistake becomes one message, and no traceback.

0 done, 1 the run failed, 2 bad usage or configuration, 3 a limit stopped it, 4 it waits for a person,
130 interrupted, 141 whoever read the output has closed it. `CALLSHEET_DEBUG=1` shows tracebacks. With
`--json` an error that comes before a result is printed on standard output, as an object with `error`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import typer

from callsheet.cli import screen
from callsheet.cli.app import app
from callsheet.core.errors import CallsheetError, UsageError

LIMITED = 3
INTERRUPTED = 130
PIPE_CLOSED = 141

AT_ONCE = (LIMITED, INTERRUPTED)
"""The work was stopped: nobody waits for a tool's thread that knows nothing of it and goes on."""

# The parent of typer.BadParameter: what a wrong command line raises. Typer exports no name for it.
_WrongUsage: type[Exception] = typer.BadParameter.__mro__[1]


def command_line(args: Sequence[str] | None = None) -> int:
    """Run one command line (the process's own, if none is given); returns the exit status."""
    given = list(sys.argv[1:] if args is None else args)
    screen.answered_in_json = False
    try:
        try:
            status = _run(given)
        except CallsheetError as error:
            _trace_if_wanted()
            _tell(given, type(error).__name__, error.message, error.hint)
            status = error.exit_status
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:
        return _quietly(INTERRUPTED)
    except BrokenPipeError:
        return _quietly(PIPE_CLOSED)
    except Exception as error:  # a bug of ours: say what happened, and how to see where
        _trace_if_wanted()
        kind = type(error).__name__
        _tell(
            given, kind, f"{kind}: {error}",
            "This is a fault in callsheet; CALLSHEET_DEBUG=1 shows where. What a run had done is in the journal.",
        )  # fmt: skip
        return 1
    return status


def _tell(args: Sequence[str], kind: str, message: str, hint: str) -> None:
    """The error on standard error, and for a program that waits for JSON on standard output too."""
    screen.print_error(message, hint)
    wanted = "--json" in args[: args.index("--") if "--" in args else None]
    if wanted and not screen.answered_in_json:
        # What is wrong may be standard output itself.
        with contextlib.suppress(OSError, ValueError):
            screen.print_json({"error": {"type": kind, "message": message, "hint": hint}})


def _trace_if_wanted() -> None:
    """The traceback of the error that is being handled, before it is told in a line."""
    if os.environ.get("CALLSHEET_DEBUG"):
        traceback.print_exc()


def leave_at_once(status: int) -> NoReturn:
    """End this process once what it runs is closed, without waiting for threads that may take long yet.

    A Ray that is just being started ends with the process. Another Ctrl-C does not wait for the closing.
    """
    portal = sys.modules.get("callsheet.crews.portal")
    if portal is not None:
        with contextlib.suppress(KeyboardInterrupt, TimeoutError, CallsheetError):
            portal.close_portal()
    _quietly(status)
    os._exit(status)


def _run(args: list[str]) -> int:
    try:
        status = app(args or ["--help"], prog_name="callsheet", standalone_mode=False)
    except _WrongUsage as error:
        context = getattr(error, "ctx", None)
        help_of = context.command_path if context is not None else "callsheet"
        explain = getattr(error, "format_message", None)
        raise UsageError(
            str(error) if explain is None else explain(), hint=f"`{help_of} --help` shows how it is used."
        ) from None
    except typer.Abort:
        return INTERRUPTED
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # typer's way of ending then
            raise BrokenPipeError from None
        raise
    return status if isinstance(status, int) else 0


def _quietly(status: int) -> int:
    """Nothing more can be shown: keep the interpreter from trying when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return status
