"""The CPU time and the memory of a tree of processes, from /proc: Linux alone."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
DAEMONS = "Ray's daemons"


@dataclass(frozen=True, slots=True)
class Used:
    """What one process is, and the CPU time that it has taken since it began, s, all threads counted."""

    kind: str
    cpu_s: float


def tree_cpu(*, without: int = 0) -> dict[int, Used]:
    """Of this process and all below it that live, by process id; `without` one and all below that.

    Kinds are `driver` (this process), the class of an actor, and Ray's daemons and idle workers as one. What
    a process took that ends between two readings is lost, so nothing should end in between.
    """
    root = os.getpid()
    found = {}
    for pid, ticks in _tree(without).items():
        # Others are known to a tick (10 ms), this process exactly.
        cpu_s = time.process_time() if pid == root else ticks / TICKS_A_SECOND
        found[pid] = Used(_kind(pid, root), cpu_s)
    return found


def cpu_since(before: dict[int, Used], *, without: int = 0) -> dict[str, float]:
    """The CPU time since a reading of `tree_cpu`, s, by kind of process."""
    by_kind: dict[str, float] = {}
    for pid, used in tree_cpu(without=without).items():
        since = before[pid].cpu_s if pid in before else 0.0
        by_kind[used.kind] = by_kind.get(used.kind, 0.0) + used.cpu_s - since
    return by_kind


def tree_memory(*, peak: bool = False) -> dict[int, float]:
    """The resident memory (RSS) of this process and all below it, MB by process id: now, or the highest it was.

    Pages that processes share are counted for each of them.
    """
    field, found = "VmHWM:" if peak else "VmRSS:", {}
    for pid in _tree(0):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        found[pid] = sum(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6
    return found


def grown_mb(before: dict[int, float], peak: dict[int, float]) -> float:
    """By how much the processes that are in both readings grew together, MB.

    Ray ends and begins idle workers as it likes, which would hide what the others took.
    """
    return sum(mb - before[pid] for pid, mb in peak.items() if pid in before)


def forget_peaks() -> None:
    """From now on `tree_memory(peak=True)` is of what comes."""
    for pid in _tree(0):
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except (FileNotFoundError, ProcessLookupError):
            continue


def _tree(without: int) -> dict[int, int]:
    """This process and all below it, with the ticks of CPU time that each has taken."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # The command's name may hold blanks and brackets; what follows the last bracket does not.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            parents[int(folder.name)] = int(fields[1])
            ticks[int(folder.name)] = int(fields[11]) + int(fields[12])
    root = os.getpid()

    def ours(pid: int) -> bool:
        while pid not in (root, without):
            if pid not in parents:
                return False
            pid = parents[pid]
        return pid == root

    return {pid: ticks[pid] for pid in ticks if ours(pid)}


def _kind(pid: int, root: int) -> str:
    if pid == root:
        return "driver"
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return DAEMONS
    actor = title.removeprefix("ray::").partition(".")[0].strip()
    return actor if title.startswith("ray::") and actor.endswith("Actor") else DAEMONS
