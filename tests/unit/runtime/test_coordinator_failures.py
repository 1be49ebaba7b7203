"""The coordinator when the journal is slow or broken, answers are lost, and processes die."""

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
    ClusterError,
    JournalError,
)
from callsheet.core.events import EndRun
from callsheet.core.records import Envelope
from callsheet.runtime import lanes
from callsheet.runtime.journal import Journal
from callsheet.runtime.turns import Turn
from tests.unit.runtime import town as town_module
from tests.unit.runtime.town import Town, ask_echo, echo, output, turns, until

given_to = town_module.given


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PAUSE_S", (0.0, 0.0))


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
    town.client.lose("no such actor")
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
