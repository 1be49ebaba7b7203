"""Coordinator, participants and client together: who hears what, when, and how often."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import (
    CallsheetError,
    DefinitionError,
    LimitError,
    RunError,
    ToolError,
)
from callsheet.core.limits import Limits
from callsheet.runtime import lanes
from callsheet.runtime.turns import Turn
from tests.unit.runtime import town as town_module
from tests.unit.runtime.town import Town, ask_echo, echo, output, until

given_to = town_module.given


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PAUSE_S", (0.0, 0.0))


# --- asking and answering ----------------------------------------------------------------------------------


async def test_an_answer_comes_back_to_who_asked_through_any_depth(town: Town) -> None:
    async def down(turn: Turn) -> Any:
        depth = given_to(turn)
        if depth == 0:
            return {"output": "ground"}
        return {"output": [depth, (await turn.ask("down", {"input": depth - 1}))["output"]]}

    async def flow(turn: Turn) -> Any:
        return await turn.ask("down", {"input": 3})

    await town.launch(flow=flow, down=down)
    assert output(await town.run()) == [3, [2, [1, "ground"]]]


async def test_a_hundred_asks_at_once_each_get_their_own_answer(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        answers = await asyncio.gather(*(turn.ask("echo", {"input": i % 10}) for i in range(100)))
        return {"output": [answer["output"] for answer in answers]}

    await town.launch(flow=flow, echo=echo)
    assert output(await town.run()) == [i % 10 for i in range(100)]
    assert len(town.journal.envelopes("run-000001")) == 202


async def test_many_runs_at_once_do_not_mix(town: Town) -> None:
    await town.launch(flow=ask_echo, echo=echo)
    for i in range(100):
        town.start(f"run-{i:06}", i)
    ends = await asyncio.gather(*(town.end(f"run-{i:06}") for i in range(100)))
    assert [output(end) for end in ends] == list(range(100))


async def test_an_error_reaches_the_asker_and_the_client_with_its_type_and_fields(town: Town) -> None:
    seen: list[CallsheetError] = []

    async def flow(turn: Turn) -> Any:
        try:
            await turn.ask("broken", {"input": 0})
        except ToolError as error:
            seen.append(error)
        return await turn.ask("broken", {"input": 1})

    async def broken(turn: Turn) -> Any:
        raise ToolError("the drill broke", tool="drill", hint="Buy another.", partial=object())

    await town.launch(flow=flow, broken=broken)
    end = await town.run()
    assert end.status == "failed"
    error = CallsheetError.from_dict(end.error or {})
    assert (type(error), error.message, error.hint) == (ToolError, "the drill broke", "Buy another.")
    assert str(seen[0]) == str(error)


@pytest.mark.parametrize("answer", [{"output": float("nan")}, {"output": {1, 2}}, object()])
async def test_an_answer_that_is_no_json_fails_the_run_and_says_so(town: Town, answer: Any) -> None:
    async def flow(turn: Turn) -> Any:
        return answer

    await town.launch(flow=flow)
    end = await town.run()
    assert end.status == "failed"
    assert "flow failed" in (end.error or {})["message"]


async def test_a_fault_in_a_handler_fails_the_run_and_says_where(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        return 1 / 0

    await town.launch(flow=flow)
    end = await town.run()
    error = CallsheetError.from_dict(end.error or {})
    assert type(error) is RunError
    assert "ZeroDivisionError" in error.message
    assert Path(__file__).name in error.message


async def test_text_that_no_database_takes_passes_whole(town: Town) -> None:
    hostile = "half \ud83d, \0, \udfff and @blob:1" + "x" * 70_000
    await town.launch(flow=ask_echo, echo=echo)
    assert output(await town.run(hostile)) == hostile


# --- who takes turns ----------------------------------------------------------------------------------------


async def test_messages_wait_for_a_participant_that_joins_late(town: Town) -> None:
    await town.launch(flow=ask_echo)
    town.start(value="early")
    await until(lambda: len(town.journal.envelopes("run-000001")) == 2)
    await town.launch(echo=echo)
    assert output(await town.end()) == "early"


async def test_replicas_share_the_load_and_each_turn_is_taken_once(town: Town) -> None:
    taken: dict[str, list[int]] = {}

    def replica(index: int) -> town_module.Handler:
        async def handler(turn: Turn) -> Any:
            taken.setdefault(turn.id, []).append(index)
            return {"output": given_to(turn)}

        return handler

    await town.launch(flow=ask_echo)
    for i in range(3):
        await town.join("echo", replica(i), replica=i, replicas=3).joined()
    for i in range(60):
        town.start(f"run-{i:06}", i)
    assert [output(await town.end(f"run-{i:06}")) for i in range(60)] == list(range(60))
    assert all(len(by) == 1 for by in taken.values())
    shares = [sum(by == [i] for by in taken.values()) for i in range(3)]
    assert sum(shares) == 60
    assert min(shares) >= 5


async def test_a_turn_stays_with_its_replica_when_another_is_restarted(town: Town) -> None:
    taken: list[tuple[str, int]] = []
    go = asyncio.Event()

    def replica(index: int) -> town_module.Handler:
        async def handler(turn: Turn) -> Any:
            taken.append((turn.id, index))
            await go.wait()
            return {"output": index}

        return handler

    await town.launch(flow=ask_echo)
    for i in range(2):
        await town.join("echo", replica(i), replica=i, replicas=2).joined()
    for i in range(20):
        town.start(f"run-{i:06}", i)
    await until(lambda: len(taken) == 20)
    first = dict(taken)
    await town.kill("echo", 1)
    await town.join("echo", replica(1), replica=1, replicas=2).joined()
    again = [t for t in first if first[t] == 1]
    await until(lambda: len(taken) == 20 + len(again))
    go.set()
    await asyncio.gather(*(town.end(f"run-{i:06}") for i in range(20)))
    assert dict(taken) == first
    assert sorted(t for t, _ in taken[20:]) == sorted(again)


# --- what stops a run ---------------------------------------------------------------------------------------


async def test_a_deadline_ends_the_run_and_stops_its_work(town: Town, working: list[str]) -> None:
    town.start(limits=Limits(deadline_s=60.0), started=town_module.NOW - 59.95)
    await until(lambda: working)
    end = await town.end()
    assert end.status == "limited"
    error = CallsheetError.from_dict(end.error or {})
    assert isinstance(error, LimitError)
    assert error.limit == "deadline_s"
    await until(lambda: working == ["begun", "stopped"])
    record = town.journal.run("run-000001")
    assert record is not None
    assert record.status == "limited"


async def test_cancelling_ends_the_run_and_stops_its_work(town: Town, working: list[str]) -> None:
    town.start()
    await until(lambda: working)
    town.client.cancel("run-000001", "enough of it")
    end = await town.end()
    assert end.status == "cancelled"
    assert (end.error or {})["message"] == "enough of it"
    await until(lambda: working == ["begun", "stopped"])
    town.client.cancel("run-000001", "again")
    town.client.cancel("nobody-knows", "it")
    assert (await town.client.query("run", run_id="run-000001"))[0].status == "cancelled"


async def test_stopping_a_crew_ends_its_runs_and_no_others(town: Town, working: list[str]) -> None:
    await town.join("flow", echo, launch="other").joined()
    town.start()
    await until(lambda: working)
    await town.client.query("unlaunch", name="crew")
    assert (await town.end()).status == "cancelled"
    assert output(await town.run("still here", run_id="run-000002", launch="other")) == "still here"


@pytest.mark.parametrize(
    ("limits", "name"),
    [(Limits(turns=4), "turns"), (Limits(messages=7), "messages")],
    ids=["turns", "messages"],
)
async def test_a_limit_stops_a_run_that_never_would(town: Town, limits: Limits, name: str) -> None:
    async def flow(turn: Turn) -> Any:
        n = 0
        while True:
            n = (await turn.ask("echo", {"input": n + 1}))["output"]

    await town.launch(flow=flow, echo=echo)
    end = await town.run(limits=limits)
    error = CallsheetError.from_dict(end.error or {})
    assert end.status == "limited"
    assert isinstance(error, LimitError)
    assert error.limit == name


async def test_a_run_of_a_crew_that_is_not_launched_is_refused(town: Town) -> None:
    with pytest.raises(DefinitionError, match="no crew is launched as 'nobody'") as error:
        await town.run(launch="nobody")
    assert "callsheet crews" in error.value.hint
    assert town.journal.run("run-000001") is None


@pytest.mark.parametrize(("verb", "args"), [("dance", {}), ("runs", {"colour": 1}), ("run", {})])
async def test_a_query_that_cannot_be_answered_is_answered_with_an_error(
    town: Town, verb: str, args: dict[str, Any]
) -> None:
    async with asyncio.timeout(town_module.BOUND_S):
        with pytest.raises(CallsheetError, match=verb):
            await town.client.query(verb, **args)
        assert await town.client.query("runs", limit=3) == []
