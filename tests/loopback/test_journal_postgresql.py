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
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from callsheet.core.errors import JournalError
from callsheet.runtime.journal import Journal
from tests.journal_contract import JournalContract, envelope
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


class TestOnPostgresql(JournalContract, RunsContract):
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
