"""What becomes of a run: one rule a test. `test_run_machine` has them all at once, under generated events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import CallsheetError, LimitError
from callsheet.core.events import (
    ENDED,
    CancelRequested,
    CancelTurn,
    DeadlinePassed,
    DeliverAgain,
    EndRun,
    Event,
    KeepEnvelope,
    KeepStep,
    MessageSent,
    Park,
    Recall,
    Resolve,
    RunStarted,
    StepRecorded,
    StepReserved,
    TurnParked,
    TurnTaken,
)
from callsheet.core.ids import reply_envelope_id
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import PERSON, Envelope, Step
from callsheet.core.run_state import IllegalEventError, begin_again, decide, start
from callsheet.core.state import RunState, failure, rebuild
from tests.unit.core.run_world import RUN, ask, finished, llm, root


def started(limits: Limits | None = None) -> RunState:
    return start(RunStarted(envelope=root(), limits=limits or Limits()))[0]


def test_a_reply_to_the_root_ends_the_run_with_its_body() -> None:
    state, commands = decide(started(), finished(root().id, body='{"output": "done"}'))
    assert state.status == "done"
    end = commands[-1]
    assert isinstance(end, EndRun)
    assert end.output == '{"output": "done"}'


def test_an_error_of_the_flow_fails_the_run_and_keeps_its_type() -> None:
    body = '{"type":"OutputError","message":"does not fit","fields":{"agent":"a"}}'
    state, commands = decide(started(), finished(root().id, "error", body))
    end = commands[-1]
    assert state.status == "failed"
    assert isinstance(end, EndRun)
    assert end.error is not None
    assert CallsheetError.from_dict(end.error).agent == "a"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("limits", "events", "name"),
    [
        (Limits(turns=1), [MessageSent(envelope=ask(root().id, "1"))], "turns"),
        (Limits(messages=1), [MessageSent(envelope=ask(root().id, "1"))], "messages"),
        (Limits(budget_usd=0.1), [StepRecorded(step=llm(root().id, "1", 0.2))], "budget_usd"),
        (
            Limits(model_calls_per_turn=1),
            [StepRecorded(step=llm(root().id, "1")), StepRecorded(step=llm(root().id, "2"))],
            "model_calls_per_turn",
        ),
        (Limits(deadline_s=3.0), [DeadlinePassed(run_id=RUN, at=3.1)], "deadline_s"),
    ],
)
def test_a_limit_stops_the_run_by_its_name(limits: Limits, events: list[Any], name: str) -> None:
    state = started(limits)
    commands: tuple[Any, ...] = ()
    for event in events:
        state, commands = decide(state, event)
    assert state.status == "limited"
    error = CallsheetError.from_dict(commands[-1].error)
    assert isinstance(error, LimitError)
    assert error.limit == name
    assert error.hint


def test_what_works_for_a_finished_turn_alone_is_stopped() -> None:
    state, _ = decide(started(), MessageSent(envelope=ask(root().id, "1")))
    middle = ask(root().id, "1").id
    state, _ = decide(state, MessageSent(envelope=ask(middle, "2")))
    below = ask(middle, "2").id
    state, commands = decide(state, finished(middle))
    assert [c.turn_id for c in commands if isinstance(c, CancelTurn)] == [below]
    assert set(state.open) == {root().id}


def test_an_ask_that_comes_again_after_its_answer_recalls_it() -> None:
    sent = MessageSent(envelope=ask(root().id, "1"))
    state, _ = decide(started(), sent)
    state, _ = decide(state, finished(sent.envelope.id))
    after, commands = decide(state, sent)
    assert after == state
    assert [type(c) for c in commands] == [Recall]


def test_what_can_never_happen_fails_loudly() -> None:
    with pytest.raises(IllegalEventError, match="running: it cannot take RunStarted"):
        decide(started(), RunStarted(envelope=root(), limits=Limits()))  # type: ignore[arg-type]


@given(st.lists(st.booleans(), max_size=8))
def test_deciding_never_changes_the_state_it_is_given(answers: list[bool]) -> None:
    state = started()
    for i, answer in enumerate(answers):
        envelope = ask(root().id, str(i))
        copy = repr(state)
        after, _ = decide(state, MessageSent(envelope=envelope))
        assert repr(state) == copy
        state = decide(after, finished(envelope.id))[0] if answer else after


def after(state: RunState, *events: Event) -> RunState:
    for event in events:
        state, _ = decide(state, event)
    return state


def names(commands: tuple[Any, ...]) -> list[str]:
    return [type(command).__name__ for command in commands]


def reserved(turn: str, name: str, worst: float, tokens: int = 11) -> StepReserved:
    step = llm(turn, name, worst, state="intent")
    usage = RunUsage(llm_calls=1, input_tokens=tokens, cost_usd=worst)
    return StepReserved(step=replace(step, usage=usage))


def parked(turn: str, *asks: Envelope) -> TurnParked:
    return TurnParked(run_id=RUN, turn_id=turn, pending=tuple((e.step_key, e.step_nth) for e in asks))


ROOT = root().id
QUESTION = ask(ROOT, "may I?", receiver=PERSON)


# --- what is late or comes again -------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(ENDED | {"waiting"}))
@pytest.mark.parametrize(
    "event",
    [
        MessageSent(envelope=ask(ROOT, "1")), StepRecorded(step=llm(ROOT, "1")), reserved(ROOT, "1", 0.1),
        TurnTaken(run_id=RUN, turn_id=ROOT, at=1.0), parked(ROOT, QUESTION), finished(ROOT),
        DeadlinePassed(run_id=RUN, at=1.0), CancelRequested(run_id=RUN, reason="", at=1.0),
    ],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_late_news_changes_nothing(status: Any, event: Event) -> None:
    state = replace(started(), status=status)
    assert decide(state, event) == (state, ())


@pytest.mark.parametrize(
    "event",
    [
        MessageSent(envelope=ask("gone", "1")), StepRecorded(step=llm("gone", "1")), reserved("gone", "1", 0.1),
        TurnTaken(run_id=RUN, turn_id="gone", at=1.0), parked("gone", QUESTION), finished("gone"),
    ],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_news_of_a_turn_that_is_over_changes_nothing(event: Event) -> None:
    assert decide(started(), event) == (started(), ())


# --- once: an intent, leave, a result --------------------------------------------------------------------


def test_an_intent_is_kept_before_the_turn_may_begin() -> None:
    intent = replace(llm(ROOT, "mail"), kind="tool", state="intent", usage=None)
    state, commands = decide(started(), StepRecorded(step=intent))
    assert names(commands) == ["KeepStep", "Grant"]
    assert state == started()


@pytest.mark.parametrize("wanted", [reserved(ROOT, "1", 0.1), None], ids=["reserved", "once"])
def test_a_turn_that_wants_to_begin_what_has_a_result_is_given_the_result(wanted: Any) -> None:
    done = llm(ROOT, "1", 0.1)
    wanted = wanted or StepRecorded(step=replace(done, state="intent", usage=None))
    state = after(started(), StepRecorded(step=done))
    assert decide(state, wanted) == (state, (DeliverAgain(turn_id=ROOT),))


# --- the budget ------------------------------------------------------------------------------------------


def test_calls_side_by_side_never_overshoot_the_budget_and_come_in_as_others_are_settled() -> None:
    state = after(started(Limits(budget_usd=1.0)), reserved(ROOT, "1", 0.6))
    state, commands = decide(state, reserved(ROOT, "2", 0.6))
    assert commands == ()
    state, commands = decide(state, StepRecorded(step=llm(ROOT, "1", 0.4)))
    assert names(commands) == ["KeepStep", "KeepStep", "Grant"]
    assert [r.usd for r in state.reserved] == [0.6]
    assert not state.waiting_calls


def test_a_small_call_does_not_overtake_a_large_one_that_waits() -> None:
    state = after(started(Limits(budget_usd=1.0)), reserved(ROOT, "1", 0.6), reserved(ROOT, "2", 0.9))
    state, commands = decide(state, reserved(ROOT, "3", 0.1))
    assert commands == ()
    state, commands = decide(state, StepRecorded(step=llm(ROOT, "1", 0.0)))
    assert [c.step.key for c in commands if isinstance(c, KeepStep)][1:] == [
        llm(ROOT, name).key for name in ("2", "3")
    ]


def test_a_call_that_failed_gives_back_what_it_had_reserved() -> None:
    first = reserved(ROOT, "1", 0.9)
    state = after(started(Limits(budget_usd=1.0)), first, reserved(ROOT, "2", 0.9))
    given_back = replace(first.step, usage=None)
    state, commands = decide(state, StepReserved(step=given_back))
    assert commands[0] == KeepStep(step=given_back)
    assert names(commands) == ["KeepStep", "KeepStep", "Grant"]
    again = rebuild(
        state.root, state.limits, "running", [root()], [given_back, reserved(ROOT, "2", 0.9).step]
    )
    assert again.reserved == state.reserved


def test_what_a_finished_turn_had_reserved_is_for_others() -> None:
    child = ask(ROOT, "child")
    state = after(
        started(Limits(budget_usd=1.0)), MessageSent(envelope=child), reserved(child.id, "1", 0.6),
        reserved(ROOT, "2", 0.3), reserved(ROOT, "3", 0.5),
    )  # fmt: skip
    state, commands = decide(state, finished(child.id, "error"))
    assert names(commands) == ["KeepEnvelope", "Resolve", "KeepStep", "Grant"]
    assert not state.waiting_calls


def test_calls_that_wait_for_room_that_never_comes_stop_the_run_at_its_budget() -> None:
    state = after(started(Limits(budget_usd=1.0)), reserved(ROOT, "1", 0.6), reserved(ROOT, "2", 0.9))
    state, commands = decide(state, StepRecorded(step=llm(ROOT, "1", 0.6)))
    assert state.status == "limited"
    error = CallsheetError.from_dict(commands[-1].error)  # type: ignore[union-attr]
    assert isinstance(error, LimitError)
    assert (error.limit, error.allowed) == ("budget_usd", 1.0)
    assert error.used == pytest.approx(0.6)
    assert error.wanted == 0.9
    assert "has used 0.6, and its next model call may need up to 0.9" in error.message
    assert "--budget 5.1" in error.hint  # with room for more than that one call


@pytest.mark.parametrize(
    ("limits", "hint"),
    [(Limits(budget_usd=0.25), "--budget 1.5"), (Limits(budget_tokens=100), "--budget-tokens 750")],
)
def test_a_call_that_alone_is_above_the_budget_stops_the_run(limits: Limits, hint: str) -> None:
    state, commands = decide(started(limits), reserved(ROOT, "1", 0.3, tokens=150))
    assert state.status == "limited"
    assert hint in commands[-1].error["fields"]["hint"]  # type: ignore[union-attr,index]


def test_tokens_are_reserved_like_money() -> None:
    state = after(started(Limits(budget_tokens=100)), reserved(ROOT, "1", 0.0, tokens=60))
    state, commands = decide(state, reserved(ROOT, "2", 0.0, tokens=60))
    assert commands == ()
    state, commands = decide(state, StepRecorded(step=llm(ROOT, "1")))
    assert names(commands) == ["KeepStep", "KeepStep", "Grant"]


def test_more_tokens_than_reserved_stop_the_run_when_they_are_above_the_budget() -> None:
    state = after(started(Limits(budget_tokens=10)), reserved(ROOT, "1", 0.0, tokens=5))
    state, commands = decide(state, StepRecorded(step=llm(ROOT, "1")))
    assert state.status == "limited"
    assert commands[-1].error["fields"]["limit"] == "budget_tokens"  # type: ignore[union-attr,index]


def test_three_calls_of_ten_cents_fit_in_thirty() -> None:
    state = started(Limits(budget_usd=0.3))
    for name in "123":
        state, commands = decide(state, reserved(ROOT, name, 0.1))
        assert names(commands) == ["KeepStep", "Grant"]
    for name in "123":
        state = after(state, StepRecorded(step=llm(ROOT, name, 0.1)))
    assert state.status == "running"


def test_a_call_that_is_made_again_reserves_in_place_of_the_one_that_was_lost() -> None:
    state = after(started(Limits(budget_usd=1.0)), reserved(ROOT, "1", 0.9), reserved(ROOT, "2", 0.5))
    state, commands = decide(state, reserved(ROOT, "1", 0.9))
    assert names(commands) == ["KeepStep", "Grant"]
    assert [r.usd for r in state.reserved] == [0.9]
    assert decide(state, reserved(ROOT, "2", 0.5)) == (state, ())


def test_a_process_that_takes_a_turn_over_reserves_for_it_what_it_says_and_nothing_else() -> None:
    state = after(started(Limits(budget_usd=1.0)), reserved(ROOT, "1", 0.3), reserved(ROOT, "2", 0.3))
    state = after(state, reserved(ROOT, "3", 0.9))
    keeps = (reserved(ROOT, "2", 0.3).step, reserved(ROOT, "4", 0.4).step)
    state, commands = decide(state, TurnTaken(run_id=RUN, turn_id=ROOT, at=2.0, reserving=keeps))
    assert [r.usd for r in state.reserved] == [0.3, 0.4]
    assert not state.waiting_calls
    assert names(commands) == ["KeepStep", "Grant"] * 2


def test_a_process_that_takes_a_turn_over_lets_calls_of_others_in() -> None:
    child = ask(ROOT, "child")
    state = after(
        started(Limits(budget_usd=1.0)), MessageSent(envelope=child), reserved(child.id, "1", 0.9),
        reserved(ROOT, "2", 0.9),
    )  # fmt: skip
    state, commands = decide(state, TurnTaken(run_id=RUN, turn_id=child.id, at=2.0))
    assert [r.turn_id for r in state.reserved] == [ROOT]
    assert names(commands) == ["KeepStep", "Grant"]


def test_a_process_whose_calls_are_above_the_budget_stops_the_run() -> None:
    calls = (reserved(ROOT, "1", 1.5).step, reserved(ROOT, "2", 0.1).step)
    state, commands = decide(
        started(Limits(budget_usd=1.0)), TurnTaken(run_id=RUN, turn_id=ROOT, at=2.0, reserving=calls)
    )
    assert state.status == "limited"
    assert names(commands) == ["CancelTurn", "EndRun"]


# --- questions and waiting -------------------------------------------------------------------------------


def test_a_question_is_kept_and_never_delivered_and_who_can_wait_is_parked() -> None:
    state, commands = decide(started(), MessageSent(envelope=QUESTION))
    assert commands == (KeepEnvelope(envelope=QUESTION), Park(turn_id=ROOT, receiver="flow"))
    state, commands = decide(state, MessageSent(envelope=ask(ROOT, "work")))
    assert names(commands) == ["KeepEnvelope", "Deliver", "Park"]
    assert state.questions == 1


def test_a_run_waits_when_all_its_turns_do_and_an_answer_gets_one_of_them_going() -> None:
    work = ask(ROOT, "work")
    state = after(started(), MessageSent(envelope=work), MessageSent(envelope=QUESTION))
    state, commands = decide(state, parked(ROOT, work, QUESTION))
    assert commands == ()
    assert decide(state, parked(ROOT, work, QUESTION)) == (state, ())
    going_on, commands = decide(state, finished(work.id))
    assert commands[1:] == (DeliverAgain(turn_id=ROOT), Park(turn_id=ROOT, receiver="flow"))
    assert not going_on.open[ROOT].parked
    waits, commands = decide(going_on, parked(ROOT, QUESTION))
    assert waits.status == "waiting"
    assert names(commands) == ["CancelTurn", "Wait"]
    woken = replace(waits, status="running")
    done, commands = decide(woken, finished(QUESTION.id))
    assert commands[1:] == (DeliverAgain(turn_id=ROOT),)
    assert done.questions == 0


def test_a_turn_whose_answer_was_on_its_way_is_given_again_instead_of_parked() -> None:
    state = after(started(), MessageSent(envelope=QUESTION), finished(QUESTION.id))
    after_, commands = decide(state, parked(ROOT, QUESTION))
    assert after_ == state
    assert commands == (DeliverAgain(turn_id=ROOT),)


def test_an_answer_to_a_turn_that_is_held_is_handed_to_it() -> None:
    state = after(started(), MessageSent(envelope=QUESTION))
    _, commands = decide(state, finished(QUESTION.id))
    assert isinstance(commands[-1], Resolve)


def test_a_question_goes_with_the_turn_that_asked_it() -> None:
    work = ask(ROOT, "work")
    question = ask(work.id, "may I?", receiver=PERSON)
    state = after(started(), MessageSent(envelope=work), MessageSent(envelope=question))
    state, commands = decide(state, finished(work.id))
    assert state.questions == 0
    assert [c.turn_id for c in commands if isinstance(c, CancelTurn)] == [question.id]


def test_stopping_a_run_stops_its_turns_and_bothers_no_person() -> None:
    state = after(started(), MessageSent(envelope=QUESTION))
    state, commands = decide(state, CancelRequested(run_id=RUN, reason="", at=5.0))
    assert names(commands) == ["CancelTurn", "EndRun"]
    end = commands[-1]
    assert isinstance(end, EndRun)
    assert end.error is not None
    assert end.error["message"] == "the run was cancelled"
    assert f"callsheet resume {RUN}" in end.error["fields"]["hint"]
    assert state.questions == 0


def test_the_time_that_a_run_has_used_up_is_not_the_time_that_it_has_existed() -> None:
    state = start(RunStarted(envelope=root(at=100.0), limits=Limits(deadline_s=60.0)))[0]
    _, commands = decide(state, DeadlinePassed(run_id=RUN, at=90_000.0))
    error = commands[-1].error["fields"]  # type: ignore[union-attr,index]
    assert error["used"] == 60.0
    assert "--deadline 120" in error["hint"]


@pytest.mark.parametrize(("error", "status"), [("LimitError", "limited"), ("CancelledError", "cancelled")])
def test_a_flow_that_fails_by_a_limit_or_a_cancellation_ends_its_run_by_that_name(
    error: str, status: str
) -> None:
    body = f'{{"type": "{error}", "message": "m", "fields": {{}}}}'
    assert after(started(), finished(ROOT, "error", body)).status == status


# --- taking up and resuming ------------------------------------------------------------------------------


def test_a_run_that_is_resumed_begins_with_its_flow_and_the_rest_follows_when_it_is_asked_again() -> None:
    work = ask(ROOT, "work")
    unwanted = ask(ROOT, "unwanted")
    state = rebuild(root(), Limits(), "running", [root(), work, unwanted], [], parked=True)
    state, commands = begin_again(state)
    assert commands == (DeliverAgain(turn_id=ROOT),)
    state, commands = decide(state, MessageSent(envelope=work))
    assert commands == (DeliverAgain(turn_id=work.id),)
    assert decide(state, MessageSent(envelope=work)) == (state, ())
    assert {id_ for id_, turn in state.open.items() if turn.parked} == {unwanted.id}


def test_a_turn_that_is_begun_again_beside_an_open_question_is_to_be_parked() -> None:
    state = rebuild(root(), Limits(), "running", [root(), QUESTION], [], parked=True)
    assert begin_again(state)[1] == (DeliverAgain(turn_id=ROOT), Park(turn_id=ROOT, receiver="flow"))


def reply(ask: Envelope, message: str | None = None) -> Envelope:
    body = (
        '{"output": 1}'
        if message is None
        else f'{{"type": "RunError", "message": "{message}", "fields": {{}}}}'
    )
    return Envelope(
        id=reply_envelope_id(ask.id), run_id=RUN, kind="reply" if message is None else "error", sender=ask.receiver,
        receiver=ask.sender, body=body, cause=ask.id, reply_to=ask.id,
    )  # fmt: skip


def test_a_failure_is_the_error_and_all_that_it_went_through() -> None:
    good, handled, broken = (ask(ROOT, name) for name in ("good", "handled", "broken"))
    below = ask(broken.id, "below")
    kept = [
        root(), good, reply(good), handled, reply(handled, "minor"), broken, below, reply(below, "it broke"),
        reply(broken, "it broke"), reply(root(), "it broke"),
    ]  # fmt: skip
    assert set(failure(root(), kept)) == {reply_envelope_id(e) for e in (ROOT, broken.id, below.id)}
    left = [e for e in kept if e.id not in failure(root(), kept)]
    state = rebuild(root(), Limits(), "running", left, [])
    assert set(state.open) == {ROOT, broken.id, below.id}
    assert state.messages == len(left)


def test_an_error_that_was_made_of_others_has_them_all_as_its_failure() -> None:
    one, two, good = (ask(ROOT, name) for name in ("one", "two", "good"))
    kept = [
        root(),
        one,
        two,
        good,
        reply(one, "a"),
        reply(two, "b"),
        reply(good),
        reply(root(), "both broke"),
    ]
    assert set(failure(root(), kept)) == {reply_envelope_id(e) for e in (ROOT, one.id, two.id)}


def test_a_run_that_did_not_fail_by_its_flow_has_no_failure() -> None:
    assert failure(root(), [root(), ask(ROOT, "1"), reply(ask(ROOT, "1"), "x")]) == ()
    assert failure(root(), [root(), reply(root())]) == ()


def test_answers_that_were_retired_count_no_more() -> None:
    work = ask(ROOT, "work")
    retired = replace(reply(work, "x"), id=f"{reply_envelope_id(work.id)}.1")
    state = rebuild(root(), Limits(), "running", [root(), work, retired], [])
    assert (state.turns, state.messages, set(state.open)) == (2, 2, {ROOT, work.id})


def test_what_nobody_waits_for_any_more_is_not_taken_up() -> None:
    work = ask(ROOT, "work")
    below = ask(work.id, "below")
    state = rebuild(root(), Limits(), "running", [root(), work, below, reply(work)], [])
    assert set(state.open) == {ROOT}
    assert state.open[ROOT].done == {(work.step_key, 0)}


def test_an_intent_of_a_tool_reserves_nothing() -> None:
    intent = Step(run_id=RUN, turn_id=ROOT, key="tool-1", nth=0, kind="tool", name="t", state="intent")
    state = rebuild(root(), Limits(), "running", [root()], [intent, reserved("gone", "1", 0.1).step])
    assert state.reserved == ()
    assert state.open[ROOT].done == frozenset()
