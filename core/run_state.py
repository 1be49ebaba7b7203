"""A run's state machine: `decide(state, event) -> (state, commands)`.

Pure: times and ids come in with the events, and what is to be done goes out as commands, which the
coordinator journals and performs. Delivery is at least once, so every event may come twice, and late
events may come for turns that are over: those change nothing. What can never happen fails loudly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, cast

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
    KeepEnvelope,
    KeepStep,
    MessageSent,
    Recall,
    Resolve,
    RunStarted,
    RunStatus,
    StepRecorded,
    TurnFinished,
)
from callsheet.core.frozen import frozen
from callsheet.core.ids import reply_envelope_id
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import Envelope, Step

Decision = tuple["RunState", tuple[Command, ...]]


class IllegalEventError(AssertionError):
    """An event that can never happen in this state: a bug in whoever sent it."""


@frozen
class OpenTurn:
    """A turn that is not finished: the ask that began it, and the steps of it that are recorded."""

    envelope: Envelope
    done: frozenset[tuple[str, int]] = frozenset()
    model_calls: int = 0


@frozen
class RunState:
    """All that deciding needs to know of a run. A turn that is neither open nor new is finished."""

    run_id: str
    status: RunStatus
    root: Envelope
    limits: Limits
    open: Mapping[str, OpenTurn] = field(default_factory=dict)
    turns: int = 0
    messages: int = 0
    usage: RunUsage = field(default_factory=RunUsage)

    def after(
        self,
        open_turns: Mapping[str, OpenTurn],
        *,
        status: RunStatus | None = None,
        turns: int = 0,
        messages: int = 0,
        usage: RunUsage | None = None,
    ) -> RunState:
        """The next state: with these open turns, and so many turns and messages more.

        By hand, since `dataclasses.replace` costs more than all else that deciding does.
        """
        return RunState(
            run_id=self.run_id,
            status=status or self.status,
            root=self.root,
            limits=self.limits,
            open=open_turns,
            turns=self.turns + turns,
            messages=self.messages + messages,
            usage=usage or self.usage,
        )


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


def rebuild(
    root: Envelope, limits: Limits, status: RunStatus, envelopes: Iterable[Envelope], steps: Iterable[Step]
) -> RunState:
    """The state of a run from its journal alone, as a restarted coordinator needs it."""
    asks: dict[str, Envelope] = {}
    answered: set[str] = set()
    messages = 0
    for envelope in envelopes:
        messages += 1
        if envelope.kind == "ask":
            asks[envelope.id] = envelope
        else:
            answered.add(envelope.reply_to)
    usage = RunUsage()
    done: dict[str, set[tuple[str, int]]] = {}
    calls: dict[str, int] = {}
    for step in steps:
        if step.state == "intent":
            continue
        done.setdefault(step.turn_id, set()).add(step.place)
        if step.usage is not None:
            usage = usage.plus(step.usage)
        if step.kind == "llm":
            calls[step.turn_id] = calls.get(step.turn_id, 0) + 1
    for id_, ask in asks.items():
        if id_ in answered and ask.cause:
            done.setdefault(ask.cause, set()).add((ask.step_key, ask.step_nth))
    open_turns = {
        id_: OpenTurn(envelope=ask, done=frozenset(done.get(id_, ())), model_calls=calls.get(id_, 0))
        for id_, ask in asks.items()
        if id_ not in answered and status not in ENDED
    }
    orphans = {id_ for id_ in open_turns if not _is_awaited(id_, open_turns, root.id)}
    return RunState(
        run_id=root.run_id,
        status=status,
        root=root,
        limits=limits,
        turns=len(asks),
        messages=messages,
        usage=usage,
        open={id_: turn for id_, turn in open_turns.items() if id_ not in orphans},
    )


def _is_awaited(turn_id: str, turns: Mapping[str, OpenTurn], root_id: str) -> bool:
    while turn_id != root_id:
        turn = turns.get(turn_id)
        if turn is None:
            return False
        turn_id = turn.envelope.cause
    return True


# --- what each event does to a run that is going on ---------------------------------------------------


def _message_sent(state: RunState, event: MessageSent) -> Decision:
    envelope = event.envelope
    asker = state.open.get(envelope.cause)
    if asker is None or envelope.id in state.open:
        return state, ()
    place = envelope.step_key, envelope.step_nth
    if place in asker.done:
        return state, (Recall(turn_id=envelope.cause, key=place[0], nth=place[1]),)
    limits = state.limits
    if state.turns >= limits.turns:
        return _limited(state, "turns", limits.turns, state.turns, envelope.at)
    if state.messages >= limits.messages:
        return _limited(state, "messages", limits.messages, state.messages, envelope.at)
    opened = {**state.open, envelope.id: OpenTurn(envelope=envelope)}
    after = state.after(opened, turns=1, messages=1)
    return after, (KeepEnvelope(envelope=envelope), Deliver(envelope=envelope))


def _step_recorded(state: RunState, event: StepRecorded) -> Decision:
    step = event.step
    turn = state.open.get(step.turn_id)
    if turn is None or step.place in turn.done:
        return state, ()
    keep = KeepStep(step=step)
    if step.state == "intent":
        return state, (keep,)
    calls = turn.model_calls + (step.kind == "llm")
    turn = OpenTurn(envelope=turn.envelope, done=turn.done | {step.place}, model_calls=calls)
    usage = state.usage.plus(step.usage) if step.usage is not None else state.usage
    after = state.after({**state.open, step.turn_id: turn}, usage=usage)
    limits = state.limits
    if limits.budget_usd is not None and usage.cost_usd > limits.budget_usd:
        over = _limited(after, "budget_usd", limits.budget_usd, usage.cost_usd, step.ended)
    elif calls > limits.model_calls_per_turn:
        over = _limited(after, "model_calls_per_turn", limits.model_calls_per_turn, calls, step.ended)
    else:
        return after, (keep,)
    return over[0], (keep, *over[1])


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
    left, cancels = _close(state.open, ask.id, "the turn that asked is over")
    keep = KeepEnvelope(envelope=reply)
    if ask.id == state.root.id:
        after = state.after(left, messages=1)
        if event.kind == "reply":
            ended = _end(after, "done", event.at, output=event.body)
        else:
            ended = _end(after, _status_of(event.body), event.at, error=from_json(event.body))
        return ended[0], (keep, *cancels, *ended[1])
    asker = left[ask.cause]
    left[ask.cause] = OpenTurn(
        envelope=asker.envelope,
        done=asker.done | {(ask.step_key, ask.step_nth)},
        model_calls=asker.model_calls,
    )
    after = state.after(left, messages=1)
    resolve = Resolve(
        turn_id=ask.cause,
        receiver=ask.sender,
        key=ask.step_key,
        nth=ask.step_nth,
        kind=event.kind,
        body=event.body,
    )
    return after, (keep, *cancels, resolve)


def _deadline_passed(state: RunState, event: DeadlinePassed) -> Decision:
    allowed = state.limits.deadline_s or 0.0
    return _limited(state, "deadline_s", allowed, event.at - state.root.at, event.at)


def _cancel_requested(state: RunState, event: CancelRequested) -> Decision:
    error = CancelledError(event.reason or "the run was cancelled", run_id=state.run_id)
    return _stop(state, "cancelled", error, event.at)


def _ignored(state: RunState, event: Event) -> Decision:
    """Late news for a run that is over; whoever works on it has been told to stop."""
    return state, ()


Handler = Callable[[RunState, Any], Decision]

TRANSITIONS: dict[tuple[str, type], Handler] = {
    ("running", MessageSent): _message_sent,
    ("running", StepRecorded): _step_recorded,
    ("running", TurnFinished): _turn_finished,
    ("running", DeadlinePassed): _deadline_passed,
    ("running", CancelRequested): _cancel_requested,
    **{
        (status, kind): cast("Handler", _ignored)
        for status in sorted(ENDED)
        for kind in (MessageSent, StepRecorded, TurnFinished, DeadlinePassed, CancelRequested)
    },
}
"""Every legal (status, event); the rest fails. `waiting` has no way in yet: nothing can ask a person."""


# --- helpers -----------------------------------------------------------------------------------------


def _close(
    turns: Mapping[str, OpenTurn], turn_id: str, reason: str
) -> tuple[dict[str, OpenTurn], tuple[CancelTurn, ...]]:
    """The open turns without this one and all that work for it alone, and the orders to stop those."""
    left = {id_: turn for id_, turn in turns.items() if id_ != turn_id}
    cancels: list[CancelTurn] = []
    closed = {turn_id}
    found = True
    while found:
        found = False
        for id_, turn in list(left.items()):
            if turn.envelope.cause in closed:
                closed.add(id_)
                del left[id_]
                cancels.append(CancelTurn(turn_id=id_, receiver=turn.envelope.receiver, reason=reason))
                found = True
    return left, tuple(cancels)


def _status_of(error_body: str) -> RunStatus:
    """How a run ends whose flow raised: a limit, or a cancellation, keeps its own name."""
    error = CallsheetError.from_dict(from_json(error_body))
    if isinstance(error, LimitError):
        return "limited"
    return "cancelled" if isinstance(error, CancelledError) else "failed"


def _limited(state: RunState, limit: str, allowed: float, used: float, at: float) -> Decision:
    error = LimitError(
        f"the run stopped at its limit {limit} = {allowed:g}",
        run_id=state.run_id,
        limit=limit,
        allowed=allowed,
        used=used,
        hint="Raise the limit to let it do more; what was finished is kept in the journal.",
    )
    return _stop(state, "limited", error, at)


def _stop(state: RunState, status: RunStatus, error: CallsheetError, at: float) -> Decision:
    cancels = tuple(
        CancelTurn(turn_id=id_, receiver=turn.envelope.receiver, reason=error.message)
        for id_, turn in state.open.items()
    )
    after, commands = _end(state, status, at, error=error.to_dict())
    return after, (*cancels, *commands)


def _end(
    state: RunState, status: RunStatus, at: float, *, output: str | None = None, error: Any = None
) -> Decision:
    after = state.after({}, status=status)
    end = EndRun(run_id=state.run_id, status=status, output=output, error=error, usage=state.usage, at=at)
    return after, (end,)
