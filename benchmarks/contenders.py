"""Those who run the relay, each in a process of its own that stays warm: callsheet on its hosts, and bare clients.

`Contender` starts one and asks it for loads; `python -m benchmarks.contenders NAME SERVER FOLDER` is that process,
which takes a load a line and tells what it took. A process measures itself and all below it, so the model server,
which is below another, is not counted.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from benchmarks import conversation, relay_crew
from benchmarks.processes import cpu_since, forget_peaks, grown_mb, tree_cpu, tree_memory
from benchmarks.relay_crew import Said
from callsheet.core.canonical import to_json
from callsheet.core.limits import Limits
from callsheet.core.records import RunRecord
from callsheet.models.config import GatewayConfig
from callsheet.runtime.host import Host, HostConfig, ServiceSpec
from callsheet.runtime.services import Call, Component
from callsheet.tracing import TracingConfig

MARK = "found: "
WARM_RUNS = 20
IN_MEMORY = "sqlite://"
RELAY_LIMITS = Limits(messages=10_000)
SHORT = 10
"""Messages of the conversations that warm a contender up."""

Run = Callable[[int], Awaitable[None]]
"""One run of the relay, or, given a number, one conversation of so many messages. Raises what went wrong."""

Open = Callable[[AsyncExitStack, str, Path, int], Awaitable[Run]]
"""Makes ready, given the server's address, a folder and the number of agents; the stack closes what was opened."""


# --- the process that is measured -------------------------------------------------------------------------


async def _sdk(stack: AsyncExitStack, server: str, folder: Path, agents: int) -> Run:
    import openai

    client = openai.AsyncOpenAI(api_key="k", base_url=f"{server}/v1", max_retries=0)
    stack.push_async_callback(client.close)

    async def post(body: dict[str, Any]) -> Said:
        message = (await client.chat.completions.create(**body)).choices[0].message
        if not message.tool_calls:
            return Said(text=message.content)
        call: Any = message.tool_calls[0]
        return Said(text=None, call_id=call.id, name=call.function.name, arguments=call.function.arguments)

    return functools.partial(_by_hand, post)


async def _aiohttp(stack: AsyncExitStack, server: str, folder: Path, agents: int) -> Run:
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    stack.push_async_callback(session.close)
    address, headers = f"{server}/v1/chat/completions", {"content-type": "application/json"}

    async def post(body: dict[str, Any]) -> Said:
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        async with session.post(address, data=data, headers=headers) as response:
            message = json.loads(await response.read())["choices"][0]["message"]
        if not message.get("tool_calls"):
            return Said(text=message["content"])
        call = message["tool_calls"][0]
        return Said(text=None, call_id=call["id"], **call["function"])

    return functools.partial(_by_hand, post)


async def _by_hand(post: relay_crew.Post, messages: int) -> None:
    if messages:
        await conversation.run_by_hand(post, messages)
    else:
        assert await relay_crew.run_by_hand(post)


async def _callsheet(
    stack: AsyncExitStack,
    server: str,
    folder: Path,
    agents: int,
    *,
    on: str,
    in_memory: bool = False,
    traced: bool = False,
) -> Run:
    tracing = TracingConfig(spool_dir=folder / "spool", endpoint=server) if traced else None
    config = HostConfig(journal=IN_MEMORY if in_memory else folder / "journal.db", tracing=tracing)
    host: Host
    if on == "ray":
        from callsheet.runtime.ray_host import RayHost

        host = RayHost(config)
    else:
        from callsheet.runtime.inline_host import InlineHost

        host = InlineHost(config)
    stack.push_async_callback(host.close)
    factory = functools.partial(make_gateway, f"{server}/v1")
    await host.open([ServiceSpec(name="gateway", factory=factory, secrets={"OPENAI_API_KEY": "k"})])
    crews = [relay_crew.relay(agents)] if agents else [conversation.conversation()]
    for crew in crews:
        await host.launch(crew.name, crew.participants(), crew.description())
    return functools.partial(_run_on, host, 2 * agents)


def make_gateway(url: str, secrets: Mapping[str, str], calls: Mapping[str, Call]) -> Component:
    """The gateway, in its own process on Ray, with the server as OpenAI's address."""
    from callsheet.models.gateway import Gateway

    return Gateway(GatewayConfig(base_urls={"openai": url}, expects="openai"), environ=secrets)


async def _run_on(host: Host, calls: int, messages: int) -> None:
    crew, task, limits, model = "relay", relay_crew.TASK, RELAY_LIMITS, relay_crew.MODEL
    if messages:
        crew, task, limits = "conversation", conversation.TASK, conversation.LIMITS
        model, calls = f"until-{messages}", conversation.calls_until(messages)
    run_id = f"bench-{uuid.uuid4().hex[:16]}"
    record = RunRecord(
        run_id=run_id, crew=crew, status="running", input=to_json({"input": task}), launch=crew,
        started=time.time(), options=to_json({"model": f"openai/{model}"}),
    )  # fmt: skip
    host.client.start(record, limits)
    end = await host.client.end(run_id)
    assert end.status == "done", end
    assert end.usage.llm_calls == calls, end.usage


OPENERS: dict[str, Open] = {
    "sdk": _sdk,
    "aiohttp": _aiohttp,
    "inline-disk": functools.partial(_callsheet, on="inline"),
    "inline-memory": functools.partial(_callsheet, on="inline", in_memory=True),
    "ray": functools.partial(_callsheet, on="ray", traced=True),
    "ray-untraced": functools.partial(_callsheet, on="ray"),
}


async def load(
    run: Run, runs: int, in_flight: int, messages: int = 0, idle: dict[int, float] | None = None
) -> dict[str, Any]:
    """What so many runs took, of which so many are in flight: see `Contender.load`."""
    walls: list[float] = []
    errors: list[str] = []
    left = iter(range(runs))

    async def work() -> None:
        for _ in left:
            begun = time.perf_counter()
            try:
                await run(messages)
            except Exception as error:  # counted and told
                errors.append(f"{type(error).__name__}: {error}"[:300])
            walls.append(time.perf_counter() - begun)

    idle = idle or tree_memory()
    forget_peaks()
    before, begun = tree_cpu(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    wall = time.perf_counter() - begun
    by_kind = {kind: 1000 * cpu / runs for kind, cpu in cpu_since(before).items()}
    peak = tree_memory(peak=True)
    walls.sort()
    return {
        "cpu_ms": sum(by_kind.values()), "by_kind": by_kind, "per_s": runs / wall,
        "p50_ms": 1000 * statistics.median(walls), "p99_ms": 1000 * walls[int(0.99 * (len(walls) - 1))],
        "peak_mb": sum(peak.values()), "grown_mb": grown_mb(idle, peak),
        "errors": len(errors), "first_error": errors[0] if errors else "",
    }  # fmt: skip


async def _contend(name: str, server: str, folder: Path, agents: int) -> None:
    async with AsyncExitStack() as stack:
        run = await OPENERS[name](stack, server, folder, agents)
        warm = await load(run, WARM_RUNS, WARM_RUNS, 0 if agents else SHORT)
        idle = tree_memory()
        print(MARK + json.dumps({**warm, "idle_mb": sum(idle.values())}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(MARK + json.dumps(await load(run, **json.loads(line), idle=idle)), flush=True)


# --- the side that asks -----------------------------------------------------------------------------------


class Contender:
    """One contender's process; ends with `close`, or with the one that started it.

    With `agents=0` it is made ready for conversations, else for the relay.
    """

    def __init__(self, name: str, server: str, folder: Path, *, agents: int = len(relay_crew.ROLES)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CALLSHEET_", "RAY_"))}
        self._errors = (folder / "errors.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contenders", name, server, str(folder), str(agents)],
            env={**kept, "CALLSHEET_HOME": str(folder / "home"), "CALLSHEET_PHOENIX": "off"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip
        self.name = name
        self.pid = self._process.pid
        self.idle_mb: float = self._answer()["idle_mb"]
        """The tree's resident memory after the runs that warm it up, MB."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, runs: int, in_flight: int, messages: int = 0) -> dict[str, Any]:
        """What so many runs took, with so many in flight; of the relay, or conversations of so many messages.

        `cpu_ms` a run of the process and all below it (`by_kind` of process), runs `per_s`, `p50_ms` and `p99_ms`
        of a run's wall time, `peak_mb` of the tree's memory, `grown_mb` of it since the warm-up, `errors` and the
        `first_error`.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(
            json.dumps({"runs": runs, "in_flight": in_flight, "messages": messages}) + "\n"
        )
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process, and what it has opened."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                found: dict[str, Any] = json.loads(line.removeprefix(MARK))
                return found
        self._errors.seek(0)
        raise RuntimeError(f"{self.name} has ended:\n{self._errors.read()[-3000:]}")


if __name__ == "__main__":
    asyncio.run(_contend(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
