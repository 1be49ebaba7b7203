"""The numbers that `show` prints beside a run's messages and steps, and that `replay` and `fork` speak of.

The journal keeps messages and steps in an order each; the two are put together by their times, and never so
that a step stands before the message that began its turn, or after the turn's reply. The run's input is 1.
A call whose intent was kept stands where it was begun, with a result or without. So the past of a run keeps its
numbers: what comes later is numbered on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from callsheet.core.frozen import frozen
from callsheet.core.records import Envelope, Step
from callsheet.core.records import answers as is_answer
from callsheet.crews.attempts import had_intent


@frozen
class Numbered:
    """A message or step of a run with its number; `agent` is who sent it, or whose turn it belongs to."""

    number: int
    record: Envelope | Step
    agent: str


def numbered(envelopes: Sequence[Envelope], steps: Sequence[Step]) -> list[Numbered]:
    """The messages and steps of one run in their order, numbered from 1.

    Both are given in the order in which the journal kept them. A step of a turn that is not among the
    messages (they were read a moment earlier) is left out. Takes time in proportion to their count.
    """
    holders = {envelope.id: envelope.receiver for envelope in envelopes if envelope.kind == "ask"}
    known = [step for step in steps if step.turn_id in holders]
    times = _times(known, had_intent(envelopes))
    missing = Counter(step.turn_id for step in known)
    found: list[Numbered] = []
    begun: set[str] = set()
    message, step = 0, 0
    while message < len(envelopes) or step < len(known):
        if _message_first(envelopes, message, known, step, times, begun, missing):
            envelope = envelopes[message]
            message += 1
            if envelope.kind == "ask":
                begun.add(envelope.id)
            found.append(Numbered(number=len(found) + 1, record=envelope, agent=envelope.sender))
        else:
            done = known[step]
            step += 1
            missing[done.turn_id] -= 1
            found.append(Numbered(number=len(found) + 1, record=done, agent=holders[done.turn_id]))
    return found


def _times(steps: Sequence[Step], had_intent: Callable[[Step], bool]) -> list[float]:
    """When each step was first kept: when it was done, or when it was begun, if its intent was kept then.

    Of a call within a budget, too, the intent may have been kept: then it stands before steps that were done before.
    """
    found, later, done_later = [], math.inf, math.inf
    for step in reversed(steps):
        at = step.ended or step.started
        early = had_intent(step) or at > done_later
        done_later = min(done_later, at)
        later = min(later, step.started if early else at)
        found.append(later)
    return found[::-1]


def _message_first(
    envelopes: Sequence[Envelope],
    message: int,
    steps: Sequence[Step],
    step: int,
    times: Sequence[float],
    begun: set[str],
    missing: Counter[str],
) -> bool:
    if message == len(envelopes) or step == len(steps):
        return step == len(steps)
    envelope, done = envelopes[message], steps[step]
    if done.turn_id not in begun:
        return True
    # A turn's reply is its last word; a retired one is the last of an attempt, and its time says when.
    if is_answer(envelope) and missing[envelope.reply_to]:
        return False
    return envelope.at <= times[step]


def is_retired(envelope: Envelope) -> bool:
    """Whether it is the reply of an earlier attempt, which a resumed run has left behind."""
    return envelope.kind != "ask" and not is_answer(envelope)


def replies(envelopes: Iterable[Envelope]) -> dict[str, Envelope]:
    """The replies that hold, by the id of the ask that they answer."""
    return {envelope.reply_to: envelope for envelope in envelopes if is_answer(envelope)}


__all__ = ["Numbered", "is_retired", "numbered", "replies"]
