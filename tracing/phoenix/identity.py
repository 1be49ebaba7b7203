"""Which process a pid really is: numbers are used again, so a pid alone must never be signalled."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path


def identity(pid: int) -> str | None:
    """When the process of that pid was started, in the system's own words; None if there is none.

    A pid and this together name one process. A zombie counts as gone.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _from_ps(pid)
    except (ProcessLookupError, PermissionError):
        return None
    # proc(5): the name, in parentheses, may hold anything; state is field 3, the start time field 22.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def end(pid: int, known_as: str, patience_s: float) -> bool:
    """End that very process: SIGTERM, and SIGKILL after `patience_s`. False if it was gone already."""
    with contextlib.ExitStack() as stack:
        handle: int | None = None
        if hasattr(os, "pidfd_open"):
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                return False
            except OSError:
                handle = None  # a kernel without it
            else:
                stack.callback(os.close, handle)
        # With a handle, what is checked here is what is signalled below, whatever becomes of the number.
        if identity(pid) != known_as:
            return False
        for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 5.0)):
            try:
                if handle is not None:
                    signal.pidfd_send_signal(handle, number)
                else:
                    os.kill(pid, number)
            except ProcessLookupError:
                return True
            if _gone(pid, known_as, handle, wait_s):
                return True
        return True


def _gone(pid: int, known_as: str, handle: int | None, wait_s: float) -> bool:
    if handle is not None:
        return bool(select.select([handle], [], [], wait_s)[0])
    until = time.monotonic() + wait_s
    while identity(pid) == known_as:
        if time.monotonic() >= until:
            return False
        time.sleep(0.1)
    return True


def _from_ps(pid: int) -> str | None:
    found = subprocess.run(  # noqa: S603
        ["ps", "-o", "lstart=", "-p", str(pid)],  # noqa: S607
        capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip
    return found.stdout.strip() or None
