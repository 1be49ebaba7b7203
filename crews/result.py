"""What a run gives: its result, and the events by which it can be followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from callsheet.core.canonical import from_json
from callsheet.core.errors import CallsheetError, RunError
from callsheet.core.events import EndRun
from callsheet.core.ids import trace_id
from callsheet.core.limits import RunUsage
from callsheet.core.records import Envelope, RunRecord, RunWaits, Step, body_text
from callsheet.crews.questions import Question
from callsheet.runtime.client import News
from callsheet.runtime.protocol import Spoken


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run ended, or that it waits. `output` is the crew's answer, of its output type; None if there is none.

    A run that waits for a person has `questions`; `crew.resume(run_id, reply=…)` goes on with it, in any
    process, at any time. One that was stopped or failed goes on with `crew.resume(run_id)`. `elapsed_s` are
    seconds of work (see `worked_s`).
    """

    run_id: str
    crew: str
    status: str
    output: Any = None
    error: CallsheetError | None = None
    usage: RunUsage = field(default_factory=RunUsage)
    elapsed_s: float = 0.0
    session_id: str = ""
    trace_url: str | None = None
    questions: tuple[Question, ...] = ()

    @property
    def trace_id(self) -> str:
        """The run's trace id."""
        return trace_id(self.run_id)

    def checked(self) -> Result:
        """This result, if the run is done. Raises the error that ended it otherwise."""
        if self.status == "done":
            return self
        raise self.error or RunError(f"run {self.run_id} is {self.status}", run_id=self.run_id)

    def to_dict(self) -> dict[str, Any]:
        """What `callsheet run --json` prints."""
        from callsheet.agents.data import data_of

        error = None
        if self.error is not None:
            error = {
                "type": type(self.error).__name__, "message": self.error.message, "hint": self.error.hint
            }  # fmt: skip
        return {
            "run_id": self.run_id,
            "crew": self.crew,
            "status": self.status,
            "output": data_of(self.output),
            "usage": self.usage.to_dict(),
            "elapsed_s": round(self.elapsed_s, 3),
            "trace_id": self.trace_id,
            "trace_url": self.trace_url,
            "session_id": self.session_id,
            "questions": [question.to_dict() for question in self.questions],
            "error": error,
        }


def worked_s(record: RunRecord, until: float | None = None) -> float:
    """Seconds that a run was worked on since it was started, or since it was resumed after it had ended.

    The time for which it waited for a person, or lay there failed, is no work; of one that is under way the
    present stretch counts up to `until` (Unix time).
    """
    if record.since <= 0:  # kept by a callsheet that did not measure it
        return max(0.0, (record.ended or until or record.started) - record.started)
    stretch = 0.0
    if record.status == "running" and until is not None:
        stretch = max(0.0, until - record.since)
    return record.spent_s + stretch


def how_to_go_on(error: CallsheetError, run_id: str) -> CallsheetError:
    """The error that failed a run, told with how the run goes on; what its hint says already is not said again."""
    if f"callsheet resume {run_id}" not in error.hint:
        how = f"`callsheet resume {run_id}` takes the failed turns again, once the cause is mended."
        error.hint = f"{error.hint}\n{how}".lstrip()
    return error


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """Something that happened in a run, once it is in the journal.

    `message`: `sender` said `text` to `receiver`. `llm`, `tool`, `now`: `sender` finished a step called
    `name`. `tokens`: the model of `sender` says `text`, a part of its answer; with the name `anew` it takes
    the place of the parts before it (the call broke off and was made again). `end`: the run is over, or
    waits for a person, and `text` is its status.

    `decided`: a call was begun and left no result, and this is what a person made of it: `approve` (it was made
    again, which is an event of its own), `deny` (it was not), or `result` (they told what it had come to).
    """

    kind: Literal["message", "llm", "tool", "ask", "now", "tokens", "end"]
    at: float
    sender: str = ""
    receiver: str = ""
    name: str = ""
    text: str = ""
    usage: RunUsage | None = None
    elapsed_s: float = 0.0
    decided: Literal["", "approve", "deny", "result"] = ""


class EventReader:
    """Makes events of what the journal keeps; remembers whose turn is whose, since steps name only the turn."""

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}

    def read(self, news: News) -> RunEvent:
        """The event of one record."""
        match news:
            case Envelope():
                if news.kind == "ask":
                    self._holders[news.id] = news.receiver
                return RunEvent(
                    kind="message", at=news.at, sender=news.sender, receiver=news.receiver,
                    text=body_text(news.body), name=news.kind,
                )  # fmt: skip
            case Step():
                decided = _decided(news)
                return RunEvent(
                    kind=news.kind, at=news.ended, sender=self._holders.get(news.turn_id, ""), name=news.name,
                    text=_step_text(news), usage=news.usage, decided=decided,
                    # From a question to its answer nothing was under way.
                    elapsed_s=0.0 if decided else news.ended - news.started,
                )  # fmt: skip
            case Spoken():
                name = "anew" if news.anew else ""
                return RunEvent(kind="tokens", at=news.at, sender=news.name, text=news.text, name=name)
            case RunWaits():
                return RunEvent(kind="end", at=news.at, text="waiting", usage=news.usage)
            case EndRun():
                return RunEvent(kind="end", at=news.at, text=news.status, usage=news.usage)


def _step_text(step: Step) -> str:
    shown = from_json(step.input)
    return str(shown.get("arguments", "")) if isinstance(shown, dict) else ""


def _decided(step: Step) -> Literal["", "approve", "deny", "result"]:
    """What a person made of a call that had left no result; records of before this was kept say nothing."""
    if step.kind != "tool" or '"decided"' not in step.result:  # most results are long, and say nothing of it
        return ""
    result = from_json(step.result)
    found = result.get("decided") if isinstance(result, dict) else None
    return found if found in ("approve", "deny", "result") else ""
