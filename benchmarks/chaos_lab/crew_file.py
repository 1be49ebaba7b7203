"""The crew under test: three agents, a flow, and a tool of each effect that writes into a ledger.

The ledger is a file that belongs to nobody's process: what a tool did to the world is a line in it, on
disk before the tool goes on, with the key of the call and the process that made it. What the crew answers
follows from its task alone, so that a disturbed run can be compared with an undisturbed one.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from callsheet import Agent, Crew, FlowRun, ToolContext, tool

WORK_S = 0.02
"""How long a tool works before and after its effect: time in which it can be killed."""


def note(name: str, context: ToolContext, **arguments: object) -> None:
    """The effect: one line, on disk when this returns."""
    line = {
        "tool": name, "arguments": arguments, "key": context.idempotency_key, "run": context.run_id,
        "turn": context.turn_id, "pid": os.getpid(), "at": time.time(),
    }  # fmt: skip
    path = Path(os.environ["CHAOS_FOLDER"]) / "ledger.jsonl"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
        os.fsync(file)
    finally:
        os.close(file)


async def gate(name: str) -> None:
    """Wait as long as the campaign holds that gate shut."""
    shut = Path(os.environ["CHAOS_FOLDER"]) / f"shut-{name}"
    while shut.exists():
        await asyncio.sleep(0.005)


@tool
async def look_up(item: str, context: ToolContext) -> str:
    """Look up where an item is.

    Args:
        item: Its name.
    """
    await asyncio.sleep(WORK_S)
    note("look_up", context, item=item)
    await asyncio.sleep(WORK_S)
    return f"{item} is on shelf {len(item)}"


@tool
async def consult(question: str, context: ToolContext) -> str:
    """Find the document that answers a question.

    Args:
        question: What is to be known.
    """
    assert context.memory is not None
    found = await context.memory.search(question, k=1)
    note("consult", context, question=question)
    return found[0].cite if found else "nothing"


@tool(effect="idempotent")
def put(item: str, place: str, context: ToolContext) -> str:
    """Put an item in a place.

    Args:
        item: Its name.
        place: Where to.
    """
    time.sleep(WORK_S)
    note("put", context, item=item, place=place)
    time.sleep(WORK_S)
    return f"{item} is in {place}"


@tool(effect="once")
async def pay(order: str, context: ToolContext) -> str:
    """Pay for an order.

    Args:
        order: Its number.
    """
    await asyncio.sleep(WORK_S)
    await gate("before")
    note("pay", context, order=order)
    await gate("after")
    await asyncio.sleep(WORK_S)
    return f"receipt-{order}"


scout = Agent("scout", role="You find out.", tools=[look_up, consult], replicas=2)
keeper = Agent("keeper", role="You put things in their place.", tools=[put])
payer = Agent("payer", role="You pay.", tools=[pay, look_up])
crew = Crew("chaos", agents=[scout, keeper, payer])


@crew.flow
async def chaos(run: FlowRun, job: str) -> str:
    """Two questions side by side, then one agent after the other."""
    await run.now()
    first, second = await asyncio.gather(
        run.ask(scout, f"[scout {job}/1] Find out."), run.ask(scout, f"[scout {job}/2] Find out.")
    )
    kept = await run.ask(keeper, f"[keeper {job}/3] Keep it.", given={"scout": first})
    paid = await run.ask(payer, f"[payer {job}/4] Pay it.", given={"keeper": kept})
    return " / ".join([first, second, kept, paid])
