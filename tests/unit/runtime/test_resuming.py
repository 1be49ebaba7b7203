"""Runs that go on: after a limit, a failure, a cancellation, and after everything has died."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import CallsheetError, RunTakenError, ToolError, UnknownNameError, UsageError
from callsheet.core.events import EndRun
from callsheet.core.limits import Limits
from callsheet.core.records import Envelope, RunRecord
from callsheet.runtime import lanes
from callsheet.runtime.journal import Journal
from callsheet.runtime.turns import Turn
from tests.unit.runtime import town as town_module
from tests.unit.runtime.town import Town, ask_echo, ask_person, echo, given, output, until


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PAUSE_S", (0.0, 0.0))


class Fragile:
    """A crew whose flow has two good workers and one that fails as long as it is told to."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.error: CallsheetError | None = ToolError("the drill broke", tool="drill")

    async def flow(self, turn: Turn) -> Any:
        first = await self.town.step(turn, "flow", 1)
        good = await turn.ask("work", {"input": "good"})
        fragile = await turn.ask("middle", {"input": "fragile"})
        return {"output": [first, good["output"], fragile["output"]]}

    async def middle(self, turn: Turn) -> Any:
        await self.town.step(turn, "middle")
        return await turn.ask("work", {"input": given(turn)})

    async def work(self, turn: Turn) -> Any:
        name = given(turn)
        await self.town.step(turn, name)
        if name == "fragile" and self.error is not None:
            raise self.error
        return {"output": name}

    @property
    def handlers(self) -> dict[str, town_module.Handler]:
        return {"flow": self.flow, "middle": self.middle, "work": self.work}


async def test_a_failed_run_goes_on_where_it_failed_and_does_nothing_finished_again(town: Town) -> None:
    crew = Fragile(town)
    await town.launch(**crew.handlers)
    end = await town.run()
    assert end.status == "failed"
    crew.error = None
    assert output(await town.resumed()) == [1, "good", "fragile"]
    assert set(town.done.values()) == {1}
    record = town.record()
    assert (record.status, record.error, record.owner) == ("done", None, "")
    retired = [e.id for e in town.journal.envelopes("run-000001") if e.id.endswith(".1")]
    assert len(retired) == 3


async def test_a_run_can_fail_again_and_again(town: Town) -> None:
    crew = Fragile(town)
    await town.launch(**crew.handlers)
    assert (await town.run()).status == "failed"
    for n in range(2, 5):
        crew.error = ToolError(f"the drill broke {n} times")
        end = await town.resumed()
        assert end.status == "failed"
        assert str(n) in (end.error or {})["message"]
    crew.error = None
    assert output(await town.resumed()) == [1, "good", "fragile"]
    assert set(town.done.values()) == {1}


async def test_another_crew_takes_a_failed_run_over(town: Town) -> None:
    crew = Fragile(town)
    await town.launch(**crew.handlers)
    assert (await town.run()).status == "failed"
    crew.error = None
    await town.launch("repaired", **crew.handlers)
    assert output(await town.resumed(launch="repaired")) == [1, "good", "fragile"]
    assert set(town.done.values()) == {1}
    assert town.record().launch == "repaired"


async def test_a_run_that_a_limit_stopped_goes_on_with_more(town: Town) -> None:
    crew = Fragile(town)
    crew.error = None
    await town.launch(**crew.handlers)
    end = await town.run(limits=Limits(turns=3))
    assert end.status == "limited"
    assert (await town.resumed()).status == "limited"
    assert output(await town.resumed(limits=Limits(turns=4))) == [1, "good", "fragile"]
    assert set(town.done.values()) == {1}
    assert Limits.from_dict(town_module.from_json(town.record().limits)).turns == 4


async def test_a_cancelled_run_goes_on_where_it_was_stopped(town: Town, working: list[str]) -> None:
    town.start()
    await until(lambda: working)
    town.client.cancel("run-000001", "enough")
    assert (await town.end()).status == "cancelled"
    town.resume()
    await until(lambda: working.count("begun") == 2)
    assert town.record().status == "running"
    town.client.cancel("run-000001", "enough again")
    assert (await town.end()).status == "cancelled"


async def test_the_deadline_of_a_resumed_run_begins_anew(town: Town) -> None:
    crew = Fragile(town)
    await town.launch(**crew.handlers)
    limits = Limits(deadline_s=60.0)
    assert (await town.run(limits=limits, started=town_module.NOW - 59.0)).status == "failed"
    crew.error = None
    town.resume(limits=Limits(deadline_s=30.0))
    assert output(await town.end())
    record = town.record()
    assert (record.since, record.spent_s) == (
        pytest.approx(town_module.NOW, abs=0.1),
        pytest.approx(0.0, abs=0.1),
    )


async def test_a_run_is_resumed_after_everything_has_died(tmp_path: Path) -> None:
    town = Town(tmp_path / "journal.db", owner="first")
    crew = Fragile(town)
    crew.error = None
    held = asyncio.Event()

    async def stuck(turn: Turn) -> Any:
        held.set()
        await asyncio.Event().wait()

    await town.launch(flow=crew.flow, work=crew.work, middle=stuck)
    town.start()
    await held.wait()
    again = await town.everything_dies()
    assert [r.run_id for r in again.journal.orphans()] == ["run-000001"]
    await again.launch("next", **crew.handlers)
    assert output(await again.resumed(launch="next")) == [1, "good", "fragile"]
    assert town.done == {"flow": 1, "good": 1, "middle": 1, "fragile": 1}
    assert again.record().owner == ""
    await again.close()


async def test_of_two_drivers_that_resume_at_once_one_wins_and_the_other_is_told(town: Town) -> None:
    crew = Fragile(town)
    await town.launch(**crew.handlers)
    assert (await town.run()).status == "failed"
    crew.error = None
    drivers = [town.driver("one"), town.driver("two")]
    ends = await asyncio.gather(*(town.resumed(driver=d) for d in drivers), return_exceptions=True)
    assert {type(end) for end in ends} == {EndRun, RunTakenError}
    assert next(output(end) for end in ends if isinstance(end, EndRun)) == [1, "good", "fragile"]
    assert set(town.done.values()) == {1}


async def test_of_two_coordinators_over_one_journal_one_works_on_a_run(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    here, there = Town(path, owner="here"), Town(path, owner="there")
    go = asyncio.Event()

    async def flow(turn: Turn) -> Any:
        await here.step(turn, "s")
        await go.wait()
        return {"output": 1}

    await here.launch(flow=flow)
    await there.launch(flow=flow)
    here.start()
    await until(lambda: here.done)
    with pytest.raises(RunTakenError, match="another process"):
        await there.resumed()
    go.set()
    assert output(await here.end()) == 1
    with pytest.raises(UsageError, match="is done"):
        await there.resumed()
    assert here.done == {"s": 1}
    await here.close(alone=False)
    await there.close()


async def test_of_two_coordinators_one_takes_a_reply_and_the_other_sees_that_it_was_taken(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    here, there = Town(path, owner="here"), Town(path, owner="there")
    await here.launch(flow=ask_person)
    await there.launch(flow=ask_person)
    here.start()
    question = await here.waiting()
    assert output(await there.resumed(reply=(question.id, '{"output": "there"}'))) == "there"
    with pytest.raises(UsageError):
        await here.resumed(reply=(question.id, '{"output": "here"}'))
    assert here.record().owner == ""
    await here.close(alone=False)
    await there.close()


async def test_what_is_read_before_a_run_is_claimed_may_be_old(tmp_path: Path) -> None:
    """Between this coordinator's look at the run and its claim, another answers the question."""
    path = tmp_path / "journal.db"
    here, there = Town(path, owner="here"), Town(path, owner="there")

    async def flow(turn: Turn) -> Any:
        await ask_person(turn)
        return await turn.ask("person", {"question": "sure?"})

    await here.launch(flow=flow)
    await there.launch(flow=flow)
    here.start()
    question = await here.waiting()
    old = here.journal.envelopes("run-000001")
    there.resume(reply=(question.id, '{"output": "there"}'))
    await there.waiting()
    read = here.journal.envelopes
    here.journal.envelopes = lambda run_id: answers.pop(0) if answers else read(run_id)  # type: ignore[method-assign]
    answers = [old]
    with pytest.raises(UsageError, match="no open question"):
        await here.resumed(reply=(question.id, '{"output": "here"}'))
    assert (here.record().status, here.record().owner) == ("waiting", "")
    sure = there.question()
    assert output(await there.resumed(reply=(sure.id, '{"output": "there"}'))) == "there"
    await here.close(alone=False)
    await there.close()


@pytest.mark.parametrize(
    ("record", "error", "text"),
    [
        (None, UnknownNameError, "no run is called"),
        (
            RunRecord(run_id="run-000001", crew="c", status="running", input="1"),
            CallsheetError,
            "but its name",
        ),
        (
            RunRecord(run_id="run-000001", crew="c", status="done", input="1", ended=1.0),
            UsageError,
            "is done",
        ),
    ],
)
async def test_what_cannot_be_resumed_is_refused(town: Town, record: Any, error: type, text: str) -> None:
    if record is not None:
        town.journal.write([record])
    await town.launch(flow=echo)
    with pytest.raises(error, match=text):
        await town.resumed()


async def test_a_run_of_a_crew_that_is_not_launched_is_not_resumed(town: Town) -> None:
    await town.launch(flow=echo)
    await town.run(1)
    with pytest.raises(CallsheetError, match="no crew is launched as 'gone'"):
        await town.resumed(launch="gone")


async def test_a_run_whose_crew_was_stopped_under_it_goes_on_with_another(town: Town) -> None:
    """A deadline of its earlier life does not end it."""
    crew = Fragile(town)

    async def stuck(turn: Turn) -> Any:
        await asyncio.Event().wait()

    await town.launch(flow=crew.flow, work=crew.work, middle=stuck)
    town.start(limits=Limits(deadline_s=60.0), started=town_module.NOW - 59.9)
    await until(lambda: "good" in town.done)
    crew.error = None
    await town.launch("another", **crew.handlers)
    assert town.coordinator is not None
    town.coordinator._members.remove_launch("crew")
    end = await town.resumed(launch="another", limits=Limits(deadline_s=60.0))
    assert output(end) == [1, "good", "fragile"]


@pytest.mark.parametrize("at", range(0, 24, 2))
async def test_a_run_is_resumed_once_whenever_the_coordinator_dies(town: Town, at: int) -> None:
    crew = Fragile(town)
    await town.launch(**crew.handlers)
    assert (await town.run()).status == "failed"
    crew.error = None
    town.resume(since=town.record().since)
    await town_module.turns(at)
    await town.restart_coordinator()
    assert output(await town.end()) == [1, "good", "fragile"]
    assert all(count <= 2 for count in town.done.values())
    assert town.done["flow"] == town.done["good"] == 1


async def test_a_process_that_holds_turns_of_a_run_that_another_crew_has_now_is_told_to_stop(
    town: Town,
) -> None:
    crew = Fragile(town)
    crew.error = None
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def stuck(turn: Turn) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    await town.launch(flow=crew.flow, work=crew.work, middle=stuck)
    town.start()
    await begun.wait()
    town.cut = {client for client in town.members if client.startswith("crew/")}
    await town.restart_coordinator()
    await town.launch("another", **crew.handlers)
    driver = town.driver("other terminal")
    town.resume(driver=driver, launch="another")
    await until(lambda: town.record().status == "done")
    assert not stopped.is_set()
    town.cut = set()
    await until(stopped.is_set)
    assert set(town.done.values()) == {1}


async def test_a_follower_of_everything_hears_each_record_once_across_coordinators(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        answers = [(await turn.ask("echo", {"input": n}))["output"] for n in range(6)]
        return {"output": answers}

    async def echo_and_step(turn: Turn) -> Any:
        return {"output": await town.step(turn, str(given(turn)), given(turn))}

    await town.launch(flow=flow, echo=echo_and_step)
    run_id = town.start(watch="all")
    heard: list[Any] = []

    async def listen() -> None:
        async for news in town.client.follow(run_id):
            heard.append(news)  # noqa: PERF401

    listening = asyncio.get_running_loop().create_task(listen())
    for count in (3, 7):
        await until(lambda count=count: len(heard) >= count or listening.done())
        await town.restart_coordinator()
    async with asyncio.timeout(town_module.BOUND_S):
        await listening
    ids = [news.id for news in heard if isinstance(news, Envelope)]
    assert sorted(ids) == sorted(e.id for e in town.journal.envelopes(run_id))
    assert len(set(ids)) == len(ids) == 14
    places = [(s.turn_id, s.place) for s in heard if not isinstance(s, (Envelope, EndRun))]
    assert len(set(places)) == len(places) == 6
    assert [type(news) for news in heard].count(EndRun) == 1


async def test_a_clock_that_went_back_keeps_no_turn_from_being_taken_again(town: Town) -> None:
    crew = Fragile(town)
    await town.launch(**crew.handlers)
    assert (await town.run(started=town_module.NOW + 3600.0)).status == "failed"
    crew.error = None
    assert output(await town.resumed()) == [1, "good", "fragile"]
    assert town.record().since > town_module.NOW + 3600.0


async def test_an_order_in_the_journal_stops_a_run(town: Town, working: list[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("callsheet.runtime.upkeep.LOOK_S", 0.0)
    town.start()
    await until(lambda: working)
    other = Journal(town.path)
    other.order_cancel("run-000001", "enough", town_module.NOW)
    end = await town.end()
    assert (end.status, (end.error or {})["message"]) == ("cancelled", "enough")
    assert other.orders() == []
    other.close()
    await until(lambda: working == ["begun", "stopped"])


async def test_asking_again_for_what_was_done_is_no_second_run(town: Town) -> None:
    await town.launch(flow=ask_echo, echo=echo)
    assert output(await town.run(1)) == 1
    with pytest.raises(UsageError, match="is done"):
        await town.resumed()
