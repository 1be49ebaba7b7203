"""Runs that ask a person: who waits is held by nobody, and goes on with the reply, whoever brings it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from callsheet.core.canonical import from_json
from callsheet.core.errors import CallsheetError, UsageError, WaitingError
from callsheet.core.limits import Limits
from callsheet.core.records import PERSON, RunWaits, is_question
from callsheet.runtime import lanes, upkeep
from callsheet.runtime.turns import Turn
from tests.unit.runtime import town as town_module
from tests.unit.runtime.town import Town, ask_echo, ask_person, echo, given, output, until

YES = '{"output": "yes"}'


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PAUSE_S", (0.0, 0.0))


async def test_a_run_that_waits_is_in_the_journal_and_nowhere_else(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        return await turn.ask("boss", {"input": 1})

    await town.launch(flow=flow, boss=ask_person)
    town.start()
    question = await town.waiting()
    assert from_json(question.body) == {"question": "may I?"}
    record = town.record()
    assert (record.status, record.owner, record.ended) == ("waiting", "", None)
    assert town.held() == []
    assert town.coordinator is not None
    assert town.coordinator._runs.all() == []


async def test_another_driver_replies_and_the_run_ends_as_if_nothing_had_been(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        first = await town.step(turn, "before", 1)
        answer = await ask_person(turn)
        return {"output": [first, answer["output"]]}

    await town.launch(flow=flow)
    town.start()
    question = await town.waiting()
    end = await town.resumed(driver=town.driver("other terminal"), reply=(question.id, YES))
    assert output(end) == [1, "yes"]
    assert town.done == {"before": 1}
    assert town.record().status == "done"


async def test_a_reply_to_a_run_that_still_works_reaches_the_turn_that_asked(town: Town) -> None:
    go = asyncio.Event()

    async def flow(turn: Turn) -> Any:
        async def slow(nth: int) -> tuple[Any, None]:
            await go.wait()
            return "worked", None

        both = await asyncio.gather(turn.step("tool", "slow", "x", slow), ask_person(turn))
        return {"output": [both[0], both[1]["output"]]}

    await town.launch(flow=flow)
    town.start()
    await until(lambda: len(town.journal.envelopes("run-000001")) == 2)
    driver = town.driver("other terminal")
    town.resume(driver=driver, reply=(town.question().id, YES))
    await until(lambda: len(town.journal.envelopes("run-000001")) == 3)
    go.set()
    assert output(await driver.end("run-000001")) == output(await town.end()) == ["worked", "yes"]


async def test_a_step_beside_a_question_is_finished_before_the_turn_is_parked(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callsheet.runtime.participant.QUIET_S", 0.0)
    go, cancelled = asyncio.Event(), []

    async def flow(turn: Turn) -> Any:
        async def slow(nth: int) -> tuple[Any, None]:
            town.done["slow"] = town.done.get("slow", 0) + 1
            try:
                await go.wait()
            except asyncio.CancelledError:
                cancelled.append(nth)
                raise
            return "worked", None

        both = await asyncio.gather(turn.step("tool", "slow", "x", slow), ask_person(turn))
        return {"output": [both[0], both[1]["output"]]}

    await town.launch(flow=flow)
    town.start()
    await until(lambda: len(town.journal.envelopes("run-000001")) == 2)
    await town_module.turns(200)
    assert town.record().status == "running"
    go.set()
    question = await town.waiting()
    assert output(await town.resumed(reply=(question.id, YES))) == ["worked", "yes"]
    assert town.done == {"slow": 1}
    assert cancelled == []


async def test_what_others_do_meanwhile_goes_on_and_is_done_once(town: Town) -> None:
    go = asyncio.Event()

    async def flow(turn: Turn) -> Any:
        both = await asyncio.gather(turn.ask("boss", {"input": 1}), turn.ask("work", {"input": 2}))
        return {"output": [b["output"] for b in both]}

    async def work(turn: Turn) -> Any:
        await go.wait()
        return {"output": await town.step(turn, "work", "worked")}

    await town.launch(flow=flow, boss=ask_person, work=work)
    town.start()
    # Flow and boss are parked.
    await until(lambda: len(town.journal.envelopes("run-000001")) == 4 and len(town.held()) == 1)
    go.set()
    question = await town.waiting()
    assert output(await town.resumed(reply=(question.id, YES))) == ["yes", "worked"]
    assert town.done == {"work": 1}


async def test_a_flow_that_will_not_be_cancelled_is_parked_all_the_same(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        while True:
            try:
                return await ask_person(turn)
            except asyncio.CancelledError:
                if turn.over:
                    return {"output": "I would not stop"}
                raise

    await town.launch(flow=flow)
    town.start()
    question = await town.waiting()
    assert output(await town.resumed(reply=(question.id, YES))) == "yes"


async def test_one_question_after_the_other_waits_each_time(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        answers = [(await turn.ask(PERSON, {"question": str(n)}))["output"] for n in range(3)]
        return {"output": answers}

    await town.launch(flow=flow)
    town.start()
    question = await town.waiting()
    for n in range(3):
        town.resume(reply=(question.id, f'{{"output": {n}}}'))
        if n < 2:
            question = await town.waiting()
    assert output(await town.end()) == [0, 1, 2]


async def test_two_questions_at_once_are_answered_in_any_order(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        both = await asyncio.gather(*(turn.ask(PERSON, {"question": n}) for n in range(2)))
        return {"output": [b["output"] for b in both]}

    await town.launch(flow=flow)
    town.start()
    first = await town.waiting()
    asked = [e for e in town.journal.envelopes("run-000001") if e.receiver == PERSON and e.kind == "ask"]
    other = next(e for e in asked if e.id != first.id)
    with pytest.raises(WaitingError):
        await town.resumed(reply=(other.id, '{"output": "other"}'))
    assert town.question().id == first.id
    end = await town.resumed(reply=(first.id, '{"output": "first"}'))
    assert output(end) == (
        ["first", "other"] if from_json(first.body)["question"] == 0 else ["other", "first"]
    )


async def test_a_reply_is_taken_once_and_only_to_what_was_asked(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        await ask_person(turn)
        return await turn.ask(PERSON, {"question": "sure?"})

    await town.launch(flow=flow)
    town.start()
    question = await town.waiting()
    with pytest.raises(UsageError, match="no open question 'nonsense'"):
        await town.resumed(reply=("nonsense", YES))
    with pytest.raises(WaitingError):
        await town.resumed(reply=(question.id, YES))
    with pytest.raises(UsageError, match="no open question") as error:
        await town.resumed(reply=(question.id, YES))
    assert "callsheet show" in error.value.hint
    assert town.record().status == "waiting"
    assert output(await town.resumed(reply=(town.question().id, YES))) == "yes"


async def test_a_run_that_waits_is_not_resumed_without_a_reply(town: Town) -> None:
    await town.launch(flow=ask_person)
    town.start()
    await town.waiting()
    with pytest.raises(WaitingError, match="waits for a person"):
        await town.resumed()
    assert town.record().status == "waiting"


async def test_a_waiting_run_survives_everything_and_goes_on_with_another_crew(town: Town) -> None:
    await town.launch(flow=ask_person)
    town.start()
    question = await town.waiting()
    again = await town.everything_dies()
    town.coordinator = None
    try:
        await again.launch("another", flow=ask_person)
        assert output(await again.resumed(launch="another", reply=(question.id, YES))) == "yes"
    finally:
        await again.close()
        town.client = again.client


async def test_a_follower_hears_that_the_run_waits(town: Town) -> None:
    await town.launch(flow=ask_person)
    heard = [news async for news in town.client.follow(town.start(watch="all"))]
    assert isinstance(heard[-1], RunWaits)
    assert len(heard) == 3


async def test_a_waiting_run_can_be_cancelled_and_resumed(town: Town) -> None:
    await town.launch(flow=ask_person)
    town.start()
    question = await town.waiting()
    town.client.cancel("run-000001", "never mind")
    await until(lambda: town.record().status == "cancelled")
    assert from_json(town.record().error or "")["message"] == "never mind"
    with pytest.raises(WaitingError):
        await town.resumed()
    assert output(await town.resumed(reply=(question.id, YES))) == "yes"


async def test_an_order_in_the_journal_to_cancel_a_waiting_run_is_carried_out(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "LOOK_S", 0.0)
    await town.launch(flow=ask_person)
    town.start()
    await town.waiting()
    other = town_module.Journal(town.path)
    assert other.order_cancel("run-000001", "from another terminal", town_module.NOW)
    other.close()
    await until(lambda: town.record().status == "cancelled")
    assert town.journal.orders() == []


async def test_only_work_counts_towards_the_deadline_and_not_the_wait_for_a_person(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        await ask_person(turn)
        return {"output": (turn.info.deadline or 0) - town_module.NOW}

    await town.launch(flow=flow)
    town.start(limits=Limits(deadline_s=60.0), started=town_module.NOW - 40.0)
    question = await town.waiting()
    assert town.record().spent_s == 40.0
    assert output(await town.resumed(reply=(question.id, YES))) == pytest.approx(20.0, abs=0.1)


async def test_a_coordinator_that_dies_while_a_run_waits_or_works_asks_nothing_twice(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        both = await asyncio.gather(turn.ask("echo", {"input": given(turn)}), ask_person(turn))
        return {"output": [b["output"] for b in both]}

    await town.launch(flow=flow, echo=echo)
    town.start(value="x")
    await until(lambda: len(town.journal.envelopes("run-000001")) >= 3)
    await town.restart_coordinator()
    question = await town.waiting()
    await town.restart_coordinator()
    assert output(await town.resumed(reply=(question.id, YES))) == ["x", "yes"]
    assert len(town.journal.envelopes("run-000001")) == 6


@pytest.mark.parametrize("at", range(0, 30, 2))
async def test_a_reply_counts_whenever_the_coordinator_dies(town: Town, at: int) -> None:
    await town.launch(flow=ask_person)
    town.start()
    question = await town.waiting()
    town.resume(reply=(question.id, YES))
    await town_module.turns(at)
    await town.restart_coordinator()
    assert output(await town.end()) == "yes"
    answers = [e for e in town.journal.envelopes("run-000001") if e.reply_to == question.id]
    assert len(answers) == 1


async def test_no_question_is_left_of_a_run_that_is_over(town: Town) -> None:
    async def flow(turn: Turn) -> Any:
        asked = asyncio.ensure_future(ask_person(turn))
        answer = await turn.ask("echo", {"input": 1})
        asked.cancel()
        return answer

    await town.launch(flow=flow, echo=echo)
    assert output(await town.run()) == 1
    asked = next(e for e in town.journal.envelopes("run-000001") if is_question(e))
    with pytest.raises(CallsheetError, match="is done"):
        await town.resumed(reply=(asked.id, YES))


async def test_a_run_without_questions_never_waits(town: Town) -> None:
    await town.launch(flow=ask_echo, echo=echo)
    assert output(await town.run(1)) == 1


async def test_a_question_whose_asker_is_over_is_open_no_more(town: Town) -> None:
    async def desk(turn: Turn) -> Any:
        asked = asyncio.ensure_future(turn.ask("boss", {"input": 1}))
        answer = await turn.ask("echo", {"input": 2})
        asked.cancel()
        return answer

    async def flow(turn: Turn) -> Any:
        await turn.ask("desk", {"input": 0})
        return await ask_person(turn)

    asked = asyncio.Event()

    async def echo_later(turn: Turn) -> Any:
        await asked.wait()
        return {"output": given(turn)}

    await town.launch(flow=flow, desk=desk, boss=ask_person, echo=echo_later)
    town.start()
    await until(
        lambda: any(e.receiver == PERSON for e in town.journal.envelopes("run-000001") if e.kind == "ask")
    )
    stale = next(e for e in town.journal.envelopes("run-000001") if e.kind == "ask" and e.receiver == PERSON)
    asked.set()
    question = await town.waiting()
    assert question.id != stale.id
    with pytest.raises(UsageError, match="no open question"):
        await town.resumed(driver=town.driver("other terminal"), reply=(stale.id, YES))
    assert town.record().status == "waiting"
    end = await town.resumed(driver=town.driver("another one"), reply=(question.id, YES))
    assert output(end) == "yes"
