"""Journals that older code has written: kept as SQL text in tests/data/journals, opened by today's code.

tests/journal_fixture.py makes them.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from callsheet.core.canonical import from_json
from callsheet.core.errors import JournalError
from callsheet.core.events import EndRun
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import body_text
from callsheet.runtime.journal import Journal, end_of
from callsheet.runtime.recovery import take_up
from callsheet.runtime.schema import SCHEMA_VERSION
from tests.journal_fixture import everything, in_order, read_back

FIXTURES = Path(__file__).parents[2] / "data" / "journals"
VERSIONS = sorted(FIXTURES.glob("v*.sql"), key=lambda path: int(path.stem[1:]))


def load(name: str, folder: Path) -> Path:
    """The fixture as a journal's file."""
    path = folder / "journal.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript((FIXTURES / name).read_text(encoding="utf-8"))
    return path


def columns_of(path: Path) -> Any:
    """All tables, columns and indexes, without their order."""
    engine = sa.create_engine(f"sqlite:///{path}")
    looked = sa.inspect(engine)
    found = {
        table: (
            sorted(
                (c["name"], str(c["type"]), c["nullable"], c["default"]) for c in looked.get_columns(table)
            ),
            sorted((i["name"], tuple(i["column_names"]), i["unique"]) for i in looked.get_indexes(table)),
            looked.get_pk_constraint(table)["constrained_columns"],
        )
        for table in looked.get_table_names()
    }
    with engine.connect() as connection:
        partial = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE sql LIKE '%@blob%'"
        ).all()
    engine.dispose()
    return found, sorted(tuple(row) for row in partial)


# --- every version ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_a_journal_of_any_version_opens_lists_shows_and_goes_on(path: Path, tmp_path: Path) -> None:
    journal = Journal(load(path.name, tmp_path))
    found = journal.runs()
    assert {"done", "failed", "limited", "running"} <= {run.status for run in found}
    for run in found:
        assert journal.run(run.run_id) == run
        assert all(body_text(envelope.body) is not None for envelope in journal.envelopes(run.run_id))
        for step in journal.steps(run.run_id):
            from_json(step.input), from_json(step.result)
        if run.ended is not None:
            assert end_of(run).status == run.status
        Limits.from_dict(from_json(run.limits))
    assert any(len(run.output or "") > 64 * 1024 for run in found)
    interrupted = next(run for run in found if run.status == "running")
    assert interrupted.run_id in {run.run_id for run in journal.orphans()}
    assert journal.claim(interrupted.run_id, "me") == interrupted
    again = take_up(journal, replace(interrupted, owner="me"))
    assert again is not None
    assert again.state.open
    journal.write([EndRun(
        run_id=interrupted.run_id, status="cancelled", output=None, error=None, usage=RunUsage(),
        at=interrupted.since + 2.5,
    )])  # fmt: skip
    assert journal.run(interrupted.run_id).spent_s == interrupted.spent_s + 2.5  # type: ignore[union-attr]
    assert journal.prune(4e9).runs == 1 + sum(run.ended is not None for run in found)
    journal.close()


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_a_migrated_journal_has_the_form_of_a_new_one(path: Path, tmp_path: Path) -> None:
    old = load(path.name, tmp_path)
    Journal(old).close()
    Journal(tmp_path / "new.db").close()
    assert columns_of(old) == columns_of(tmp_path / "new.db")


def test_there_is_a_fixture_of_every_version() -> None:
    assert [path.stem for path in VERSIONS] == [f"v{n}" for n in range(1, SCHEMA_VERSION + 1)]
    for path in VERSIONS:
        text = path.read_text(encoding="utf-8")
        assert f"'schema_version','{path.stem[1:]}'" in text
        assert not any(place in text for place in ("/tmp", "/home", "/root", "/work"))


# --- version 1 --------------------------------------------------------------------------------------------


def test_runs_of_version_1_belong_to_nobody_and_began_when_they_started(tmp_path: Path) -> None:
    path = load("v1.sql", tmp_path)
    with closing(sqlite3.connect(path)) as old:
        old.row_factory = sqlite3.Row
        before = {row["run_id"]: dict(row) for row in old.execute("SELECT * FROM runs")}
        blobs = {f"@blob:{row['digest']}": row["body"] for row in old.execute("SELECT * FROM blobs")}
        counts = [old.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("envelopes", "steps")]
    journal = Journal(path)
    found = journal.runs()
    assert len(found) == len(before) == 5
    for run in found:
        was = before[run.run_id]
        assert (run.owner, run.since, run.spent_s, run.source) == ("", run.started, 0.0, "")
        for name, value in was.items():
            assert getattr(run, name) == blobs.get(value, value)
    ids = [run.run_id for run in found]
    assert sum(len(journal.envelopes(id_)) for id_ in ids) == counts[0]
    assert sum(len(journal.steps(id_)) for id_ in ids) == counts[1]
    journal.close()


def test_a_copy_of_the_old_journal_stays_beside_the_migrated_one(tmp_path: Path) -> None:
    path = load("v1.sql", tmp_path)
    Journal(path).close()
    kept = tmp_path / "journal.db.v1-backup"
    with closing(sqlite3.connect(kept)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        dump = "\n".join(line.rstrip() for line in copy.iterdump())
    assert dump.splitlines() == [line.rstrip() for line in (FIXTURES / "v1.sql").read_text().splitlines()]
    was = kept.stat().st_mtime_ns
    Journal(path).close()
    assert kept.stat().st_mtime_ns == was
    assert {found.name for found in tmp_path.iterdir()} == {"journal.db", kept.name}


def test_the_copy_holds_what_was_only_in_the_wal(tmp_path: Path) -> None:
    path = load("v1.sql", tmp_path)
    old = sqlite3.connect(path)
    old.execute("PRAGMA journal_mode=WAL")
    old.execute("UPDATE runs SET crew = 'last words'")
    old.commit()
    journal = Journal(path)
    with closing(sqlite3.connect(tmp_path / "journal.db.v1-backup")) as copy:
        assert copy.execute("SELECT DISTINCT crew FROM runs").fetchall() == [("last words",)]
    # Whoever had it open before goes on: it knows nothing of the new columns.
    old.execute(
        "INSERT INTO runs (run_id, crew, status, input, session_id, limits, usage, launch, options, started, v) "
        "VALUES ('run-000009', 'c', 'running', '1', '', '{}', '{}', '', '{}', 1.0, 1)"
    )
    old.commit()
    assert journal.run("run-000009").owner == ""  # type: ignore[union-attr]
    old.close()
    journal.close()


def test_where_no_copy_can_be_kept_the_old_journal_stays_as_it_is(tmp_path: Path) -> None:
    path = load("v1.sql", tmp_path)
    (tmp_path / "journal.db.v1-backup").mkdir()
    with pytest.raises(
        JournalError, match=r"version 1 and cannot be copied to journal\.db\.v1-backup"
    ) as error:
        Journal(path)
    assert "writable" in error.value.hint
    with closing(sqlite3.connect(path)) as still:
        dump = [line.rstrip() for line in "\n".join(still.iterdump()).splitlines()]
    assert dump == [line.rstrip() for line in (FIXTURES / "v1.sql").read_text().splitlines()]
    assert {found.name for found in tmp_path.iterdir()} == {"journal.db", "journal.db.v1-backup"}


@pytest.mark.parametrize("version", ["3", "99", "0", "", "two", "1.5"])
def test_a_version_that_this_code_does_not_know_is_refused_by_its_name(tmp_path: Path, version: str) -> None:
    path = load("v1.sql", tmp_path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE callsheet_meta SET value = ?", (version,))
        other.commit()
    with pytest.raises(JournalError, match=rf"has schema version {version};") as error:
        Journal(path)
    assert "upgrade" in error.value.hint
    assert not (tmp_path / "journal.db.v1-backup").exists()


# --- version 2 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2, SCHEMA_VERSION + 1))
def test_every_record_of_a_fixture_is_read_as_it_was_written(version: int, tmp_path: Path) -> None:
    expected = json.loads((FIXTURES / f"v{version}.json").read_text(encoding="utf-8"))
    journal = Journal(load(f"v{version}.sql", tmp_path))
    found = read_back(journal, lambda kind: set(expected[kind][0]))
    journal.close()
    assert in_order(found) == expected


def test_todays_code_writes_what_its_fixture_holds(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    expected = everything(journal)
    found = read_back(journal, lambda kind: set(expected[kind][0]))
    journal.close()
    assert in_order(found) == in_order(expected)
    fixture = json.loads((FIXTURES / f"v{SCHEMA_VERSION}.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(in_order(expected))) == fixture
