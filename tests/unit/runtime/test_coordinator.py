"""Coordinator, participants and client together: who hears what, when, and how often."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callsheet.core.errors import (
    CallsheetError,
    ClusterError,
    DefinitionError,
    JournalError,
    LimitError,
    RunError,
    ToolError,
)
from callsheet.core.events import EndRun
from callsheet.core.limits import Limits
from callsheet.core.records import Envelope
from callsheet.runtime import lanes
from callsheet.runtime.journal import Journal
from callsheet.runtime.turns import Turn
from tests.unit.runtime import town as town_module
from tests.unit.runtime.town import Town, output, turns, until

given_to = town_module.given


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PAUSE_S", (0.0, 0.0))


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    made = Town(tmp_path / "journal.db")
    yield made
    await made.close()


async def echo(turn: Turn) -> Any:
    return {"output": given_to(turn)}


async def ask_echo(turn: Turn) -> Any:
    return await turn.ask("echo", {"input": given_to(turn)})


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


@pytest.fixture
async def working(town: Town) -> list[str]:
    """A crew whose worker never finishes; the list tells what became of it."""
    told: list[str] = []

    async def work(turn: Turn) -> Any:
        told.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("stopped")
            raise

    async def flow(turn: Turn) -> Any:
        return await turn.ask("work", {"input": 0})

    await town.launch(flow=flow, work=work)
    return told


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


# --- the journal comes first ---------------------------------------------------------------------------------


class SlowJournal(Journal):
    """Commits when it is told to, or fails."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.quick = False
        self.may_write = threading.Event()
        self.may_write.set()
        self.fail: Exception | None = None
        self.begun = 0

    def write(self, records: Sequence[Any]) -> None:
        self.begun += 1
        assert self.may_write.wait(town_module.BOUND_S)
        if self.fail is not None:
            raise self.fail
        super().write(records)


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[tuple[Town, SlowJournal]]:
    journal = SlowJournal(tmp_path / "journal.db")
    made = Town(tmp_path / "journal.db", journal)
    yield made, journal
    journal.may_write.set()
    await made.close()


async def held(journal: SlowJournal, before: int) -> None:
    """Wait until the journal is asked to write, and then some more."""
    async with asyncio.timeout(town_module.BOUND_S):
        while journal.begun == before:
            await asyncio.sleep(0.001)
    await turns(50)


async def test_nobody_hears_of_what_is_not_in_the_journal(slow: tuple[Town, SlowJournal]) -> None:
    town, journal = slow
    heard: list[str] = []
    ask, reply = asyncio.Event(), asyncio.Event()

    async def flow(turn: Turn) -> Any:
        heard.append("flow begins")
        await ask.wait()
        answer = await turn.ask("echo", {"input": 1})
        heard.append("flow has its answer")
        return answer

    async def work(turn: Turn) -> Any:
        heard.append("echo begins")
        await reply.wait()
        return {"output": 1}

    await town.launch(flow=flow, echo=work)

    async def holding(cause: Any, expected: list[str]) -> None:
        journal.may_write.clear()
        before = journal.begun
        cause()
        await held(journal, before)
        assert heard == expected
        journal.may_write.set()

    await holding(lambda: town.start(), [])
    await until(lambda: heard == ["flow begins"])
    await holding(ask.set, ["flow begins"])
    await until(lambda: heard == ["flow begins", "echo begins"])
    await holding(reply.set, ["flow begins", "echo begins"])
    assert output(await town.end()) == 1


async def test_nothing_counts_as_dealt_with_before_it_is_in_the_journal(
    slow: tuple[Town, SlowJournal],
) -> None:
    town, journal = slow
    settled: list[int] = []

    async def flow(turn: Turn) -> Any:
        journal.may_write.clear()
        await town.step(turn, "s")
        await turn._lane.settled(turn._last)
        settled.append(len(Journal(town.path).steps("run-000001")))
        return {"output": 1}

    await town.launch(flow=flow)
    town.start()
    await until(lambda: town.done)
    before = journal.begun - (not journal.may_write.is_set() and journal.begun > 0)
    await held(journal, before)
    assert town.done == {"s": 1}
    assert settled == []
    journal.may_write.set()
    assert output(await town.end()) == 1
    assert settled == [1]


async def test_a_run_that_is_over_is_not_run_again_for_who_starts_it_again(town: Town) -> None:
    begun = 0

    async def flow(turn: Turn) -> Any:
        nonlocal begun
        begun += 1
        return {"output": begun}

    await town.launch(flow=flow)
    assert output(await town.run()) == 1
    assert output(await town.run()) == 1
    assert begun == 1


@pytest.mark.parametrize("fault", [JournalError("the disk is full", hint="Make room."), ValueError("odd")])
async def test_a_journal_that_fails_ends_the_waiting_with_its_error_and_nothing_more_is_taken(
    slow: tuple[Town, SlowJournal], fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    town, journal = slow
    ran: list[str] = []

    async def flow(turn: Turn) -> Any:
        ran.append(turn.info.run_id)
        answer = await turn.ask("echo", {"input": 1})
        ran.append("answered")
        return answer

    async def work(turn: Turn) -> Any:
        journal.fail = fault
        return {"output": 1}

    await town.launch(flow=flow, echo=work)
    town.start()
    with pytest.raises(JournalError, match=str(fault).splitlines()[0]):
        await town.end()
    with pytest.raises(JournalError):
        await town.run(run_id="run-000002")
    async with asyncio.timeout(town_module.BOUND_S):
        with pytest.raises(JournalError):
            await town.client.query("runs")
    assert ran == ["run-000001"]
    journal.fail = None
    record = Journal(town.path).run("run-000001")
    assert record is not None
    assert (record.status, record.ended) == ("running", None)


async def test_a_watcher_of_everything_hears_it_in_the_journals_order(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        await asyncio.gather(*(turn.ask("work", {"input": i}) for i in range(10)))
        return {"output": "done"}

    async def work(turn: Turn) -> Any:
        await town.step(turn, f"s{given_to(turn)}")
        return {"output": 1}

    await town.launch(flow=flow, work=work)
    run_id = town.start(watch="all")
    heard = [news async for news in town.client.follow(run_id)]
    assert isinstance(heard[-1], EndRun)
    assert [n for n in heard if isinstance(n, Envelope)] == town.journal.envelopes(run_id)
    rest = [n for n in heard[:-1] if not isinstance(n, Envelope)]
    assert rest == town.journal.steps(run_id)
    assert len(rest) == 10


async def test_a_watcher_of_the_end_hears_the_end_alone(town: Town) -> None:
    await town.launch(flow=ask_echo, echo=echo)
    assert [type(n) async for n in town.client.follow(town.start())] == [EndRun]


# --- failures on the way --------------------------------------------------------------------------------------


async def test_an_end_that_was_missed_is_told_and_the_run_is_not_run_again(town: Town) -> None:
    begun = 0

    async def flow(turn: Turn) -> Any:
        nonlocal begun
        begun += 1
        return {"output": begun}

    await town.launch(flow=flow)
    for i in range(20):
        town.fates = ["ok"] * (i % 4) + ["answer lost", "answer lost"]
        assert output(await town.run(run_id=f"run-{i:06}")) == i + 1
    assert begun == 20


async def test_when_the_coordinator_is_gone_for_good_whoever_waits_is_told(town: Town) -> None:
    await town.launch(flow=ask_echo)
    town.start()
    waiting = asyncio.get_running_loop().create_task(town.end())
    await turns()
    town.client._lane._give_up(lanes.LaneDownError("no such actor", final=True))
    with pytest.raises(ClusterError, match="the coordinator is gone: no such actor") as error:
        await waiting
    assert "callsheet runs" in error.value.hint
    with pytest.raises(ClusterError, match="gone"):
        await town.client.query("runs")
    with pytest.raises(ClusterError, match="gone"):
        town.start("run-000002")


async def test_closing_a_client_tells_whoever_follows(town: Town, working: list[str]) -> None:
    town.start()
    waiting = asyncio.get_running_loop().create_task(town.end())
    await until(lambda: working)
    await town.client.close()
    with pytest.raises(ClusterError, match="closed"):
        await waiting


async def test_everything_that_comes_twice_counts_once(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        one = await town.step(turn, "flow step", 1)
        answers = await asyncio.gather(*(turn.ask("work", {"input": i}) for i in range(5)))
        return {"output": [one, *(a["output"] for a in answers)]}

    async def work(turn: Turn) -> Any:
        return {"output": await town.step(turn, f"step {given_to(turn)}", given_to(turn))}

    for name, handler in {"flow": flow, "work": work}.items():
        member = town.join(name, handler)
        post = member._lane.post
        member._lane.post = lambda item, post=post: (post(item), post(item))[1]  # type: ignore[method-assign]
        await member.joined()
    end = await town.run()
    assert output(end) == [1, 0, 1, 2, 3, 4]
    assert end.usage.llm_calls == 6
    assert set(town.done.values()) == {1}
    assert len(town.journal.envelopes("run-000001")) == 12
    assert len(town.journal.steps("run-000001")) == 6


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fates=st.lists(st.sampled_from(["ok", "ok", "lost on the way", "answer lost"]), max_size=60),
    restart=st.sampled_from([None, "coordinator", "flow", "work"]),
    at=st.integers(0, 40),
)
def test_whatever_is_lost_or_dies_every_run_is_right_and_no_finished_step_is_done_twice(
    tmp_path_factory: pytest.TempPathFactory, fates: list[str], restart: str | None, at: int
) -> None:
    async def live() -> None:
        town = Town(tmp_path_factory.mktemp("town") / "journal.db", fates=list(fates))

        async def flow(turn: Turn) -> Any:
            name = given_to(turn)
            first = await turn.ask("work", {"input": f"{name}a"})
            both = await asyncio.gather(*(turn.ask("work", {"input": f"{name}{x}"}) for x in "bc"))
            return {"output": [first["output"], *(b["output"] for b in both)]}

        async def work(turn: Turn) -> Any:
            one = await town.step(turn, f"{given_to(turn)}1", given_to(turn))
            two = await town.step(turn, f"{given_to(turn)}2", "!")
            return {"output": one + two}

        handlers = {"flow": flow, "work": work}
        async with asyncio.timeout(town_module.BOUND_S):
            await town.launch(**handlers)
            await town.client.query("launches")
        for i in range(4):
            town.start(f"run-{i:06}", str(i))
        await turns(at)
        if restart == "coordinator":
            await town.restart_coordinator()
        elif restart is not None:
            await town.kill(restart)
            town.join(restart, handlers[restart])
        for i in range(4):
            end = await town.end(f"run-{i:06}")
            assert output(end) == [f"{i}a!", f"{i}b!", f"{i}c!"]
            assert end.usage.llm_calls == 6
            assert len(town.journal.envelopes(f"run-{i:06}")) == 8
            assert len(town.journal.steps(f"run-{i:06}")) == 6
        # A step that was under way when its process died is done again: at most one of each run's turns.
        twice = [name for name, count in town.done.items() if count > 1]
        assert all(count <= 2 for count in town.done.values())
        if restart not in ("work",):
            assert twice == []
        await town.close()

    asyncio.run(live())
