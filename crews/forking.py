"""Branching off a past run: another run that has the same past up to a step, and lives on from there.

What stands before the step (by the numbers of `callsheet.crews.numbering`) is copied under ids of the new
run's own; the step and what follows it is done anew once the new run is resumed. Nothing that is copied is
paid again: turns, messages and the model calls of a turn count towards the new run's limits, tokens and
cost do not.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Unpack

from callsheet.core.canonical import digest, from_json, to_json
from callsheet.core.errors import CancelledError, UsageError
from callsheet.core.frozen import frozen
from callsheet.core.ids import reply_envelope_id, root_envelope_id, sent_envelope_id, step_key
from callsheet.core.records import PERSON, Envelope, RunRecord, Step, answers
from callsheet.crews.attempts import Attempt, Keys, attempts, key_of, place_of
from callsheet.crews.cassettes import CASSETTES
from callsheet.crews.numbering import Numbered, numbered, replies
from callsheet.runtime.journal import Journal
from callsheet.settings import load_settings

if TYPE_CHECKING:
    from callsheet.crews.crew import Crew
    from callsheet.crews.result import Result
    from callsheet.crews.resuming import ResumeKeywords

AS_IT_WAS: Any = object()
"""In place of an input: the step is given what it was given then."""


@frozen
class Fork:
    """A new run that shares another one's past: its record, and what is copied. It can be resumed."""

    record: RunRecord
    envelopes: tuple[Envelope, ...]
    steps: tuple[Step, ...]


def new_run_id() -> str:
    """An id for a run that begins now."""
    return time.strftime("%m%d-%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:8]


def fork_run(
    journal: Journal, run_id: str, at: int, *, given: Any = AS_IT_WAS, model: str | None = None
) -> RunRecord:
    """Make a fork of a run and keep it, in one transaction; nothing of it runs before it is resumed.

    Takes what `fork_records` takes. Of a run that goes on meanwhile, what is kept by now is its past.
    """
    record = journal.run(run_id)
    if record is None:
        raise UsageError(f"there is no run {run_id!r}", hint="`callsheet runs` lists them.")
    fork = fork_records(
        record, journal.envelopes(run_id), journal.steps(run_id), at,
        run_id=new_run_id(), now=time.time(), given=given, model=model,
    )  # fmt: skip
    journal.write([fork.record, *fork.envelopes, *fork.steps])
    return fork.record


def fork_past(
    crew: Crew,
    run_id: str,
    at: int,
    *,
    given: Any = AS_IT_WAS,
    model: str | None = None,
    **options: Unpack[ResumeKeywords],
) -> Result:
    """Make a fork of a run of this crew, let it go on, and wait for its result; see `fork_records`.

    Takes the options of `Crew.resume`, and raises what that does, except for how the fork ends: that is in
    the result.
    """
    journal = Journal((options.get("settings") or load_settings()).journal_url)
    try:
        forked = fork_run(journal, run_id, at, given=given, model=model)
    finally:
        journal.close()
    return crew.resume(forked.run_id, check=False, **options)


def fork_records(
    record: RunRecord,
    envelopes: Sequence[Envelope],
    steps: Sequence[Step],
    at: int,
    *,
    run_id: str,
    now: float,
    given: Any = AS_IT_WAS,
    model: str | None = None,
) -> Fork:
    """The records of a new run of that id, which shares the past before number `at` and goes on there.

    `given` (JSON-compatible) takes the place of what the message `at` (the run's input, or one to an agent)
    says; the work of others that came with it stays. `model` answers all that is asked from there on. Raises
    UsageError for a number that is not there, and for an input of what is no such message.
    """
    items = numbered(envelopes, steps)
    if not 1 <= at <= len(items):
        raise UsageError(
            f"run {record.run_id} has no step {at}",
            hint=f"It has the numbers 1 to {len(items)}: `callsheet show {record.run_id}` prints them.",
        )
    changed = None if given is AS_IT_WAS else _message(record.run_id, items, at)
    kept = [item.record for item in items if item.number < at]
    copy = _Copy(run_id, [e for e in envelopes if e.kind == "ask"])
    messages = [copy.envelope(e) for e in kept if isinstance(e, Envelope) and (e.kind == "ask" or answers(e))]
    if at == 1 and changed is None:
        changed, given = _message(record.run_id, items, 1), AS_IT_WAS
    body = record.input
    if changed is not None:
        new = copy.envelope(changed)
        if given is not AS_IT_WAS:
            new = replace(new, body=_given_instead(changed.body, given), at=now)
            body = new.body if at == 1 else body
        messages.append(new)
    answered = replies(messages)
    old_keys: Keys = (from_json(record.options).get("forked_from") or {}).get("keys", {})
    past = _steps_before(items, at, attempts(envelopes, steps, old_keys))
    copies = [copy.step(step) for step in past if not _is_reservation(step)]
    if model is not None:
        copies = [step if step.turn_id in answered else _of_model(step, model) for step in copies]
    # A fork lives on with models: what they say now is in no cassette.
    options = {name: value for name, value in from_json(record.options).items() if name not in CASSETTES}
    seeds = copy.seeds(_flows(messages, copies), options)
    options["forked_from"] = {
        "run": record.run_id,
        "at": at,
        "seeds": seeds,
        "keys": copy.keys(past, old_keys),
    }
    if model is not None:
        options["model"] = model
    error = CancelledError(
        "the fork has not begun", run_id=run_id, hint=f"`callsheet resume {run_id}` begins it."
    )
    forked = replace(
        record, run_id=run_id, status="cancelled", input=body, output=None, error=to_json(error.to_dict()),
        usage="{}", launch="", options=to_json(options), started=now, ended=now, owner="", since=now, spent_s=0.0,
    )  # fmt: skip
    return Fork(record=forked, envelopes=tuple(messages), steps=tuple(copies))


class _Copy:
    """Gives what is copied its ids in the new run, which follow from the new run's own as they always do."""

    def __init__(self, run_id: str, asks: Iterable[Envelope]) -> None:
        self._run_id = run_id
        self._ids: dict[str, str] = {}
        for ask in asks:  # who asks comes before whom they ask
            self._ids[ask.id] = (
                sent_envelope_id(self._ids[ask.cause], ask.step_key, ask.step_nth)
                if ask.cause
                else root_envelope_id(run_id)
            )

    def envelope(self, envelope: Envelope) -> Envelope:
        if envelope.kind == "ask":
            id_, reply_to = self._ids[envelope.id], ""
        else:
            reply_to = self._ids[envelope.reply_to]
            id_ = reply_envelope_id(reply_to)
        cause = self._ids[envelope.cause] if envelope.cause else ""
        return replace(envelope, id=id_, run_id=self._run_id, cause=cause, reply_to=reply_to)

    def step(self, step: Step) -> Step:
        return replace(step, run_id=self._run_id, turn_id=self._ids[step.turn_id], usage=None)

    def seeds(self, turns: Iterable[str], options: dict[str, Any]) -> dict[str, str]:
        """What the random numbers of these turns follow from, by their new ids: what they always did."""
        before = (options.get("forked_from") or {}).get("seeds", {})
        old = {new: id_ for id_, new in self._ids.items()}
        return {turn: before.get(old[turn], old[turn]) for turn in turns}

    def keys(self, steps: Iterable[Step], old: Keys) -> dict[str, dict[str, str]]:
        """The idempotency keys of the calls among these steps that have no result, by turn and place.

        Such a call is the old run's: it is found out about, asked about and repeated by the key it was made with.
        """
        found: dict[str, dict[str, str]] = {}
        for step in steps:
            if step.kind == "tool" and step.state == "intent":
                found.setdefault(self._ids[step.turn_id], {})[place_of(step)] = key_of(step, old)
        return found


def _steps_before(items: Sequence[Numbered], at: int, made: Iterable[tuple[Attempt, ...]]) -> list[Step]:
    """The steps that stand before number `at`, in their order, with the results that they had by then.

    What became of a call that a person was asked about follows from the answer, and from the next attempt: where
    these are not kept, neither is its result, and the turn asks again. So no call that had been begun by then is
    made anew without a person being asked, except for the one that `at` itself names.
    """
    numbers = {_id(item.record): item.number for item in items}
    answered = {
        item.record.reply_to: item.number
        for item in items
        if isinstance(item.record, Envelope) and answers(item.record)
    }
    states: dict[tuple[str, ...], Literal["dropped", "intent", "as it is"]] = {}
    for call in made:
        known = True  # whether the next attempt, if there is one, has its result
        for attempt in reversed(call):
            id_, question = _id(attempt.step), attempt.question
            number = numbers.get(id_, at)
            if question is not None:
                known = known and answered.get(question.id, at) < at
                # By any clocks: what was asked about had been begun.
                begun = number < at or (number > at and numbers.get((question.id,), at + 1) <= at)
            else:
                begun = number < at
            known = known and begun and attempt.step.state != "intent"
            states[id_] = "dropped" if not begun else "as it is" if known else "intent"
    kept = []
    for item in items:
        step = item.record
        if not isinstance(step, Step):
            continue
        state = states.get(_id(step), "as it is" if item.number < at else "dropped")
        if state == "intent":
            step = replace(step, state="intent", result="null", usage=None, ended=0.0)
        if state != "dropped":
            kept.append(step)
    return kept


def _id(record: Envelope | Step) -> tuple[str, ...]:
    if isinstance(record, Envelope):
        return (record.id,)
    return record.turn_id, record.key, str(record.nth)


def _flows(messages: Iterable[Envelope], steps: Iterable[Step]) -> list[str]:
    """The turns that may be a flow's: those in which no model was asked."""
    thinking = {step.turn_id for step in steps if step.kind == "llm"}
    return [e.id for e in messages if e.kind == "ask" and e.receiver != PERSON and e.id not in thinking]


def _message(run_id: str, items: Sequence[Numbered], at: int) -> Envelope:
    """The message of that number, which can be given something else. Raises UsageError."""
    found = items[at - 1].record
    if isinstance(found, Envelope) and found.kind == "ask" and found.receiver != PERSON:
        return found
    if isinstance(found, Envelope) and found.kind == "ask":
        raise UsageError(
            f"step {at} of run {run_id} is a question to a person, and takes no other input",
            hint="Fork there without an input, and give the new run another answer with `callsheet reply`.",
        )
    there = ", ".join(
        f"{item.number} (to {item.record.receiver})"
        for item in items
        if isinstance(item.record, Envelope) and item.record.kind == "ask" and item.record.receiver != PERSON
    )
    raise UsageError(
        f"step {at} of run {run_id} is no message to an agent or the flow, so it takes no other input",
        hint=f"These are: {there}.",
    )


def _given_instead(body: str, given: Any) -> str:
    data = from_json(body)
    data.pop("repair", None)  # what did not fit answered the other task
    return to_json({**data, "input": given})


def _is_reservation(step: Step) -> bool:
    """Whether it only held a part of the budget for a call that never came back."""
    return step.kind == "llm" and step.state == "intent"


def _of_model(step: Step, model: str) -> Step:
    """The step as the turn finds it that now asks this model; its name still says who answered."""
    if step.kind != "llm":
        return step
    return replace(step, key=step_key("llm", digest(model, from_json(step.input)["conversation"])))


__all__ = ["AS_IT_WAS", "Fork", "fork_past", "fork_records", "fork_run", "new_run_id"]
