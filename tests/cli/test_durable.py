"""Runs that are killed, wait, are stopped and watched from several terminals: inline."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from callsheet.runtime.journal import Journal
from tests.cli.conftest import Ended
from tests.cli.crews import BLOCKED, CASHIER, LEDGER, NOTED
from tests.cli.test_processes import wait_for

Callsheet = Callable[..., Ended]
Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def held(folder: Path) -> Path:
    """The ledger's crew, in `ledger.py`, whose runs are held up half-way as long as this file exists."""
    (folder / "ledger.py").write_text(LEDGER)
    hold = folder / "hold"
    hold.touch()
    return hold


def noted(folder: Path) -> list[str]:
    return (folder / "ledger.txt").read_text().splitlines()


def newest_run(home: Path) -> str:
    """The id of the run that was started last."""
    journal = Journal(home / "journal.db")
    try:
        return journal.runs(limit=1)[0].run_id
    finally:
        journal.close()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=60)


def test_a_killed_run_is_resumed_and_repeats_no_finished_call(
    begin: Begin, callsheet: Callsheet, folder: Path, held: Path, home: Path
) -> None:
    with begin("run", "ledger.py", "--inline", "hello") as process:
        wait_for(process, "holding")
        kill(process)
    held.unlink()
    ended = callsheet("resume", newest_run(home), "--json")
    assert ended.status == 0, ended.err
    assert ended.data["status"] == "done"
    assert noted(folder) == NOTED
    assert ended.data["output"] == "Noted note hello one. Noted note hello two."
    assert (ended.data["usage"]["llm_calls"], ended.data["usage"]["tool_calls"]) == (4, 2)


def test_of_two_who_resume_a_run_at_once_one_is_told_of_the_other(
    begin: Begin, callsheet: Callsheet, folder: Path, held: Path, home: Path
) -> None:
    with begin("run", "ledger.py", "--inline", "hello") as process:
        wait_for(process, "holding")
        kill(process)
    run = newest_run(home)
    with begin("resume", run) as one, begin("resume", run) as other:
        until = time.monotonic() + 60
        while (ends := [p for p in (one, other) if p.poll() is not None]) == []:
            assert time.monotonic() < until, "both go on"
            time.sleep(0.05)
        (loser,) = ends
        winner = other if loser is one else one
        out, err = loser.communicate()
        assert loser.returncode == 2, err
        assert "another process" in err
        assert out == ""
        held.unlink()
        winner.communicate(timeout=60)
        assert winner.returncode == 0
    assert noted(folder) == NOTED


def test_a_waiting_run_holds_no_process_and_goes_on_in_another(callsheet: Callsheet, folder: Path) -> None:
    (folder / "cashier.py").write_text(CASHIER)
    asked = callsheet("run", "cashier.py", "--inline", "--json", "refund order 17")
    assert asked.status == 4
    assert not (folder / "ledger.txt").exists()
    (told,) = (finding for finding in callsheet("doctor", "--json").data if finding["check"] == "runs")
    assert f"waiting for a person, the newest {asked.data['run_id']}" in told["found"]
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    ended = callsheet("approve", asked.data["run_id"], "--json", cwd=elsewhere)
    assert ended.status == 0, ended.err
    assert noted(folder) == ["17"]


def test_a_run_is_cancelled_from_another_terminal_though_its_tool_blocks(
    begin: Begin, callsheet: Callsheet, folder: Path, home: Path
) -> None:
    (folder / "blocked.py").write_text(BLOCKED)
    with begin("run", "blocked.py", "--inline", "--json", "ponder this question") as process:
        wait_for(process, "pondering")
        ended = callsheet("cancel", newest_run(home), "--reason", "enough")
        out, err = process.communicate(timeout=30)
    assert ended.status == 0, ended.err
    assert process.returncode == 130
    assert json.loads(out)["status"] == "cancelled"
    assert json.loads(out)["error"]["message"] == "enough"
    assert "`callsheet resume" in err


def test_ctrl_c_ends_a_run_whose_tool_blocks_and_says_how_to_go_on(begin: Begin, folder: Path) -> None:
    (folder / "blocked.py").write_text(BLOCKED)
    with begin("run", "blocked.py", "--inline", "ponder this question") as process:
        wait_for(process, "pondering")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "`callsheet resume" in err


def test_a_run_is_watched_from_another_terminal_and_goes_on_without_it(
    begin: Begin, callsheet: Callsheet, held: Path, home: Path
) -> None:
    with begin("run", "ledger.py", "--inline", "hello") as process:
        wait_for(process, "holding")
        run = newest_run(home)
        with begin("watch", run) as leaving, begin("watch", "--json-lines", run) as staying:
            wait_for(leaving, "clerk → ledger: Noted note hello one.")
            leaving.send_signal(signal.SIGINT)
            _, err = leaving.communicate(timeout=30)
            assert leaving.returncode == 130
            assert f"`callsheet cancel {run}` stops it" in err
            held.unlink()
            out, _ = staying.communicate(timeout=60)
            process.communicate(timeout=60)
    assert (process.returncode, staying.returncode) == (0, 0)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["text"] for line in lines if line["kind"] == "tool"] == [
        json.dumps({"text": text}, separators=(",", ": ")) for text in NOTED
    ]
    assert lines[-1]["result"]["status"] == "done"
