"""A journal whose last bytes did not reach the disk, or are others: what is left is a beginning of what was written."""

from __future__ import annotations

import random
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import JournalError
from callsheet.core.records import RunResumed, RunWaits
from callsheet.runtime.journal import BLOB_BYTES, Journal
from tests.journal_contract import end, envelope, run_record, step
from tests.journal_runs_contract import USAGE

COUNT = 25
LARGE = "x" * (BLOB_BYTES + 1)


def run_id(n: int) -> str:
    return f"run-{n:06}"


def written(n: int) -> list[Any]:
    """The nth transaction: a run of its own, and what becomes of the run before."""
    this, before = run_id(n), run_id(n - 1)
    records: list[Any] = [run_record(this, owner="me", since=1.0, started=float(n))]
    records += [envelope(f"e{n}-{i}", this, body=f'"{LARGE if n % 9 == i else i}"') for i in range(4)]
    records += [step(f"k{n}-{i}", this) for i in range(4)]
    if n % 3 == 1:
        records.append(end(before, at=2.0))
    elif n % 3 == 2:
        records.append(RunWaits(run_id=before, usage=USAGE, at=2.0))
    elif n:
        failed = envelope(f"e{n - 1}-0-reply", before, kind="error", reply_to=f"e{n - 1}-0")
        again = RunResumed(
            run_id=before, launch="c-2", limits="{}", options="{}", owner="me", at=3.0, retired=(failed.id,)
        )
        records += [failed, end(before, status="failed", at=2.0), again]
    return records


def contents(journal: Journal) -> Any:
    runs = sorted(journal.runs(limit=1000), key=lambda run: run.run_id)
    return [(run, journal.envelopes(run.run_id), journal.steps(run.run_id)) for run in runs]


@pytest.fixture(scope="module")
def beginnings(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What the journal held after none, one, two … of the transactions."""
    journal = Journal(tmp_path_factory.mktemp("whole") / "journal.db")
    found = [contents(journal)]
    for n in range(COUNT):
        journal.write(written(n))
        found.append(contents(journal))
    journal.close()
    return found


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files as they lie after a loss of power: some of it in the database, the rest in the WAL."""
    source, target = tmp_path_factory.mktemp("open"), tmp_path_factory.mktemp("crashed")
    journal = Journal(source / "journal.db")
    for n in range(COUNT):
        if n == 8:
            journal._db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            journal._db.rollback()
        journal.write(written(n))
    for name in ("journal.db", "journal.db-wal"):
        shutil.copy(source / name, target / name)
    journal.close()
    return target


def opened(files: Path, folder: Path, change: Any) -> Any:
    """What a journal holds whose WAL was changed; it can be written again, and keeps that."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(files, folder)
    wal = folder / "journal.db-wal"
    wal.write_bytes(change(wal.read_bytes()))
    journal = Journal(folder / "journal.db")
    found = contents(journal)
    journal.write([envelope("after", "run-after1")])
    journal.close()
    again = Journal(folder / "journal.db")
    assert again.envelopes("run-after1") == [envelope("after", "run-after1")]
    assert contents(again) == found
    again.close()
    return found


def test_a_wal_that_ends_anywhere_leaves_a_beginning_of_what_was_written(
    crashed: Path, beginnings: list[Any], tmp_path: Path
) -> None:
    data = (crashed / "journal.db-wal").read_bytes()
    frame = 24 + struct.unpack(">I", data[8:12])[0]
    chance = random.Random(1)
    ends = {0, 1, 31, 32, 33, len(data) - 1, len(data)}
    ends |= {32 + frame * n + offset for n in range(0, len(data) // frame, 7) for offset in (-1, 0, 24)}
    ends |= {chance.randrange(len(data)) for _ in range(25)}
    kept = []
    for end_ in sorted(end_ for end_ in ends if 0 <= end_ <= len(data)):
        found = opened(crashed, tmp_path / "torn", lambda wal, at=end_: wal[:at])
        assert found in beginnings, end_
        kept.append(beginnings.index(found))
    assert kept == sorted(kept)
    assert (kept[0], kept[-1]) == (8, COUNT)
    assert len(set(kept)) > 10


def test_a_wal_with_wrong_bytes_leaves_a_beginning_of_what_was_written(
    crashed: Path, beginnings: list[Any], tmp_path: Path
) -> None:
    size = (crashed / "journal.db-wal").stat().st_size
    chance = random.Random(2)
    kept = set()
    for _ in range(40):
        at, length = chance.randrange(size), chance.choice([1, 2, 100, 5000])
        noise = chance.choice([b"\0" * length, chance.randbytes(length)])
        found = opened(
            crashed,
            tmp_path / "torn",
            lambda wal, at=at, noise=noise: wal[:at] + noise + wal[at + len(noise) :],
        )
        assert found in beginnings, (at, length)
        kept.add(beginnings.index(found))
    assert len(kept) > 5
    assert max(kept) <= COUNT


def use(path: Path) -> None:
    """Everything that is done with a journal."""
    journal = Journal(path)
    try:
        contents(journal)
        journal.orphans()
        journal.write(written(COUNT))
        journal.prune(5.0)
    finally:
        journal.close()


def test_a_database_with_wrong_bytes_raises_nothing_but_what_says_so(crashed: Path, tmp_path: Path) -> None:
    chance, said = random.Random(3), set()
    for _ in range(80):
        folder = tmp_path / "torn"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(crashed, folder)
        data = bytearray((folder / "journal.db").read_bytes())
        at, length = chance.randrange(len(data)), chance.choice([1, 8, 200, 5000])
        data[at : at + length] = chance.randbytes(length)
        (folder / "journal.db").write_bytes(data)
        try:
            use(folder / "journal.db")
        except JournalError as error:
            said.add(("is damaged, or is no journal" in error.message, bool(error.hint)))
    assert (True, True) in said
    assert all(hint for _, hint in said)
