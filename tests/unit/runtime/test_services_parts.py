"""Answers in parts: as they come, again after the death of the service, and never for who did not ask."""

from __future__ import annotations

import asyncio
from typing import Any

from callsheet.runtime.lanes import LaneDownError
from callsheet.runtime.services import Caller, Service


class Speaker:
    """Says a word at a time."""

    def __init__(self, words: list[str], stop_after: int | None = None) -> None:
        self.words, self.stop_after = words, stop_after

    async def handle(self, request: Any) -> Any:
        return f"{request}: " + " ".join(self.words)

    async def stream(self, request: Any, emit: Any) -> Any:
        for number, word in enumerate(self.words):
            if number == self.stop_after:
                await asyncio.Event().wait()
            emit(word)
            await asyncio.sleep(0)
        return await self.handle(request)


async def test_parts_come_before_the_whole_answer() -> None:
    service = Service(Speaker(["a", "b", "c"]))
    caller = Caller("speaker", service.exchange, client="c", incarnation="1")
    parts: list[Any] = []
    assert await caller.request("say", parts.append) == "say: a b c"
    assert parts == ["a", "b", "c"]
    assert await caller.request("say") == "say: a b c"
    assert len(parts) == 3
    await caller.close()
    await service.close()


async def test_a_component_that_has_no_parts_answers_as_a_whole() -> None:
    class Plain:
        async def handle(self, request: Any) -> Any:
            return request

    service = Service(Plain())
    caller = Caller("plain", service.exchange, client="c", incarnation="1")
    parts: list[Any] = []
    assert await caller.request("say", parts.append) == "say"
    assert parts == []
    await caller.close()
    await service.close()


async def test_after_the_death_of_the_service_parts_come_again_from_the_first() -> None:
    services = [Service(Speaker(["a", "b", "c"], stop_after=2)), Service(Speaker(["a", "b", "c"]))]

    async def exchange(data: bytes) -> bytes:
        serving = services[0]
        call = asyncio.ensure_future(serving.exchange(data))
        while not call.done() and services[0] is serving:
            await asyncio.sleep(0)
        if services[0] is not serving:
            call.cancel()
            raise LaneDownError("it died")
        return call.result()

    caller = Caller("speaker", exchange, client="c", incarnation="1")
    parts: list[Any] = []
    answer = asyncio.ensure_future(caller.request("say", parts.append))
    while len(parts) < 2:
        await asyncio.sleep(0)
    dead = services.pop(0)
    assert await answer == "say: a b c"
    assert parts == ["a", "b", None, "a", "b", "c"]
    await caller.close()
    await dead.close()
    await services[0].close()
