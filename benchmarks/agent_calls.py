"""What an agent's model call costs on Ray, all processes counted, beside the bare OpenAI SDK's.

Four agents in sequence, each of which calls the model, calls a tool, and calls the model again: eight model calls
a run, through the gateway to a server on loopback, with the journal on disk. The server is that of
`benchmarks.gateway`, as are the SDK's calls, which a fresh process makes before and after each load. Counted is the
CPU time of this process and of all below it (Ray's own daemons, coordinator, gateway, agents), without the
server's. `python -m benchmarks agents [--rounds N]` prints the figures.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.durability import NAMES, seconds_a_run
from benchmarks.gateway import run_client, start_server
from benchmarks.machine import spread
from benchmarks.processes import tree_cpu
from callsheet.agents import Agent
from callsheet.crews import Crew
from callsheet.models.config import GatewayConfig
from callsheet.runtime.host import HostConfig, ServiceSpec
from callsheet.runtime.ray_host import RayHost
from callsheet.runtime.services import Call, Component
from callsheet.tools import Tool, tool
from callsheet.tracing import TracingConfig

MODEL = "openai/gpt-4o-mini"
CALLS_A_RUN = 2 * len(NAMES)
LOADS = {50: 300, 200: 400}
"""Runs in flight to runs of one load."""
SDK_CALLS = 1000
ROLE = "You answer questions about orders, in two friendly sentences, with what your tools find. " * 5


def order_tools() -> list[Tool]:
    """The five tools of `benchmarks.gateway`'s requests, as functions."""

    def make(number: int) -> Tool:
        @tool(name=f"tool_{number}")
        def look_up(order_id: str, detail: str = "", language: str = "", since: str = "") -> str:
            """Look up where an order is, and when it will arrive.

            Args:
                order_id: The order_id to look for, as the customer gave it.
                detail: The detail to look for, as the customer gave it.
                language: The language to look for, as the customer gave it.
                since: The since to look for, as the customer gave it.
            """
            return f"{order_id}: " + "x" * 200

        return look_up

    return [make(number) for number in range(5)]


def relay() -> Crew:
    """Four agents in sequence, each with the five tools."""
    tools = order_tools()
    return Crew("relay", agents=[Agent(name, role=ROLE, tools=tools) for name in NAMES])


def make_gateway(url: str, secrets: Mapping[str, str], calls: Mapping[str, Call]) -> Component:
    """The gateway, in its own process on Ray, with the server as OpenAI's address."""
    from callsheet.models.gateway import Gateway

    return Gateway(GatewayConfig(base_urls={"openai": url}, expects="openai"), environ=secrets)


async def opened(folder: Path, url: str, *, traced: bool) -> RayHost:
    """A host with the journal on disk, on which the relay is launched and warm."""
    tracing = TracingConfig(spool_dir=folder / "spool") if traced else None
    host = RayHost(HostConfig(journal=folder / "journal.db", tracing=tracing))
    factory = functools.partial(make_gateway, url)
    await host.open([ServiceSpec(name="gateway", factory=factory, secrets={"OPENAI_API_KEY": "k"})])
    crew = relay()
    await host.launch("relay", crew.participants(), crew.description())
    await seconds_a_run(host, 100, 50, MODEL)
    return host


async def load(host: RayHost, server: int, runs: int, in_flight: int) -> tuple[float, dict[str, float]]:
    """Runs a second, and the CPU time of a model call by kind of process, ms."""
    before = tree_cpu(without=server)
    rate = 1 / await seconds_a_run(host, runs, in_flight, MODEL)
    by_kind: dict[str, float] = {}
    for pid, used in tree_cpu(without=server).items():
        since = before[pid].cpu_s if pid in before else 0.0
        ms = (used.cpu_s - since) * 1000 / (runs * CALLS_A_RUN)
        by_kind[used.kind] = by_kind.get(used.kind, 0.0) + ms
    return rate, by_kind


async def turn(host: RayHost, server: int, url: str) -> AsyncIterator[tuple[str, float]]:
    """Each load with the SDK's calls before and after it: the names of the figures, and what was measured."""
    for in_flight, runs in LOADS.items():
        before = await asyncio.to_thread(run_client, "sdk", url, SDK_CALLS, in_flight)
        rate, by_kind = await load(host, server, runs, in_flight)
        after = await asyncio.to_thread(run_client, "sdk", url, SDK_CALLS, in_flight)
        sdk, agents = (before["cpu_ms"] + after["cpu_ms"]) / 2, sum(by_kind.values())
        yield f"{in_flight}: the SDK, CPU ms a call", sdk
        yield f"{in_flight}, {{spans}}: agents, CPU ms a call", agents
        yield f"{in_flight}, {{spans}}: agents / SDK, CPU", agents / sdk
        yield f"{in_flight}, {{spans}}: runs a second", rate
        for kind, ms in by_kind.items():
            yield f"{in_flight}, {{spans}}: … {kind}, CPU ms a call", ms


async def measure(rounds: int) -> dict[str, Any]:
    """CPU of a model call and runs a second with spans off and on, and their ratios to the SDK's calls."""
    figures: dict[str, list[float]] = {}
    server, url = start_server(0.0)
    try:
        for n in range(rounds):
            for traced in (False, True) if n % 2 == 0 else (True, False):
                with tempfile.TemporaryDirectory() as folder:
                    host = await opened(Path(folder), url, traced=traced)
                    try:
                        spans = "spans on" if traced else "spans off"
                        async for name, value in turn(host, server.pid, url):
                            figures.setdefault(name.format(spans=spans), []).append(value)
                    finally:
                        await host.close()
    finally:
        server.terminate()
        server.wait()
    return {name: spread(values) for name, values in sorted(figures.items())}
