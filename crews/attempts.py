"""Calls that a crash left without a result: the questions about them, and the calls made in their place.

Such a call has one row in the journal, its intent's, which the result is written into later. That the intent stood
there by a certain point is told by the mark of a `once` call in its input, and by a question about it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from callsheet.core.canonical import digest, from_json
from callsheet.core.frozen import frozen
from callsheet.core.ids import idempotency_key, step_key
from callsheet.core.records import PERSON, Envelope, Step

REPEATS = 5
"""How many crashes under one and the same call are told apart from what code does."""

Place = tuple[str, str, int]
"""What finds a step within its run: (turn, key, nth)."""

Keys = Mapping[str, Mapping[str, str]]
"""The idempotency keys that a fork took over with its calls, by turn and `place_of` the call."""


@frozen
class Attempt:
    """One attempt at a call; `question` is the one about what became of it, if a person was asked."""

    step: Step
    question: Envelope | None = None


def is_unknown(envelope: Envelope) -> bool:
    """Whether it asks a person whether a call took effect."""
    return (
        envelope.kind == "ask"
        and envelope.receiver == PERSON
        and from_json(envelope.body).get("kind") == "unknown"
    )


def had_intent(envelopes: Iterable[Envelope]) -> Callable[[Step], bool]:
    """Tells of a step of these messages' run whether its intent was kept before its result."""
    asked = {_call_asked_about(question) for question in envelopes if is_unknown(question)}

    def tell(step: Step) -> bool:
        if step.kind != "tool":
            return False
        given = _given(step)
        # Records of before the mark have none: of those, a question tells.
        return bool(given.get("once")) or (step.turn_id, step.name, given.get("arguments")) in asked

    return tell


def attempts(envelopes: Sequence[Envelope], steps: Sequence[Step], keys: Keys) -> list[tuple[Attempt, ...]]:
    """The tool calls of one run, each with all attempts at it, in order.

    `keys` are those that the run took over, if it is a fork.
    """
    by_place = {_place(step): step for step in steps if step.kind == "tool"}
    repeats = {(step.turn_id, key, 0) for step in by_place.values() for key in repeats_of(step)}
    firsts = [step for place, step in by_place.items() if place not in repeats]
    questions: dict[tuple[Any, ...], list[Envelope]] = defaultdict(list)
    for question in envelopes:
        if is_unknown(question):
            questions[_call_asked_about(question)].append(question)
    alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for step in firsts:
        alike[_call(step)].append(key_of(step, keys))
    found = []
    for step in firsts:
        again = [by_place.get((step.turn_id, key, 0)) for key in repeats_of(step)]
        made = [step, *(one for one in again if one is not None)]
        about = _about(questions.get(_call(step), ()), key_of(step, keys), alike[_call(step)])
        found.append(
            tuple(
                Attempt(step=one, question=about[n] if n < len(about) else None) for n, one in enumerate(made)
            )
        )
    return found


def place_of(step: Step) -> str:
    """What the idempotency key of a call is made of, beside its turn (see `Acting`)."""
    return f"{step.key.removeprefix('tool-')}/{step.nth}"


def key_of(step: Step, keys: Keys) -> str:
    """The idempotency key of a call, which all attempts at it have."""
    return keys.get(step.turn_id, {}).get(place_of(step)) or idempotency_key(step.turn_id, place_of(step))


def repeats_of(step: Step) -> list[str]:
    """The keys of the steps by which a call was made again that a crash had left unknown (see `Acting`)."""
    if step.kind != "tool":
        return []
    return [
        step_key("tool", digest("again", place_of(step), str(attempt))) for attempt in range(1, REPEATS + 1)
    ]


def _about(questions: Sequence[Envelope], key: str, alike: Sequence[str]) -> list[Envelope]:
    """Those of the questions that name this key; what names none of a known call may be about any of them."""
    named = [question for question in questions if key in question.body]
    return named or [question for question in questions if not any(one in question.body for one in alike)]


def _call_asked_about(question: Envelope) -> tuple[Any, ...]:
    body = from_json(question.body)
    return question.cause, body.get("tool"), body.get("arguments")


def _call(step: Step) -> tuple[Any, ...]:
    return step.turn_id, step.name, _given(step).get("arguments")


def _given(step: Step) -> dict[str, Any]:
    given = from_json(step.input)
    return given if isinstance(given, dict) else {}


def _place(step: Step) -> Place:
    return step.turn_id, step.key, step.nth


__all__ = [
    "REPEATS",
    "Attempt",
    "Keys",
    "attempts",
    "had_intent",
    "is_unknown",
    "key_of",
    "place_of",
    "repeats_of",
]
