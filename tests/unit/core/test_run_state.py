"""The run's state machine under generated events: any order, any number of times."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from callsheet.core.errors import CallsheetError, LimitError
from callsheet.core.events import (
    ENDED,
    CancelRequested,
    CancelTurn,
    DeadlinePassed,
    Deliver,
    EndRun,
    KeepEnvelope,
    KeepStep,
    MessageSent,
    Recall,
    Resolve,
    RunStarted,
    StepRecorded,
    TurnFinished,
)
from callsheet.core.ids import root_envelope_id, sent_envelope_id, step_key
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import Envelope, Step
from callsheet.core.run_state import IllegalEventError, decide, start
from callsheet.core.state import RunState, rebuild

RUN = "run-000001"


def root(at: float = 0.0) -> Envelope:
    return Envelope(
        id=root_envelope_id(RUN), run_id=RUN, kind="ask", sender="person", receiver="flow", body='"q"', at=at
    )


def ask(turn: str, name: str, nth: int = 0, receiver: str = "a", at: float = 1.0) -> Envelope:
    key = step_key("ask", name)
    return Envelope(
        id=sent_envelope_id(turn, key, nth), run_id=RUN, kind="ask", sender="x", receiver=receiver, body='"t"',
        cause=turn, step_key=key, step_nth=nth, at=at,
    )  # fmt: skip


def llm(turn: str, name: str, cost: float = 0.0) -> Step:
    usage = RunUsage(llm_calls=1, input_tokens=10, output_tokens=1, cost_usd=cost)
    return Step(run_id=RUN, turn_id=turn, key=step_key("llm", name), nth=0, kind="llm", name="m", usage=usage)


def finished(turn: str, kind: Any = "reply", body: str = '{"output": 1}') -> TurnFinished:
    return TurnFinished(run_id=RUN, turn_id=turn, kind=kind, body=body, at=9.0)


def started(limits: Limits | None = None) -> RunState:
    return start(RunStarted(envelope=root(), limits=limits or Limits()))[0]


class Runs(RuleBasedStateMachine):
    """Drives one run with sends, steps, endings, duplicates and late events, and keeps a journal."""

    @initialize(turns=st.integers(2, 12), messages=st.integers(3, 30), budget=st.sampled_from([None, 0.5]))
    def begin(self, turns: int, messages: int, budget: float | None) -> None:
        self.limits = Limits(turns=turns, messages=messages, budget_usd=budget, model_calls_per_turn=4)
        self.past: list[Any] = []
        self.envelopes: list[Envelope] = []
        self.steps: list[Step] = []
        self.delivered: list[str] = []
        self.resolved: list[tuple[str, tuple[str, int]]] = []
        self.ends: list[EndRun] = []
        self.cancelled: set[str] = set()
        self.count = 0
        self.state, commands = start(RunStarted(envelope=root(), limits=self.limits))
        self.perform(commands)

    def perform(self, commands: tuple[Any, ...]) -> None:
        for command in commands:
            match command:
                case KeepEnvelope(envelope=envelope):
                    self.envelopes.append(envelope)
                case KeepStep(step=step):
                    self.steps.append(step)
                case Deliver(envelope=envelope):
                    self.delivered.append(envelope.id)
                case Resolve(turn_id=turn_id, key=key, nth=nth):
                    self.resolved.append((turn_id, (key, nth)))
                case Recall():
                    pass
                case CancelTurn(turn_id=turn_id):
                    self.cancelled.add(turn_id)
                case EndRun():
                    self.ends.append(command)

    def happen(self, event: Any) -> None:
        self.past.append(event)
        before = self.state
        self.state, commands = decide(self.state, event)
        if before.status in ENDED:
            assert (self.state, commands) == (before, ())
        self.perform(commands)

    def a_turn(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.delivered)))

    @rule(data=st.data())
    def a_turn_asks(self, data: st.DataObject) -> None:
        self.count += 1
        self.happen(MessageSent(envelope=ask(self.a_turn(data), f"n{self.count}")))

    @rule(data=st.data(), cost=st.sampled_from([0.0, 0.1, 0.3]))
    def a_turn_records_a_model_call(self, data: st.DataObject, cost: float) -> None:
        self.count += 1
        self.happen(StepRecorded(step=llm(self.a_turn(data), f"n{self.count}", cost)))

    @rule(data=st.data(), kind=st.sampled_from(["reply", "error"]))
    def a_turn_finishes(self, data: st.DataObject, kind: str) -> None:
        body = '{"output": 1}' if kind == "reply" else '{"type": "AgentError", "message": "m", "fields": {}}'
        turn = self.a_turn(data)
        if turn != self.state.root.id or data.draw(st.integers(0, 9)) == 0:
            self.happen(finished(turn, kind, body))

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def an_event_comes_again(self, data: st.DataObject) -> None:
        before, kept = self.state, (list(self.envelopes), list(self.steps), list(self.delivered))
        self.happen(data.draw(st.sampled_from(self.past)))
        if before.status not in ENDED:
            assert self.state == before
        assert kept == (self.envelopes, self.steps, self.delivered)

    @rule(which=st.integers(0, 30))
    def it_is_stopped_from_outside(self, which: int) -> None:
        if which == 0:
            self.happen(CancelRequested(run_id=RUN, reason="enough", at=5.0))
        elif which == 1:
            self.happen(DeadlinePassed(run_id=RUN, at=5.0))

    @invariant()
    def every_message_is_delivered_and_answered_at_most_once(self) -> None:
        assert len(set(self.delivered)) == len(self.delivered)
        assert len({e.id for e in self.envelopes}) == len(self.envelopes)
        assert len(set(self.resolved)) == len(self.resolved)

    @invariant()
    def no_result_is_lost(self) -> None:
        """Each finished turn whose asker still waits has been resolved; each that is open is not."""
        answered = {e.reply_to for e in self.envelopes if e.kind != "ask"}
        for envelope in self.envelopes:
            if envelope.kind == "ask" and envelope.cause in self.state.open:
                place = (envelope.cause, (envelope.step_key, envelope.step_nth))
                assert (envelope.id in answered) == (place in self.resolved)

    @invariant()
    def limits_hold(self) -> None:
        assert self.state.turns <= self.limits.turns
        asks = [e for e in self.envelopes if e.kind == "ask"]
        assert self.state.messages == len(self.envelopes)
        assert len(asks) == self.state.turns
        if self.state.status == "running":
            budget = self.limits.budget_usd
            assert budget is None or self.state.usage.cost_usd <= budget

    @invariant()
    def usage_is_the_sum_of_what_was_kept(self) -> None:
        assert self.state.usage.llm_calls == len(self.steps)

    @invariant()
    def it_ends_once_and_then_nothing_is_open(self) -> None:
        assert len(self.ends) == (self.state.status in ENDED)
        if self.ends:
            assert not self.state.open
            answered = {e.reply_to for e in self.envelopes if e.kind != "ask"}
            assert set(self.delivered) <= answered | self.cancelled

    @invariant()
    def the_journal_alone_gives_the_state_back(self) -> None:
        again = rebuild(
            self.state.root, self.limits, self.state.status, list(self.envelopes), list(self.steps)
        )
        assert again == self.state


TestRuns = Runs.TestCase


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
