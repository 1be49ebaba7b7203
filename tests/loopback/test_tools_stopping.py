"""What stopped and stuck calls mean for the process they run in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

STUCK = '''
import asyncio, threading
from callsheet.tools import ToolContext, ToolFailure, stuck, tool

@tool(timeout_s=0.05)
def blocked() -> str:
    """Wait for ever."""
    threading.Event().wait()
    return ""

@tool
def quick() -> str:
    """Answer."""
    return "quick"

async def main():
    try:
        await blocked.call("", ToolContext())
    except ToolFailure as failure:
        print(failure.message_for_model)
    print(await quick.call("", ToolContext()), stuck())

asyncio.run(main())
'''

INTERRUPTED = '''
import asyncio, threading
from callsheet.tools import ToolContext, tool

@tool
def spin() -> str:
    """Run for ever."""
    while True:
        pass

async def main():
    asyncio.get_running_loop().call_later(0.1, asyncio.current_task().cancel)
    await spin.call("", ToolContext())

try:
    asyncio.run(main())
except asyncio.CancelledError:
    print("cancelled")
print([thread.name for thread in threading.enumerate() if thread.name == "callsheet-tool"])
'''


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_stuck_call_holds_up_neither_other_calls_nor_the_interpreters_end() -> None:
    done = run(STUCK)
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["blocked was given up: it took longer than 0.05 s.", "quick 1"],
    )
    assert "Traceback" not in done.stderr


def test_a_cancelled_call_leaves_no_thread_at_work() -> None:
    done = run(INTERRUPTED)
    assert (done.returncode, done.stdout.splitlines()) == (0, ["cancelled", "[]"])
    assert "Traceback" not in done.stderr
