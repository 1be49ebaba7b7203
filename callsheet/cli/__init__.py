"""The command line: `callsheet …`. Answers go to standard output, all else to standard error."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line, and exit with its status (see `callsheet.cli.entry`)."""
    from callsheet.cli.entry import command_line

    raise SystemExit(command_line())
