"""Limits of the cluster: many runs in several processes, one gateway, and a server that counts.

The minute is scaled to `WINDOW_S`. Delays on the way do not scale with it, and so the margin is a larger part.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from callsheet.models import ledger
from callsheet.models.config import GatewayConfig
from callsheet.models.gateway import Gateway
from callsheet.models.messages import ModelRequest, user
from callsheet.runtime.services import Service

WINDOW_S = 6.0
MARGIN = 0.08
LIMIT = 120
WINDOWS = 3
PROCESSES = 4
RUNS = 200

ROOT = Path(__file__).parents[2]

SERVER = """
import asyncio, json, sys, time
from collections import deque
from aiohttp import web

window_s, limit, latency_s = map(float, sys.argv[1:])
arrivals, last, most, refused = [], deque(), 0, 0

async def answer(request):
    global most, refused
    now = time.monotonic()
    body = await request.json()
    if body["model"] != "limited":
        return reply(body)
    arrivals.append((now, body["messages"][-1]["content"]))
    while last and last[0] <= now - window_s:
        last.popleft()
    if len(last) >= limit:
        refused += 1
        return web.json_response({"error": {"message": "too many requests"}}, status=429)
    last.append(now)
    most = max(most, len(last))
    await asyncio.sleep(latency_s)
    return reply(body)

def reply(body):
    message = {"role": "assistant", "content": "yes"}
    usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return web.json_response({"id": "c", "object": "chat.completion", "created": 1, "model": body["model"],
                              "choices": [choice], "usage": usage})

async def report(request):
    return web.json_response({"arrivals": arrivals, "most": most, "refused": refused})

async def main():
    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    app.router.add_get("/report", report)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1000).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""

CLIENT = """
import asyncio, sys
import aiohttp
from callsheet.models.messages import ModelRequest, user
from callsheet.runtime.lanes import LaneDownError
from callsheet.runtime.services import Caller

name, url, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

async def main():
    async with aiohttp.ClientSession() as session:
        async def exchange(data):
            try:
                async with session.post(url, data=data) as response:
                    return await response.read()
            except aiohttp.ClientError as error:
                raise LaneDownError(str(error)) from None

        caller = Caller("gateway", exchange, client=name, incarnation="1")

        async def run(number):
            for call in range(10**6):
                await caller.request(ModelRequest(
                    id=f"{number}-{call}", model="openai/limited", messages=(user(f"run {number}"),),
                    run_id=f"run-{number:06d}", max_tokens=50,
                ))

        runs = [asyncio.create_task(run(number)) for number in range(first, first + count)]
        stopped = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        done, _ = await asyncio.wait([stopped, *runs], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            task.result()
        for task in runs:
            task.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        await caller.close()

asyncio.run(main())
"""


SPENDER = """
import asyncio, sys
from pathlib import Path
from callsheet.core.errors import LimitError
from callsheet.models import day_budgets
from callsheet.models.ledger import Ledger
from callsheet.models.limits import parse_limits
from callsheet.models.messages import Usage

day_budgets.PATIENCE_S = 1.0  # nobody gives back what the killed one had reserved

async def main():
    ledger = Ledger(parse_limits({"crew:c": {"usd_per_day": 1.0}}), path=Path(sys.argv[1]))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

    async def call(number):
        ticket = await ledger.reserve("openai/a", run_id=str(number), crew="c", usd=0.0008)
        print("sent", flush=True)
        await asyncio.sleep(0)
        ledger.settle(ticket, Usage(input_tokens=1), 0.0006)

    for first in range(0, 10**6, 10):
        results = await asyncio.gather(*[call(first + n) for n in range(10)], return_exceptions=True)
        if any(isinstance(result, LimitError) for result in results):
            break
        for result in results:
            if result is not None:
                raise result
    await ledger.close()

asyncio.run(main())
"""


@contextmanager
def script(code: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """A process that ends when its standard input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.communicate(timeout=30)


@asynccontextmanager
async def gateway_at_a_door(config: GatewayConfig) -> AsyncIterator[tuple[Gateway, str]]:
    """A gateway as a service whose lanes come in by HTTP."""
    gateway = Gateway(config, environ={"OPENAI_API_KEY": "k"})
    service = Service(gateway)

    async def exchange(request: web.Request) -> web.Response:
        return web.Response(body=await service.exchange(await request.read()))

    app = web.Application(client_max_size=50_000_000)
    app.router.add_post("/", exchange)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield gateway, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await service.close()
        await runner.cleanup()


async def report_of(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/report") as response:
        report: dict[str, Any] = json.loads(await response.text())
        return report


async def report_after(url: str, seconds: float) -> dict[str, Any]:
    """The report once an arrival is that much later than the first one of the runs."""
    while True:
        report = await report_of(url)
        arrivals = report["arrivals"]
        if arrivals and arrivals[-1][0] - arrivals[0][0] >= seconds:
            return report
        await asyncio.sleep(0.2)


def test_processes_that_share_a_file_share_its_budget_also_when_one_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with script(SPENDER, path) as one, script(SPENDER, path) as other, script(SPENDER, path) as victim:
        spenders = (one, other, victim)
        for process in spenders:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in spenders:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert victim.stdout is not None
        sent_by_victim = sum(victim.stdout.readline() == "sent\n" for _ in range(30))
        victim.kill()
        sent_by_victim += victim.communicate()[0].count("sent")
        sent = [process.communicate(timeout=120)[0].count("sent") for process in (one, other)]
        assert (one.returncode, other.returncode) == (0, 0)
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT spent_usd, held_usd FROM day_use WHERE key = 'crew:c'").fetchall()
    assert len(rows) <= 2  # midnight may have passed
    spent, held = (sum(column) for column in zip(*rows, strict=True))
    assert spent <= 1_000_000_000 * len(rows)
    assert spent + held <= 1_000_000_000 * len(rows)
    assert spent + held >= 600_000 * (sum(sent) + sent_by_victim), "a call was let through and not counted"
    # Nothing that fits is kept back: what is left is less than what ten calls side by side may take.
    assert spent + held > 1_000_000_000 - 8_000_000


async def test_two_hundred_runs_in_four_processes_use_the_limit_and_never_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ledger, "MINUTE_S", WINDOW_S)
    monkeypatch.setattr(ledger, "MARGIN", MARGIN)
    with script(SERVER, WINDOW_S, LIMIT, 0.05) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        config = GatewayConfig(
            base_urls={"openai": url},
            limits={"openai/limited": {"requests_per_minute": LIMIT, "in_flight": 30}},
            ledger_path=str(tmp_path / "ledger.db"),
            max_attempts=1,
        )
        async with gateway_at_a_door(config) as (gateway, door):
            # Its first call imports an SDK, which delays it by more than the scaled margin.
            await gateway.handle(
                ModelRequest(id="first", model="openai/another", messages=(user("hello"),), max_tokens=50)
            )
            each = RUNS // PROCESSES
            clients = [script(CLIENT, f"client-{n}", door, n * each, each) for n in range(PROCESSES)]
            entered = [client.__enter__() for client in clients]
            try:
                report = await asyncio.wait_for(report_after(url, WINDOWS * WINDOW_S), 120)
                assert all(process.poll() is None for process in entered)
            finally:
                ends = [asyncio.to_thread(client.__exit__, None, None, None) for client in clients]
                await asyncio.gather(*ends)
    first = report["arrivals"][0][0]
    counted = [who for at, who in report["arrivals"] if at - first < WINDOWS * WINDOW_S]
    turns = [counted.count(f"run {number}") for number in range(RUNS)]
    used = len(counted) / (LIMIT * WINDOWS)
    print(f"{len(counted)} calls in {WINDOWS} windows of {LIMIT}: {used:.1%}; most in one: {report['most']}")
    assert report["refused"] == 0
    assert report["most"] <= LIMIT
    assert used >= 0.9
    assert min(turns) >= 1, "a run had no turn"
