"""Messages through the coordinator, journal on disk, beside raw Ray calls through a third actor.

Both carry 200-byte bodies from one actor through a second to a third, and are interleaved in one run. A
raw message is one call that the hub forwards with another call. A message of ours is an ask or its reply:
routed by the coordinator, and in the journal before it is delivered.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import spread
from callsheet.core.canonical import to_json
from callsheet.core.limits import Limits
from callsheet.core.records import RunRecord
from callsheet.runtime.host import HostConfig, ParticipantSpec
from callsheet.runtime.ray_host import RayHost
from callsheet.runtime.turns import Turn

BODY = "x" * 200
ASKS = 10
MESSAGES_A_RUN = 2 * ASKS + 2
ROUNDS = 5
REST_S = 2.0
"""Before each load: Ray reports the calls of the one before for a while, at the cost of the next."""


async def echo(turn: Turn) -> dict[str, Any]:
    """Answers every message with 200 bytes."""
    return {"output": BODY}


def make_echo() -> Callable[[Turn], Awaitable[Any]]:
    """The echo participant's handler."""
    return echo


def make_flow(asks: int) -> Callable[[Turn], Awaitable[Any]]:
    """A flow that asks the echo that many times, one after the other."""

    async def flow(turn: Turn) -> dict[str, Any]:
        for i in range(asks):
            await turn.ask("echo", {"input": f"{i} {BODY}"})
        return {"output": "done"}

    return flow


class Raw:
    """A → hub → B with bare Ray calls, one for each message and hop."""

    def __init__(self) -> None:
        import ray

        @ray.remote(num_cpus=0)
        class Target:
            async def take(self, data: str) -> str:
                return data

        @ray.remote(num_cpus=0)
        class Hub:
            def __init__(self, target: Any) -> None:
                self.target = target

            async def forward(self, data: str) -> str:
                answer: str = await self.target.take.remote(data)
                return answer

        @ray.remote(num_cpus=0)
        class Source:
            def __init__(self, hub: Any) -> None:
                self.hub = hub

            async def send(self, messages: int, in_flight: int) -> float:
                async def some(count: int) -> None:
                    for _ in range(count):
                        await self.hub.forward.remote(BODY)

                began = time.perf_counter()
                await asyncio.gather(*(some(messages // in_flight) for _ in range(in_flight)))
                return time.perf_counter() - began

        self.target = Target.remote()
        self.hub = Hub.remote(self.target)
        self.source = Source.remote(self.hub)

    async def seconds_a_message(self, messages: int, in_flight: int) -> float:
        """The mean time of one forwarded message, in seconds, as the sender sees it."""
        seconds: float = await self.source.send.remote(messages, in_flight)
        return seconds / messages


async def runs_through(host: RayHost, count: int) -> float:
    """Do `count` runs at once; returns the mean time of one message in seconds."""
    client = host.client

    async def one() -> None:
        run_id = f"bench-{uuid.uuid4().hex[:16]}"
        record = RunRecord(
            run_id=run_id, crew="bench", status="running", input=to_json({"input": "go"}), launch="bench",
            started=time.time(),
        )  # fmt: skip
        client.start(record, Limits())
        end = await client.end(run_id)
        assert end.status == "done", end

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return (time.perf_counter() - began) / (count * MESSAGES_A_RUN)


async def measure(rounds: int = ROUNDS, runs_in_flight: int = 1000) -> dict[str, Any]:
    """Both ways, idle and under load, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        host = RayHost(HostConfig(journal=Path(folder) / "journal.db"))
        await host.open([])
        try:
            await host.launch(
                "bench",
                [
                    ParticipantSpec(name="flow", factory=functools.partial(make_flow, ASKS)),
                    ParticipantSpec(name="echo", factory=make_echo),
                ],
                {},
            )
            raw = Raw()
            await raw.seconds_a_message(100, 10)
            await runs_through(host, 20)
            found: dict[str, list[float]] = {
                name: [] for name in ("raw_idle", "ours_idle", "raw_load", "ours_load")
            }
            for _ in range(rounds):
                await asyncio.sleep(REST_S)
                found["raw_idle"].append(await raw.seconds_a_message(100, 1))
                found["ours_idle"].append(sum([await runs_through(host, 1) for _ in range(5)]) / 5)
                await asyncio.sleep(REST_S)
                found["raw_load"].append(await raw.seconds_a_message(runs_in_flight * 2, runs_in_flight))
                await asyncio.sleep(REST_S)
                found["ours_load"].append(await runs_through(host, runs_in_flight))
        finally:
            await host.close()
    load = [raw / ours for raw, ours in zip(found["raw_load"], found["ours_load"], strict=True)]
    idle = [ours / raw for raw, ours in zip(found["raw_idle"], found["ours_idle"], strict=True)]
    return {
        "runs_in_flight": runs_in_flight,
        "raw_forwarded_messages_a_second": spread([1 / s for s in found["raw_load"]]),
        "callsheet_messages_a_second": spread([1 / s for s in found["ours_load"]]),
        "throughput_ratio": spread(load),
        "raw_idle_ms": spread([s * 1e3 for s in found["raw_idle"]]),
        "callsheet_idle_hop_ms": spread([s * 1e3 for s in found["ours_idle"]]),
        "idle_ratio": spread(idle),
    }
