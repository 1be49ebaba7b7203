"""A run as its coordinator knows it, begun anew or taken up again from the journal alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from callsheet.core import run_state
from callsheet.core.canonical import from_json
from callsheet.core.errors import CallsheetError, JournalError, UsageError, WaitingError, unknown_name
from callsheet.core.events import ENDED, Command, TurnFinished
from callsheet.core.limits import Limits
from callsheet.core.records import (
    Envelope,
    RunRecord,
    RunResumed,
    RunWaits,
    RunWoken,
    is_question,
)
from callsheet.core.state import RunState, failure, open_asks, rebuild, without_calls
from callsheet.runtime.journal import Journal
from callsheet.runtime.protocol import ResumeRun, RunInfo, Spoken, Watch

SOONEST_S = 0.001
"""How much later than the one before a stretch of work begins at least, whatever the clock says."""


@dataclass(slots=True)
class ActiveRun:
    """A run that is going on: its state, what its participants are told of it, and who follows it."""

    state: RunState
    record: RunRecord
    info: RunInfo
    watchers: dict[str, Watch] = field(default_factory=dict)
    saying: dict[str, Spoken] = field(default_factory=dict)
    """By turn: what its model has said so far of the answer that it is giving."""
    timer: asyncio.TimerHandle | None = None
    deaths: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By turn: how often its process died since the turn last recorded a step, and how many it had then."""

    def count_death(self, turn_id: str) -> int:
        """The process that had this turn is dead: how often that happened without progress of the turn.

        A turn that waits for what it asked is as good as innocent, and is not counted: it may share its process
        with the turn that ends it. If it did it, it will do it again once it has its answers.
        """
        if any(turn.envelope.cause == turn_id for turn in self.state.open.values()):
            return 0
        steps = len(self.state.open[turn_id].done)
        count, before = self.deaths.get(turn_id, (0, steps))
        count = count + 1 if steps == before else 1
        self.deaths[turn_id] = count, steps
        return count


def run_info(record: RunRecord, limits: Limits) -> RunInfo:
    """What participants are told of a run."""
    seconds = limits.deadline_s
    since = record.since or record.started
    return RunInfo(
        run_id=record.run_id, crew=record.crew, launch=record.launch, session_id=record.session_id,
        options=record.options, limits=limits, since=since,
        deadline=None if seconds is None else since + seconds - record.spent_s,
    )  # fmt: skip


def root_of(envelopes: list[Envelope]) -> Envelope | None:
    """The envelope that a run began with."""
    return next((e for e in envelopes if e.kind == "ask" and not e.cause), None)


def take_up(journal: Journal, record: RunRecord, *, parked: bool = False) -> ActiveRun | None:
    """The run, as its journal has it; None if nothing of it but its record was kept.

    With `parked` no process holds its turns: they wait for a person.
    """
    envelopes = journal.envelopes(record.run_id)
    root = root_of(envelopes)
    if root is None:
        return None
    limits = Limits.from_dict(from_json(record.limits))
    state = rebuild(root, limits, "running", envelopes, journal.steps(record.run_id), parked=parked)
    return ActiveRun(state=state, record=record, info=run_info(record, limits))


@dataclass(slots=True)
class Resumption:
    """How a run goes on: the run, what is kept of its going on, and what is to be done."""

    run: ActiveRun
    keep: RunResumed | RunWoken
    commands: tuple[Command, ...]


def resume(journal: Journal, item: ResumeRun, owner: str, at: float) -> Resumption:
    """Claim a run for this owner, and find out how it goes on.

    Raises UnknownNameError, UsageError for a run that is done or has no such question, WaitingError for one
    that waits and is given no reply, and RunTakenError for one that another living process works on.
    """
    record = journal.run(item.run_id)
    if record is None:
        raise unknown_name("run", item.run_id, (), hint="`callsheet runs` lists them.")
    envelopes = journal.envelopes(item.run_id)
    _check_resumable(record, item, envelopes)
    root = root_of(envelopes)
    if root is None:
        raise JournalError(f"nothing of run {item.run_id} was kept but its name", hint="Start it again.")
    record = journal.claim(item.run_id, owner)
    # Nobody else writes of it from here on; until here, somebody may have.
    envelopes = journal.envelopes(item.run_id)
    waited = record.status == "waiting"
    steps = journal.steps(item.run_id)
    limits = Limits.from_dict(from_json(item.limits or record.limits))
    try:
        _check_resumable(record, item, envelopes)
    except CallsheetError:
        if waited:  # for another answer: as it was
            usage = rebuild(root, limits, "running", envelopes, steps, parked=True).usage
            journal.write([RunWaits(run_id=item.run_id, usage=usage, at=at)])
        raise
    # A turn is taken again only for a later stretch of work than the one that it failed in.
    at = max(at, record.since + SOONEST_S)
    retired = failure(root, envelopes) if record.status in ENDED else ()
    record = replace(
        record, status="running", launch=item.launch, owner=owner, since=at, ended=None, output=None, error=None,
        limits=item.limits or record.limits, options=item.options or record.options,
        source=item.source or record.source,
    )  # fmt: skip
    keep: RunResumed | RunWoken
    if waited and not item.limits and not item.options:
        keep = RunWoken(run_id=item.run_id, launch=item.launch, owner=owner, at=at)
    else:
        record = replace(record, spent_s=0.0)
        keep = RunResumed(
            run_id=item.run_id, launch=item.launch, limits=record.limits, options=record.options, owner=owner,
            at=at, source=record.source, retired=retired,
        )  # fmt: skip
    kept = [envelope for envelope in envelopes if envelope.id not in retired]
    state = rebuild(root, limits, "running", kept, steps, parked=True)
    # The processes that made those calls are gone; whoever makes them again reserves again.
    state, given_back = without_calls(state, steps)
    run = ActiveRun(state=state, record=record, info=run_info(record, limits))
    commands: tuple[Command, ...] = ()
    if item.reply is not None:
        run.state, commands = run_state.decide(state, answer(item, at))
    if not waited:
        run.state, again = run_state.begin_again(run.state)
        commands = (*commands, *again)
    return Resumption(run, keep, (*given_back, *commands))


def take_waiting(journal: Journal, run_id: str, owner: str) -> ActiveRun | None:
    """Claim a run that waits, to end it; None if it does not wait, or somebody else has it by now."""
    record = journal.run(run_id)
    if record is None or record.status != "waiting":
        return None
    try:
        record = journal.claim(run_id, owner)
    except UsageError:
        return None
    return take_up(journal, record, parked=True) if record.status == "waiting" else None


def was_heard(journal: Journal, item: ResumeRun) -> bool:
    """Whether a predecessor of this coordinator has done what is asked for, and the run ended or waits since.

    Where that cannot be known, a run that failed is resumed once more: its failed turns are tried again.
    """
    record = journal.run(item.run_id)
    if record is None or item.reply is None:
        return record is not None and record.status in ("done", "waiting")
    return item.reply[0] not in [question.id for question in open_questions(journal.envelopes(item.run_id))]


def answer(item: ResumeRun, at: float) -> TurnFinished:
    """A person's reply as what it is to the run: the end of the question's turn."""
    assert item.reply is not None
    return TurnFinished(run_id=item.run_id, turn_id=item.reply[0], kind="reply", body=item.reply[1], at=at)


def check_question(run_id: str, question: str, open_questions: list[str]) -> None:
    """Raises UsageError for a reply to what is not an open question of the run."""
    if question not in open_questions:
        raise UsageError(
            f"run {run_id} has no open question {question!r}",
            hint=f"`callsheet show {run_id}` shows what it asks." if open_questions
            else "It may have been answered already: `callsheet show` tells.",
        )  # fmt: skip


def open_questions(envelopes: list[Envelope]) -> list[Envelope]:
    """The questions that wait for a person."""
    return [ask for ask in open_asks(envelopes).values() if is_question(ask)]


def _check_resumable(record: RunRecord, item: ResumeRun, envelopes: list[Envelope]) -> None:
    if record.status == "done":
        raise UsageError(
            f"run {record.run_id} is done", hint=f"`callsheet show {record.run_id}` shows its answer."
        )
    if item.reply is not None:
        check_question(record.run_id, item.reply[0], [e.id for e in open_questions(envelopes)])
    elif record.status == "waiting":
        raise WaitingError(
            f"run {record.run_id} waits for a person", run_id=record.run_id,
            hint=f"`callsheet show {record.run_id}` shows what it asks, and how to reply.",
        )  # fmt: skip
