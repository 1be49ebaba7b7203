"""Pruning a SQLite journal: what its file gives back, what it costs, and what a fault in the middle leaves."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import JournalError
from callsheet.runtime.journal import BLOB_BYTES, Journal
from callsheet.runtime.journal_pruning import Pruning
from tests.journal_contract import end, envelope, run_record, step

OLD = Path(__file__).parents[2] / "data" / "journals" / "v1.sql"


def run(n: int, *, at: float = 5.0, size: int = 2_000) -> list[Any]:
    """A run that ended, with a large text that it shares with the next one."""
    id_ = f"run-{n:06}"
    shared = f'"{n // 2}' + "x" * BLOB_BYTES + '"'
    return [
        run_record(id_), envelope("a", id_, body=shared), *(envelope(f"e{i}", id_) for i in range(5)),
        *(step(f"k{i}", id_, result='"' + "x" * size + '"') for i in range(5)), end(id_, at=at),
    ]  # fmt: skip


@pytest.mark.parametrize("owner", ["", "me"])
def test_the_file_shrinks_by_what_was_deleted(tmp_path: Path, owner: str) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path, owner=owner)
    journal.write(run(0, at=50.0))
    journal._db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    journal._db.rollback()
    one = path.stat().st_size
    for n in range(2, 60):
        journal.write(run(n))
    pruned = journal.prune(10.0)
    assert pruned.runs == 58
    assert pruned.bytes > 29 * BLOB_BYTES
    assert path.stat().st_size < one + 60_000
    assert path.with_name("journal.db-wal").stat().st_size == 0
    assert [found.run_id for found in journal.runs()] == ["run-000000"]
    journal.write(run(1))
    journal.close()


def test_what_an_older_callsheet_made_shrinks_when_nobody_else_works_with_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript(OLD.read_text(encoding="utf-8"))
    journal = Journal(path)
    for n in range(20):
        journal.write(run(n))
    other = Journal(path, owner="other")
    assert journal.prune(10.0).runs == 20
    journal._db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    journal._db.rollback()
    whole = path.stat().st_size
    other.close()
    assert journal.prune(4e9).runs == 4
    assert path.stat().st_size < whole - 10 * BLOB_BYTES
    assert len(journal.runs()) == 1
    for n in range(20):
        journal.write(run(n))
    grown = path.stat().st_size
    assert journal.prune(10.0).runs == 20
    assert path.stat().st_size <= grown
    journal.close()


def test_the_work_of_pruning_grows_with_what_is_pruned_alone(tmp_path: Path) -> None:
    """Counted in SQLite's own instructions: no clock is in it."""
    work: dict[tuple[int, int], int] = {}
    for old, young in ((100, 0), (200, 0), (400, 0), (100, 400)):
        journal = Journal(tmp_path / f"{old}-{young}.db")
        for begin in range(0, old + young, 50):
            journal.write(
                [record for n in range(begin, begin + 50) for record in run(n, at=5.0 if n < old else 50.0)]
            )
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        journal._db.connection.driver_connection.set_progress_handler(count, 1000)  # type: ignore[union-attr]
        assert journal.prune(10.0).runs == old
        work[old, young] = counted
        journal.close()
    assert work[200, 0] < 2.4 * work[100, 0]
    assert work[400, 0] < 2.4 * work[200, 0]
    assert work[100, 400] < 1.5 * work[100, 0]


def test_a_fault_in_the_middle_leaves_whole_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callsheet.runtime.journal_pruning.RUNS_AT_ONCE", 4)
    journal = Journal(tmp_path / "journal.db")
    for n in range(12):
        journal.write(run(n))
    delete, calls = Pruning._delete_blobs, []

    def breaks(self: Pruning, marks: Any) -> int:
        calls.append(marks)
        if len(calls) == 2:
            raise sqlite3.OperationalError("database or disk is full")
        return delete(self, marks)

    monkeypatch.setattr(Pruning, "_delete_blobs", breaks)
    with pytest.raises(JournalError, match="full"):
        journal.prune(10.0)
    left = journal.runs()
    assert len(left) == 8
    for found in left:
        assert len(journal.envelopes(found.run_id)) == 6
        assert len(journal.steps(found.run_id)) == 5
    assert journal.prune(10.0).runs == 8
    journal.close()


def test_space_that_cannot_be_given_back_now_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "journal.db")
    for n in range(4):
        journal.write(run(n))
    journal._db.connection.driver_connection.execute("PRAGMA busy_timeout = 1")  # type: ignore[union-attr]
    given_back = Pruning.give_back

    def while_another_writes(self: Pruning, *, alone: bool) -> None:
        with closing(sqlite3.connect(tmp_path / "journal.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            given_back(self, alone=alone)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pruning, "give_back", while_another_writes)
        assert journal.prune(10.0).runs == 4
    assert "could not be given back now" in caplog.text
    assert journal.runs() == []
    journal.close()
