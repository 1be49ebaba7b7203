"""A tool that cannot be stopped in its process: the process goes, and the other runs in it lose nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from callsheet.crews.loading import load_crew
from tests.ray.conftest import Cluster, until

pytestmark = pytest.mark.timeout(240)

CREW_FILE = '''
import os, time
from pathlib import Path
from callsheet import Agent, Crew, ToolContext, tool

HERE = Path(__file__).parent

@tool
def block_for_ever(order_id: int) -> str:
    """Block an order for ever."""
    (HERE / "blocked").write_text(str(os.getpid()))
    time.sleep(3600)
    return ""

@tool
def pack_slowly(order_id: int) -> str:
    """Pack an order slowly."""
    with (HERE / "ledger").open("a") as ledger:
        ledger.write(f"{order_id} {os.getpid()}\\n")
    time.sleep(3)
    return f"Order {order_id} is packed."

clerk = Agent("clerk", role="You work on orders.", tools=[block_for_ever, pack_slowly])
crew = Crew("stubborn", agents=[clerk])

@crew.flow
async def stubborn(run, task: str) -> str:
    first = await run.ask(clerk, task)
    return f"{first} {await run.ask(clerk, 'Pack order 99 slowly.')}"
'''


async def test_a_blocked_tool_ends_with_its_process_and_other_runs_lose_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "stubborn.py").write_text(CREW_FILE)
    crew = load_crew(str(tmp_path / "stubborn.py"))
    ledger, blocked = tmp_path / "ledger", tmp_path / "blocked"
    other = await crew.astart("Pack order 5 slowly.", host="ray", settings=cluster.settings)
    await asyncio.to_thread(until, ledger.exists, "the other run's call")
    run = await crew.astart("Block order 7 for ever.", host="ray", settings=cluster.settings)
    await asyncio.to_thread(until, lambda: blocked.exists() and blocked.read_text(), "the call that blocks")
    pid = blocked.read_text()
    run.cancel()
    assert (await run.aresult(check=False)).status == "cancelled"
    await asyncio.to_thread(until, lambda: not Path("/proc", pid).exists(), "the end of its process")
    result = await other.aresult(check=False)
    assert result.status == "done", result.error
    assert "Order 5 is packed" in result.output
    assert "Order 99 is packed" in result.output
    orders, pids = zip(*(line.split() for line in ledger.read_text().splitlines()), strict=True)
    assert orders == ("5", "99"), "no finished call was made again"
    assert pids[0] == pid != pids[1]
