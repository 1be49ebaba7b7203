"""What the memory replied to survives SIGKILL."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from callsheet.memory import AddDocuments, Added, Document, Memory, Search, Stats

# Adds document after document and says so after each reply, until it is killed.
ADD = """
import asyncio, sys
from callsheet.memory import AddDocuments, Document, Memory

async def main():
    memory = Memory(sys.argv[1])
    for i in range(100_000):
        note = Document(source=f"{i}.txt", title="", text=f"Entry number{i} of the log of a ship.")
        await memory.handle(AddDocuments(documents=(note,)))
        print(i, flush=True)

asyncio.run(main())
"""
# Adds many documents in one request, and says when it begins.
ADD_MANY = """
import asyncio, sys
from callsheet.memory import AddDocuments, Document, Memory

async def main():
    memory = Memory(sys.argv[1])
    notes = tuple(Document(source=f"{i}.txt", title="", text=f"Entry number{i}.") for i in range(5000))
    print("begin", flush=True)
    await memory.handle(AddDocuments(documents=notes))

asyncio.run(main())
"""


def _start(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)


async def test_every_add_that_was_replied_to_is_found_after_sigkill(tmp_path: Path) -> None:
    with _start(ADD, tmp_path) as process:
        assert process.stdout is not None
        replied = [int(process.stdout.readline()) for _ in range(25)]
        process.send_signal(signal.SIGKILL)
        replied += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    memory = Memory(tmp_path)
    for i in replied:
        hits = await memory.handle(Search(query=f"number{i}", k=1))
        assert isinstance(hits, tuple)
        assert hits[0].source == f"{i}.txt"
    await memory.close()


async def test_an_add_cut_short_is_completed_by_adding_again(tmp_path: Path) -> None:
    written = tmp_path / "memory.sqlite-wal"
    with _start(ADD_MANY, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begin\n"
        before = written.stat().st_size if written.exists() else 0
        while process.poll() is None and (not written.exists() or written.stat().st_size <= before):
            pass  # until the first documents are on their way to disk
        process.send_signal(signal.SIGKILL)
    memory = Memory(tmp_path)
    notes = tuple(Document(source=f"{i}.txt", title="", text=f"Entry number{i}.") for i in range(5000))
    added = await memory.handle(AddDocuments(documents=notes))
    assert isinstance(added, Added)
    assert added.documents + added.unchanged == 5000
    assert added.documents > 0
    stats = await memory.handle(Stats())
    assert stats.collections == (("default", 5000, 5000),)  # type: ignore[union-attr]
    for i in (0, 2500, 4999):
        hits = await memory.handle(Search(query=f"number{i}", k=1))
        assert isinstance(hits, tuple)
        assert hits[0].source == f"{i}.txt"
    await memory.close()
