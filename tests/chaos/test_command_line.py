"""`callsheet run` with a Ray of its own is killed, and `callsheet resume` goes on with its run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos_lab.campaign import Log
from benchmarks.chaos_lab.models import ModelServer
from benchmarks.chaos_lab.stage import CREW_FILE, Stage, below, until
from benchmarks.chaos_lab.verdict import judge, undisturbed

pytestmark = pytest.mark.timeout(240)


def test_a_run_whose_command_was_killed_goes_on_with_resume(
    stage: Stage, server: ModelServer, tmp_path: Path
) -> None:
    calm = undisturbed(stage, server)
    command = [
        sys.executable, "-c", "from callsheet.cli import main; main()", "run", str(CREW_FILE), "j00001",
        "--docs", str(stage.docs),
    ]  # fmt: skip
    with stage.shut("before"), (tmp_path / "run.log").open("wb") as log:
        run = subprocess.Popen(
            command, cwd=stage.folder, env=stage.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            until(stage.journal.begun_payments, "a payment under way", 120)
        finally:
            stage.left.extend(below(run.pid))
            run.kill()
            run.wait(20)
        # Its actors live a moment longer, and would go on to pay.
        until(lambda: not any(left.alive for left in stage.left if is_actor(left.pid)), "its Ray to end")
    (run_id,) = (kept["run_id"] for kept in stage.journal.runs())
    resumed = stage.callsheet("resume", run_id, "--json", check=False)
    assert resumed.returncode == 4, resumed.stderr  # whether it was paid for is not known
    assert f"callsheet approve {run_id}" in resumed.stderr
    shown = stage.callsheet("show", run_id)
    assert "pay" in shown.stdout
    assert f"callsheet approve {run_id}" in shown.stdout
    approved = stage.callsheet("approve", run_id, "--inline", "--json")  # without Ray it goes on as well
    assert json.loads(approved.stdout)["output"] == calm.replace("j99999", "j00001")
    assert "is done already" in stage.callsheet("resume", run_id).stderr
    verdict = judge(stage.journal, stage.ledger(), [], Log(jobs={"j00001": run_id}), calm)
    assert verdict.wrong == []
    assert len({sighting.digest for sighting in server.sightings}) == len(server.sightings) == 10


def is_actor(pid: int) -> bool:
    """Whether it is one of our actors: Ray's own helpers may stay a while longer."""
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    return "Actor" in name and os.getpid() != pid
