"""An OpenAI-compatible model server on loopback, cheap in CPU, whose reply depends on the request alone.

Tools offered and no tool result yet after the last message of a user: one call of the first tool. Else a text of
60 tokens. A model called `until-N` asks for the tool until the request has N messages. The pause before a reply
can be set while it runs; `/v1/traces` takes spans and forgets them. HTTP is spoken by hand, since a framework
would take three times the CPU on the cores that are measured. `python -m benchmarks.model_server` serves until
it is ended; `ModelServer` starts and ends one.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

TEXT = " ".join(["word"] * 60)
"""The answer: 60 tokens."""
SIMPLE: dict[str, Any] = {
    "string": "durable",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": [],
    "object": {},
}
"""An argument of each type."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_UNTIL = re.compile(r"(?:^|/)until-(\d+)$")


def tool_wanted(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The tool, as the request declares it, that the reply is to call; None where the reply is text."""
    tools, messages = request.get("tools"), request["messages"]
    if not tools:
        return None
    first: Mapping[str, Any] = tools[0]["function"]
    until = _UNTIL.search(request.get("model", ""))
    if until is not None:
        return first if len(messages) < int(until[1]) else None
    for message in reversed(messages):
        if message["role"] == "tool":
            return None
        if message["role"] == "user":
            break
    return first


def arguments_for(tool: Mapping[str, Any]) -> dict[str, Any]:
    """What the required parameters are given: the same for each of a type."""
    schema = tool.get("parameters") or {}
    properties = schema.get("properties") or {}
    return {
        name: SIMPLE.get(properties.get(name, {}).get("type"), "durable")
        for name in schema.get("required", ())
    }


def reply_to(body: bytes) -> tuple[str, bytes]:
    """The media type and the body of the reply to a request's body."""
    request = json.loads(body)
    tool, mark = tool_wanted(request), f"{zlib.crc32(body):08x}"
    message: dict[str, Any] = {"role": "assistant", "content": TEXT, "refusal": None}
    if tool is not None:
        message["content"] = None
        # With a number, so that no call is the same as the one before it.
        arguments = {**arguments_for(tool), **({"n": len(request["messages"])} if _counts(tool) else {})}
        message["tool_calls"] = [
            {
                "id": f"call_{mark}", "type": "function",
                "function": {"name": tool["name"], "arguments": json.dumps(arguments)},
            }
        ]  # fmt: skip
    asked = len(body) // 4
    reply: dict[str, Any] = {
        "id": f"chatcmpl-{mark}", "object": "chat.completion", "created": 1, "model": request.get("model", ""),
        "usage": {"prompt_tokens": asked, "completion_tokens": 60, "total_tokens": asked + 60},
    }  # fmt: skip
    finish = "stop" if tool is None else "tool_calls"
    if not request.get("stream"):
        reply["choices"] = [{"index": 0, "finish_reason": finish, "logprobs": None, "message": message}]
        return "application/json", json.dumps(reply).encode()
    for call in message.get("tool_calls", ()):
        call["index"] = 0
    told = {**reply, "object": "chat.completion.chunk", "usage": None}
    chunks = [
        {**told, "choices": [{"index": 0, "finish_reason": None, "delta": message}]},
        {**told, "choices": [{"index": 0, "finish_reason": finish, "delta": {}}]},
        {**told, "choices": [], "usage": reply["usage"]},
    ]
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return "text/event-stream", f"{events}data: [DONE]\n\n".encode()


def _counts(tool: Mapping[str, Any]) -> bool:
    return "n" in ((tool.get("parameters") or {}).get("properties") or {})


@dataclass(slots=True)
class Desk:
    """What all connections of a server share: the pause, and what it has seen."""

    latency_s: float = 0.0
    requests: int = 0
    bytes_in: int = 0
    first_at: float = 0.0
    """When the first model call came, Unix time, s; 0 before it."""
    in_flight: int = 0
    most_in_flight: int = 0
    spans_bytes: int = 0

    def stats(self) -> dict[str, float]:
        """The figures so far, with the CPU time of this process (s)."""
        return {name: getattr(self, name) for name in self.__slots__} | {"cpu_s": time.process_time()}


class Connection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection, one request after the other."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._buffer = bytearray()
        self._body: tuple[int, int, bytes] | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """More of a request, or several."""
        self._buffer += data
        while True:
            if self._body is None:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                head = bytes(self._buffer[:end])
                length = _LENGTH.search(head)
                path = head.split(b" ", 2)[1]
                self._body = end + 4, end + 4 + (int(length[1]) if length else 0), path
            begin, end, path = self._body
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[begin:end])
            del self._buffer[:end]
            self._body = None
            self._handle(path, body)

    def _handle(self, path: bytes, body: bytes) -> None:
        desk = self._desk
        if path.endswith(b"/chat/completions"):
            desk.requests += 1
            desk.bytes_in += len(body)
            desk.first_at = desk.first_at or time.time()
            desk.in_flight += 1
            desk.most_in_flight = max(desk.most_in_flight, desk.in_flight)
            if desk.latency_s:
                asyncio.get_running_loop().call_later(desk.latency_s, partial(self._reply, body))
            else:
                self._reply(body)
        elif path.endswith(b"/v1/traces"):
            desk.spans_bytes += len(body)
            self._send("application/x-protobuf", b"")
        elif path == b"/latency":
            desk.latency_s = float(body) / 1000
            desk.most_in_flight, desk.first_at = 0, 0.0
            self._send("application/json", b"{}")
        elif path == b"/stats":
            self._send("application/json", json.dumps(desk.stats()).encode())
        else:
            self._send("application/json", b'{"error": {"message": "no such path"}}', b"404 Not Found")

    def _reply(self, body: bytes) -> None:
        self._desk.in_flight -= 1
        self._send(*reply_to(body))

    def _send(self, kind: str, body: bytes, status: bytes = b"200 OK") -> None:
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
                % (status, kind.encode(), len(body), body)
            )


async def serve() -> None:
    """Serve on a free port of loopback, and print the address; until the process is ended."""
    desk = Desk()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(desk), "127.0.0.1", 0, backlog=4096
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


class ModelServer:
    """A server in a process of its own; `with ModelServer() as server:` ends it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.model_server"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.root = self._process.stdout.readline().strip()
        """The address without a path, which spans are sent to."""
        self.url = f"{self.root}/v1"
        """What a client takes for OpenAI's base URL."""
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def set_latency(self, ms: float) -> None:
        """From now on each reply waits so long; the first call and the most in flight are told anew."""
        self._ask("/latency", str(ms))

    def stats(self) -> dict[str, float]:
        """See `Desk.stats`."""
        found: dict[str, float] = json.loads(self._ask("/stats", ""))
        return found

    def _ask(self, path: str, body: str) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.root).netloc, timeout=60)
        try:
            connection.request("POST", path, body)
            return connection.getresponse().read()
        finally:
            connection.close()


if __name__ == "__main__":
    asyncio.run(serve())
