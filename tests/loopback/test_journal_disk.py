"""The journal on disks that are full, read-only, or taken away, and what the command line says of it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from callsheet.core.errors import JournalError
from callsheet.runtime.journal import Journal
from tests.journal_contract import end, envelope, run_record, step

ROOT = Path(__file__).parents[2]
NOBODY = 65534

LIMITED = """
import resource, sys
from callsheet.core.errors import JournalError
from callsheet.runtime.journal import Journal
from tests.journal_contract import envelope, run_record, step
journal = Journal(sys.argv[1])
journal.write([run_record()])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
kept = 0
try:
    while kept < 1000:
        journal.write([envelope(str(kept)), step(str(kept), result='"' + "x" * 9_000 + '"')])
        kept += 1
except JournalError as error:
    print(error.message, "|", error.hint)
found = len(journal.envelopes("run-000001")), len(journal.steps("run-000001"))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
journal.write([envelope("after")])
print(kept, *found)
journal.close()
"""

UNPRIVILEGED = """
import os, sys
from callsheet.core.errors import JournalError
from callsheet.runtime.journal import Journal
from tests.journal_contract import envelope
Journal("sqlite://", owner="x").write([envelope()])  # all that is imported late is there now
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
for options in ({}, {"owner": "me"}):
    try:
        journal = Journal(sys.argv[1], **options)
        print("opened", [e.id for e in journal.envelopes("run-000001")])
        journal.write([envelope("new")])
        print("wrote")
    except JournalError as error:
        print(error.message, "|", error.hint)
"""


def test_a_file_that_may_not_grow_keeps_what_was_acknowledged_and_goes_on_when_it_may(tmp_path: Path) -> None:
    """A limit of the process, as a quota of the user would be."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "journal.db")],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    said, counts = done.stdout.splitlines()
    assert "cannot be used" in said
    assert "free space" in said
    kept, envelopes, steps = map(int, counts.split())
    assert 0 < kept == envelopes == steps
    journal = Journal(tmp_path / "journal.db")
    assert [e.id for e in journal.envelopes("run-000001")] == [*map(str, range(kept)), "after"]
    assert [s.key for s in journal.steps("run-000001")] == [*map(str, range(kept))]
    journal.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach: pytest's own they cannot."""
    folder = Path(tempfile.mkdtemp(prefix="callsheet-test-"))
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)


def as_nobody(path: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, str(path), str(NOBODY)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_folder_that_may_not_be_written_to_is_said(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    for said in as_nobody(open_folder / "journal.db"):
        assert "cannot be used: unable to open database file" in said
        assert "writable" in said


@pytest.mark.parametrize("folder_mode", [0o555, 0o777], ids=["in a read-only folder", "in a folder for all"])
def test_a_journal_that_may_only_be_read_is_said_and_left_alone(open_folder: Path, folder_mode: int) -> None:
    """SQLite's WAL needs its two files beside the database, for reading too."""
    path = open_folder / "journal.db"
    journal = Journal(path)
    journal.write([envelope("old")])
    journal.close()
    before = path.read_bytes()
    path.chmod(0o444)
    open_folder.chmod(folder_mode)
    found = as_nobody(path)
    assert len(found) == 2
    for said in found:
        assert "cannot be used" in said
        assert "writable" in said
    assert path.read_bytes() == before
    path.chmod(0o644)
    open_folder.chmod(0o755)
    journal = Journal(path)
    assert [e.id for e in journal.envelopes("run-000001")] == ["old"]
    journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True)
    if made.returncode != 0:
        pytest.skip("a small disk cannot be mounted here (it needs root)")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(b"x" * 3_000_000)
    return ballast


def test_an_old_journal_on_a_full_disk_stays_as_it_is_until_there_is_space(small_disk: Path) -> None:
    path = small_disk / "journal.db"
    text = (ROOT / "tests" / "data" / "journals" / "v1.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(path)) as made:
        made.executescript(text)
    ballast = fill(small_disk)
    with pytest.raises(JournalError) as error:
        Journal(path)
    assert error.value.hint
    assert {found.name for found in small_disk.iterdir()} <= {"journal.db", "ballast"}
    ballast.unlink()
    journal = Journal(path)
    assert len(journal.runs()) == 5
    journal.close()


def test_runs_can_be_pruned_from_a_full_disk_where_the_wal_has_room(small_disk: Path) -> None:
    """As it has while a coordinator works. A WAL that is begun anew needs a little space of its own."""
    path = small_disk / "journal.db"
    journal = Journal(path)
    for n in range(25):
        id_ = f"run-{n:06}"
        journal.write([run_record(id_), step("k", id_, result='"' + "x" * 9_000 + '"'), end(id_, at=5.0)])
    journal._db.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
    journal._db.rollback()
    fill(small_disk)
    assert journal.prune(10.0).runs == 25
    assert path.stat().st_size < 150_000
    journal.write([envelope("after", body='"' + "x" * 60_000 + '"')])
    journal.close()


# --- the command line -------------------------------------------------------------------------------------


def callsheet(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CALLSHEET_", "RAY_"))}
    return subprocess.run(
        [sys.executable, "-c", "from callsheet.cli import main; main()", *arguments],
        env={**kept, "CALLSHEET_HOME": str(home), "CALLSHEET_PHOENIX": "off"},
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip


RUN = ("run", "research", "How are runs kept?", "--inline", "--docs", "docs", "--model", "offline")


@pytest.mark.parametrize("command", [("runs",), ("show", "run-000001"), RUN], ids=["runs", "show", "run"])
def test_the_command_line_says_what_is_no_journal(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "journal.db").write_bytes(b"my holiday pictures" * 1000)
    done = callsheet(tmp_path, *command)
    assert done.returncode == 1, done.stderr
    assert "is damaged, or is no journal" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_command_line_says_that_a_newer_callsheet_wrote_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal._db.exec_driver_sql("UPDATE callsheet_meta SET value = '99'")
    journal._db.commit()
    journal.close()
    done = callsheet(tmp_path, "runs")
    assert done.returncode == 1
    assert "schema version 99" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_command_line_lists_the_runs_of_an_older_callsheet(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as made:
        made.executescript((ROOT / "tests" / "data" / "journals" / "v1.sql").read_text(encoding="utf-8"))
    done = callsheet(tmp_path, "runs", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"run_id"') == 5


def test_a_run_on_a_full_disk_fails_with_one_clear_error_and_claims_nothing(small_disk: Path) -> None:
    journal = Journal(small_disk / "journal.db")
    journal.close()
    ballast = fill(small_disk)
    done = callsheet(small_disk, *RUN)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "space" in done.stderr or "full" in done.stderr
    ballast.unlink()
    journal = Journal(small_disk / "journal.db")
    assert [run.status for run in journal.runs() if run.status == "done"] == []
    journal.close()
