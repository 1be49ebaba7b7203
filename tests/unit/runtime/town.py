"""A coordinator, participants and a client in one process, with wires between them that can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import WaitingError
from callsheet.core.events import EndRun
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import PERSON, Envelope, RunRecord
from callsheet.runtime.client import Client
from callsheet.runtime.coordinator import Coordinator
from callsheet.runtime.journal import Journal
from callsheet.runtime.lanes import LaneDownError
from callsheet.runtime.participant import Participant
from callsheet.runtime.protocol import LaunchCard, ResumeRun
from callsheet.runtime.recovery import open_questions
from callsheet.runtime.turns import Turn

BOUND_S = 20.0
NOW = 1_700_000_000.0
Handler = Callable[[Turn], Awaitable[Any]]


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not done():
            await asyncio.sleep(0)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def given(turn: Turn) -> Any:
    return from_json(turn.envelope.body)["input"]


class Town:
    """Everything of one small cluster. `fates` says of each call on a wire what becomes of it."""

    def __init__(
        self, path: Path, journal: Journal | None = None, fates: list[str] | None = None, owner: str = ""
    ) -> None:
        self.path, self.owner = path, owner
        self.journal = journal or Journal(path, owner=owner)
        self.coordinator: Coordinator | None = self.coordinator_of(self.journal)
        self.fates = fates or []
        self.cut: set[str] = set()
        self.calls: set[asyncio.Task[bytes]] = set()
        self.members: dict[str, Participant] = {}
        self.drivers: dict[str, Client] = {}
        self.dismissed: list[str] = []
        self.count = 0
        self.done: dict[str, int] = {}
        self.client = Client(self.wire("driver"), client="driver", clock=lambda: NOW)

    def wire(self, name: str) -> Callable[[bytes], Awaitable[bytes]]:
        async def carry(data: bytes) -> bytes:
            fate = self.fates.pop(0) if self.fates else "ok"
            if self.coordinator is None or name in self.cut or fate == "lost on the way":
                raise LaneDownError("cut")
            # In a task of its own, as in another process: it goes on when its caller does not.
            call = asyncio.get_running_loop().create_task(self.coordinator.exchange(data))
            self.calls.add(call)
            call.add_done_callback(self.calls.discard)
            if fate == "answer lost":
                await turns(5)
                raise LaneDownError("cut")
            await asyncio.wait([call])
            if name in self.cut or call.cancelled():
                raise LaneDownError("cut")
            return call.result()

        return carry

    def card(self, launch: str = "crew", driver: str = "") -> LaunchCard:
        return LaunchCard(name=launch, id="1", participants=("flow",), description="{}", driver=driver)

    def driver(self, name: str) -> Client:
        """Another driver, at another terminal."""
        made = self.drivers[name] = Client(self.wire(name), client=name, clock=lambda: NOW)
        return made

    def join(
        self,
        name: str,
        handler: Handler,
        *,
        replica: int = 0,
        replicas: int = 1,
        launch: str = "crew",
        driver: str = "",
    ) -> Participant:
        """Start a participant's process, or start it again after `kill`."""
        self.count += 1
        client = f"{launch}/{name}#{replica}"
        made = self.members[client] = Participant(
            card=self.card(launch, driver), name=name, replica=replica, replicas=replicas, handler=handler,
            transport=self.wire(client), services={}, client=client, incarnation=str(self.count), clock=lambda: NOW,
            on_dismissed=lambda: self.dismissed.append(client),
        )  # fmt: skip
        made.open()
        return made

    async def kill(self, name: str, replica: int = 0, launch: str = "crew") -> None:
        """End a participant's process: it says nothing any more."""
        await self.members.pop(f"{launch}/{name}#{replica}").close()

    async def restart_coordinator(self) -> None:
        """Another coordinator over the same journal; what the old one knew is gone."""
        await self.kill_coordinator()
        self.journal = Journal(self.path, owner=self.owner)
        self.coordinator = self.coordinator_of(self.journal)

    async def kill_coordinator(self) -> None:
        """The coordinator's process ends: what it had not committed is lost."""
        old, self.coordinator = self.coordinator, None
        assert old is not None
        old._commits._records.clear()
        old._commits._effects.clear()
        for call in self.calls:
            call.cancel()
        if old._commits._flushing is not None:
            old._commits._flushing.cancel()
            await asyncio.wait([old._commits._flushing])
        await old.close()

    def coordinator_of(self, journal: Journal) -> Coordinator:
        return Coordinator(journal, owner=self.owner, clock=lambda: NOW)

    async def everything_dies(self) -> Town:
        """No process is left; another town over what is on the disk."""
        for member in list(self.members.values()):
            await member.close()
        self.members.clear()
        await self.client.close()
        await self.kill_coordinator()
        return Town(self.path, owner=self.owner and f"{self.owner}.")

    async def launch(self, launch: str = "crew", **handlers: Handler) -> None:
        for name, handler in handlers.items():
            await self.join(name, handler, launch=launch).joined()

    def start(
        self, run_id: str = "run-000001", value: Any = None, limits: Limits | None = None, **options: Any
    ) -> str:
        started = options.pop("started", NOW)
        launch = options.pop("launch", "crew")
        limits = limits or Limits()
        record = RunRecord(
            run_id=run_id, crew="crew", status="running", input=to_json({"input": value}), launch=launch,
            limits=to_json(limits.to_dict()), started=started,
        )  # fmt: skip
        self.client.start(record, limits, **options)
        return run_id

    async def end(self, run_id: str = "run-000001") -> EndRun:
        async with asyncio.timeout(BOUND_S):
            return await self.client.end(run_id)

    def resume(self, run_id: str = "run-000001", *, driver: Client | None = None, **fields: Any) -> str:
        fields.setdefault("launch", "crew")
        if isinstance(fields.get("limits"), Limits):
            fields["limits"] = to_json(fields["limits"].to_dict())
        (driver or self.client).resume(ResumeRun(run_id=run_id, **fields))
        return run_id

    async def resumed(
        self, run_id: str = "run-000001", *, driver: Client | None = None, **fields: Any
    ) -> EndRun:
        """Resume a run, and wait for its end. Raises what it is refused with, and WaitingError."""
        self.resume(run_id, driver=driver, **fields)
        async with asyncio.timeout(BOUND_S):
            return await (driver or self.client).end(run_id)

    async def waiting(self, run_id: str = "run-000001") -> Envelope:
        """Wait until the run waits for a person, and nobody holds anything of it; its first question."""
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(WaitingError):
                await self.client.end(run_id)
        return self.question(run_id)

    def question(self, run_id: str = "run-000001") -> Envelope:
        return open_questions(self.journal.envelopes(run_id))[0]

    def record(self, run_id: str = "run-000001") -> RunRecord:
        found = self.journal.run(run_id)
        assert found is not None
        return found

    def held(self) -> list[str]:
        """The turns that participants have in their hands."""
        return [turn_id for member in self.members.values() for turn_id in member._turns]

    async def run(self, value: Any = None, **options: Any) -> EndRun:
        return await self.end(self.start(value=value, **options))

    async def close(self, *, alone: bool = True) -> None:
        """End everything; no task is left, if this town was alone."""
        for member in list(self.members.values()):
            await member.close()
        for client in (self.client, *self.drivers.values()):
            await client.close()
        if self.coordinator is not None:
            await self.coordinator.close()
        for call in list(self.calls):
            call.cancel()
        await asyncio.gather(*self.calls, return_exceptions=True)
        await turns(2)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not alone or not left, left

    async def step(self, turn: Turn, name: str, value: Any = None, **how: Any) -> Any:
        """A step that counts how often it was really done."""

        async def work(nth: int) -> tuple[Any, RunUsage | None]:
            self.done[name] = self.done.get(name, 0) + 1
            return value, RunUsage(llm_calls=1)

        return await turn.step("llm", name, name, work, **how)


def output(end: EndRun) -> Any:
    assert end.status == "done", end.error
    return from_json(end.output or "")["output"]


async def echo(turn: Turn) -> Any:
    return {"output": given(turn)}


async def ask_person(turn: Turn) -> Any:
    return await turn.ask(PERSON, {"question": "may I?"})


async def ask_echo(turn: Turn) -> Any:
    return await turn.ask("echo", {"input": given(turn)})
