"""The CPU time of a tree of processes, from /proc: Linux alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
DAEMONS = "Ray's daemons"


@dataclass(frozen=True, slots=True)
class Used:
    """What one process is, and the CPU time that it has taken since it began, s, all threads counted."""

    kind: str
    cpu_s: float


def tree_cpu(*, without: int) -> dict[int, Used]:
    """Of this process and all below it that live, by process id; `without` one and all below that.

    Kinds are `driver` (this process), the class of an actor, and Ray's daemons and idle workers as one. What
    a process took that ends between two readings is lost, so nothing should end in between.
    """
    parents: dict[int, int] = {}
    cpu: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # The command's name may hold blanks and brackets; what follows the last bracket does not.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            parents[int(folder.name)] = int(fields[1])
            cpu[int(folder.name)] = (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
    root = os.getpid()

    def ours(pid: int) -> bool:
        while pid not in (root, without):
            if pid not in parents:
                return False
            pid = parents[pid]
        return pid == root

    return {pid: Used(_kind(pid, root), cpu[pid]) for pid in cpu if ours(pid)}


def _kind(pid: int, root: int) -> str:
    if pid == root:
        return "driver"
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return DAEMONS
    actor = title.removeprefix("ray::").partition(".")[0].strip()
    return actor if title.startswith("ray::") and actor.endswith("Actor") else DAEMONS
