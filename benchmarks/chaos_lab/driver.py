"""A driver that is told on its standard input which runs to begin, resume or answer, and tells what became of them.

`python -m benchmarks.chaos_lab.driver MODE DOCS`, MODE being `cluster` (the crew is launched there already),
`alone` (with a Ray of its own) or `inline` (all in this one process). One JSON object a line, both ways.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from callsheet.crews.crew import Crew
from callsheet.crews.loading import load_crew

CREW_FILE = Path(__file__).with_name("crew_file.py")


def tell(**line: Any) -> None:
    """Say something to the campaign."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Driver:
    """Does what it is told, many runs at once."""

    def __init__(self, mode: str, docs: str) -> None:
        self._crew: Any = Crew.connect("chaos") if mode == "cluster" else load_crew(str(CREW_FILE))
        self._docs = docs
        self._host: Any = "inline" if mode == "inline" else "ray"
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, order: dict[str, Any]) -> None:
        """Begin what is ordered."""
        task = asyncio.get_running_loop().create_task(self._do(order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, order: dict[str, Any]) -> None:
        run_id = order.get("run", "")
        try:
            if "job" in order:
                run = await self._crew.astart(
                    order["job"], host=self._host, docs=[self._docs], watch=False, notices=[]
                )
                run_id = run.run_id
                tell(started=order["job"], run=run_id)
                result = await run.aresult(check=False)
            else:
                result = await self._crew.aresume(
                    run_id, host=self._host, check=False, **order.get("options", {})
                )
        except Exception as error:  # the campaign judges it
            tell(refused=type(error).__name__, run=run_id, message=str(error), order=order)
        else:
            why = None if result.error is None else result.error.message
            tell(ended=result.status, run=run_id, output=result.output, error=why)


async def main() -> None:
    """Take orders until standard input ends."""
    driver = Driver(sys.argv[1], sys.argv[2])
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    tell(ready=True)
    async for line in reader:
        driver.take(json.loads(line))


if __name__ == "__main__":
    asyncio.run(main())
