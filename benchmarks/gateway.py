"""What a model call costs through the gateway, beside the bare OpenAI SDK, against a server on loopback.

Each client runs in a fresh process of its own, in turns, and counts its own CPU time; the server runs in
another, and answers every request with the same tool call (or streams it), or with a text once it has a tool's
result, after a pause of the load's.
Whether a call gets dearer with more in flight is asked within one process, in turns, since the machine drifts
by more between two. `python -m benchmarks.gateway [ROUNDS]` prints the figures.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from benchmarks.machine import spread

TEXT = "The order 17 left the warehouse on Monday and is due on Wednesday, between nine and noon. "
REPLY: dict[str, Any] = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "finish_reason": "tool_calls", "logprobs": None, "message": {
        "role": "assistant", "content": TEXT, "refusal": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {
            "name": "tool_1", "arguments": '{"order_id": "17", "detail": "all"}'}}],
    }}],
    "usage": {"prompt_tokens": 900, "completion_tokens": 40, "total_tokens": 940,
              "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}},
}  # fmt: skip
TOLD = {"index": 0, "finish_reason": "stop", "logprobs": None,
        "message": {"role": "assistant", "content": TEXT * 3, "refusal": None}}  # fmt: skip
"""What is answered to a tool's result."""
LOADS = {"50 at 0 ms": (0.0, 50, 1000), "200 at 0 ms": (0.0, 200, 1000), "200 at 200 ms": (0.2, 200, 1600)}
"""Name to the server's pause (s), the calls in flight, the calls of one round."""
CLIENTS = ("sdk", "sdk-aiohttp", "gateway", "bare-aiohttp")


async def measure(rounds: int) -> dict[str, Any]:
    """CPU per call and calls a second of each client and load, their ratios, and the time to the first token."""
    figures: dict[str, list[float]] = {}
    for pause_s in sorted({pause for pause, _, _ in LOADS.values()}):
        server, url = start_server(pause_s)
        try:
            for _ in range(rounds):
                for name, (pause, in_flight, calls) in LOADS.items():
                    if pause == pause_s:
                        _round(figures, name, url, in_flight, calls)
                if pause_s == 0:
                    _first_tokens(figures, url)
                    growth = run_client("gateway-growth", url, 4000, 200)["growth"]
                    figures.setdefault("gateway: CPU of a call, 200 in flight / 50", []).append(growth)
        finally:
            server.terminate()
            server.wait()
    return {name: spread(values) for name, values in sorted(figures.items())}


def _round(figures: dict[str, list[float]], load: str, url: str, in_flight: int, calls: int) -> None:
    cpu, rate = {}, {}
    for client in CLIENTS:
        found = run_client(client, url, calls, in_flight)
        cpu[client], rate[client] = found["cpu_ms"], found["per_s"]
        figures.setdefault(f"{load}: {client}, CPU ms a call", []).append(cpu[client])
        figures.setdefault(f"{load}: {client}, calls a second", []).append(rate[client])
    figures.setdefault(f"{load}: gateway / sdk, CPU", []).append(cpu["gateway"] / cpu["sdk"])
    figures.setdefault(f"{load}: gateway / sdk, rate", []).append(rate["gateway"] / rate["sdk"])


def _first_tokens(figures: dict[str, list[float]], url: str) -> None:
    found = {
        client: run_client(f"{client}-stream", url, 100, 1)["first_ms"]
        for client in ("bare-aiohttp", "gateway")
    }
    for client, value in found.items():
        figures.setdefault(f"idle: {client}, first token, ms", []).append(value)
    figures.setdefault("idle: the gateway adds to the first token, ms", []).append(
        found["gateway"] - found["bare-aiohttp"]
    )


def start_server(pause_s: float) -> tuple[subprocess.Popen[str], str]:
    """The server, which answers after a pause, and its address. Whoever starts it ends it."""
    command = [sys.executable, "-m", "benchmarks.gateway", "serve", str(pause_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def run_client(name: str, url: str, calls: int, in_flight: int) -> dict[str, float]:
    """What so many calls of one of CLIENTS took, in a fresh process: `cpu_ms` a call, calls `per_s`."""
    command = [sys.executable, "-m", "benchmarks.gateway", "client", name, url, str(calls), str(in_flight)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def _serve(pause_s: float) -> None:
    from aiohttp import web

    whole = json.dumps(REPLY).encode()
    told = json.dumps({**REPLY, "choices": [TOLD]}).encode()
    words = [{"choices": [{"index": 0, "delta": {"content": word + " "}}]} for word in TEXT.split()]
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": REPLY["usage"]}
    events = [b"data: " + json.dumps({**REPLY, **chunk}).encode() + b"\n\n" for chunk in (*words, last)]

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if pause_s:
            await asyncio.sleep(pause_s)
        if b'"stream":true' not in body:
            reply = told if b'"role":"tool"' in body else whole
            return web.Response(body=reply, content_type="application/json")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in (*events, b"data: [DONE]\n\n"):
            await response.write(event)
        return response

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


def _tools() -> list[dict[str, Any]]:
    properties = {
        name: {"type": "string", "description": f"The {name} to look for, as the customer gave it."}
        for name in ("order_id", "detail", "language", "since")
    }
    schema = {"type": "object", "properties": properties, "required": ["order_id"]}
    return [
        {
            "name": f"tool_{number}",
            "description": "Look up where an order is, and when it will arrive.",
            "schema": schema,
        }
        for number in range(5)
    ]


def _messages() -> list[tuple[str, str]]:
    system = "You answer questions about orders, in two friendly sentences, with what your tools find. " * 5
    return [
        ("system", system),
        ("user", "Where is order 17?"),
        ("assistant", TEXT * 3),
        ("user", "And when will it come?"),
    ]


Call = Callable[[], Awaitable[float]]
"""One call; returns how long the first of its text took, s."""


async def _make(name: str, url: str) -> Call:
    tools = [
        {
            "type": "function",
            "function": {
                "name": tool["name"], "description": tool["description"], "parameters": tool["schema"],
            },
        }
        for tool in _tools()
    ]  # fmt: skip
    body: dict[str, Any] = {
        "model": "gpt-4o-mini", "temperature": 0.5, "tools": tools,
        "messages": [{"role": role, "content": text} for role, text in _messages()],
    }  # fmt: skip
    if name.startswith("gateway"):
        return await _gateway(url, streams=name.endswith("-stream"))
    if name.startswith("bare-aiohttp"):
        import aiohttp

        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1000))
        posted = {**body, "stream": True} if name.endswith("-stream") else body

        async def bare() -> float:
            begun = time.perf_counter()
            data = json.dumps(posted, separators=(",", ":")).encode()
            first = 0.0
            async with session.post(
                url + "/chat/completions", data=data, headers={"content-type": "application/json"}
            ) as response:
                if not name.endswith("-stream"):
                    json.loads(await response.read())
                    return 0.0
                async for _ in response.content.iter_any():
                    first = first or time.perf_counter() - begun
            return first

        return bare
    import openai

    http = openai.DefaultAioHttpClient() if name == "sdk-aiohttp" else None
    client = openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0, http_client=http)

    async def sdk() -> float:
        reply = await client.chat.completions.create(**body)
        assert reply.choices[0].message.tool_calls
        return 0.0

    return sdk


async def _gateway(url: str, *, streams: bool) -> Call:
    from callsheet.models.config import GatewayConfig
    from callsheet.models.gateway import Gateway
    from callsheet.models.messages import ModelRequest, ToolSpec, assistant, system, user

    gateway = Gateway(
        GatewayConfig(base_urls={"openai": url}),
        environ={"OPENAI_API_KEY": "k"},
        on_call=lambda *_, **__: None,
    )
    specs = tuple(
        ToolSpec(name=tool["name"], description=tool["description"], schema=json.dumps(tool["schema"]))
        for tool in _tools()
    )
    made = {"system": system, "user": user, "assistant": assistant}
    messages = tuple(made[role](text) for role, text in _messages())

    async def call() -> float:
        # A request of its own each time, as it comes out of a lane.
        request = ModelRequest(
            id="r",
            model="openai/gpt-4o-mini",
            messages=messages,
            tools=specs,
            temperature=0.5,
            stream=streams,
        )
        if not streams:
            reply = await gateway.handle(request)
            assert reply.message.tool_calls
            return 0.0
        begun = time.perf_counter()
        firsts: list[float] = []

        def emit(_: str | None) -> None:
            if not firsts:
                firsts.append(time.perf_counter() - begun)

        await gateway.stream(request, emit)
        return firsts[0]

    return call


async def _drive(name: str, url: str, calls: int, in_flight: int) -> None:
    call = await _make(name, url)
    await asyncio.gather(*(call() for _ in range(in_flight)))  # connections, imports, caches
    if name.endswith("-growth"):
        print(json.dumps({"growth": await _growth(call, calls)}), flush=True)
        return
    left = iter(range(calls))
    firsts: list[float] = []

    async def work() -> None:
        for _ in left:
            took = await call()
            firsts.append(took)

    cpu, begun = _cpu_s(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    cpu, wall = _cpu_s() - cpu, time.perf_counter() - begun
    firsts.sort()
    found = {"cpu_ms": cpu / calls * 1000, "per_s": calls / wall, "first_ms": firsts[len(firsts) // 2] * 1000}
    print(json.dumps(found), flush=True)


async def _growth(call: Call, calls: int) -> float:
    """CPU of a call with 200 in flight by that with 50; medians of five turns each."""
    used: dict[int, list[float]] = {50: [], 200: []}
    for _ in range(5):
        for in_flight, found in used.items():
            left = iter(range(calls // 10))

            async def work(left: Iterator[int] = left) -> None:
                for _ in left:
                    await call()

            before = _cpu_s()
            await asyncio.gather(*(work() for _ in range(in_flight)))
            found.append(_cpu_s() - before)
    return statistics.median(used[200]) / statistics.median(used[50])


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    if len(sys.argv) <= 2:
        for figure, value in asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) == 2 else 5)).items():
            print(
                f"{figure:<52}{value['median']:>10.3f}   ({value['min']:.3f} to {value['max']:.3f}, n={value['n']})"
            )
    elif sys.argv[1] == "serve":
        asyncio.run(_serve(float(sys.argv[2])))
    else:
        asyncio.run(_drive(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
