"""Who is there and who is not: processes that die, that leave, that are told to stop, and crews left behind."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from typing import Any

import pytest

from callsheet.core.errors import AgentError, CallsheetError
from callsheet.core.records import PERSON
from callsheet.runtime import lanes, upkeep
from callsheet.runtime.coordinator import DEATHS
from callsheet.runtime.journal import end_of
from callsheet.runtime.turns import Turn
from tests.unit.runtime import town as town_module
from tests.unit.runtime.town import Town, ask_person, echo, given, output, turns, until


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each participant has a process of its own."""
    monkeypatch.setattr(lanes, "PAUSE_S", (0.0, 0.0))
    pids = itertools.count(1)
    monkeypatch.setattr(os, "getpid", lambda: next(pids))


class Deadly:
    """Its turns stay in its hands until its process dies."""

    def __init__(self) -> None:
        self.begun = 0

    async def work(self, turn: Turn) -> Any:
        self.begun += 1
        await asyncio.Event().wait()


async def flow(turn: Turn) -> Any:
    return await turn.ask("work", {"input": 1})


def open_turns(town: Town) -> list[Any]:
    assert town.coordinator is not None
    run = town.coordinator._runs.get("run-000001")
    return [] if run is None else sorted(run.state.open.values(), key=lambda turn: not turn.parked)


async def die(town: Town, deadly: Deadly, times: int, *, leaves: bool = False) -> None:
    for _ in range(times):
        before = deadly.begun
        if leaves:
            await town.members["crew/work#0"].leave()
        await town.kill("work")
        town.join("work", deadly.work)
        await until(lambda before=before: deadly.begun > before or town.record().ended)


async def test_a_turn_under_which_every_process_dies_is_given_up(town: Town) -> None:
    deadly = Deadly()
    await town.launch(flow=flow, work=deadly.work)
    town.start()
    await until(lambda: deadly.begun)
    await die(town, deadly, DEATHS - 1)
    assert town.record().status == "running"
    await die(town, deadly, 1)
    end = await town.end()
    error = CallsheetError.from_dict(end.error or {})
    assert isinstance(error, AgentError)
    assert f"died {DEATHS} times" in error.message
    assert deadly.begun == DEATHS


async def test_a_process_that_leaves_by_its_own_will_has_not_died(town: Town) -> None:
    deadly = Deadly()
    await town.launch(flow=flow, work=deadly.work)
    town.start()
    await until(lambda: deadly.begun)
    await die(town, deadly, DEATHS + 2, leaves=True)
    assert town.record().status == "running"


async def test_a_turn_that_waits_for_another_has_no_part_in_the_death_of_its_process(town: Town) -> None:
    deadly = Deadly()
    await town.launch(flow=flow, work=deadly.work)
    town.start()
    await until(lambda: deadly.begun)
    for _ in range(DEATHS + 2):
        await town.kill("flow")
        await town.join("flow", flow).joined()
    assert town.record().status == "running"
    await town.kill("work")
    town.join("work", echo)
    assert (await town.end()).status == "done"


async def test_deaths_between_which_a_turn_gets_on_are_not_added_up(town: Town) -> None:
    begun = 0

    async def work(turn: Turn) -> Any:
        nonlocal begun
        for n in range(DEATHS + 2):
            if turn.replayed <= n:
                await town.step(turn, str(n))
            if n == begun:
                begun += 1
                await turn._lane.settled(turn._last)
                await asyncio.Event().wait()
        return {"output": begun}

    await town.launch(flow=flow, work=work)
    town.start()
    for n in range(DEATHS + 2):
        await until(lambda n=n: begun == n + 1)
        await until(lambda n=n: len(town.journal.steps("run-000001")) == n + 1)
        await town.kill("work")
        town.join("work", work)
    assert output(await town.end()) == DEATHS + 2


async def test_a_turn_that_only_waits_for_a_person_has_no_part_in_the_death_of_its_process(
    town: Town,
) -> None:
    go = asyncio.Event()

    async def flow(turn: Turn) -> Any:
        both = await asyncio.gather(turn.ask("boss", {"input": 1}), turn.ask("work", {"input": 1}))
        return {"output": [b["output"] for b in both]}

    async def work(turn: Turn) -> Any:
        await go.wait()
        return {"output": "worked"}

    await town.launch(flow=flow, boss=ask_person, work=work)
    town.start()
    await until(lambda: [t.parked for t in open_turns(town)] == [True, True, False, False])
    for _ in range(DEATHS + 1):
        await town.kill("boss")
        await town.join("boss", ask_person).joined()
    go.set()
    question = await town.waiting()
    assert output(await town.resumed(reply=(question.id, '{"output": "yes"}'))) == ["yes", "worked"]


async def test_turns_of_one_process_that_asked_each_other_are_given_up_together(town: Town) -> None:
    begun = 0

    async def deep(turn: Turn) -> Any:
        nonlocal begun
        if given(turn) == 0:
            begun += 1
            await asyncio.Event().wait()
        return await turn.ask("deep", {"input": given(turn) - 1})

    async def flow(turn: Turn) -> Any:
        return await turn.ask("deep", {"input": 2})

    await town.launch(flow=flow, deep=deep)
    town.start()
    for n in range(DEATHS):
        await until(lambda n=n: begun == n + 1)
        await town.kill("deep")
        town.join("deep", deep)
    assert (await town.end()).status == "failed"
    await town.kill("flow")
    await town.launch(flow=echo)
    assert output(await town.run("still serving", run_id="run-000002")) == "still serving"


# --- stopping ----------------------------------------------------------------------------------------------


async def test_an_order_to_stop_that_was_lost_with_the_coordinator_comes_from_the_next(
    town: Town, working: list[str]
) -> None:
    town.start()
    await until(lambda: working)
    town.cut = {"crew/work#0", "crew/flow#0"}
    town.client.cancel("run-000001", "enough")
    await until(lambda: town.record().status == "cancelled")
    await town.restart_coordinator()
    assert working == ["begun"]
    town.cut = set()
    await until(lambda: working == ["begun", "stopped"])
    await until(lambda: town.held() == [])


async def test_what_a_turn_comes_to_that_will_not_be_stopped_does_not_count(town: Town) -> None:
    told: list[str] = []

    async def stubborn(turn: Turn) -> Any:
        told.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with pytest.raises(asyncio.CancelledError):
                await town.step(turn, "late")
            with pytest.raises(asyncio.CancelledError):
                await turn.ask("flow", {"input": 1})
            told.append("answers all the same")
            return {"output": "too late"}

    await town.launch(flow=stubborn)
    town.start()
    await until(lambda: told)
    town.client.cancel("run-000001", "enough")
    assert (await town.end()).status == "cancelled"
    await until(lambda: told[-1] == "answers all the same")
    await turns(50)
    assert town.done == {}
    assert len(town.journal.envelopes("run-000001")) == 1


async def test_a_step_that_comes_to_a_held_process_waits_and_is_not_under_way(town: Town) -> None:
    first = asyncio.Event()

    async def flow(turn: Turn) -> Any:
        async def slow(nth: int) -> tuple[Any, None]:
            await first.wait()
            return 1, None

        await turn.step("tool", "slow", "x", slow)
        return {"output": await town.step(turn, "held back", 2)}

    await town.launch(flow=flow)
    town.start()
    member = town.members["crew/flow#0"]
    await until(lambda: member.under_way == 1)
    member.hold()
    first.set()
    await until(lambda: member.under_way == 0)
    await turns(50)
    assert town.done == {}
    await member.leave()
    await town.kill("flow")
    town.join("flow", flow)
    assert output(await town.end()) == 2


# --- crews that were left ------------------------------------------------------------------------------------


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK_S", 3600.0)


def later(town: Town, seconds: float) -> None:
    assert town.coordinator is not None
    town.coordinator._upkeep.dismiss_left_crews(time.monotonic() + seconds)


@pytest.mark.usefixtures("look")
async def test_a_crew_whose_driver_is_silent_is_dismissed(town: Town) -> None:
    await town.join("flow", echo, launch="left", driver="driver").joined()
    await town.join("flow", echo, launch="kept").joined()
    await town.client.query("launches")
    later(town, upkeep.SILENT_S - 5.0)
    await turns(50)
    assert town.dismissed == []
    later(town, upkeep.SILENT_S + 5.0)
    await until(lambda: town.dismissed == ["left/flow#0"])
    assert [launch["name"] for launch in await town.client.query("launches")] == ["kept"]


@pytest.mark.usefixtures("look")
async def test_a_crew_that_has_a_run_is_not_dismissed_before_it_is_over(town: Town) -> None:
    go = asyncio.Event()

    async def flow(turn: Turn) -> Any:
        await go.wait()
        return {"output": 1}

    await town.join("flow", flow, driver="nobody").joined()
    town.start()
    await until(lambda: town.held())
    later(town, 10 * upkeep.SILENT_S)
    go.set()
    assert output(await town.end()) == 1
    assert town.dismissed == []
    later(town, 10 * upkeep.SILENT_S)
    await until(lambda: town.dismissed == ["crew/flow#0"])


@pytest.mark.usefixtures("look")
async def test_a_crew_whose_runs_all_wait_for_people_is_dismissed(town: Town) -> None:
    await town.join("flow", ask_person, driver="nobody").joined()
    town.start()
    await town.waiting()
    later(town, 10 * upkeep.SILENT_S)
    await until(lambda: town.dismissed == ["crew/flow#0"])
    assert town.record().status == "waiting"


@pytest.mark.usefixtures("look")
async def test_a_driver_that_says_so_is_there(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callsheet.runtime.client.PING_S", 0.0)
    await town.join("flow", echo, driver="driver").joined()
    assert town.coordinator is not None
    port = town.coordinator._lanes.ports
    town.client.keep_alive()
    town.client.keep_alive()
    await until(lambda: "driver" in port)
    seen = port["driver"].seen
    await until(lambda: port["driver"].seen > seen)


async def test_a_turn_is_not_parked_for_a_question_that_was_answered_meanwhile(town: Town) -> None:
    """Orders to park and answers cross on the way; whichever comes first, the run goes on."""

    async def flow(turn: Turn) -> Any:
        answers = [(await turn.ask(PERSON, {"question": n}))["output"] for n in range(3)]
        return {"output": answers}

    await town.launch(flow=flow)
    town.start()
    driver = town.driver("quick")
    for n in range(3):
        await until(lambda n=n: len(town.journal.envelopes("run-000001")) == 2 + 2 * n)
        await turns(n * 7)
        town.resume(driver=driver, reply=(town.question().id, f'{{"output": {n}}}'))
        await until(lambda n=n: len(town.journal.envelopes("run-000001")) >= 3 + 2 * n)
    async with asyncio.timeout(town_module.BOUND_S):
        await until(lambda: town.record().status == "done")
    assert output(end_of(town.record())) == [0, 1, 2]
