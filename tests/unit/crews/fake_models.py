"""A model gateway that answers from a script, on the same lane as the real one: all that goes in and out is
pickled, journaled and counted like a provider's reply."""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from callsheet.core.canonical import to_json
from callsheet.core.errors import CallsheetError
from callsheet.crews import Crew, Result
from callsheet.crews import system as crews_system
from callsheet.crews.portal import close_portal
from callsheet.models.messages import (
    Message,
    ModelReply,
    ModelRequest,
    Stop,
    ToolCall,
    ToolResult,
    Usage,
    assistant,
)
from callsheet.models.quotes import Quote
from callsheet.runtime.host import ServiceSpec
from callsheet.settings import load_settings

SERVICE_SPECS = crews_system.service_specs

Reply = str | Message | ModelReply | CallsheetError
Script = Callable[[ModelRequest], Any] | Mapping[str, Sequence[Reply]] | Sequence[Reply]


def call(tool: str, arguments: str | None = None, /, **given: Any) -> ToolCall:
    """A tool call as a model writes it: arguments as JSON text (malformed too), or as keywords."""
    return ToolCall(
        id=f"call_{tool}", name=tool, arguments=to_json(given) if arguments is None else arguments
    )


def calls(*wanted: ToolCall, text: str = "") -> Message:
    """A reply that asks for tools, each call with an id of its own."""
    numbered = (ToolCall(id=f"call_{i}", name=c.name, arguments=c.arguments) for i, c in enumerate(wanted))
    return assistant(text, *numbered)


def reply(
    text: str = "", *, stop: Stop = "end", cost_usd: float | None = 0.0, message: Message | None = None
) -> ModelReply:
    """A reply with its reason to stop and its price."""
    return ModelReply(
        request_id="", message=message or assistant(text), stop=stop, model="scripted/model",
        usage=Usage(input_tokens=10, output_tokens=5), cost_usd=cost_usd,
    )  # fmt: skip


class ScriptedGateway:
    """Answers with the script's next reply: of the asking agent, of anyone, or as a function decides.

    A script that has run out fails the call, and with it the run.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._next: dict[str, int] = defaultdict(int)
        self.requests: list[ModelRequest] = []
        self.quote: float | None = 0.0
        """What it says that any call may cost at most."""

    async def handle(self, request: ModelRequest | Quote) -> ModelReply | float | None:
        if isinstance(request, Quote):
            return self.quote
        self.requests.append(request)
        if callable(self._script):
            found = self._script(request)
            if inspect.isawaitable(found):
                found = await found
        else:
            key = request.agent if isinstance(self._script, Mapping) else ""
            replies = self._script[request.agent] if isinstance(self._script, Mapping) else self._script
            number, self._next[key] = self._next[key], self._next[key] + 1
            if number >= len(replies):
                raise AssertionError(f"the script has no reply number {number + 1} for {request.agent}")
            found = replies[number]
        if isinstance(found, CallsheetError):
            raise found
        if isinstance(found, str):
            return reply(found)
        if isinstance(found, Message):
            return reply(message=found, stop="tool_calls" if found.tool_calls else "end")
        assert isinstance(found, ModelReply)
        return found

    async def stream(self, request: ModelRequest, emit: Callable[[str | None], None]) -> ModelReply:
        """As `handle`, saying each word as it comes."""
        found = await self.handle(request)
        assert isinstance(found, ModelReply)
        for word in found.message.text.split(" "):
            emit(f"{word} ")
            await asyncio.sleep(0)
        return found

    def of(self, agent: str) -> list[ModelRequest]:
        """The requests of one agent, in order."""
        return [request for request in self.requests if request.agent == agent]

    def results(self) -> list[ToolResult]:
        """The tool results that models were shown, each once, in order."""
        found: dict[int, ToolResult] = {}
        for number, request in enumerate(self.requests):
            if request.messages[-1].role == "tool":
                for at, part in enumerate(request.messages[-1].parts):
                    assert isinstance(part, ToolResult)
                    found[number * 1000 + at] = part
        return list(found.values())


def prompt(request: ModelRequest) -> str:
    """The task as the agent's model reads it: the first message after the system prompt."""
    return request.messages[1].text


class Bench:
    """Runs crews inline against a script, with a home of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.settings = load_settings(phoenix="off")
        self.gateway = ScriptedGateway([])

    def script(self, script: Script, *, memory: bool = False) -> ScriptedGateway:
        """From now on models answer like this; with a real memory, if wanted."""
        gateway = self.gateway = ScriptedGateway(script)
        specs = [ServiceSpec(name="gateway", factory=lambda secrets, uses: gateway)]
        if memory:
            specs += [spec for spec in SERVICE_SPECS(self.settings) if spec.name == "memory"]
        self._monkeypatch.setattr(crews_system, "service_specs", lambda settings: specs)
        close_portal()  # so that the next run opens a host with these
        return gateway

    def options(self, **options: Any) -> dict[str, Any]:
        """What a run inline takes."""
        return {"host": "inline", "settings": self.settings, **options}

    async def run(self, crew: Crew, task: Any = "Do it.", **options: Any) -> Result:
        """One run; the result also carries the error that ended it, unless `check`."""
        return await crew.arun(task, **{"check": False, **self.options(**options)})


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a state, giving way to whoever brings it about; pytest's timeout bounds the wait."""
    while not condition():
        await asyncio.sleep(0)


def scripted_bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """The body of the fixture `bench`."""
    close_portal()
    yield Bench(monkeypatch)
    close_portal()
