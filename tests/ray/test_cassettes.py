"""Cassettes on a real Ray: recorded and replayed in the gateway's process, by agents in theirs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import ModelRequestError, UsageError
from callsheet.crews.crew import Crew
from callsheet.crews.result import Result
from callsheet.tools import Tool, tool
from tests.ray.conftest import KEY, Cluster

pytestmark = pytest.mark.timeout(240)


def shelf_tool(first_shelf: int = 1000, dies_beside: Path | None = None) -> Tool:
    """A tool that kills its process where there is no file `dies_beside` yet, and makes it before."""
    marker = None if dies_beside is None else str(dies_beside)

    @tool
    def order_shelf(order_id: int) -> str:
        """Look up on which shelf an order lies.

        Args:
            order_id: The number of the order.
        """
        if marker is not None and not os.path.exists(marker):  # noqa: PTH110 - runs in an agent's process
            with open(marker, "x"):  # noqa: PTH123
                os.kill(os.getpid(), signal.SIGKILL)
        return f"Order {order_id} lies on shelf {order_id * 7 + first_shelf}."

    return order_shelf


def a_desk(shelves: Tool) -> Crew:
    clerk = Agent("clerk", role="You answer questions about orders.", tools=[shelves])
    checker = Agent("checker", role="You repeat what you are given.")
    return Crew("desk", agents=[clerk, checker])


@pytest.fixture(scope="module")
def desk() -> Crew:
    return a_desk(shelf_tool())


async def ask(cluster: Cluster, desk: Crew, order: int, **options: Any) -> Result:
    question = f"On which shelf lies order {order}?"
    return await desk.arun(question, settings=cluster.settings, check=False, **options)


async def answered_by(cluster: Cluster, result: Result) -> list[str]:
    """Who gave each model's reply of the run, by the journal."""
    _, _, steps = await cluster.portal.arun(cluster.host.client.query("run", run_id=result.run_id))
    return [json.loads(step.result)["source"] for step in steps if step.kind == "llm"]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def with_last_answer(path: Path, text: str) -> None:
    """Write another answer into the last line: only who reads the file can know of it."""
    kept = lines(path)
    kept[-1]["reply"]["message"]["parts"][0]["text"] = text
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))


async def test_a_recorded_run_is_answered_by_the_file_alone(
    cluster: Cluster, desk: Crew, tmp_path: Path
) -> None:
    path = tmp_path / "desk.jsonl"
    first = await ask(cluster, desk, 17, record=path)
    assert "shelf 1119" in first.output
    assert await answered_by(cluster, first) == ["model"] * 3
    assert [line["agent"] for line in lines(path)] == ["clerk", "clerk", "checker"]
    assert KEY not in path.read_text()
    with_last_answer(path, "Only the cassette says this.")
    again = await ask(cluster, desk, 17, replay=path)
    assert again.output == "Only the cassette says this."
    assert again.usage == first.usage
    assert await answered_by(cluster, again) == ["cassette"] * 3


async def test_forty_runs_at_once_record_whole_lines_to_one_file_and_all_are_replayed(
    cluster: Cluster, desk: Crew, tmp_path: Path
) -> None:
    path = tmp_path / "desk.jsonl"
    first = await asyncio.gather(*(ask(cluster, desk, i, record=path) for i in range(40)))
    assert {result.status for result in first} == {"done"}
    assert len(lines(path)) == 3 * 40
    again = await asyncio.gather(*(ask(cluster, desk, i, replay=path) for i in range(40)))
    assert [result.output for result in again] == [result.output for result in first]
    assert len(lines(path)) == 3 * 40


async def test_a_crew_that_has_changed_is_told_where_it_differs(
    cluster: Cluster, desk: Crew, tmp_path: Path
) -> None:
    path = tmp_path / "desk.jsonl"
    await ask(cluster, desk, 17, record=path)
    moved = await ask(cluster, a_desk(shelf_tool(first_shelf=5000)), 17, replay=path)
    assert isinstance(moved.error, ModelRequestError)
    assert "the nearest is line 2" in moved.error.message
    assert "-Order 17 lies on shelf 1119." in moved.error.message
    assert "+Order 17 lies on shelf 5119." in moved.error.message
    assert "--record" in moved.error.hint


async def test_a_replay_goes_on_after_its_agent_was_killed(cluster: Cluster, tmp_path: Path) -> None:
    path, marker = tmp_path / "desk.jsonl", tmp_path / "killed"
    marker.touch()
    desk = a_desk(shelf_tool(dies_beside=marker))
    await ask(cluster, desk, 17, record=path)
    with_last_answer(path, "Only the cassette says this.")
    marker.unlink()
    again = await ask(cluster, desk, 17, replay=path)
    assert marker.exists()
    assert again.output == "Only the cassette says this."
    assert await answered_by(cluster, again) == ["cassette"] * 3
    assert again.usage.llm_calls == 3


async def test_a_cassette_that_is_not_there_is_told_before_the_run_begins(
    cluster: Cluster, desk: Crew, tmp_path: Path
) -> None:
    path = tmp_path / "none.jsonl"
    with pytest.raises(UsageError, match=r"none\.jsonl"):
        await ask(cluster, desk, 17, replay=path)
    with pytest.raises(UsageError, match="cannot be"):
        await ask(cluster, desk, 17, record=tmp_path / "no folder" / "desk.jsonl")
    assert not path.exists()
