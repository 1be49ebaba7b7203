"""Participants without a model, for what is to be seen of the runtime alone."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from callsheet.core.canonical import from_json
from callsheet.core.limits import RunUsage
from callsheet.runtime import local_calls
from callsheet.runtime.host import ParticipantSpec
from callsheet.runtime.turns import Turn

Handler = Callable[[Turn], Awaitable[Any]]


def given(turn: Turn) -> Any:
    return from_json(turn.envelope.body)["input"]


def spec(name: str, handler: Handler, replicas: int = 1) -> ParticipantSpec:
    modules = (__name__, handler.__module__)
    return ParticipantSpec(name=name, factory=lambda: handler, replicas=replicas, modules=modules)


def far_away(name: str, handler: Handler) -> ParticipantSpec:
    """A participant that finds no other process on its machine: all its lanes go through Ray."""

    def factory() -> Handler:
        local_calls.SUPPORTED = False
        return handler

    return ParticipantSpec(name=name, factory=factory, modules=(__name__, handler.__module__))


async def relay(turn: Turn) -> Any:
    """A flow: the input goes through first, second and third."""
    value = given(turn)
    for name in ("first", "second", "third"):
        value = (await turn.ask(name, {"input": value}))["output"]
    return {"output": value}


def adds(mark: str) -> Handler:
    async def handler(turn: Turn) -> Any:
        async def work(_: int) -> tuple[Any, RunUsage | None]:
            return f"{given(turn)}{mark}", RunUsage(llm_calls=1)

        return {"output": await turn.step("llm", mark, str(given(turn)), work)}

    return handler


async def environment(turn: Turn) -> Any:
    return {"output": dict(os.environ)}


async def asks_for_environment(turn: Turn) -> Any:
    return {"output": {"flow": dict(os.environ), "agent": (await turn.ask("agent", {"input": 0}))["output"]}}


async def asks_worker(turn: Turn) -> Any:
    before = await turn.now()
    answer = await turn.ask("worker", {"input": given(turn)})
    return {"output": {**answer["output"], "flow_pid": os.getpid(), "waited": await turn.now() >= before}}


async def works_in_steps(turn: Turn) -> Any:
    """Two steps that leave a line in a file each time they are done; the second waits to be let go."""
    folder = Path(given(turn))

    async def once(nth: int) -> tuple[Any, RunUsage | None]:
        with (folder / "first").open("a") as done:
            done.write(f"{os.getpid()}\n")
        return os.getpid(), RunUsage(llm_calls=1)

    async def held(nth: int) -> tuple[Any, RunUsage | None]:
        with (folder / "second").open("a") as done:
            done.write(f"{os.getpid()}\n")
        while not (folder / "go").exists():
            await asyncio.sleep(0.01)
        return os.getpid(), None

    first = await turn.step("llm", "first", "first", once)
    second = await turn.step("tool", "second", "second", held)
    return {"output": {"first": first, "second": second}}


async def ends_its_process(turn: Turn) -> Any:
    """A turn that no process survives, like a library that crashes; others of its name are harmless."""
    if given(turn) == "die":
        os._exit(3)
    return {"output": "alive"}


async def asks_worker_plainly(turn: Turn) -> Any:
    return {"output": (await turn.ask("worker", {"input": given(turn)}))["output"]}


async def never_yields(turn: Turn) -> Any:
    """Blocks its event loop for whoever says so, and answers the others."""
    if given(turn):
        Path(given(turn)).write_text(str(os.getpid()))
        time.sleep(600)
    return {"output": os.getpid()}
