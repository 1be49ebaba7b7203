"""The command line: `callsheet …`. Answers go to standard output, all else to standard error."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, and exit with its status (see `callsheet.cli.entry`)."""
    from callsheet.cli.entry import AT_ONCE, command_line, leave_at_once
    from callsheet.cli.streams import guard_descriptor

    guard_descriptor()
    status = command_line()
    cluster = sys.modules.get("callsheet.runtime.cluster")
    if status in AT_ONCE or (cluster is not None and cluster.has_ended()):
        leave_at_once(status)
    # What is printed from here on, while everything is closed, is no answer.
    sys.stdout = sys.stderr
    raise SystemExit(status)
