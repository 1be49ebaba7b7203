"""Crew files and journals of the tests of runs that go on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from callsheet.core.canonical import to_json
from callsheet.core.ids import root_envelope_id
from callsheet.core.records import PERSON, Envelope, RunRecord
from callsheet.runtime.journal import Journal
from callsheet.runtime.protocol import FLOW

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

ASKING = """
import asyncio
from callsheet import Agent, Crew

crew = Crew("asking", agents=[Agent("clerk", role="You answer.")])


@crew.flow
async def asking(run, task: str) -> str:
    if task == "both":
        found = await asyncio.gather(run.ask_person("Which size?"), run.ask_person("Which colour?"))
        return " ".join(found)
    await run.ask("clerk", task)
    return "It is " + await run.ask_person("Which size?", choices=["small", "large"])
"""

FAILING = """
from pathlib import Path
from callsheet import Agent, Crew, Limits

HERE = Path(__file__).parent
crew = Crew("failing", agents=[Agent("clerk", role="You answer.")])


@crew.flow
async def failing(run, task: str) -> str:
    answer = await run.ask("clerk", task)
    if not (HERE / "mended").exists():
        raise ValueError("the printer is on fire")
    return "printed"
"""


def left_run(home: Path, *, owner: str = "ray-dead", status: str = "running", source: str = "") -> RunRecord:
    """A run in the journal that some process has begun: its record, and the message that it began with."""
    run_id = "1122-000000-aaaaaaaa"
    record = RunRecord(
        run_id=run_id, crew="failing", status=status, input='{"input":"hello"}', options='{"host":"inline"}',
        owner=owner, source=source, started=time.time(), since=time.time(),
    )  # fmt: skip
    root = Envelope(
        id=root_envelope_id(run_id), run_id=run_id, kind="ask", sender=PERSON, receiver=FLOW,
        body=record.input, at=record.started,
    )  # fmt: skip
    with journal_of(home) as journal:
        journal.write([record, root])
    return record


def source_of(file: str, crew: str) -> str:
    """The source of a crew in a file of the working folder."""
    return to_json({"file": str(Path.cwd() / file), "crew": crew})


@contextlib.contextmanager
def journal_of(home: Path, owner: str = "") -> Iterator[Journal]:
    """The journal of a home, open; with an owner, as whoever works on its runs."""
    home.mkdir(exist_ok=True)
    journal = Journal(home / "journal.db", owner=owner)
    try:
        yield journal
    finally:
        journal.close()
