"""Runs that lose their Ray, are taken up by `up`, and are stopped: on a real Ray."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from callsheet.core.canonical import to_json
from callsheet.core.ids import root_envelope_id
from callsheet.core.limits import Limits
from callsheet.core.records import PERSON, Envelope, RunRecord
from callsheet.runtime.journal import Journal
from callsheet.runtime.protocol import FLOW
from callsheet.tracing.phoenix.identity import identity
from tests.cli.crews import BLOCKED, LEDGER, NOTED
from tests.cli.test_durable import Begin, Callsheet, held, kill, newest_run, noted
from tests.cli.test_processes import wait_for

pytestmark = pytest.mark.timeout(300)

__all__ = ["held"]


def test_a_run_whose_ray_died_with_its_driver_is_resumed(
    begin: Begin, callsheet: Callsheet, folder: Path, home: Path, held: Path
) -> None:
    with begin("run", "ledger.py", "hello") as process:
        wait_for(process, "holding")
        kill(process)
    run = cut_off_run(home)
    held.unlink()
    ended = callsheet("resume", run, "--json")
    assert ended.status == 0, ended.err
    assert "starting Ray on this machine" in ended.err
    assert ended.data["output"] == "Noted note hello one. Noted note hello two."
    assert noted(folder) == NOTED
    assert (ended.data["usage"]["llm_calls"], ended.data["usage"]["tool_calls"]) == (4, 2)


def cut_off_run(home: Path) -> str:
    """The id of the only run that was cut off, once its Ray is gone too."""
    journal = Journal(home / "journal.db")
    try:
        until = time.monotonic() + 60
        while not (left := journal.orphans()):
            assert time.monotonic() < until, "its Ray lives on"
            time.sleep(0.05)
        return left[0].run_id
    finally:
        journal.close()


def left_on_ray(home: Path, run_id: str, source: dict[str, str], host: str = "ray") -> None:
    """A run that a coordinator, which is dead, had only just begun."""
    record = RunRecord(
        run_id=run_id, crew="ledger", status="running", input='{"input":"hello"}', owner="ray-dead",
        options=to_json({"host": host, "default_model": "offline"}), source=to_json(source),
        limits=to_json(Limits().to_dict()), started=time.time(), since=time.time(),
    )  # fmt: skip
    root = Envelope(
        id=root_envelope_id(run_id), run_id=run_id, kind="ask", sender=PERSON, receiver=FLOW,
        body=record.input, at=record.started,
    )  # fmt: skip
    home.mkdir(exist_ok=True)
    journal = Journal(home / "journal.db")
    try:
        journal.write([record, root])
    finally:
        journal.close()


@pytest.fixture
def down(callsheet: Callsheet) -> Iterator[None]:
    """Ends what the test brings up."""
    yield
    callsheet("down")


def test_up_goes_on_with_what_was_cut_off_and_a_run_there_is_cancelled_from_another_terminal(
    begin: Begin, callsheet: Callsheet, folder: Path, home: Path, down: None
) -> None:
    (folder / "ledger.py").write_text(LEDGER)
    (folder / "blocked.py").write_text(BLOCKED)
    left_on_ray(home, "left-here", {"file": str(folder / "ledger.py"), "crew": "ledger"})
    left_on_ray(home, "left-elsewhere", {"file": str(folder / "gone.py"), "crew": "ledger"})
    left_on_ray(home, "left-inline", {"file": str(folder / "ledger.py"), "crew": "ledger"}, "inline")
    up = callsheet("up", "--no-phoenix")
    assert up.status == 0, up.err
    assert "run left-here goes on here" in up.err
    assert "run left-elsewhere of ledger was cut off and cannot go on" in up.err
    assert "gone.py does not exist" in up.err
    assert "`callsheet resume left-inline` goes on with it" in up.err
    watched = callsheet("watch", "left-here")
    assert watched.status == 0, watched.err
    assert watched.out == "Noted note hello one. Noted note hello two.\n"
    assert noted(folder) == NOTED

    with begin("run", "blocked.py", "--json", "ponder this question") as process:
        wait_for(process, "pondering")
        ended = callsheet("cancel", newest_run(home))
        assert ended.status == 0, ended.err
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["status"] == "cancelled"
    ray = callsheet("status", "--json").data["ray"]
    with begin("run", "slow.py", "do it slowly") as process:
        wait_for(process, "clerk → slow")
        ended = callsheet("down")
        _, told = process.communicate(timeout=45)  # Ray itself says nothing for a minute
    assert process.returncode == 1
    assert "Ray has ended" in told
    assert f"`callsheet resume {newest_run(home)}`" in told
    assert "Traceback" not in told
    assert ended.status == 0
    assert "3 runs were cut off" in ended.err  # two that could not go on, and this one
    assert callsheet("status", "--json").data["ray"] is None
    host, port = ray["address"].split(":")
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0
    assert identity(ray["pid"]) is None
