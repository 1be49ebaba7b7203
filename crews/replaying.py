"""Running a past run again from the journal alone, to see where today's code would do something else.

Each turn is taken by itself: given the message that began it and all that it recorded, today's code has to ask
for the same steps and come to the same reply. No model and no tool is called, and nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from callsheet.agents import Agent
from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import CallsheetError, RunError, unknown_name
from callsheet.core.frozen import frozen
from callsheet.core.limits import Limits
from callsheet.core.records import PERSON, Envelope, RunRecord, Step, ask_step
from callsheet.crews.attempts import repeats_of
from callsheet.crews.differences import (
    Difference,
    Shown,
    difference,
    same_outcome,
    shown_message,
    shown_outcome,
    shown_step,
)
from callsheet.crews.numbering import Numbered, numbered, replies
from callsheet.crews.portal import portal
from callsheet.crews.replayed_turn import ReplayedTurn
from callsheet.runtime.journal import Journal
from callsheet.runtime.participant import Handler
from callsheet.runtime.protocol import FLOW, RunInfo
from callsheet.settings import Settings, load_settings

if TYPE_CHECKING:
    from callsheet.crews.crew import Crew

PATIENCE_S = 30.0
"""How long a turn may wait for something of its own (a timer, a thread) before it counts as stuck."""

SETTLING = 20
"""Rounds of the event loop after which everything that could go on has done so."""


@frozen
class Replay:
    """What came of it. `turns` were taken again, and `steps` of theirs were found as they are recorded."""

    run_id: str
    crew: str
    status: str
    turns: int
    steps: int
    differences: tuple[Difference, ...] = ()
    """At most one of each turn, the first in the journal's order first."""

    @property
    def same(self) -> bool:
        """Whether today's code does what is recorded."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """What `callsheet replay --json` prints."""
        return {
            "run_id": self.run_id, "crew": self.crew, "status": self.status, "same": self.same,
            "turns": self.turns, "steps": self.steps,
            "differences": [one.to_dict() for one in self.differences],
        }  # fmt: skip


async def replay_run(
    crew: Crew, record: RunRecord, envelopes: Sequence[Envelope], steps: Sequence[Step]
) -> Replay:
    """Take every turn of the run again with this crew.

    The records are the run's own, in the journal's order; of a run that has not ended they are compared as
    far as they go. What the crew's code raises is compared with what is recorded, never raised from here.
    """
    items = numbered(envelopes, steps)
    answered = replies(envelopes)
    handlers: dict[str, Handler] = {spec.name: spec.factory() for spec in crew.participants()}
    options = from_json(record.options)
    options.pop("stream", None)  # nobody listens
    # Where the run names the model, the code does not: a run that was resumed may have another one now.
    own_models = set() if options.get("model") else _with_a_model(crew)
    info = RunInfo(
        run_id=record.run_id, crew=record.crew, launch=record.launch, session_id=record.session_id,
        options=to_json(options), limits=Limits.from_dict(from_json(record.limits)), deadline=None,
    )  # fmt: skip
    past = _Past(items, answered)
    turns, found, differences = 0, 0, []
    for item in items:
        ask = item.record
        if not isinstance(ask, Envelope) or ask.kind != "ask" or ask.receiver == PERSON:
            continue
        turns += 1
        handler = handlers.get(ask.receiver)
        if handler is None:
            differences.append(_gone(tuple(handlers), item, ask))
            continue
        turn = ReplayedTurn(
            ask, info, past.recorded(ask.id), past.unanswered(ask.id),
            any_model=ask.receiver not in own_models,
        )  # fmt: skip
        found_one = await _take(turn, handler, item, past)
        found += len(turn.taken)
        if found_one is not None:
            differences.append(found_one)
    return Replay(
        run_id=record.run_id, crew=record.crew, status=record.status, turns=turns, steps=found,
        differences=tuple(sorted(differences, key=lambda one: one.number)),
    )  # fmt: skip


def replay_past(crew: Crew, run_id: str, settings: Settings | None = None) -> Replay:
    """As `replay_run`, for the run of that id in the journal of the settings; from any thread but the portal's.

    Raises UnknownNameError for a run that is not there, and JournalError.
    """
    journal = Journal((settings or load_settings()).journal_url)
    try:
        record = journal.run(run_id)
        if record is None:
            raise unknown_name("run", run_id, (), hint="`callsheet runs` lists them.")
        past = record, journal.envelopes(run_id), journal.steps(run_id)
    finally:
        journal.close()
    return portal().run(replay_run(crew, *past))


class _Past:
    """What is recorded, turn by turn, in the journal's order."""

    def __init__(self, items: Sequence[Numbered], answered: Mapping[str, Envelope]) -> None:
        self.replies: dict[str, Numbered] = {}
        self._steps: dict[str, list[tuple[Numbered, Step]]] = {}
        self._open: dict[str, list[tuple[Numbered, Step]]] = {}
        asks: dict[str, tuple[Numbered, Envelope]] = {}
        holds = {envelope.id for envelope in answered.values()}
        for item in items:
            match item.record:
                case Step(state="intent") as step:
                    self._open.setdefault(step.turn_id, []).append((item, step))
                case Step() as step:
                    self._steps.setdefault(step.turn_id, []).append((item, step))
                case Envelope(kind="ask") as ask:
                    asks[ask.id] = item, ask
                    if ask.id not in answered and ask.cause:
                        nobody = ask_step(ask, ask)
                        self._open.setdefault(ask.cause, []).append((item, nobody))
                case Envelope() as reply if reply.id in holds and reply.reply_to in asks:
                    self.replies[reply.reply_to] = item
                    asked, ask = asks[reply.reply_to]
                    if ask.cause:
                        self._steps.setdefault(ask.cause, []).append((asked, ask_step(ask, reply)))

    def recorded(self, turn_id: str) -> tuple[Step, ...]:
        """The steps of a turn that have a result, in the order in which they got it."""
        return tuple(step for _, step in self._steps.get(turn_id, ()))

    def unanswered(self, turn_id: str) -> frozenset[tuple[str, int]]:
        """The places of those that were begun, and have no result."""
        return frozenset(step.place for _, step in self._open.get(turn_id, ()))

    def not_taken(self, turn: ReplayedTurn) -> tuple[Numbered, Step] | None:
        """The first recorded step that today's code did not ask for."""
        kept = [*self._steps.get(turn.id, ()), *self._open.get(turn.id, ())]
        again = {key for _, step in kept for key in repeats_of(step)}
        left = [
            (item, step)
            for item, step in kept
            if step.place not in turn.asked and step.key not in again and not _is_of_recovery(step)
        ]
        return min(left, key=lambda pair: pair[0].number, default=None)


def _is_of_recovery(step: Step) -> bool:
    """Whether a person was asked what had become of a step: only a crash leads there, no code."""
    return step.kind == "ask" and step.name == PERSON and from_json(step.input).get("kind") == "unknown"


async def _take(turn: ReplayedTurn, handler: Handler, begun: Numbered, past: _Past) -> Difference | None:
    task: asyncio.Future[Any] = asyncio.ensure_future(_handled(handler, turn))
    finished = turn.id in past.replies
    try:
        while True:
            for _ in range(SETTLING):
                await asyncio.sleep(0)
            if task.done():
                break
            if turn.give_next():
                continue
            if turn.unknown or turn.cut_off:
                break  # all that stands beside it has gone as far as it can
            if not finished and past.not_taken(turn) is None:
                break  # as far as it is recorded
            stirred = turn.stirred()
            await asyncio.wait({task, stirred}, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not stirred.done():
                break
        outcome = task.result() if task.done() else None
    finally:
        turn.end()
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE_S)
    return _compared(turn, outcome, begun, past)


async def _handled(handler: Handler, turn: ReplayedTurn) -> tuple[str, Any]:
    """What the turn comes to: ("reply", body) or ("error", the error's `to_dict`)."""
    name = turn.envelope.receiver
    try:
        return "reply", await handler(turn)
    except CallsheetError as error:
        return "error", error.to_dict()
    except asyncio.CancelledError as error:
        if turn.over:
            raise
        return "error", RunError(f"{name} failed: {type(error).__name__}: {error}").to_dict()
    except BaseException as error:  # as a participant does: whatever its code raises is its reply
        return "error", RunError(f"{name} failed: {type(error).__name__}: {error}").to_dict()


def _compared(
    turn: ReplayedTurn, outcome: tuple[str, Any] | None, begun: Numbered, past: _Past
) -> Difference | None:
    left, reply = past.not_taken(turn), past.replies.get(turn.id)
    if left is not None:
        item, step = left
        return _difference(turn, item, begun, shown_step(step), outcome, past)
    if reply is None:
        return None
    recorded = reply.record
    assert isinstance(recorded, Envelope)
    if outcome is None:
        # A call that failed is not recorded as a step; the error that it ended its turn with is.
        if recorded.kind == "error" and (turn.unknown or turn.cut_off):
            return None
    elif outcome[0] == recorded.kind and same_outcome(outcome[0], outcome[1], from_json(recorded.body)):
        return None
    return _difference(turn, reply, begun, shown_message(recorded), outcome, past)


def _difference(
    turn: ReplayedTurn,
    at: Numbered,
    begun: Numbered,
    expected: Shown,
    outcome: tuple[str, Any] | None,
    past: _Past,
) -> Difference:
    if outcome is not None:
        got: Shown | None = shown_outcome(*outcome)
    else:
        got = max(turn.unknown, key=expected.likeness, default=None)
    called = [step.name for step in past.recorded(turn.id) if step.kind == "tool"]
    return difference(turn.envelope.receiver, at.number, begun.number, expected, got, turn.taken, called)


def _gone(known: Sequence[str], item: Numbered, ask: Envelope) -> Difference:
    there = ", ".join(name for name in known if name != FLOW)
    return Difference(
        agent=ask.receiver, number=item.number, turn=item.number, expected=shown_message(ask), got=None,
        why=f"the crew has not got an agent called {ask.receiver!r} any more: it was removed or given another "
        f"name. There is: {there}.",
    )  # fmt: skip


def _with_a_model(crew: Crew, prefix: str = "") -> set[str]:
    """The participants whose model the code names, those of the crews in it included."""
    found = set()
    for member in crew.members:
        if isinstance(member, Agent):
            if member.model is not None:
                found.add(prefix + member.name)
        else:
            found |= _with_a_model(member, f"{prefix}{member.name}/")
    return found


__all__ = ["Difference", "Replay", "Shown", "replay_past", "replay_run"]
