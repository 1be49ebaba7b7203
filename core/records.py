"""What moves between participants and what is kept of it: envelopes and steps.

Frozen, versioned, and plain data: they survive pickle and JSON. A body is JSON text, made once by the
sender and parsed once by the receiver, so that whatever lies between only carries it.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from callsheet.core.canonical import from_json
from callsheet.core.frozen import frozen, names_of
from callsheet.core.ids import reply_envelope_id
from callsheet.core.limits import RunUsage

VERSION = 1
"""Version of the stored form of envelopes and steps. 1: the first."""

PERSON = "person"
"""The participant that starts a run, and gets its answer."""


@frozen
class Envelope:
    """One message between two participants of a run.

    An `ask` begins a turn of its receiver, and its id is that turn's id too. A turn ends with exactly one
    `reply` or `error`, which goes back to the sender of the ask. `cause` is the turn that sent it ("" for
    the envelope that starts the run); `step_key` and `step_nth` name the asking step of that turn.
    """

    id: str
    run_id: str
    kind: Literal["ask", "reply", "error"]
    sender: str
    receiver: str
    body: str
    cause: str = ""
    reply_to: str = ""
    step_key: str = ""
    step_nth: int = 0
    at: float = 0.0
    v: int = VERSION


@frozen
class Step:
    """One recorded step of a turn, found again by (turn, key, nth), never by its position.

    `state`: `intent` (begun; kept before an effect that must not be repeated), `done`, or `failed` (an
    ask that was answered with an error). `input` and `result` are JSON texts; an LLM step's input names
    the conversation by its chained digest and does not repeat it. Times are Unix seconds.
    """

    run_id: str
    turn_id: str
    key: str
    nth: int
    kind: Literal["llm", "tool", "ask", "now"]
    name: str
    state: Literal["intent", "done", "failed"] = "done"
    input: str = "null"
    result: str = "null"
    usage: RunUsage | None = None
    started: float = 0.0
    ended: float = 0.0
    v: int = VERSION

    @property
    def place(self) -> tuple[str, int]:
        """What finds the step within its turn."""
        return self.key, self.nth


@frozen
class RunRecord:
    """One run as the journal lists it. `input` and `output` are JSON texts; times are Unix seconds."""

    run_id: str
    crew: str
    status: str
    input: str
    output: str | None = None
    error: str | None = None
    """JSON text of the error's `to_dict`."""
    session_id: str = ""
    limits: str = "{}"
    usage: str = "{}"
    launch: str = ""
    """Which launched crew serves it; a run resumed elsewhere gets another."""
    options: str = "{}"
    """JSON object: model, documents and the like, as the run was started with."""
    started: float = 0.0
    ended: float | None = None
    owner: str = ""
    """The coordinator that works on it; "" while it waits for a person, and when it has ended."""
    since: float = 0.0
    """When the present stretch of work began: at the start, or when it was resumed or woken."""
    spent_s: float = 0.0
    """Seconds of work before that, which count towards the deadline."""
    source: str = ""
    """JSON text of where the crew's definition lies; "" where that is not known."""
    v: int = VERSION


@frozen
class RunResumed:
    """A run goes on that had ended, or whose processes are gone; with other limits and options, if given.

    `retired` are the error replies that its failure consists of: they answer nothing any more, so that the
    turns that ended with them are taken again. `limits` and `options` are JSON texts.
    """

    run_id: str
    launch: str
    limits: str
    options: str
    owner: str
    at: float
    source: str = ""
    retired: tuple[str, ...] = ()
    v: int = VERSION


@frozen
class RunWaits:
    """All that is open of a run waits for a person: nobody works on it until there is a reply."""

    run_id: str
    usage: RunUsage
    at: float
    v: int = VERSION


@frozen
class RunWoken:
    """A waiting run goes on; what it had worked before still counts towards its deadline."""

    run_id: str
    launch: str
    owner: str
    at: float
    v: int = VERSION


def is_question(envelope: Envelope) -> bool:
    """Whether a person has to answer it."""
    return envelope.kind == "ask" and envelope.receiver == PERSON


def answers(reply: Envelope) -> bool:
    """Whether the envelope is the answer to its ask, and not one of an earlier attempt that was retired."""
    return reply.kind != "ask" and reply.id == reply_envelope_id(reply.reply_to)


def ask_step(ask: Envelope, reply: Envelope) -> Step:
    """An answered ask as the step of its asker. It is never stored: the two envelopes say it all."""
    return Step(
        run_id=ask.run_id,
        turn_id=ask.cause,
        key=ask.step_key,
        nth=ask.step_nth,
        kind="ask",
        name=ask.receiver,
        state="done" if reply.kind == "reply" else "failed",
        input=ask.body,
        result=reply.body,
        started=ask.at,
        ended=reply.at,
    )


def body_text(body: str) -> str:
    """A body as people read it: the `input` or `output` it carries, a question, or an error's message."""
    data = from_json(body)
    if isinstance(data, dict):
        for name in ("input", "output", "question", "message"):
            if name in data:
                data = data[name]
                break
    if isinstance(data, dict) and set(data) == {"decision", "text"}:
        return ": ".join(part for part in (data["decision"], data["text"]) if part)
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, indent=1)


def record_to_dict(record: Envelope | Step) -> dict[str, Any]:
    """JSON-compatible form of an envelope or step."""
    data = {name: getattr(record, name) for name in names_of(type(record))}
    usage = data.get("usage")
    if isinstance(usage, RunUsage):
        data["usage"] = usage.stored()
    return data


def envelope_from_dict(data: dict[str, Any]) -> Envelope:
    """From `record_to_dict`. Raises ValueError for a version this code does not know."""
    _check_version(data)
    return Envelope(**data)


def step_from_dict(data: dict[str, Any]) -> Step:
    """From `record_to_dict`. Raises ValueError for a version this code does not know."""
    _check_version(data)
    usage = data.get("usage")
    return Step(**{**data, "usage": RunUsage(**usage) if usage else None})


def _check_version(data: dict[str, Any]) -> None:
    if data.get("v") != VERSION:
        raise ValueError(f"a record of version {data.get('v')!r}; this callsheet reads version {VERSION}")
