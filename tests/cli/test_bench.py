"""`callsheet bench` as a process: Ctrl-C, resuming, and its display in a terminal."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ended
from tests.cli.test_processes import on_terminal, wait_for

Callsheet = Callable[..., Ended]
Begin = Callable[..., subprocess.Popen[str]]

SUITE = """
import asyncio
from pathlib import Path

from callsheet import Agent, Crew
from callsheet.scenarios import Case, Suite

crew = Crew("echo", agents=[Agent("clerk", role="You answer.")])


@crew.flow
async def echo(run, task: str) -> str:
    with open("asked.txt", "a") as file:
        file.write(task + "\\n")
    while task != "case 0" and Path("hold").exists():
        await asyncio.sleep(0.01)
    return task


cases = [Case(id=str(n), input=f"case {n}", expected=f"case {n}") for n in range(6)]
suite = Suite("echoes", cases, ["exact"], crew=crew)
"""


@pytest.fixture
def suite(folder: Path) -> Path:
    (folder / "suite.py").write_text(SUITE)
    return folder


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(
    begin: Begin, callsheet: Callsheet, suite: Path
) -> None:
    (suite / "hold").touch()
    with begin("bench", "suite.py", "--inline", "--at-once", "2") as process:
        wait_for(process, "1/6")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    (listed,) = callsheet("benches", "--json").data
    assert f"`callsheet bench --resume {listed['bench_id']}` goes on" in err
    assert listed["done"] == 1
    (suite / "hold").unlink()
    ended = callsheet("bench", "--resume", listed["bench_id"], "--json")
    assert ended.status == 0, ended.err
    trials = ended.data["result"]["trials"]
    assert [trial["case"] for trial in trials] == [str(n) for n in range(6)]
    assert {trial["scores"]["exact"]["value"] for trial in trials} == {1.0}
    assert (suite / "asked.txt").read_text().count("case 0\n") == 1


def test_a_terminal_gets_a_live_table(suite: Path, home: Path) -> None:
    shown = on_terminal(suite, ["bench", "suite.py", "--inline"], {"TERM": "xterm-256color"})
    assert "6/6" in shown
    assert "exact" in shown
    assert "Traceback" not in shown


def test_what_a_crew_prints_does_not_mix_with_the_report(callsheet: Callsheet, suite: Path) -> None:
    (suite / "suite.py").write_text(SUITE.replace("    return task", "    print('noise')\n    return task"))
    ended = callsheet("bench", "suite.py", "--inline", "--json")
    assert ended.status == 0, ended.err
    assert len(ended.data["result"]["trials"]) == 6
    assert "noise" in ended.err
