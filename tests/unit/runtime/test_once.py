"""Steps that must not be done twice, and steps that a budget has to have room for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from callsheet.core.errors import CallsheetError, LimitError, ModelError, WaitingError
from callsheet.core.events import StepRecorded
from callsheet.core.ids import step_key
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import PERSON, Step
from callsheet.runtime import lanes
from callsheet.runtime.turns import Turn
from tests.unit.runtime import town as town_module
from tests.unit.runtime.town import Town, given, output, turns, until


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PAUSE_S", (0.0, 0.0))


class Mailer:
    """Sends one mail a turn, and asks a person whether it was sent where that is not known."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.sent: list[str] = []
        self.unknown: list[str] = []
        self.may_send = asyncio.Event()
        self.may_send.set()

    async def send(self, turn: Turn, name: str) -> Any:
        async def work(nth: int) -> tuple[Any, None]:
            self.sent.append(name)
            await self.may_send.wait()
            return f"sent {name}", None

        async def unknown(nth: int) -> tuple[Any, RunUsage | None] | None:
            self.unknown.append(name)
            decision = (await turn.ask(PERSON, {"question": name}))["output"]
            return None if decision == "again" else (decision, None)

        return await turn.step("tool", "send", name, work, once=True, on_unknown=unknown)

    async def flow(self, turn: Turn) -> Any:
        return {"output": await self.send(turn, "mail")}


async def test_an_intent_is_in_the_journal_before_a_once_step_begins(town: Town) -> None:
    seen: list[str] = []

    async def flow(turn: Turn) -> Any:
        async def work(nth: int) -> tuple[Any, None]:
            seen.extend(step.state for step in town.journal.steps("run-000001"))
            return 1, None

        return {"output": await turn.step("tool", "t", "x", work, once=True)}

    await town.launch(flow=flow)
    assert output(await town.run()) == 1
    assert seen == ["intent"]
    assert [step.state for step in town.journal.steps("run-000001")] == ["done"]


@pytest.mark.parametrize(("decision", "sent"), [("it was sent", 1), ("again", 2)])
async def test_what_became_of_a_once_step_is_asked_and_never_guessed(
    town: Town, decision: str, sent: int
) -> None:
    mailer = Mailer(town)
    mailer.may_send.clear()
    await town.launch(flow=mailer.flow)
    town.start()
    await until(lambda: mailer.sent)
    await town.kill("flow")
    mailer.may_send.set()
    town.join("flow", mailer.flow)
    question = await town.waiting()
    assert town.held() == []
    end = await town.resumed(reply=(question.id, f'{{"output": "{decision}"}}'))
    assert output(end) == ("sent mail" if decision == "again" else decision)
    assert len(mailer.sent) == sent


@pytest.mark.parametrize("victim", ["flow", "coordinator", "both"])
@pytest.mark.parametrize("at", range(26))
async def test_whenever_a_process_dies_a_once_step_is_done_once_or_asked_about(
    town: Town, victim: str, at: int
) -> None:
    mailer = Mailer(town)
    await town.launch(flow=mailer.flow)
    town.start()
    await turns(at)
    if victim != "flow":
        await town.kill_coordinator()
    if victim != "coordinator":
        await town.kill("flow")
    if victim != "flow":
        town.journal = town_module.Journal(town.path)
        town.coordinator = town.coordinator_of(town.journal)
    if victim != "coordinator":
        town.join("flow", mailer.flow)
    try:
        assert output(await town.end()) == "sent mail"
        assert mailer.sent == ["mail"]
    except WaitingError:
        assert victim != "coordinator"
        assert len(mailer.sent) <= 1
        end = await town.resumed(reply=(town.question().id, '{"output": "it was sent"}'))
        assert output(end) == "it was sent"


async def test_a_once_step_of_a_run_that_was_stopped_never_begins(town: Town) -> None:
    """Also when the news of the stop comes with a coordinator that only knows that the run is over."""
    mailer = Mailer(town)
    at_it = asyncio.Event()

    async def flow(turn: Turn) -> Any:
        at_it.set()
        await go.wait()
        # In a task of its own, which nobody stops: user code may do so.
        await asyncio.get_running_loop().create_task(mailer.send(turn, "mail"))

    go = asyncio.Event()
    await town.launch(flow=flow)
    town.start()
    await at_it.wait()
    town.cut = {"crew/flow#0"}
    town.client.cancel("run-000001", "enough")
    await until(lambda: town.record().status == "cancelled")
    go.set()
    await turns()
    await town.restart_coordinator()
    town.cut = set()
    await until(lambda: town.held() == [])
    await turns(50)
    assert mailer.sent == []


async def test_leave_to_begin_that_was_lost_with_the_coordinator_is_asked_for_again(town: Town) -> None:
    mailer = Mailer(town)
    worst_asked: list[int] = []

    async def flow(turn: Turn) -> Any:
        async def worst() -> RunUsage:
            worst_asked.append(1)
            return RunUsage(llm_calls=1, cost_usd=0.5)

        both = await asyncio.gather(mailer.send(turn, "mail"), town.step(turn, "model", "m", worst=worst))
        return {"output": both}

    for at in range(16):
        run_id = f"run-{at:06}"
        mailer.sent.clear()
        if at == 0:
            await town.launch(flow=flow)
        town.start(run_id, limits=Limits(budget_usd=0.6))
        await turns(at)
        await town.restart_coordinator()
        assert output(await town.end(run_id)) == ["sent mail", "m"]
        assert mailer.sent == ["mail"]
    assert town.done == {"model": 16}


# --- budgets -----------------------------------------------------------------------------------------------


class Spender:
    """Makes model calls that may cost half a dollar each; `most` is what was being spent at once."""

    def __init__(self) -> None:
        self.now = self.most = 0.0
        self.go = asyncio.Event()
        self.go.set()
        self.made: list[str] = []
        self.fail: set[str] = set()

    async def call(self, turn: Turn, name: str, worst_usd: float = 0.5) -> Any:
        async def worst() -> RunUsage:
            return RunUsage(llm_calls=1, cost_usd=worst_usd)

        async def work(nth: int) -> tuple[Any, RunUsage]:
            self.now += worst_usd
            self.most = max(self.most, self.now)
            self.made.append(name)
            try:
                await self.go.wait()
                await turns(3)
                if name in self.fail:
                    self.fail.discard(name)
                    raise ModelError("no")
                return name, RunUsage(llm_calls=1, cost_usd=worst_usd / 5)
            finally:
                self.now -= worst_usd

        return await turn.step("llm", "m", name, work, worst=worst)

    async def flow(self, turn: Turn) -> Any:
        answers = await asyncio.gather(*(turn.ask("work", {"input": str(n)}) for n in range(5)))
        return {"output": [a["output"] for a in answers]}

    async def work(self, turn: Turn) -> Any:
        return {"output": await self.call(turn, given(turn))}


async def test_calls_side_by_side_wait_for_room_in_the_budget(town: Town) -> None:
    spender = Spender()
    await town.launch(flow=spender.flow, work=spender.work)
    end = await town.run(limits=Limits(budget_usd=1.0))
    assert output(end) == list("01234")
    assert spender.most <= 1.0
    assert end.usage.cost_usd == pytest.approx(0.5)


async def test_calls_that_come_to_the_budget_stop_the_run_and_it_goes_on_with_more(town: Town) -> None:
    spender = Spender()
    await town.launch(flow=spender.flow, work=spender.work)
    end = await town.run(limits=Limits(budget_usd=0.7))
    error = CallsheetError.from_dict(end.error or {})
    assert isinstance(error, LimitError)
    assert error.limit == "budget_usd"
    assert end.usage.cost_usd <= 0.7
    made = len(spender.made)
    assert output(await town.resumed(limits=Limits(budget_usd=2.0))) == list("01234")
    assert sorted(spender.made) == list("01234")
    assert 0 < made < 5


async def test_a_call_that_fails_makes_room_for_the_next(town: Town) -> None:
    spender = Spender()
    spender.fail = {"a"}

    async def flow(turn: Turn) -> Any:
        with pytest.raises(ModelError):
            await spender.call(turn, "a", 0.9)
        return {"output": [await spender.call(turn, name, 0.9) for name in ("b",)]}

    await town.launch(flow=flow)
    assert output(await town.run(limits=Limits(budget_usd=1.0))) == ["b"]


async def test_a_call_that_failed_before_the_coordinator_died_holds_no_room(town: Town) -> None:
    spender = Spender()
    spender.fail = {"a"}
    failed, go = asyncio.Event(), asyncio.Event()

    async def flow(turn: Turn) -> Any:
        with pytest.raises(ModelError):
            await spender.call(turn, "a", 0.9)
        failed.set()
        await go.wait()
        return {"output": await spender.call(turn, "b", 0.9)}

    await town.launch(flow=flow)
    town.start(limits=Limits(budget_usd=1.0))
    await failed.wait()
    await town.restart_coordinator()
    go.set()
    assert output(await town.end()) == "b"


async def test_a_process_that_died_holds_no_room(town: Town) -> None:
    spender = Spender()
    spender.go.clear()
    names = ["before", "after"]

    async def flow(turn: Turn) -> Any:
        return {"output": await spender.call(turn, names.pop(0), 0.9)}

    await town.launch(flow=flow)
    town.start(limits=Limits(budget_usd=1.0))
    await until(lambda: spender.made)
    await town.kill("flow")
    spender.go.set()
    town.join("flow", flow)
    assert output(await town.end()) == "after"


async def test_calls_under_way_hold_their_room_while_the_coordinator_is_replaced(town: Town) -> None:
    spender = Spender()
    spender.go.clear()
    await town.launch(flow=spender.flow, work=spender.work)
    town.start(limits=Limits(budget_usd=1.0))
    await until(lambda: len(spender.made) == 2)
    await town.restart_coordinator()
    await turns(100)
    assert len(spender.made) == 2
    spender.go.set()
    assert output(await town.end()) == list("01234")
    assert spender.most <= 1.0
    assert sorted(spender.made) == list("01234")


async def test_a_step_that_another_process_has_recorded_meanwhile_is_not_begun(town: Town) -> None:
    """A result that came late, of a process that was thought to be gone."""
    spender = Spender()
    reached, go = asyncio.Event(), asyncio.Event()

    async def flow(turn: Turn) -> Any:
        reached.set()
        await go.wait()
        return {"output": [await spender.call(turn, "a"), await town.step(turn, "once", "x", once=True)]}

    await town.launch(flow=flow)
    run_id = town.start(limits=Limits(budget_usd=1.0))
    await reached.wait()
    turn_id = town.held()[0]
    for name, result in (("a", '"late a"'), ("once", '"late once"')):
        key = step_key("llm", name)
        step = Step(run_id=run_id, turn_id=turn_id, key=key, nth=0, kind="llm", name=name, result=result)
        assert town.coordinator is not None
        town.coordinator._event(run_id, StepRecorded(step=step))
    go.set()
    assert output(await town.end()) == ["late a", "late once"]
    assert spender.made == []
    assert town.done == {}
