"""What flows and tools print on Ray, shown where the run was started: on standard error, with their names.

Ray sends a driver the output of the actors that it created, and of no others: what a crew prints that
`callsheet launch` keeps serving stays in Ray's own log files.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

HANDLER = "callsheet_output"
PARTICIPANT = "ParticipantActor"

_TRACEBACK = "Traceback (most recent call last)"


class WorkerOutput:
    """Shows the lines of participants' processes; a handler for Ray's batches of log lines.

    Of a traceback only its last line is shown, since the error of the run names the place already;
    CALLSHEET_DEBUG=1 shows all of it. What would move a terminal's cursor is shown as `�`. Safe to call
    from any thread, and raises nothing.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._in_traceback: set[tuple[str, bool]] = set()
        self._lock = threading.Lock()

    def name(self, pid: int, who: str) -> None:
        """Say whose process that is. Lines of a process without a name are shown with its number."""
        with self._lock:
            self._names[str(pid)] = who

    def __call__(self, batch: Mapping[str, Any]) -> None:
        """Show one batch: `lines` of the process `pid`, which is that of the actor class `actor_name`."""
        if PARTICIPANT not in str(batch.get("actor_name") or ""):
            return  # Ray's own, and that of our services, which have no user's code in them
        pid = str(batch.get("pid"))
        with self._lock:
            who = self._names.get(pid, f"process {pid}")
            lines = self._shown((pid, bool(batch.get("is_err"))), batch.get("lines") or ())
        with contextlib.suppress(OSError, ValueError):  # standard error is closed: nobody looks
            for line in lines:
                sys.stderr.write(f"{who}: {line}\n")
            sys.stderr.flush()

    def _shown(self, stream: tuple[str, bool], lines: Any) -> list[str]:
        debugging, shown = bool(os.environ.get("CALLSHEET_DEBUG")), []
        for line in lines:
            if not debugging and line.startswith(_TRACEBACK):
                self._in_traceback.add(stream)
                continue
            if stream in self._in_traceback:
                if not line.strip() or line[0].isspace():
                    continue
                self._in_traceback.discard(stream)
            shown.append("".join(c if c.isprintable() or c == "\t" else "�" for c in line.rstrip()))
        return shown


OUTPUT = WorkerOutput()
"""This process's, as there is one connection to Ray in it."""


def show_output() -> None:
    """Show participants' output from now on, in the place of all that Ray itself would print.

    To be called once this process is connected to Ray with `log_to_driver`.
    """
    from ray._private import worker
    from ray._private.ray_logging import global_worker_stdstream_dispatcher as dispatcher

    # Ray prints to standard output, in colour even where that is no terminal: also that a worker has died,
    # which is what the coordinator sees to.
    worker._worker_logs_enabled = False  # noqa: SLF001 - there is no public switch
    dispatcher.remove_handler("ray_print_logs")
    dispatcher.remove_handler(HANDLER)
    dispatcher.add_handler(HANDLER, OUTPUT)
