"""The command line: `callsheet …`. Answers go to standard output, all else to standard error."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line, and exit with its status (see `callsheet.cli.entry`)."""
    from callsheet.cli.entry import INTERRUPTED, command_line, leave_at_once

    status = command_line()
    if status == INTERRUPTED:
        leave_at_once(status)
    raise SystemExit(status)
