"""What becomes of the open turns of a run: let go of, given again, closed with all that works for them."""

from __future__ import annotations

from collections.abc import Mapping

from callsheet.core.events import CancelTurn, Command, DeliverAgain, Park
from callsheet.core.records import is_question
from callsheet.core.state import OpenTurn, RunState

Decision = tuple[RunState, tuple[Command, ...]]


def parks(turns: Mapping[str, OpenTurn]) -> list[Park]:
    """A person has been asked: let go of every turn as soon as it only waits."""
    return [
        Park(turn_id=id_, receiver=turn.envelope.receiver)
        for id_, turn in turns.items()
        if not turn.parked and not is_question(turn.envelope)
    ]


def told_again(turn: OpenTurn) -> tuple[Command, ...]:
    """A turn wants to begin what has a result by now: a process that was thought to be gone has brought it."""
    return (DeliverAgain(turn_id=turn.envelope.id),)


def unparked(state: RunState, turn: OpenTurn) -> Decision:
    """The turn is given to its receiver again."""
    taken = OpenTurn(envelope=turn.envelope, done=turn.done, model_calls=turn.model_calls)
    return state.after({**state.open, turn.envelope.id: taken}), again(state, turn)


def again(state: RunState, turn: OpenTurn) -> tuple[Command, ...]:
    """Give a turn to its receiver, with what it has recorded."""
    deliver = DeliverAgain(turn_id=turn.envelope.id)
    if not state.questions:
        return (deliver,)
    return deliver, Park(turn_id=turn.envelope.id, receiver=turn.envelope.receiver)


def close(
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
