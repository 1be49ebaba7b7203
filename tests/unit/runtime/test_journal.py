"""The journal on SQLite, and what it says where it cannot be kept."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import JournalError
from callsheet.core.records import Envelope
from callsheet.runtime.journal import Journal
from tests.journal_contract import JournalContract, end, envelope, run_record, step
from tests.journal_pruning_contract import PruningContract
from tests.journal_runs_contract import RunsContract


class TestOnSqlite(JournalContract, RunsContract, PruningContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return str(tmp_path / "a folder" / "journal with ?#%20 signs.db")

    @pytest.fixture(scope="class")
    @classmethod
    def any_url(cls, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
        folder, numbers = tmp_path_factory.mktemp("journals"), itertools.count()
        return lambda: str(folder / f"{next(numbers)}.db")


def pragma(journal: Journal, what: str) -> Any:
    found = journal._db.exec_driver_sql(f"PRAGMA {what}")
    value = found.scalar() if found.returns_rows else None
    journal._db.rollback()
    return value


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"my holiday pictures" * 100)
    with pytest.raises(JournalError, match="not a database") as error:
        Journal(path)
    assert "move it away" in error.value.hint
    assert path.read_bytes() == b"my holiday pictures" * 100
    assert list(tmp_path.iterdir()) == [path]


def test_another_programs_database_is_left_alone_but_for_our_tables(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    journal = Journal(path)
    journal.write([envelope()])
    assert journal.envelopes("run-000001") == [envelope()]
    journal.close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"file.* cannot be made") as error:
        Journal(tmp_path / "file" / "journal.db")
    assert "CALLSHEET_HOME" in error.value.hint


def test_a_folder_in_its_place_is_said(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be used: unable to open"):
        Journal(tmp_path)


def test_a_write_to_a_read_only_database_fails_and_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.write([envelope("a")])
    pragma(journal, "query_only = 1")
    with pytest.raises(JournalError, match="readonly"):
        journal.write([envelope("b"), step()])
    pragma(journal, "query_only = 0")
    assert [e.id for e in journal.envelopes("run-000001")] == ["a"]
    assert journal.steps("run-000001") == []
    journal.close()


def test_a_database_that_may_not_grow_keeps_what_it_has_and_goes_on_when_it_may(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.write([envelope("a")])
    pragma(journal, f"max_page_count = {pragma(journal, 'page_count')}")
    with pytest.raises(JournalError, match="full") as error:
        journal.write([envelope("b", body='"' + "x" * 60_000 + '"')])
    assert "free space" in error.value.hint
    assert [e.id for e in journal.envelopes("run-000001")] == ["a"]
    pragma(journal, "max_page_count = 100000")
    journal.write([envelope("c")])
    assert [e.id for e in journal.envelopes("run-000001")] == ["a", "c"]
    journal.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:secret@h/db", "cannot|needs the package"),
        ("nonsense://x", "address cannot be read"),
        ("postgresql://u:secret@h:port/db", "address cannot be read"),
    ],
)
def test_an_address_that_cannot_be_used_is_said_without_its_password(url: str, says: str) -> None:
    with pytest.raises(JournalError, match=says) as error:
        Journal(url)
    assert "secret" not in str(error.value)
    assert error.value.hint


def test_postgresql_without_its_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(JournalError, match="needs the package psycopg") as error:
        Journal("postgresql://u:secret@127.0.0.1:1/db")
    assert "psycopg[binary]" in error.value.hint
    assert "secret" not in str(error.value)


def test_the_wal_is_moved_into_the_database_while_writing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callsheet.runtime.checkpoints.EVERY", 10)
    path = tmp_path / "journal.db"
    journal = Journal(path)
    empty = path.stat().st_size
    records = [
        Envelope(
            id=f"{i:032x}",
            run_id="run-000001",
            kind="ask",
            sender="a",
            receiver="b",
            body='"' + "x" * 4000 + '"',
        )
        for i in range(100)
    ]
    for record in records:
        journal.write([record])
    journal._checkpoints.close()
    assert path.stat().st_size > empty + 20_000  # at least what the first of them found
    assert [envelope.id for envelope in journal.envelopes("run-000001")] == [record.id for record in records]
    journal.close()


def test_a_journal_that_another_writes_all_the_while_is_said(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.write([envelope("a")])
    pragma(journal, "busy_timeout = 1")
    with closing(sqlite3.connect(tmp_path / "journal.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        for attempt in (lambda: journal.write([envelope("b")]), lambda: journal.claim("run-000001", "me")):
            with pytest.raises(JournalError, match="database is locked") as error:
                attempt()
            assert "try again" in error.value.hint
    journal.write([envelope("c")])
    assert [e.id for e in journal.envelopes("run-000001")] == ["a", "c"]
    journal.close()


@pytest.mark.parametrize("what", ["removed", "replaced", "folder removed"])
def test_a_journal_that_was_taken_away_is_said_at_the_next_write(tmp_path: Path, what: str) -> None:
    """SQLite would go on writing into nowhere."""
    folder = tmp_path / "home"
    journal = Journal(folder / "journal.db")
    journal.write([envelope("a")])
    if what == "folder removed":
        shutil.rmtree(folder)
    else:
        (folder / "journal.db").unlink()
    if what == "replaced":
        Journal(tmp_path / "other.db").close()
        (tmp_path / "other.db").rename(folder / "journal.db")
    with pytest.raises(JournalError, match="was removed or replaced while it was open") as error:
        journal.write([envelope("b")])
    assert "is lost" in error.value.hint
    with pytest.raises(JournalError, match="was removed or replaced"):
        journal.order_cancel("run-000001", "", 1.0)
    journal.close()


def test_a_change_of_another_connection_is_noticed_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    mine, other = Journal(path), Journal(path)
    mine.changed()
    assert not mine.changed()
    mine.write([envelope("a")])
    assert not mine.changed()
    other.write([envelope("b")])
    assert mine.changed()
    assert not mine.changed()
    mine.close()
    other.close()


def test_a_journal_that_is_reached_by_two_paths_has_the_same_owners(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    mine, other = (
        Journal(tmp_path / "real" / "journal.db", owner="me"),
        Journal(tmp_path / "link" / "journal.db"),
    )
    assert other.owner_alive("me")
    mine.close()
    other.close()


class TestInMemory:
    def test_it_does_all_that_a_file_does_in_one_process(self) -> None:
        journal = Journal("sqlite://", owner="me")
        journal.write([run_record(owner="me"), envelope(), step()])
        assert journal.envelopes("run-000001") == [envelope()]
        assert journal.owner_alive("me")
        assert journal.orphans() == []
        journal.changed()
        assert journal.order_cancel("run-000001", "enough", 2.0)
        assert journal.changed()
        assert not journal.changed()
        assert [order.reason for order in journal.orders()] == ["enough"]
        journal.write([end(status="failed")])
        assert journal.claim("run-000001", "me").status == "failed"
        journal.write([end()])
        assert journal.prune(10.0).runs == 1
        journal.close()

    def test_it_is_gone_with_its_journal_and_shared_with_no_other(self) -> None:
        one, two = Journal("sqlite://", owner="me"), Journal("sqlite://", owner="me")
        one.write([envelope()])
        assert two.envelopes("run-000001") == []
        one.close()
        two.close()

    def test_it_needs_no_checkpoint(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("callsheet.runtime.checkpoints.EVERY", 1)
        journal = Journal("sqlite://")
        journal.write([envelope("a")])
        assert [envelope.id for envelope in journal.envelopes("run-000001")] == ["a"]
        journal.close()
