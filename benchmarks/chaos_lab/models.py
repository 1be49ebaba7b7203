"""A model server on loopback whose replies follow from the requests alone, and which forgets none of them."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from callsheet.core.canonical import digest, to_json

_TASK = re.compile(r"\[(\w+) (\S+)/(\d)\]")
_Call = tuple[str, dict[str, Any]]


@dataclass(slots=True)
class Sighting:
    """One request: of which task, the how-manieth model call of its turn, and when (Unix time, s)."""

    task: str
    nth: int
    digest: str
    arrived: float
    answered: float | None = None


def _calls(agent: str, job: str, part: str, nth: int) -> list[_Call]:
    """What the model calls as its nth reply of a turn; nothing means that it answers."""
    script: dict[str, list[list[_Call]]] = {
        "scout": [
            [("look_up", {"item": f"{job}-{part}"}), ("consult", {"question": f"what does a crash cost? {job}"})]
        ],
        "keeper": [
            [("put", {"item": job, "place": "hall"})],
            [("put", {"item": job, "place": "cellar"})],
        ],
        "payer": [
            [("pay", {"order": f"{job}-a"}), ("look_up", {"item": f"{job}-bill"})],
            [("pay", {"order": f"{job}-b"})],
        ],
    }  # fmt: skip
    steps = script[agent]
    return steps[nth] if nth < len(steps) else []


def reply_to(messages: list[dict[str, Any]]) -> tuple[str, int, dict[str, Any]]:
    """The task (`agent job/part`), which model call of the turn this is, and the reply's message."""
    told = next(m["content"] for m in messages if m["role"] == "user")
    text = told if isinstance(told, str) else " ".join(part["text"] for part in told)
    found = _TASK.search(text)
    assert found is not None, text
    agent, job, part = found.groups()
    nth = sum(m["role"] == "assistant" for m in messages)
    calls = _calls(agent, job, part, nth)
    task = f"{agent} {job}/{part}"
    if calls:
        made = [
            {"id": f"call-{nth}-{i}", "type": "function",
             "function": {"name": name, "arguments": json.dumps(arguments)}}
            for i, (name, arguments) in enumerate(calls)
        ]  # fmt: skip
        return task, nth, {"role": "assistant", "content": None, "tool_calls": made}
    results = [str(m["content"]) for m in messages if m["role"] == "tool"]
    return task, nth, {"role": "assistant", "content": f"{agent}: {'; '.join(results)}"}


class ModelServer:
    """Serves Chat Completions from a thread of its own. `latency_s` gives the time that a request takes."""

    def __init__(self, latency_s: tuple[float, float] = (0.02, 0.08)) -> None:
        self.sightings: list[Sighting] = []
        self.url = ""
        self._latency = latency_s
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._end: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._live, name="model-server", daemon=True)

    def __enter__(self) -> ModelServer:
        self._thread.start()
        assert self._up.wait(20), "the model server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(10)

    @property
    def in_flight(self) -> int:
        """How many requests have arrived and are not answered, of those of the last second."""
        now = time.time()
        return sum(s.answered is None and s.arrived > now - 1 for s in self.sightings[-200:])

    def _live(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        over = asyncio.Event()
        self._end = over.set
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/v1/chat/completions", self._respond)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._up.set()
        await over.wait()
        await runner.cleanup()

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        arrived = time.time()
        task, nth, message = reply_to(body["messages"])
        seen = Sighting(task, nth, digest(to_json(body)), arrived)
        self.sightings.append(seen)
        # Also the time follows from the request: somewhere between the two ends, evenly.
        low, high = self._latency
        await asyncio.sleep(low + (high - low) * int(seen.digest[:6], 16) / 0xFFFFFF)
        answer = web.json_response(
            {
                "id": f"chatcmpl-{seen.digest}", "object": "chat.completion", "created": int(arrived),
                "model": body["model"],
                "choices": [
                    {"index": 0, "message": message,
                     "finish_reason": "tool_calls" if message.get("tool_calls") else "stop"}
                ],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
            }
        )  # fmt: skip
        await answer.prepare(request)
        await answer.write_eof()
        seen.answered = time.time()
        return answer
