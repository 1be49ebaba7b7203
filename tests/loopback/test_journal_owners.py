"""Owners of runs among processes: killed, forked, and racing for the same run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from callsheet.core.errors import JournalError, RunTakenError
from callsheet.runtime.journal import Journal
from tests.journal_contract import run_record

ROOT = Path(__file__).parents[2]
RUN = "run-000001"

OWNER = """
import sys
from callsheet.runtime.journal import Journal
journal = Journal(sys.argv[1], owner=sys.argv[2])
print("open", flush=True)
sys.stdin.read()
"""

FORKING = """
import os, sys
from callsheet.runtime.journal import Journal
journal = Journal(sys.argv[1], owner=sys.argv[2])
if os.fork() == 0:
    print("open", flush=True)
    sys.stdin.read()
    os._exit(0)
os._exit(0)
"""

FORKED_AND_CLOSED = """
import os, sys
from callsheet.runtime.journal import Journal
journal = Journal(sys.argv[1], owner=sys.argv[2])
child = os.fork()
if child == 0:
    journal._owners.close()
    os._exit(0)
os.waitpid(child, 0)
print("open", flush=True)
sys.stdin.read()
"""

CLAIMING = """
import sys
from callsheet.core.errors import RunTakenError
from callsheet.runtime.journal import Journal
journal = Journal(sys.argv[1], owner=sys.argv[2])
print("open", flush=True)
sys.stdin.readline()
for n in range(20):
    try:
        journal.claim(f"run-{n:06}", sys.argv[2])
        print(n, flush=True)
    except RunTakenError:
        pass
print("tried", flush=True)
sys.stdin.readline()
"""


@contextmanager
def process(script: str, path: Path, owner: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-c", script, str(path), owner],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    with started:
        assert started.stdout is not None
        assert started.stdout.readline() == "open\n"
        try:
            yield started
        finally:
            started.kill()


def test_a_killed_process_owns_nothing_any_more(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.write([run_record(owner="theirs")])
    with process(OWNER, path, "theirs") as theirs:
        assert journal.owner_alive("theirs")
        assert journal.orphans() == []
        with pytest.raises(RunTakenError):
            journal.claim(RUN, "mine")
        theirs.send_signal(signal.SIGKILL)
        theirs.wait()
        assert not journal.owner_alive("theirs")
        assert [run.run_id for run in journal.orphans()] == [RUN]
        assert journal.claim(RUN, "mine").owner == "theirs"
    journal.close()


def test_a_successor_of_the_same_name_waits_for_its_predecessors_death(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with process(OWNER, path, "coordinator") as first:
        second = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(path), "coordinator"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        with second:
            assert second.stdout is not None
            assert second.poll() is None
            first.kill()
            assert second.stdout.readline() == "open\n"
            second.kill()


def test_a_child_of_the_owner_does_not_keep_what_its_parent_owned(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with process(FORKING, path, "theirs") as parent:
        parent.wait()  # the child lives on: it reads our pipe
        journal = Journal(path)
        assert not journal.owner_alive("theirs")
        journal.close()
        assert parent.stdin is not None
        parent.stdin.close()


def test_a_child_that_closes_what_it_has_inherited_takes_nothing_from_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with process(FORKED_AND_CLOSED, path, "theirs"):
        journal = Journal(path)
        assert journal.owner_alive("theirs")
        journal.close()


def test_of_two_that_claim_the_same_runs_each_run_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    runs = [replace(run_record(), run_id=f"run-{n:06}", owner="dead") for n in range(20)]
    journal.write(runs)
    with process(CLAIMING, path, "one") as one, process(CLAIMING, path, "two") as two:
        won: dict[str, list[int]] = {}
        for each in (one, two):
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        for name, each in (("one", one), ("two", two)):
            assert each.stdout is not None
            lines = iter(each.stdout.readline, "tried\n")
            won[name] = [int(line) for line in lines]
        assert sorted(won["one"] + won["two"]) == list(range(20))
        owners = {run.run_id: run.owner for run in journal.runs()}
        assert owners == {f"run-{n:06}": name for name, numbers in won.items() for n in numbers}
    journal.close()


def test_what_dead_owners_have_left_is_swept_away(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for name in ("a", "b"):
        with process(OWNER, path, name) as theirs:
            theirs.kill()
    locks = tmp_path / "journal.db.owners"
    with process(OWNER, path, "living"):
        Journal(path, owner="mine").close()
        assert [found.name for found in locks.iterdir()] == ["living"]


def test_a_lock_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal.db.owners").write_text("")
    with pytest.raises(JournalError, match=r"the lock .*mine cannot be taken") as error:
        Journal(tmp_path / "journal.db", owner="mine")
    assert "write" in error.value.hint
