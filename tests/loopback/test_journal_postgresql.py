"""The journal on a real PostgreSQL, started for these tests on loopback with a cluster of its own."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from callsheet.core.errors import JournalError
from callsheet.runtime.journal import BLOB_BYTES, Journal
from callsheet.runtime.schema import REFERENCES
from tests.journal_contract import JournalContract, end, envelope, run_record, step
from tests.journal_pruning_contract import PruningContract
from tests.journal_runs_contract import RunsContract


def programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    there = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return there[-1].parent if there else None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("PostgreSQL's driver is not installed: uv run --with 'psycopg[binary]' pytest …")
    user = None
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    data = Path(tempfile.mkdtemp(prefix="callsheet-pg-"))
    if user is not None:
        shutil.chown(data, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(*command: str) -> None:
        subprocess.run(
            command, check=True, user=user, cwd=data, stdout=subprocess.DEVNULL, env={"LC_ALL": "C.UTF-8"}
        )

    try:
        run(str(folder / "initdb"), "-D", f"{data}/db", "-U", "tester", "-A", "trust", "-E", "UTF8", "-N")
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
        run(str(folder / "pg_ctl"), "-D", f"{data}/db", "-l", f"{data}/log", "-w", "-o", options, "start")
        yield f"postgresql://tester:secret@127.0.0.1:{port}"
        run(str(folder / "pg_ctl"), "-D", f"{data}/db", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(data, ignore_errors=True)


_numbers = itertools.count()


def new_database(server: str) -> str:
    name = f"journal{next(_numbers)}"
    engine = sa.create_engine(
        server.replace("postgresql:", "postgresql+psycopg:") + "/postgres", isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as admin:
        admin.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return f"{server}/{name}"


class TestOnPostgresql(JournalContract, RunsContract, PruningContract):
    @pytest.fixture
    def url(self, server: str) -> str:
        return new_database(server)

    @pytest.fixture(scope="class")
    @classmethod
    def any_url(cls, server: str) -> Callable[[], str]:
        return lambda: new_database(server)


def test_a_server_that_is_not_there_is_said_without_the_password(server: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"postgresql://tester:secret@127.0.0.1:{probe.getsockname()[1]}/x"
        with pytest.raises(JournalError, match="cannot be used") as error:
            Journal(address)
    assert "secret" not in str(error.value)


def test_a_lost_connection_fails_the_write_and_the_next_one_finds_a_new_connection(server: str) -> None:
    url = new_database(server)
    journal, other = Journal(url), Journal(url)
    journal.write([envelope("a")])
    other._db.exec_driver_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()"
    )
    other._db.rollback()
    with pytest.raises(JournalError, match="cannot be used"):
        journal.write([envelope("b")])
    journal.write([envelope("c")])
    assert [e.id for e in other.envelopes("run-000001")] == ["a", "c"]
    journal.close()
    other.close()


def table_forms(url: str) -> Any:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    looked = sa.inspect(engine)
    found = {
        table: (
            sorted(
                (c["name"], str(c["type"]), c["nullable"], c["default"]) for c in looked.get_columns(table)
            ),
            sorted(
                (i["name"], str(i["column_names"]), str(i["dialect_options"]))
                for i in looked.get_indexes(table)
            ),
        )
        for table in looked.get_table_names()
    }
    engine.dispose()
    return found


def make_version_1(url: str) -> None:
    """Take out of a journal all that version 2 has brought."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as db:
        for name in ("runs_by_status", *(index.name for index in REFERENCES)):
            db.exec_driver_sql(f"DROP INDEX {name}")
        for name in ("owner", "since", "spent_s", "source"):
            db.exec_driver_sql(f"ALTER TABLE runs DROP COLUMN {name}")
        db.exec_driver_sql("DROP TABLE orders")
        db.exec_driver_sql("UPDATE callsheet_meta SET value = '1'")
    engine.dispose()


def test_a_journal_of_version_1_is_migrated_on_postgresql_too(server: str) -> None:
    url = new_database(server)
    journal = Journal(url)
    form = table_forms(url)
    journal.write([run_record(), envelope(), step()])
    journal.close()
    make_version_1(url)
    journal, other = Journal(url), Journal(url)
    assert table_forms(url) == form
    assert journal.run("run-000001") == run_record(since=run_record().started)
    assert other.envelopes("run-000001") == [envelope()]
    assert [run.run_id for run in journal.orphans()] == ["run-000001"]
    journal.close()
    other.close()


def test_an_owner_that_lost_its_connection_writes_no_more(server: str) -> None:
    url = new_database(server)
    mine, other = Journal(url, owner="mine"), Journal(url, owner="other")
    mine.write([run_record(owner="mine")])
    other._db.exec_driver_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()"
    )
    other._db.rollback()
    with pytest.raises(JournalError, match="cannot be used"):
        mine.write([envelope("a")])
    assert other.claim("run-000001", "other").owner == "mine"
    for _ in range(2):
        with pytest.raises(JournalError, match="lost, and with it the lock of mine") as error:
            mine.write([envelope("b")])
        with pytest.raises(JournalError, match="lost, and with it the lock of mine"):
            mine.run("run-000001")
    assert "secret" not in str(error.value)
    assert "callsheet resume" in error.value.hint
    assert other.envelopes("run-000001") == []
    mine.close()
    other.close()


def test_a_large_text_that_is_being_written_is_not_pruned(server: str) -> None:
    """The writer has found the text there already when the pruning begins, and commits when it waits."""
    url = new_database(server)
    writer, pruner = Journal(url), Journal(url)
    large = '"' + "x" * BLOB_BYTES + '"'
    pruner.write([run_record(input=large), end(at=5.0)])
    pruning = threading.Thread(target=pruner.prune, args=(10.0,))
    watcher = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with writer._db.begin():
        writer._writer.write([run_record("run-000002", input=large)])
        pruning.start()
        with watcher.connect() as db:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while pruning.is_alive() and not db.exec_driver_sql(waiting).scalar():
                db.rollback()
    pruning.join()
    watcher.dispose()
    assert writer.run("run-000001") is None
    assert writer.run("run-000002") == run_record("run-000002", input=large)
    writer.close()
    pruner.close()
