"""What durability costs: the same runs with the journal on disk and with the journal in memory.

Four agents in sequence, each of which calls the model, calls a tool, and calls the model again. The model is a
gateway that answers at once, so that nothing hides what callsheet itself does. Both journals are measured in turn
in one benchmark run; the figure is the ratio of their throughputs.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import spread
from callsheet.agents import Agent
from callsheet.core.canonical import to_json
from callsheet.core.limits import Limits
from callsheet.core.records import RunRecord
from callsheet.crews import Crew
from callsheet.models.messages import ModelReply, ModelRequest, ToolCall, Usage, assistant
from callsheet.runtime.host import Host, HostConfig, ServiceSpec
from callsheet.runtime.inline_host import InlineHost
from callsheet.runtime.ray_host import RayHost
from callsheet.tools import tool

IN_MEMORY = "sqlite://"
ANSWER = "word " * 60
NAMES = ("researcher", "analyst", "writer", "critic")
STEPS_A_RUN = 3 * len(NAMES)


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word}: " + "x" * 200


class InstantGateway:
    """A model without latency: first a call of the tool, then a text."""

    async def handle(self, request: ModelRequest) -> ModelReply:
        """Answer at once."""
        if request.messages[-1].role == "tool":
            message, stop = assistant(ANSWER), "end"
        else:
            message = assistant("", ToolCall(id="call_1", name="look_up", arguments='{"word": "durable"}'))
            stop = "tool_calls"
        return ModelReply(
            request_id=request.id, message=message, stop=stop, model="instant/model",  # type: ignore[arg-type]
            usage=Usage(input_tokens=100, output_tokens=60), cost_usd=0.0,
        )  # fmt: skip


def make_gateway(secrets: Mapping[str, str], calls: Mapping[str, Any]) -> InstantGateway:
    """The gateway, in its own process on Ray."""
    return InstantGateway()


def relay() -> Crew:
    """Four agents in sequence."""
    return Crew("relay", agents=[Agent(name, role="You do your part.", tools=[look_up]) for name in NAMES])


async def seconds_a_run(host: Host, runs: int, in_flight: int, model: str = "instant/model") -> float:
    """The mean time of a run, with so many in flight, in seconds."""
    slots = asyncio.Semaphore(in_flight)

    async def one() -> None:
        run_id = f"bench-{uuid.uuid4().hex[:16]}"
        record = RunRecord(
            run_id=run_id, crew="relay", status="running", input=to_json({"input": "go"}), launch="relay",
            started=time.time(), options=to_json({"model": model}),
        )  # fmt: skip
        async with slots:
            host.client.start(record, Limits())
            end = await host.client.end(run_id)
        assert end.status == "done", end
        assert end.usage.llm_calls == 2 * len(NAMES)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(runs)))
    return (time.perf_counter() - began) / runs


async def opened(make: Any, journal: str | Path) -> Host:
    """A host with that journal, on which the relay is launched and warm."""
    host: Host = make(HostConfig(journal=journal))
    await host.open([ServiceSpec(name="gateway", factory=make_gateway)])
    crew = relay()
    await host.launch("relay", crew.participants(), crew.description())
    await seconds_a_run(host, 20, 20)
    return host


async def inline(rounds: int, found: dict[str, list[float]]) -> None:
    """Both journals in this process, turn by turn."""
    with tempfile.TemporaryDirectory() as folder:
        disk = await opened(InlineHost, Path(folder) / "journal.db")
        memory = await opened(InlineHost, IN_MEMORY)
        try:
            for _ in range(rounds):
                found["inline_disk"].append(await seconds_a_run(disk, 400, 50))
                found["inline_memory"].append(await seconds_a_run(memory, 400, 50))
                found["idle_disk"].append(await seconds_a_run(disk, 30, 1))
                found["idle_memory"].append(await seconds_a_run(memory, 30, 1))
        finally:
            await disk.close()
            await memory.close()


async def on_ray(rounds: int, found: dict[str, list[float]]) -> None:
    """Both journals on Ray: one Ray after the other, since a cluster has one coordinator."""
    for n in range(rounds):
        for name in ("memory", "disk") if n % 2 else ("disk", "memory"):
            with tempfile.TemporaryDirectory() as folder:
                journal: Any = Path(folder) / "journal.db" if name == "disk" else IN_MEMORY
                host = await opened(functools.partial(RayHost), journal)
                try:
                    found[f"ray_{name}"].append(min([await seconds_a_run(host, 400, 200) for _ in range(3)]))
                finally:
                    await host.close()


async def measure(rounds: int = 5) -> dict[str, Any]:
    """Throughputs and their ratios."""
    found: dict[str, list[float]] = {
        f"{host}_{name}": [] for host in ("inline", "idle", "ray") for name in ("disk", "memory")
    }
    await inline(rounds, found)
    await on_ray(min(rounds, 3), found)

    def cost(host: str) -> dict[str, Any]:
        pairs = zip(found[f"{host}_disk"], found[f"{host}_memory"], strict=True)
        return spread([100 * (1 - memory / disk) for disk, memory in pairs])

    def step_ms(name: str) -> dict[str, Any]:
        return spread([1e3 * seconds / STEPS_A_RUN for seconds in found[name]])

    return {
        "inline_disk_runs_a_second": spread([1 / s for s in found["inline_disk"]]),
        "inline_memory_runs_a_second": spread([1 / s for s in found["inline_memory"]]),
        "inline_cost_percent": cost("inline"),
        "ray_disk_runs_a_second": spread([1 / s for s in found["ray_disk"]]),
        "ray_memory_runs_a_second": spread([1 / s for s in found["ray_memory"]]),
        "ray_cost_percent": cost("ray"),
        "idle_disk_ms_a_step": step_ms("idle_disk"),
        "idle_memory_ms_a_step": step_ms("idle_memory"),
    }
