"""A run on a cluster, watched at another terminal: what its model says is there while it says it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Ended
from tests.cli.test_durable import newest_run

Callsheet = Callable[..., Ended]
Begin = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.timeout(300)

WAIT_S = 60.0

PATIENT = """
import asyncio
from callsheet import Agent, Crew, Limits

limits = Limits(turns=5000, messages=20000)
crew = Crew("patient", agents=[Agent("clerk", role="You answer.")], limits=limits)


@crew.flow
async def patient(run, task: str) -> str:
    while (said := await run.ask("clerk", task)) == "quiet":
        await asyncio.sleep(0.1)
    return said
"""
"""Asks again and again until its clerk says something."""


class SlowModel:
    """Says `quiet` at once, but to who reads along: begins to speak, and goes on when it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.asked = threading.Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        self.asked.set()
        handler.send_response(200)
        if not body.get("stream"):
            self._send_whole(handler, body)
            return
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        self._part(handler, {"role": "assistant", "content": "the ferry "})
        assert self.go_on.wait(WAIT_S)
        self._part(handler, {"content": "leaves at nine"})
        self._part(handler, {}, "stop")
        handler.wfile.write(b"data: [DONE]\n\n")

    def _send_whole(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        message = {"role": "assistant", "content": "quiet"}
        data = json.dumps(
            {
                "id": "1", "object": "chat.completion", "created": 1, "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        ).encode()  # fmt: skip
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _part(self, handler: BaseHTTPRequestHandler, delta: dict[str, Any], stop: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": stop}
        chunk = {
            "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "slow", "choices": [choice]
        }  # fmt: skip
        handler.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        handler.wfile.flush()


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowModel]:
    """A model on loopback that every process of the test finds."""
    made = SlowModel()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.answer(self)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}/v1")
    monkeypatch.setenv("CALLSHEET_MODEL", "openai-compatible/slow")
    yield made
    made.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def head(callsheet: Callsheet) -> Iterator[None]:
    """A Ray head in the test's own home."""
    up = callsheet("up", "--no-phoenix")
    assert up.status == 0, up.err
    yield
    callsheet("down")


def read_until(stream: Any, wanted: str) -> str:
    """Read a process's stream by the character until that is there: a line may not be whole yet."""
    seen = ""
    while wanted not in seen:
        character = stream.read(1)
        assert character, f"it never said {wanted!r}: {seen}"
        seen += character
    return seen


def test_two_terminals_see_what_a_model_says_before_it_has_said_all_of_it(
    begin: Begin, folder: Path, home: Path, model: SlowModel, head: None
) -> None:
    (folder / "patient.py").write_text(PATIENT)
    with begin("run", "patient.py", "--json", "When does it leave?") as starter:
        assert model.asked.wait(WAIT_S)
        run = newest_run(home)
        with begin("watch", run) as shown, begin("watch", run, "--json-lines") as lines:
            seen = read_until(shown.stderr, "clerk says: the ferry ")
            told = read_until(lines.stdout, '"text": "the ferry "')
            assert "leaves at nine" not in seen + told
            assert starter.poll() is None
            model.go_on.set()
            # Not by `communicate`, which passes over what has been read ahead.
            err, out, rest = shown.stderr.read(), shown.stdout.read(), lines.stdout.read()
        result, _ = starter.communicate(timeout=WAIT_S)
    assert json.loads(result)["output"] == "the ferry leaves at nine"
    assert (shown.returncode, out) == (0, "the ferry leaves at nine\n")
    assert err.startswith("leaves at nine\n")
    assert "Traceback" not in seen + err
    events = [json.loads(line) for line in (told + rest).splitlines()]
    assert [event["text"] for event in events if event["kind"] == "tokens"] == [
        "the ferry ",
        "leaves at nine",
    ]
    assert events[-1]["result"]["output"] == "the ferry leaves at nine"
    messages = [(e["at"], e["sender"], e["receiver"]) for e in events if e["kind"] == "message"]
    assert len(messages) == len(set(messages))
    assert sum(e["kind"] == "llm" for e in events) == events[-1]["result"]["usage"]["llm_calls"]
