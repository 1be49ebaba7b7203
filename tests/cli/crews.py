"""Crews whose runs are killed, held up and stopped, with a ledger of what their tools did."""

from __future__ import annotations

LEDGER = '''
import asyncio
from pathlib import Path

from callsheet import Agent, Crew, tool

HERE = Path(__file__).parent


@tool
def note(text: str) -> str:
    """Note a text.

    Args:
        text: What to note.
    """
    with open(HERE / "ledger.txt", "a") as file:
        file.write(text + "\\n")
    return f"Noted {text}."


crew = Crew("ledger", agents=[Agent("clerk", role="You note texts.", tools=[note])])


@crew.flow
async def ledger(run, task: str) -> str:
    one = await run.ask("clerk", f"note {task} one")
    if (HERE / "hold").exists():
        print("holding", flush=True)
        while (HERE / "hold").exists():
            await asyncio.sleep(0.05)
    two = await run.ask("clerk", f"note {task} two")
    return f"{one} {two}"
'''
"""Two notes, and a wait between them while there is a file `hold`."""

NOTED = ["note hello one", "note hello two"]

BLOCKED = '''
import time

from callsheet import Agent, Crew, tool


@tool
def ponder(question: str) -> str:
    """Ponder a question."""
    print("pondering", flush=True)
    time.sleep(600)  # in C: nothing in this process can end it
    return "done"


crew = Crew("blocked", agents=[Agent("clerk", role="You ponder the question.", tools=[ponder])])
'''
"""A tool that blocks its thread for ten minutes."""

CASHIER = '''
from pathlib import Path

from callsheet import Agent, Crew, tool

HERE = Path(__file__).parent


@tool(effect="once", approval=True)
def refund(order_id: str) -> str:
    """Refund an order.

    Args:
        order_id: The number of the order.
    """
    with open(HERE / "ledger.txt", "a") as file:
        file.write(order_id + "\\n")
    return f"Order {order_id} is refunded."


crew = Crew("cashier", agents=[Agent("clerk", role="You refund orders.", tools=[refund])])
'''
"""A tool that a person has to approve."""
