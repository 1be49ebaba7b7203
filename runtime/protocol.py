"""What travels on the lanes to and from the coordinator, beside the events of `core.events`."""

from __future__ import annotations

from typing import Any, Literal

from callsheet.core.events import EndRun
from callsheet.core.frozen import frozen
from callsheet.core.limits import Limits
from callsheet.core.records import Envelope, RunRecord, RunWaits, Step

Watch = Literal["end", "all", "tokens"]
"""What a client wants to hear of a run: its end, all that is kept of it, or also what models say meanwhile."""

FLOW = "flow"
"""The name of a crew's flow among its participants."""

PING_S = 15.0
"""How often a driver that has launched a crew says that it is there."""


@frozen
class RunInfo:
    """What a participant needs to know of the run that a turn belongs to."""

    run_id: str
    crew: str
    launch: str
    session_id: str
    options: str
    limits: Limits
    deadline: float | None
    """Unix time (s) at which the run's work is stopped."""
    since: float = 0.0
    """When the present stretch of work began: a run that was resumed takes its failed turns again."""
    listened: bool = False
    """Whether somebody reads along what models say: then they are asked to answer in parts."""


# --- to the coordinator ------------------------------------------------------------------------------


@frozen
class LaunchCard:
    """A launched crew: the name it serves under, an id of this launch, its participants, and what it is.

    `description` is JSON text. Participants carry the card, so that a new coordinator learns it from them.
    """

    name: str
    id: str
    participants: tuple[str, ...]
    description: str
    driver: str = ""
    """The client that it serves and ends with; "" if it is kept until somebody stops it."""


@frozen
class Join:
    """A participant is there, and ready to take the turns of one replica of its name."""

    card: LaunchCard
    name: str
    replica: int
    replicas: int
    pid: int
    turns: tuple[tuple[str, str, float], ...] = ()
    """(run, turn, since) of those that it works on: when the stretch of the run's work began that they are of."""
    reserving: tuple[Step, ...] = ()
    """The intents of the model calls that it makes, or waits to make, within runs' budgets."""


@frozen
class Leaving:
    """A participant ends its process by its own will, and its successor will join: nobody has died."""

    card: LaunchCard


@frozen
class Spoken:
    """A part of what a model says in a turn, on its way to who follows the run; nothing of it is kept.

    `name` is whose turn it is. `anew`: it takes the place of all that the turn has said of this answer.
    """

    run_id: str
    turn_id: str
    name: str
    text: str
    anew: bool
    at: float


@frozen
class Ping:
    """A driver is there, though it has nothing to say."""


@frozen
class StartRun:
    """Begin a run; `watch` says what of it the sender wants to hear."""

    record: RunRecord
    envelope: Envelope
    limits: Limits
    watch: Watch = "end"


@frozen
class ResumeRun:
    """Go on with a run that ended, waits, or was left by its processes, with a crew that is launched.

    `limits`, `options` and `source` (JSON texts) take the place of the run's own, where given. `reply` is
    the answer to one of its questions: (id, body). `since` is the run's own, as the sender saw it: once that has
    changed, the run has gone on. `again` says that the sender has asked before.
    """

    run_id: str
    launch: str
    limits: str = ""
    options: str = ""
    source: str = ""
    reply: tuple[str, str] | None = None
    watch: Watch = "end"
    since: float | None = None
    again: bool = False


@frozen
class WatchRun:
    """Follow a run that somebody else began: all that is kept of it so far, then what comes, until it ends or waits.

    With `tokens` its models are asked to answer in parts, from their next call on; of an answer that comes in parts
    already, what was said of it comes first. Refused by a coordinator that
    does not work on the run.
    """

    run_id: str
    tokens: bool = True


@frozen
class UnwatchRun:
    """Follow it no longer."""

    run_id: str


@frozen
class CancelRun:
    """Stop a run."""

    run_id: str
    reason: str


@frozen
class Query:
    """Ask the coordinator for something; the answer is an `Answer` of the same id."""

    id: int
    verb: str
    args: dict[str, Any]


# --- from the coordinator ----------------------------------------------------------------------------


@frozen
class TurnGiven:
    """A turn to take, with what is already recorded of it (nothing, unless it was begun before)."""

    envelope: Envelope
    info: RunInfo
    steps: tuple[Step, ...] = ()


@frozen
class StepAnswered:
    """An ask of an open turn, the nth of that key, is answered with that body."""

    turn_id: str
    key: str
    nth: int
    kind: Literal["reply", "error"]
    body: str


@frozen
class StepGranted:
    """The budget has room for the nth step of that key."""

    turn_id: str
    key: str
    nth: int


@frozen
class ParkTurn:
    """Let go of a turn as soon as it only waits: a person has to say something first."""

    turn_id: str


@frozen
class Listening:
    """Somebody reads along what models say in a run's turns, or nobody does any more: from their next call on."""

    run_id: str
    on: bool


@frozen
class Dismissed:
    """The crew is over: nobody needs this participant any more."""


@frozen
class TurnStopped:
    """Stop the work on a turn."""

    turn_id: str
    reason: str


@frozen
class RunNews:
    """Something of a watched run was kept in the journal; or a model says something in it."""

    run_id: str
    record: Envelope | Step | RunWaits | EndRun | Spoken


@frozen
class Refused:
    """A run cannot be started; `error` is the error's `to_dict`."""

    run_id: str
    error: dict[str, Any]


@frozen
class Answer:
    """The answer to a query: a value, or the `to_dict` of an error."""

    id: int
    value: Any = None
    error: dict[str, Any] | None = None


@frozen
class JournalBroken:
    """The coordinator cannot write its journal, and takes nothing more; what was kept is safe."""

    error: dict[str, Any]
