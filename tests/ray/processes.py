"""What Linux knows of the processes below this one."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def descendants() -> set[int]:
    """The process ids of all that was started below this process."""
    parents: dict[int, int] = {}
    for entry in PROC.glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue  # it has just ended
    found, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} | found
        grown, found = more != found, more
    return found - {os.getpid()}


def environment(pid: int) -> str:
    try:
        return (PROC / str(pid) / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def command(pid: int) -> str:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def listening(pids: set[int]) -> dict[str, int]:
    """The local addresses (hexadecimal, as the kernel writes them) that these processes listen on."""
    sockets: dict[str, int] = {}
    for pid in pids:
        for descriptor in (PROC / str(pid) / "fd").glob("*"):
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                sockets[target[8:-1]] = pid
    found: dict[str, int] = {}
    for table in ("tcp", "tcp6"):
        for line in (PROC / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found[fields[1]] = sockets[fields[9]]
    return found
