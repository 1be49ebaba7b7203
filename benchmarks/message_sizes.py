"""Messages through the coordinator on Ray by their size, 200 bytes to 1 MB, with the journal on disk.

A flow asks an echo ten times, one after the other, and each ask and its answer has a body of that size, no two of
them alike. Alone, one run is under way; loaded, as many as make the figure of a few seconds. Beside the rate is the CPU
time of a message over all processes, Ray's daemons included.
"""

from __future__ import annotations

import asyncio
import functools
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.figures import name
from benchmarks.machine import spread
from benchmarks.processes import cpu_since, tree_cpu
from callsheet.core.canonical import from_json, to_json
from callsheet.core.limits import Limits
from callsheet.core.records import RunRecord
from callsheet.runtime.host import HostConfig, ParticipantSpec
from callsheet.runtime.ray_host import RayHost
from callsheet.runtime.turns import Turn

ASKS = 10
MESSAGES_A_RUN = 2 * ASKS
"""Of that size; the one that starts a run, and its answer, are short."""
RUNS = {200: 500, 2_000: 400, 20_000: 200, 200_000: 40, 1_000_000: 10}
"""Bytes of a body to runs at once."""
QUICK = {200: 50, 1_000_000: 2}


async def _echo(turn: Turn) -> dict[str, Any]:
    return {"output": from_json(turn.envelope.body)["input"]}


def _make_echo() -> Callable[[Turn], Awaitable[Any]]:
    return _echo


def _make_flow() -> Callable[[Turn], Awaitable[Any]]:
    text = random.Random(17).randbytes(max(RUNS) // 2).hex()

    async def flow(turn: Turn) -> dict[str, Any]:
        size = from_json(turn.envelope.body)["input"]
        for i in range(ASKS):
            mark = f"{turn.info.run_id} {i} "
            answer = await turn.ask("echo", {"input": mark + text[: size - len(mark)]})
            assert len(answer["output"]) == size
        return {"output": "done"}

    return flow


async def _runs(host: RayHost, size: int, count: int) -> None:
    async def one() -> None:
        run_id = f"bench-{uuid.uuid4().hex[:16]}"
        record = RunRecord(
            run_id=run_id, crew="sizes", status="running", input=to_json({"input": size}), launch="sizes",
            started=time.time(),
        )  # fmt: skip
        host.client.start(record, Limits())
        end = await host.client.end(run_id)
        assert end.status == "done", end

    await asyncio.gather(*(one() for _ in range(count)))


async def measure(rounds: int = 5, *, quick: bool = False) -> dict[str, Any]:
    """For each size: ms of a message alone; messages and MB a second, and CPU µs of a message, loaded."""
    found: dict[str, list[float]] = {}
    sizes = QUICK if quick else RUNS
    with tempfile.TemporaryDirectory() as folder:
        host = RayHost(HostConfig(journal=Path(folder) / "journal.db"))
        await host.open([])
        try:
            specs = [
                ParticipantSpec(name="flow", factory=_make_flow),
                ParticipantSpec(name="echo", factory=_make_echo),
            ]
            await host.launch("sizes", specs, {})
            await _runs(host, min(sizes), 20)
            for _ in range(rounds):
                for size, runs in sizes.items():
                    await _measure(functools.partial(_runs, host, size), size, runs, found)
        finally:
            await host.close()
    return {figure: spread(values) for figure, values in found.items()}


async def _measure(
    run: Callable[[int], Awaitable[None]], size: int, runs: int, found: dict[str, list[float]]
) -> None:
    begun = time.perf_counter()
    await run(1)
    alone = (time.perf_counter() - begun) / MESSAGES_A_RUN
    before, begun = tree_cpu(), time.perf_counter()
    await run(runs)
    wall, cpu = time.perf_counter() - begun, sum(cpu_since(before).values())
    messages = runs * MESSAGES_A_RUN
    for figure, value in (
        ("alone ms", 1000 * alone), ("messages/s", messages / wall), ("MB/s", messages * size / wall / 1e6),
        ("CPU µs", 1e6 * cpu / messages),
    ):  # fmt: skip
        found.setdefault(name(f"{size:,} bytes", figure), []).append(value)
