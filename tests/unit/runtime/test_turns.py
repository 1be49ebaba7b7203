"""Durable turns: after a crash a handler runs again, and what was done comes from the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import ToolError
from callsheet.runtime import lanes
from callsheet.runtime.turns import Turn
from tests.unit.runtime import town as town_module
from tests.unit.runtime.town import Town, output, until


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr(lanes, "PAUSE_S", (0.0, 0.0))
    made = Town(tmp_path / "journal.db")
    yield made
    await made.close()


class Held:
    """A place where the first attempt stops, so that its process can be killed there."""

    def __init__(self) -> None:
        self.reached = 0
        self.open = False

    async def here(self, turn: Turn) -> None:
        self.reached += 1
        if not self.open:
            await turn._lane.settled(turn._last)
            self.reached += 1
            await asyncio.Event().wait()


async def crash(town: Town, held: Held, handler: town_module.Handler, name: str = "flow") -> None:
    """Kill the participant when it has come to the place, and start it again with that handler."""
    await until(lambda: held.reached == 2)
    held.open = True
    await town.kill(name)
    town.join(name, handler)


async def test_recorded_steps_are_found_by_content_also_in_another_order(town: Town) -> None:
    held = Held()
    orders = [["a", "b", "c"], ["c", "new", "b", "a"]]

    async def flow(turn: Turn) -> Any:
        done = [await town.step(turn, name, f"{name}!") for name in orders.pop(0)]
        await held.here(turn)
        return {"output": [done, turn.replayed]}

    await town.launch(flow=flow)
    town.start()
    await crash(town, held, flow)
    assert output(await town.end()) == [["c!", "new!", "b!", "a!"], 3]
    assert town.done == {"a": 1, "b": 1, "c": 1, "new": 1}


async def test_steps_that_ran_at_once_are_each_found_again(town: Town) -> None:
    held = Held()
    names = [f"s{i}" for i in range(20)]

    async def flow(turn: Turn) -> Any:
        names.reverse()
        done = await asyncio.gather(*(town.step(turn, name, name) for name in names))
        await held.here(turn)
        return {"output": [done, turn.replayed]}

    await town.launch(flow=flow)
    town.start()
    await crash(town, held, flow)
    assert output(await town.end()) == [names, 20]
    assert set(town.done.values()) == {1}


async def test_the_same_step_twice_is_two_steps_and_each_is_found_again(town: Town) -> None:
    held = Held()
    dealt = iter("xyz")

    async def flow(turn: Turn) -> Any:
        async def deal(nth: int) -> tuple[Any, None]:
            return [nth, next(dealt)], None

        done = [await turn.step("tool", "deal", "same", deal) for _ in range(3)]
        await held.here(turn)
        return {"output": done}

    await town.launch(flow=flow)
    town.start()
    await crash(town, held, flow)
    assert output(await town.end()) == [[0, "x"], [1, "y"], [2, "z"]]


async def test_answered_asks_return_at_once_and_the_others_are_asked_again(town: Town) -> None:
    held = Held()
    asked: list[Any] = []

    async def flow(turn: Turn) -> Any:
        first = await turn.ask("echo", {"input": 1})
        try:
            await turn.ask("echo", {"input": "bad"})
        except ToolError as error:
            failed = error.tool
        await held.here(turn)
        second = await turn.ask("echo", {"input": 2})
        return {"output": [first["output"], failed, second["output"], turn.replayed]}

    async def echo(turn: Turn) -> Any:
        value = town_module.given(turn)
        asked.append(value)
        if value == "bad":
            raise ToolError("no", tool="t")
        return {"output": value}

    await town.launch(flow=flow, echo=echo)
    town.start()
    await crash(town, held, flow)
    assert output(await town.end()) == [1, "t", 2, 2]
    assert asked == [1, "bad", 2]


async def test_an_ask_that_is_answered_while_its_asker_is_away_is_there_when_it_is_back(town: Town) -> None:
    go = asyncio.Event()
    taken = 0

    async def flow(turn: Turn) -> Any:
        return await turn.ask("work", {"input": 1})

    async def work(turn: Turn) -> Any:
        nonlocal taken
        taken += 1
        await go.wait()
        return {"output": "there"}

    await town.launch(flow=flow, work=work)
    town.start()
    await until(lambda: taken)
    await town.kill("flow")
    go.set()
    await until(lambda: len(town.journal.envelopes("run-000001")) == 3)
    town.join("flow", flow)
    assert output(await town.end()) == "there"
    assert taken == 1


async def test_the_clock_dice_and_ids_are_the_same_again(town: Town) -> None:
    held = Held()
    seen: list[Any] = []

    async def flow(turn: Turn) -> Any:
        turn._clock = lambda: 1000.0 + len(seen)  # a clock that has gone on after the crash
        drawn = [await turn.now(), turn.random(), turn.random(), turn.uuid(), turn.uuid(), await turn.now()]
        seen.append(drawn)
        await held.here(turn)
        return {"output": drawn}

    await town.launch(flow=flow)
    town.start()
    await crash(town, held, flow)
    assert output(await town.end()) == seen[0] == seen[1]
    assert len({str(x) for x in seen[0][1:5]}) == 4
    assert all(0 <= x < 1 for x in seen[0][1:3])


async def test_dice_and_ids_differ_between_runs(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        return {"output": [turn.random(), turn.uuid()]}

    await town.launch(flow=flow)
    drawn = [output(await town.run(run_id=f"run-{i:06}")) for i in range(5)]
    assert len({x for pair in drawn for x in pair}) == 10


async def test_an_exception_is_not_recorded_and_is_tried_again(town: Town) -> None:
    held = Held()
    tried = 0

    async def flow(turn: Turn) -> Any:
        async def fail(nth: int) -> tuple[Any, None]:
            nonlocal tried
            tried += 1
            if tried == 1:
                raise ToolError("not yet")
            return "now", None

        try:
            value = await turn.step("tool", "t", "x", fail)
        except ToolError:
            await held.here(turn)
            raise
        return {"output": value}

    await town.launch(flow=flow)
    town.start()
    await crash(town, held, flow)
    assert output(await town.end()) == "now"
    assert tried == 2
    assert [s.state for s in town.journal.steps("run-000001")] == ["done"]


async def test_a_step_is_in_the_journal_before_the_next_one_begins(town: Town) -> None:
    kept: list[int] = []

    async def flow(turn: Turn) -> Any:
        async def look(nth: int) -> tuple[Any, None]:
            kept.append(len(town.journal.steps("run-000001")))
            return nth, None

        for _ in range(5):
            await turn.step("tool", "look", "x", look)
        return {"output": 0}

    await town.launch(flow=flow)
    output(await town.run())
    assert kept == [0, 1, 2, 3, 4]


async def test_what_a_step_returns_must_be_json(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        async def odd(nth: int) -> tuple[Any, None]:
            return {1, 2}, None

        return await turn.step("tool", "odd", "x", odd)

    await town.launch(flow=flow)
    end = await town.run()
    assert end.status == "failed"
    assert town.journal.steps("run-000001") == []
