"""The command line on a real Ray: runs of their own, and what `up` starts and `down` ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callsheet.runtime.head import running_head
from callsheet.tracing.phoenix import PhoenixClient, environment_path
from tests.cli.conftest import Ended
from tests.cli.crews import NOTED
from tests.cli.test_durable import held, kill, newest_run, noted
from tests.cli.test_processes import wait_for

Callsheet = Callable[..., Ended]
Begin = Callable[..., subprocess.Popen[str]]

__all__ = ["held"]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a Ray head that several tests use."""
    home = tmp_path_factory.mktemp("shared") / "home"
    environment = {**os.environ, "CALLSHEET_HOME": str(home)}
    command = [sys.executable, "-c", "from callsheet.cli import main; main()"]
    up = subprocess.run(
        [*command, "up", "--no-phoenix"], env=environment, capture_output=True, text=True, timeout=240
    )
    assert up.returncode == 0, up.stderr
    yield home
    subprocess.run([*command, "down"], env=environment, check=True, timeout=120)


@pytest.fixture
def brought_up(shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the test's home the one with the head."""
    monkeypatch.setenv("CALLSHEET_HOME", str(shared_home))
    return shared_home


LOUD = """
import asyncio
import logging
import os
from pathlib import Path

from callsheet import Agent, Crew

crew = Crew("loud", agents=[Agent("clerk", role="You answer.")])


@crew.flow
async def loud(run, task: str) -> str:
    if not Path(task).exists():
        Path(task).touch()
        print("printed before the crash", flush=True)
        os._exit(1)  # and Ray starts the actor again
    print("printed by the flow", flush=True)
    logging.getLogger("mine").warning("logged by the flow")
    await asyncio.Event().wait()
    return ""
"""


def test_what_a_flow_prints_on_ray_is_seen_also_after_a_crash_and_ctrl_c_cancels_the_run(
    begin: Begin, folder: Path
) -> None:
    (folder / "loud.py").write_text(LOUD)
    with begin("run", "loud.py", "--json", str(folder / "marker")) as process:
        seen = until(process, {"printed before the crash", "printed by the flow", "logged by the flow"})
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["status"] == "cancelled"
    assert "`callsheet resume" in err
    assert "Traceback" not in seen + err
    assert "loud: printed before the crash" in seen
    assert "raylet" not in out + seen + err


def until(process: subprocess.Popen[str], told: set[str]) -> str:
    """Read the process's standard error until it has told each of these lines."""
    assert process.stderr is not None
    seen, missing = "", set(told)
    for line in process.stderr:
        seen += line
        missing.discard(line.strip().partition(": ")[2])
        if not missing:
            return seen
    raise AssertionError(f"it never said {missing}: {seen}")


def test_a_launched_crew_serves_until_it_is_stopped(brought_up: Path, callsheet: Callsheet) -> None:
    launched = callsheet("launch", "crews/desk.py", "--name", "front")
    assert launched.status == 0, launched.err
    first = callsheet("run", "front", "Where is order 17?", "--json")
    assert "IN LEIPZIG" in first.data["output"]["text"], first.err
    (crew,) = (crew for crew in callsheet("crews", "--json").data if crew["kind"] == "launched")
    assert crew["name"] == "front"
    pids = {pid for numbers in crew["participants"].values() for pid in numbers}
    assert len(pids) == 2
    again = callsheet("launch", "crews/desk.py", "--name", "front")
    assert again.status == 2
    assert "launched as 'front' already" in again.err
    second = callsheet("run", "front", "Where is order 18?", "--json")
    assert "IN GRAZ" in second.data["output"]["text"]
    assert callsheet("stop", "front").status == 0
    assert callsheet("run", "front", "Where is order 17?").status == 2
    assert callsheet("stop", "front").status == 2
    assert [run["status"] for run in callsheet("runs", "--crew", "desk", "--json").data] == [
        "done", "done"
    ]  # fmt: skip


def test_a_run_on_a_cluster_outlives_the_terminal_that_started_it(
    brought_up: Path, begin: Begin, callsheet: Callsheet, folder: Path, held: Path
) -> None:
    with begin("run", "ledger.py", "hello") as process:
        wait_for(process, "holding")
        kill(process)
    run = newest_run(brought_up)
    taken = callsheet("resume", run)
    assert taken.status == 2
    assert f"`callsheet watch {run}`" in taken.err
    held.unlink()
    watched = callsheet("watch", run)
    assert watched.status == 0, watched.err
    assert watched.out == "Noted note hello one. Noted note hello two.\n"
    assert noted(folder) == NOTED


def test_up_twice_is_one_head_for_its_owner_alone(
    brought_up: Path, callsheet: Callsheet, tmp_path: Path
) -> None:
    before = callsheet("status", "--json").data["ray"]
    assert before["ours"]
    assert callsheet("up", "--no-phoenix").status == 0
    head = running_head(brought_up)
    assert head is not None
    assert (head.pid, head.address) == (before["pid"], before["address"])
    (token,) = brought_up.glob("ray/auth_token")
    assert token.stat().st_mode & 0o077 == 0
    stranger = callsheet("crews", "--address", before["address"], "--home", str(tmp_path / "another"))
    assert stranger.status == 1
    assert "RAY_AUTH_MODE" in stranger.err


def test_a_run_is_seen_in_the_phoenix_that_up_started(callsheet: Callsheet, home: Path) -> None:
    cache = Path(os.environ.get("CALLSHEET_TEST_CACHE") or Path.home() / ".cache" / "callsheet-tests")
    if not environment_path(cache).exists():
        pytest.skip("Phoenix's environment is not in the cache: the tests in tests/phoenix make it")
    environment_path(home).parent.mkdir(parents=True)
    environment_path(home).symlink_to(environment_path(cache))
    try:
        assert callsheet("up", "--phoenix-port", "6106").status == 0
        phoenix = callsheet("status", "--json").data["phoenix"]
        assert phoenix["healthy"]
        ended = callsheet("run", "research", "--docs", "README.md", "--json", "What does a crash cost?")
        assert f"watch it live: {phoenix['url']}" in ended.err
        run = ended.data
        assert run["trace_url"].endswith(f"/traces/{run['trace_id']}")
        client, until = PhoenixClient(phoenix["url"]), time.monotonic() + 60
        while not client.spans("callsheet", run["run_id"]):
            assert time.monotonic() < until, "no span of the run has come to Phoenix"
            time.sleep(0.2)
    finally:
        assert callsheet("down").status == 0
    assert not PhoenixClient(phoenix["url"]).healthy()


def test_a_key_that_was_set_after_up_is_told_of(brought_up: Path, callsheet: Callsheet) -> None:
    environment = {**os.environ, "OPENAI_API_KEY": "sk-very-secret"}
    default = callsheet("run", "research", "--docs", "README.md", "--json", "a crash?", env=environment)
    assert default.data["status"] == "done", default.err
    assert "[README.md#L" in default.data["output"]
    assert "no language model" in default.err
    assert "`callsheet down`" in default.err
    named = callsheet("run", "research", "--model", "openai/gpt-5.4-mini", "hello", env=environment)
    assert named.status == 2
    assert "`callsheet down`" in named.err
    assert callsheet("runs", "--json").data[0]["run_id"] == default.data["run_id"]
