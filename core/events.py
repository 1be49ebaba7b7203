"""What can happen to a run (events) and what is to be done about it (commands).

Events are also what participants put on their lane to the coordinator, so they survive pickle.
"""

from __future__ import annotations

from typing import Any, Literal

from callsheet.core.frozen import frozen
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import Envelope, Step

RunStatus = Literal["running", "waiting", "done", "failed", "limited", "cancelled"]
"""`running`: work is going on. `waiting`: a person has to say something. `done`: answered. `failed`: an
error ended it. `limited`: a limit stopped it. `cancelled`: somebody stopped it."""

ENDED: frozenset[str] = frozenset({"done", "failed", "limited", "cancelled"})


# --- events ------------------------------------------------------------------------------------------


@frozen
class RunStarted:
    """A run begins with the envelope that asks its flow."""

    envelope: Envelope
    limits: Limits


@frozen
class MessageSent:
    """An open turn asks another participant."""

    envelope: Envelope


@frozen
class StepRecorded:
    """A step of an open turn has its result; or its intent, and waits until that is kept."""

    step: Step


@frozen
class StepReserved:
    """A model call may use as much as the step's usage says, and waits until the run's budget has room for it.

    `step` is the call's intent; one without usage gives back what was reserved: the call failed, and it, or
    another, may be made later. `since` is when the stretch of work began that the turn is of: what an earlier
    one reserved is over.
    """

    step: Step
    since: float = 0.0


@frozen
class TurnTaken:
    """A process has an open turn, and says what it does for it: a process, or its coordinator, is new.

    `reserving` are the intents of the model calls that it makes or waits to make. Whatever else was reserved
    for the turn is nobody's any more.
    """

    run_id: str
    turn_id: str
    at: float
    reserving: tuple[Step, ...] = ()


@frozen
class TurnParked:
    """An open turn only waits for what it asked, and is not held by any process any more.

    `pending` are the places of the asks it waited for: one may have been answered meanwhile. `since` is when the
    stretch of work began that this is of.
    """

    run_id: str
    turn_id: str
    pending: tuple[tuple[str, int], ...]
    since: float = 0.0


@frozen
class TurnFinished:
    """A turn ends with its one reply or error; `body` is the JSON text of the answer, or of the error.

    `since` is when the stretch of work began that this is of: a run that was resumed had that error already.
    """

    run_id: str
    turn_id: str
    kind: Literal["reply", "error"]
    body: str
    at: float
    since: float = 0.0


@frozen
class DeadlinePassed:
    """The run's time is up."""

    run_id: str
    at: float


@frozen
class CancelRequested:
    """Somebody wants the run stopped."""

    run_id: str
    reason: str
    at: float


Event = (
    RunStarted
    | MessageSent
    | StepRecorded
    | StepReserved
    | TurnTaken
    | TurnParked
    | TurnFinished
    | DeadlinePassed
    | CancelRequested
)


# --- commands ----------------------------------------------------------------------------------------


@frozen
class KeepEnvelope:
    """Write the envelope to the journal."""

    envelope: Envelope


@frozen
class KeepStep:
    """Write the step to the journal."""

    step: Step


@frozen
class Deliver:
    """Hand an ask to its receiver, as a new turn."""

    envelope: Envelope


@frozen
class DeliverAgain:
    """Hand an open turn to its receiver again, with all that it has recorded."""

    turn_id: str


@frozen
class Park:
    """Ask for a turn to be parked as soon as it only waits: a person has to say something first."""

    turn_id: str
    receiver: str


@frozen
class Grant:
    """The step may be done: the budget has room for it, or its intent is kept."""

    turn_id: str
    receiver: str
    key: str
    nth: int


@frozen
class Wait:
    """Nothing of the run can go on before a person has replied: keep it so, and let go of it."""

    usage: RunUsage


@frozen
class Resolve:
    """Tell an open turn (of that receiver) how its ask, the nth of that key, was answered."""

    turn_id: str
    receiver: str
    key: str
    nth: int
    kind: Literal["reply", "error"]
    body: str


@frozen
class Recall:
    """Tell an open turn again how its ask was answered: the answer is in the journal."""

    turn_id: str
    key: str
    nth: int


@frozen
class CancelTurn:
    """Stop the work on a turn (of that receiver); whatever it still sends is ignored."""

    turn_id: str
    receiver: str
    reason: str


@frozen
class EndRun:
    """The run is over: keep how it ended, and tell who waits for it.

    `output` is JSON text (the answer); `error` is an error's `to_dict`.
    """

    run_id: str
    status: RunStatus
    output: str | None
    error: dict[str, Any] | None
    usage: RunUsage
    at: float


Command = (
    KeepEnvelope
    | KeepStep
    | Deliver
    | DeliverAgain
    | Park
    | Grant
    | Wait
    | Resolve
    | Recall
    | CancelTurn
    | EndRun
)
