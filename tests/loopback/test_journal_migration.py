"""Migration among processes: many that come at once, and one that is killed in the middle."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from callsheet.runtime.journal import Journal
from callsheet.runtime.journal_migrations import _MIGRATIONS

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "data" / "journals" / "v1.sql"

OPENING = """
import sys
from callsheet.runtime.journal import Journal
from tests.journal_contract import envelope
sys.stdin.readline()
journal = Journal(sys.argv[1])
journal.write([envelope(sys.argv[2])])
print(len(journal.runs()))
journal.close()
"""

KILLED = """
import os, signal, sys
import callsheet.runtime.journal_migrations as migrations
from callsheet.runtime.journal import Journal

class Dies(tuple):
    def __iter__(self):
        for n, statement in enumerate(super().__iter__()):
            if n == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            yield statement
        os.kill(os.getpid(), signal.SIGKILL)

to, statements = migrations._MIGRATIONS["1"]
migrations._MIGRATIONS["1"] = to, Dies(statements)
Journal(sys.argv[1])
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript(OLD.read_text(encoding="utf-8"))
        made.execute("PRAGMA journal_mode=WAL")
    return path


def test_of_many_that_open_an_old_journal_at_once_one_migrates_it(old: Path) -> None:
    opening = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING, str(old), f"e{n}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for n in range(3)
    ]  # fmt: skip
    for process in opening:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in opening:
        assert process.communicate()[0] == "5\n"
        assert process.returncode == 0
    journal = Journal(old)
    assert sorted(e.id for e in journal.envelopes("run-000001")) == ["e0", "e1", "e2"]
    journal.close()
    with closing(sqlite3.connect(f"{old}.v1-backup")) as copy:
        assert copy.execute("SELECT value FROM callsheet_meta").fetchall() == [("1",)]
    assert {found.name for found in old.parent.iterdir()} == {"journal.db", "journal.db.v1-backup"}


# The last is after the last statement, before the new version is written and committed.
@pytest.mark.parametrize("at", [0, 1, 5, 8, len(_MIGRATIONS["1"][1])])
def test_a_migration_that_is_killed_leaves_the_old_form_whole(old: Path, at: int) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(old), str(at)], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(old)) as still:
        dump = "\n".join(line.rstrip() for line in "\n".join(still.iterdump()).splitlines())
    assert dump == "\n".join(line.rstrip() for line in OLD.read_text(encoding="utf-8").splitlines())
    journal = Journal(old)
    assert [run.owner for run in journal.runs()] == [""] * 5
    journal.close()
