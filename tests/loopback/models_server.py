"""A model server on loopback that answers what it is told to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Answer:
    """One HTTP response."""

    status: int = 200
    body: Any = None
    text: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    """One HTTP request."""

    path: str
    headers: dict[str, str]
    body: Any


class ModelServer:
    """Answers from `answers`, in order; the last one stays. `None` hangs until the client has gone."""

    def __init__(self, *answers: Answer | None) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.url = ""

    async def respond(self, request: web.Request) -> web.Response:
        self.asked.append(Asked(request.path, dict(request.headers), await request.json()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")
        headers = {k: v for k, v in answer.headers.items() if k.lower() not in ("content-type", "date")}
        if answer.text is not None:
            kind = answer.headers.get("content-type", "application/json")
            return web.Response(
                status=answer.status, body=answer.text.encode(), headers={**headers, "content-type": kind}
            )
        return web.json_response(answer.body, status=answer.status, headers=headers)


@asynccontextmanager
async def serving(*answers: Answer | None) -> AsyncIterator[ModelServer]:
    """A server that runs for the length of the block."""
    server = ModelServer(*answers)
    app = web.Application(client_max_size=50_000_000)
    app.router.add_post("/{path:.*}", server.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()
