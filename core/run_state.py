"""A run's state machine: `decide(state, event) -> (state, commands)`.

Pure: times and ids come in with the events, and what is to be done goes out as commands, which the
coordinator journals and performs. Delivery is at least once, so every event may come twice, and late
events may come for turns that are over: those change nothing. What can never happen fails loudly.

A question to a person is an ask like any other, whose turn no process takes. While one is open, turns that
only wait are parked; when all are, the run waits, and nothing of it is held anywhere but in the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from callsheet.core.budget import let_in, release, reserve, taken
from callsheet.core.canonical import from_json
from callsheet.core.errors import CallsheetError, CancelledError, LimitError
from callsheet.core.events import (
    ENDED,
    CancelRequested,
    CancelTurn,
    Command,
    DeadlinePassed,
    Deliver,
    EndRun,
    Event,
    Grant,
    KeepEnvelope,
    KeepStep,
    MessageSent,
    Park,
    Recall,
    Resolve,
    RunStarted,
    RunStatus,
    StepRecorded,
    StepReserved,
    TurnFinished,
    TurnParked,
    TurnTaken,
    Wait,
)
from callsheet.core.ids import reply_envelope_id
from callsheet.core.open_turns import again, close, parks, told_again, unparked
from callsheet.core.records import Envelope, is_question
from callsheet.core.state import OpenTurn, RunState
from callsheet.core.stopping import limited, over_budget, stop

Decision = tuple[RunState, tuple[Command, ...]]


class IllegalEventError(AssertionError):
    """An event that can never happen in this state: a bug in whoever sent it."""


def start(event: RunStarted) -> Decision:
    """The state and commands a run begins with."""
    root = event.envelope
    state = RunState(
        run_id=root.run_id,
        status="running",
        root=root,
        limits=event.limits,
        open={root.id: OpenTurn(envelope=root)},
        turns=1,
        messages=1,
    )
    return state, (KeepEnvelope(envelope=root), Deliver(envelope=root))


def decide(state: RunState, event: Event) -> Decision:
    """What an event makes of a run. Raises IllegalEventError for what can never happen."""
    handler = TRANSITIONS.get((state.status, type(event)))
    if handler is None:
        raise IllegalEventError(
            f"run {state.run_id} is {state.status}: it cannot take {type(event).__name__}"
        )
    return handler(state, event)


def begin_again(state: RunState) -> Decision:
    """What gets a run going again that was rebuilt with all its turns parked: its flow is.

    Each other turn follows when its asker asks for it again; what an edited flow asks for no more is not done.
    """
    root = state.open[state.root.id]
    return unparked(state, root)


# --- what each event does to a run that is going on ---------------------------------------------------


def _message_sent(state: RunState, event: MessageSent) -> Decision:
    envelope = event.envelope
    asker = state.open.get(envelope.cause)
    if asker is None:
        return state, ()
    known = state.open.get(envelope.id)
    if known is not None:
        return unparked(state, known) if known.parked else (state, ())
    place = envelope.step_key, envelope.step_nth
    if place in asker.done:
        return state, (Recall(turn_id=envelope.cause, key=place[0], nth=place[1]),)
    limits = state.limits
    if state.turns >= limits.turns:
        return limited(state, "turns", limits.turns, state.turns, envelope.at)
    if state.messages >= limits.messages:
        return limited(state, "messages", limits.messages, state.messages, envelope.at)
    opened = {**state.open, envelope.id: OpenTurn(envelope=envelope)}
    keep = KeepEnvelope(envelope=envelope)
    if is_question(envelope):
        after = state.after(opened, turns=1, messages=1, questions=state.questions + 1)
        return after, (keep, *parks(opened))
    after = state.after(opened, turns=1, messages=1)
    deliver = Deliver(envelope=envelope)
    if state.questions:
        return after, (keep, deliver, Park(turn_id=envelope.id, receiver=envelope.receiver))
    return after, (keep, deliver)


def _step_recorded(state: RunState, event: StepRecorded) -> Decision:
    step = event.step
    turn = state.open.get(step.turn_id)
    if turn is None:
        return state, ()
    if step.place in turn.done:
        return state, told_again(turn) if step.state == "intent" else ()
    keep = KeepStep(step=step)
    if step.state == "intent":
        receiver = turn.envelope.receiver
        return state, (keep, Grant(turn_id=step.turn_id, receiver=receiver, key=step.key, nth=step.nth))
    calls = turn.model_calls + (step.kind == "llm")
    turn = OpenTurn(
        envelope=turn.envelope, done=turn.done | {step.place}, model_calls=calls, parked=turn.parked
    )  # fmt: skip
    usage = state.usage.plus(step.usage) if step.usage is not None else state.usage
    after = state.after({**state.open, step.turn_id: turn}, usage=usage)
    limits = state.limits
    next_ = over_budget(after, step.ended)
    if next_ is None and calls > limits.model_calls_per_turn:
        next_ = limited(after, "model_calls_per_turn", limits.model_calls_per_turn, calls, step.ended)
    if next_ is None and (state.reserved or state.waiting_calls):
        next_ = let_in(release(after, step.turn_id, step.place), step.ended)
    return (after, (keep,)) if next_ is None else (next_[0], (keep, *next_[1]))


def _step_reserved(state: RunState, event: StepReserved) -> Decision:
    step = event.step
    turn = state.open.get(step.turn_id)
    if turn is None:
        return state, ()
    if step.place in turn.done:
        return state, told_again(turn) if step.usage is not None else ()
    if step.usage is not None:
        return reserve(state, turn, step)
    after, commands = let_in(release(state, step.turn_id, step.place), step.ended)
    return after, (KeepStep(step=step), *commands)


def _turn_taken(state: RunState, event: TurnTaken) -> Decision:
    return taken(state, event) if event.turn_id in state.open else (state, ())


def _turn_parked(state: RunState, event: TurnParked) -> Decision:
    turn = state.open.get(event.turn_id)
    if turn is None or turn.parked:
        return state, ()
    if any(place in turn.done for place in event.pending):
        # The answer was on its way to a process that holds the turn no more.
        return state, again(state, turn)
    parked = OpenTurn(
        envelope=turn.envelope, done=turn.done, model_calls=turn.model_calls, parked=True
    )  # fmt: skip
    after = state.after({**state.open, event.turn_id: parked})
    if not after.questions or not all(t.parked or is_question(t.envelope) for t in after.open.values()):
        return after, ()
    # Should anybody hold one of them after all, that is over too.
    stops = tuple(
        CancelTurn(turn_id=id_, receiver=t.envelope.receiver, reason="the run waits for a person")
        for id_, t in after.open.items()
        if t.parked
    )
    return after.after(after.open, status="waiting"), (*stops, Wait(usage=after.usage))


def _turn_finished(state: RunState, event: TurnFinished) -> Decision:
    turn = state.open.get(event.turn_id)
    if turn is None:
        return state, ()
    ask = turn.envelope
    reply = Envelope(
        id=reply_envelope_id(ask.id),
        run_id=state.run_id,
        kind=event.kind,
        sender=ask.receiver,
        receiver=ask.sender,
        body=event.body,
        cause=ask.id,
        reply_to=ask.id,
        at=event.at,
    )
    left, cancels = close(state.open, ask.id, "the turn that asked is over")
    if state.reserved or state.waiting_calls:
        state = state.without_reservations(state.open.keys() - left.keys())
    questions = sum(is_question(open_.envelope) for open_ in left.values()) if state.questions else 0
    keep = KeepEnvelope(envelope=reply)
    if ask.id == state.root.id:
        after = state.after(left, messages=1, questions=questions)
        if event.kind == "reply":
            ended = end(after, "done", event.at, output=event.body)
        else:
            ended = end(after, _status_of(event.body), event.at, error=from_json(event.body))
        return ended[0], (keep, *cancels, *ended[1])
    asker = left[ask.cause]
    left[ask.cause] = OpenTurn(
        envelope=asker.envelope,
        done=asker.done | {(ask.step_key, ask.step_nth)},
        model_calls=asker.model_calls,
    )
    after = state.after(left, messages=1, questions=questions)
    commands: tuple[Command, ...]
    if asker.parked:
        commands = (keep, *cancels, *again(after, asker))
    else:
        resolve = Resolve(
            turn_id=ask.cause,
            receiver=ask.sender,
            key=ask.step_key,
            nth=ask.step_nth,
            kind=event.kind,
            body=event.body,
        )
        commands = (keep, *cancels, resolve)
    if state.waiting_calls:
        after, more = let_in(after, event.at)
        commands = (*commands, *more)
    return after, commands


def _deadline_passed(state: RunState, event: DeadlinePassed) -> Decision:
    # All of it: not the time since the run began, of which it may have waited for days.
    allowed = state.limits.deadline_s or 0.0
    return limited(state, "deadline_s", allowed, allowed, event.at)


def _cancel_requested(state: RunState, event: CancelRequested) -> Decision:
    error = CancelledError(
        event.reason or "the run was cancelled", run_id=state.run_id,
        hint=f"`callsheet resume {state.run_id}` goes on where it was stopped.",
    )  # fmt: skip
    return stop(state, "cancelled", error, event.at)


def _ignored(state: RunState, event: Event) -> Decision:
    """Late news for a run that is over, or waits; whoever works on it has been told to stop."""
    return state, ()


Handler = Callable[[RunState, Any], Decision]

TRANSITIONS: dict[tuple[str, type], Handler] = {
    ("running", MessageSent): _message_sent,
    ("running", StepRecorded): _step_recorded,
    ("running", StepReserved): _step_reserved,
    ("running", TurnTaken): _turn_taken,
    ("running", TurnParked): _turn_parked,
    ("running", TurnFinished): _turn_finished,
    ("running", DeadlinePassed): _deadline_passed,
    ("running", CancelRequested): _cancel_requested,
    **{
        (status, kind): cast("Handler", _ignored)
        for status in sorted(ENDED | {"waiting"})
        for kind in (
            MessageSent, StepRecorded, StepReserved, TurnTaken, TurnParked, TurnFinished, DeadlinePassed,
            CancelRequested,
        )
    },
}  # fmt: skip
"""Every legal (status, event); the rest fails. A waiting run is woken by being rebuilt from its journal."""


# --- helpers -----------------------------------------------------------------------------------------


def _status_of(error_body: str) -> RunStatus:
    """How a run ends whose flow raised: a limit, or a cancellation, keeps its own name."""
    error = CallsheetError.from_dict(from_json(error_body))
    if isinstance(error, LimitError):
        return "limited"
    return "cancelled" if isinstance(error, CancelledError) else "failed"


def end(
    state: RunState, status: RunStatus, at: float, *, output: str | None = None, error: Any = None
) -> Decision:
    """The run is over."""
    after = state.after({}, status=status)
    over = EndRun(run_id=state.run_id, status=status, output=output, error=error, usage=state.usage, at=at)
    return after, (over,)
