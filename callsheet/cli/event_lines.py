"""A run's events as lines of JSON on standard output, for programs: `--json-lines`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from callsheet.cli.streams import answers

if TYPE_CHECKING:
    from callsheet.crews.result import Result, RunEvent


class EventLines:
    """Prints each event as one line, written out at once; `end` prints the last one.

    A line is an object with `kind`, `at` (Unix time, s), `sender`, `receiver`, `name`, `text`, `usage`,
    `elapsed_s` and `decided`; the last has `kind: "end"`, `at`, and `result` as `run --json` prints it.
    """

    def __init__(self) -> None:
        self._ended: float | None = None

    def show(self, event: RunEvent) -> None:
        """Print an event; the end is for `end`, which knows the result."""
        if event.kind == "end":
            self._ended = event.at
            return
        usage = None if event.usage is None else event.usage.to_dict()
        _print_line({**asdict(event), "usage": usage})

    def end(self, result: Result, at: float | None = None) -> None:
        """Print how the run ended; when, if no event has said it."""
        _print_line({"kind": "end", "at": at or self._ended, "result": result.to_dict()})


def _print_line(data: dict[str, Any]) -> None:
    answers().write(json.dumps(data, ensure_ascii=False) + "\n")
    answers().flush()
