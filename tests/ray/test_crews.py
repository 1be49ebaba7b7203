"""Crews on a real Ray: from a file, two hundred at once, and from another driver."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from callsheet.crews.crew import Crew
from callsheet.crews.loading import load_crew
from callsheet.crews.result import Result
from tests.ray.conftest import KEY, Cluster

pytestmark = pytest.mark.timeout(240)

CREW_FILE = '''
from pydantic import BaseModel
from callsheet import Agent, Crew, tool
from beside import shelf_of

class Place(BaseModel):
    order: int
    text: str

@tool
def order_shelf(order_id: int) -> str:
    """Look up on which shelf an order lies.

    Args:
        order_id: The number of the order.
    """
    return f"Order {order_id} lies on shelf {shelf_of(order_id)}."

clerk = Agent("clerk", role="You answer questions about orders.", tools=[order_shelf])
checker = Agent("checker", role="You repeat what you are given.")
crew = Crew("desk", agents=[clerk, checker])

@crew.flow
async def desk(run, order: int) -> Place:
    answer = await run.ask(clerk, f"On which shelf lies order {order}?")
    return Place(order=order, text=answer)
'''

DRIVER = """
import json, sys
from callsheet import Crew
result = Crew.connect(sys.argv[1]).run(int(sys.argv[2]))
print(json.dumps({"output": result.output, "run_id": result.run_id, "status": result.status}))
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Crew:
    folder = tmp_path_factory.mktemp("crew")
    (folder / "beside.py").write_text("def shelf_of(order_id: int) -> int:\n    return order_id * 7 + 1000\n")
    (folder / "desk.py").write_text(CREW_FILE)
    return load_crew(str(folder / "desk.py"))


def test_tools_types_and_flows_of_a_file_work_on_ray(cluster: Cluster, desk: Crew) -> None:
    result = desk.run(17, settings=cluster.settings)
    assert type(result.output).__name__ == "Place"
    assert result.output.order == 17
    assert "shelf 1119" in result.output.text
    assert result.usage.tool_calls == 1


def test_two_hundred_runs_of_one_crew_at_once_are_all_right(cluster: Cluster, desk: Crew) -> None:
    async def all_runs() -> list[Result]:
        return await asyncio.gather(*(desk.arun(i, settings=cluster.settings) for i in range(200)))

    for i, result in enumerate(asyncio.run(all_runs())):
        assert result.output.order == i
        assert f"Order {i} lies on shelf {i * 7 + 1000}." in result.output.text


def test_runs_go_on_when_the_gateway_is_killed(cluster: Cluster, desk: Crew) -> None:
    before = cluster.pids["gateway"]

    async def all_runs() -> list[Result]:
        runs = [asyncio.ensure_future(desk.arun(i, settings=cluster.settings)) for i in range(60)]
        await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
        os.kill(before, signal.SIGKILL)
        return await asyncio.gather(*runs)

    for i, result in enumerate(asyncio.run(all_runs())):
        assert f"shelf {i * 7 + 1000}." in result.output.text
    cluster.pids = cluster.portal.run(cluster.host.wait_ready())
    assert cluster.pids["gateway"] != before
    assert "shelf 1700." in desk.run(100, settings=cluster.settings).output.text


def test_a_second_driver_runs_a_launched_crew(cluster: Cluster, desk: Crew) -> None:
    import ray

    cluster.portal.run(cluster.host.launch("front", desk.participants(), desk.description()))
    environment: dict[str, Any] = {
        **os.environ, "CALLSHEET_HOME": str(cluster.settings.home), "CALLSHEET_PHOENIX": "off",
        "CALLSHEET_ADDRESS": ray.get_runtime_context().gcs_address, "CALLSHEET_MODEL": "offline",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "front", "23"], cwd=Path(__file__).parents[2], env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == "done"
    assert told["output"]["order"] == 23
    assert "shelf 1161" in told["output"]["text"]
    journal = cluster.journal()
    record = journal.run(told["run_id"])
    journal.close()
    assert record is not None
    assert record.launch == "front"
    assert KEY not in done.stdout + done.stderr
    cluster.portal.run(cluster.host.stop("front"))
