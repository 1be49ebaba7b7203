"""What deciding has to know of a run, and how it is found again in the journal alone."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import field, replace
from typing import Any

from callsheet.core.canonical import from_json
from callsheet.core.events import ENDED, KeepStep, RunStatus
from callsheet.core.frozen import frozen
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import Envelope, Step, answers, is_question


@frozen
class OpenTurn:
    """A turn that is not finished: the ask that began it, and the steps of it that are recorded."""

    envelope: Envelope
    done: frozenset[tuple[str, int]] = frozenset()
    model_calls: int = 0
    parked: bool = False
    """Whether no process holds it: it only waits for what it asked."""


@frozen
class Reservation:
    """What a model call that is being made may use at most: (turn, key, nth) is its place in the run."""

    turn_id: str
    key: str
    nth: int
    usd: float
    tokens: int

    @property
    def place(self) -> tuple[str, str, int]:
        """What finds it."""
        return self.turn_id, self.key, self.nth


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
    questions: int = 0
    """How many of the open turns are a person's."""
    reserved: tuple[Reservation, ...] = ()
    """Model calls under way, where the run has a budget."""
    waiting_calls: tuple[tuple[Reservation, Step], ...] = ()
    """Model calls that wait for others to be settled, with their intents."""

    def after(
        self,
        open_turns: Mapping[str, OpenTurn],
        *,
        status: RunStatus | None = None,
        turns: int = 0,
        messages: int = 0,
        usage: RunUsage | None = None,
        questions: int | None = None,
        reserved: tuple[Reservation, ...] | None = None,
        waiting_calls: tuple[tuple[Reservation, Step], ...] | None = None,
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
            questions=self.questions if questions is None else questions,
            reserved=self.reserved if reserved is None else reserved,
            waiting_calls=self.waiting_calls if waiting_calls is None else waiting_calls,
        )

    def without_reservations(self, turn_ids: Container[str]) -> RunState:
        """The same, without what these turns have reserved."""
        return self.after(
            self.open,
            reserved=tuple(r for r in self.reserved if r.turn_id not in turn_ids),
            waiting_calls=tuple(pair for pair in self.waiting_calls if pair[0].turn_id not in turn_ids),
        )


def rebuild(
    root: Envelope,
    limits: Limits,
    status: RunStatus,
    envelopes: Iterable[Envelope],
    steps: Iterable[Step],
    *,
    parked: bool = False,
) -> RunState:
    """The state of a run from its journal alone, as a restarted coordinator needs it.

    With `parked` its turns are held by nobody and wait for what they asked, as those of a waiting run.
    """
    # An answer that was retired counts no more.
    kept = [envelope for envelope in envelopes if envelope.kind == "ask" or answers(envelope)]
    asks = {envelope.id: envelope for envelope in kept if envelope.kind == "ask"}
    answered = {envelope.reply_to for envelope in kept if envelope.kind != "ask"}
    usage = RunUsage()
    done: dict[str, set[tuple[str, int]]] = {}
    calls: dict[str, int] = {}
    intents: list[Reservation] = []
    for step in steps:
        if step.state == "intent":
            if step.kind == "llm" and step.usage is not None:
                intents.append(reservation_of(step))
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
        id_: OpenTurn(
            envelope=ask,
            done=frozenset(done.get(id_, ())),
            model_calls=calls.get(id_, 0),
            parked=parked and not is_question(ask),
        )
        for id_, ask in open_asks(kept).items()
        if status not in ENDED
    }
    return RunState(
        run_id=root.run_id,
        status=status,
        root=root,
        limits=limits,
        turns=len(asks),
        messages=len(kept),
        usage=usage,
        open=open_turns,
        questions=sum(is_question(turn.envelope) for turn in open_turns.values()),
        reserved=tuple(intent for intent in intents if intent.turn_id in open_turns),
    )


def reservation_of(step: Step) -> Reservation:
    """What the intent of a model call reserves."""
    worst = step.usage or RunUsage()
    return Reservation(
        turn_id=step.turn_id, key=step.key, nth=step.nth, usd=worst.cost_usd, tokens=worst.tokens
    )


def without_calls(state: RunState, steps: Iterable[Step]) -> tuple[RunState, tuple[KeepStep, ...]]:
    """The state without the model calls that were under way, and how the journal comes to know that too."""
    given_back = tuple(
        KeepStep(step=replace(step, usage=None))
        for step in steps
        if step.state == "intent" and step.kind == "llm" and step.usage is not None
    )
    return state.after(state.open, reserved=(), waiting_calls=()), given_back


def failure(root: Envelope, envelopes: Iterable[Envelope]) -> tuple[str, ...]:
    """The ids of the error replies that a run's failure consists of; none, if its flow did not fail.

    An error goes up from the turn that it began in to the one that asked, and so on to the root: those
    replies carry the same error. Where a turn raised another error than those it was answered with, all of
    them are part of it. When they are retired, resuming the run takes just those turns again.
    """
    replies = {e.reply_to: e for e in envelopes if answers(e)}
    children: dict[str, list[Envelope]] = {}
    for envelope in envelopes:
        if envelope.kind == "ask":
            children.setdefault(envelope.cause, []).append(envelope)
    found: list[str] = []
    pending = [root.id]
    while pending:
        reply = replies.get(pending.pop())
        if reply is None or reply.kind != "error":
            continue
        found.append(reply.id)
        failed = [
            ask
            for ask in children.get(reply.reply_to, ())
            if ask.id in replies and replies[ask.id].kind == "error"
        ]
        same = [ask for ask in failed if _error(replies[ask.id]) == _error(reply)]
        pending.extend(ask.id for ask in same or failed)
    return tuple(found)


def _error(reply: Envelope) -> Any:
    error = from_json(reply.body)
    return error.get("type"), error.get("message")


def open_asks(envelopes: Iterable[Envelope]) -> dict[str, Envelope]:
    """The asks, questions to a person among them, whose answer somebody waits for: up to the run's own input.

    One that has no answer because its asker, or who asked that, was over before is not open any more.
    """
    kept = list(envelopes)
    answered = {envelope.reply_to for envelope in kept if answers(envelope)}
    open_ = {e.id: e for e in kept if e.kind == "ask" and e.id not in answered}

    def is_awaited(ask: Envelope | None) -> bool:
        while ask is not None and ask.cause:
            ask = open_.get(ask.cause)
        return ask is not None

    return {id_: ask for id_, ask in open_.items() if is_awaited(ask)}
