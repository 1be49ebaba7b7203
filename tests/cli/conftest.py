"""The command line as people start it: a process of its own, in a folder with documents and crew files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 120

SLOW = """
import asyncio
from callsheet import Agent, Crew

crew = Crew("slow", agents=[Agent("clerk", role="You answer.")])


@crew.flow
async def slow(run, task: str) -> str:
    await run.ask("clerk", task)
    await asyncio.Event().wait()
    return ""
"""

DESK = '''
from __future__ import annotations

from pydantic import BaseModel

import orders
from callsheet import Agent, Crew, tool


class Place(BaseModel):
    """Where an order is."""

    text: str


@tool
def order_status(order_id: str) -> str:
    """Look up where an order is.

    Args:
        order_id: The number of the order.
    """
    import late  # only now: beside the crew's file, and not yet loaded

    return f"Order {order_id} is {late.written(orders.PLACES[order_id])}."


clerk = Agent("clerk", role="You answer questions about orders.", tools=[order_status], output=Place)
crew = Crew("desk", agents=[clerk])


@crew.flow
async def desk(run, question: str) -> Place:
    return await run.ask(clerk, question)
'''


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output, which must be one JSON value."""
        return json.loads(self.out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a document and two crew files, one with modules beside it."""
    here = tmp_path / "work"
    (here / "crews").mkdir(parents=True)
    (here / "README.md").write_text("# Crashes\n\nA crash costs no finished step, because of the journal.\n")
    (here / "slow.py").write_text(SLOW)
    (here / "crews" / "desk.py").write_text(DESK)
    (here / "crews" / "orders.py").write_text('PLACES = {"17": "in Leipzig", "18": "in Graz"}\n')
    (here / "crews" / "late.py").write_text("def written(place):\n    return place.upper()\n")
    return here


class Process(subprocess.Popen[str]):
    """A process that its `with` block does not wait for after a failure."""

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, trace)


def _as_in_a_terminal() -> None:
    # A shell starts what it runs in the background with SIGINT ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def begin(folder: Path, home: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts a command line."""

    def start(*args: str, **options: Any) -> subprocess.Popen[str]:
        return Process(
            [sys.executable, "-c", "from callsheet.cli import main; main()", *args],
            text=True, stdin=subprocess.DEVNULL, preexec_fn=_as_in_a_terminal,
            **{
                "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": dict(os.environ), "cwd": folder,
                **options,
            },
        )  # fmt: skip

    return start


@pytest.fixture
def callsheet(begin: Callable[..., subprocess.Popen[str]]) -> Callable[..., Ended]:
    """Runs a command line to its end; no traceback may come of any."""

    def run(*args: str, **options: Any) -> Ended:
        with begin(*args, **options) as process:
            out, err = process.communicate(timeout=TIMEOUT_S)
        assert "Traceback" not in f"{out}{err}"
        assert "fault in callsheet" not in f"{err}", err
        return Ended(process.returncode, out, err)

    return run
