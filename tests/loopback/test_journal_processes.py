"""The journal among processes: writers that are killed, many that come at once, a disk that is full."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from callsheet.core.errors import JournalError
from callsheet.runtime.journal import Journal
from tests.journal_contract import envelope, run_record, step

WRITER = """
import sys
from callsheet.runtime.journal import Journal
from tests.journal_contract import envelope, step
journal, name = Journal(sys.argv[1]), sys.argv[2]
print("open", flush=True)
for i in range(int(sys.argv[3])):
    journal.write([envelope(f"{name}-{i}"), step(f"{name}-{i}", result='"' + "x" * 70_000 + '"')])
    print(i, flush=True)
"""

ROOT = Path(__file__).parents[2]


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )  # fmt: skip


def test_a_killed_writer_loses_nothing_that_write_returned_for(tmp_path: Path) -> None:
    process = writer(tmp_path / "journal.db", "w", 100_000)
    assert process.stdout is not None
    returned = -1
    for line in process.stdout:
        if line.strip().isdigit():
            returned = int(line)
        if returned >= 40:
            process.send_signal(signal.SIGKILL)
            break
    returned = max([returned, *(int(line) for line in process.stdout if line.strip().isdigit())])
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    journal = Journal(tmp_path / "journal.db")
    kept = [int(e.id.split("-")[1]) for e in journal.envelopes("run-000001")]
    assert kept == list(range(len(kept)))
    assert len(kept) > returned
    assert [s.key for s in journal.steps("run-000001")] == [f"w-{i}" for i in kept]
    journal.write([envelope("after")])
    journal.close()


def test_writers_that_come_at_once_make_one_journal_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.db"
    path.parent.mkdir()
    processes = [writer(path, f"w{i}", 15) for i in range(3)]
    for process in processes:
        assert process.communicate()[0].split() == ["open", *map(str, range(15))]
        assert process.returncode == 0
    journal = Journal(path)
    ids = [e.id for e in journal.envelopes("run-000001")]
    assert sorted(ids) == sorted(f"w{i}-{n}" for i in range(3) for n in range(15))
    for i in range(3):
        assert [id_ for id_ in ids if id_.startswith(f"w{i}-")] == [f"w{i}-{n}" for n in range(15)]
    journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True)
    if made.returncode != 0:
        pytest.skip("a small disk cannot be mounted here (it needs root)")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_said_and_what_was_kept_stays_readable(small_disk: Path) -> None:
    journal = Journal(small_disk / "journal.db")
    journal.write([run_record()])
    kept = 0

    def fill() -> None:
        nonlocal kept
        for i in range(1000):
            journal.write([envelope(str(i)), step(str(i), result='"' + str(i) * 20_000 + '"')])
            kept = i + 1

    with pytest.raises(JournalError, match="full") as error:
        fill()
    assert kept > 0
    assert "free space" in error.value.hint
    assert len(journal.envelopes("run-000001")) == len(journal.steps("run-000001")) == kept
    journal.close()
    again = Journal(small_disk / "journal.db")
    assert len(again.envelopes("run-000001")) == kept
    again.close()


def test_a_disk_that_is_full_from_the_start_is_said(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(b"x" * 1_100_000)
    with pytest.raises(JournalError) as error:
        Journal(small_disk / "journal.db")
    assert "free space" in error.value.hint
