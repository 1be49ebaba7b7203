"""A run of a bench as its journal tells it: how it ended, what it took, and what its models called."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from callsheet.agents.output import output_type
from callsheet.core.canonical import from_json
from callsheet.core.errors import CallsheetError, LimitError, WaitingError
from callsheet.core.limits import RunUsage
from callsheet.core.records import Envelope, RunRecord, Step
from callsheet.crews.questions import questions_of
from callsheet.crews.result import Result, worked_s
from callsheet.scenarios.attempt import Attempt, Call
from callsheet.scenarios.budget import ROUNDING_USD
from callsheet.scenarios.case import Case
from callsheet.scenarios.results import Status

STATUS: dict[str, Status] = {
    "done": "done", "failed": "failed", "limited": "limit", "waiting": "waiting", "cancelled": "cancelled"
}  # fmt: skip
"""What a run's end is to a trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A run that began, from the journal alone: the same whether this process ran it or one that was killed."""

    record: RunRecord
    envelopes: Sequence[Envelope]
    done_steps: Sequence[Step]
    trace_url: str | None = None

    @staticmethod
    def of(found: tuple[RunRecord | None, Sequence[Envelope], Sequence[Step]]) -> Past | None:
        """From what the coordinator tells of a run; None if there is no such run."""
        record, envelopes, steps = found
        if record is None:
            return None
        return Past(
            record=record, envelopes=envelopes, done_steps=[s for s in steps if s.state != "intent"]
        )  # fmt: skip

    @property
    def status(self) -> str:
        """The run's status."""
        return self.record.status

    @property
    def error(self) -> CallsheetError | None:
        """What ended the run, or what it waits for, if it is not done."""
        if self.status == "waiting":
            asked = [question.text for question in questions_of(self.envelopes)] or ["something"]
            return WaitingError(f"the run waits for a person: {asked[0]}", run_id=self.record.run_id)
        return None if self.record.error is None else CallsheetError.from_dict(from_json(self.record.error))

    @property
    def output(self) -> Any:
        """The answer as data."""
        return None if self.record.output is None else from_json(self.record.output)["output"]

    @property
    def given(self) -> Any:
        """What the run was given, as data."""
        return from_json(self.record.input)["input"]

    @property
    def usage(self) -> RunUsage:
        """What it has used, also if it was cut off."""
        usage = RunUsage()
        for step in self.done_steps:
            if step.usage is not None:
                usage = usage.plus(step.usage)
        return usage

    @property
    def elapsed_s(self) -> float:
        """Seconds of work."""
        return worked_s(self.record)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The tool calls that were carried out, in the order in which they began."""
        tools = sorted((s for s in self.done_steps if s.kind == "tool"), key=lambda s: s.started)
        return tuple(Call(name=step.name, arguments=_arguments(step)) for step in tools)

    @property
    def steps(self) -> int:
        """Model calls, tool calls and messages asked; the message that begins the run is none."""
        asked = sum(1 for e in self.envelopes if e.kind == "ask" and e.cause)
        return asked + sum(1 for s in self.done_steps if s.kind in ("llm", "tool"))

    def attempt(self, case: Case) -> Attempt:
        """What scorers see of it."""
        return Attempt(
            case=case, output=self.output, calls=self.calls, usage=self.usage, elapsed_s=self.elapsed_s,
            steps=self.steps, run_id=self.record.run_id,
        )  # fmt: skip

    def result(self, output: Any) -> Result:
        """As `Crew.run` would have given it; `output` is the crew's output type, or None for text."""
        answer = self.output
        if output is not None and answer is not None:
            # A type that does not read what it writes: the data as they are, as a run gives them.
            with contextlib.suppress(ValidationError):
                answer = output_type(output).value(answer)
        return Result(
            run_id=self.record.run_id, crew=self.record.crew, status=self.status, output=answer,
            error=self.error, usage=self.usage, elapsed_s=self.elapsed_s, session_id=self.record.session_id,
            trace_url=self.trace_url,
        )  # fmt: skip


def error_text(error: CallsheetError | None) -> str:
    """What ended a run, with its type: `LimitError: the run stopped …`."""
    return "" if error is None else f"{type(error).__name__}: {error.message}"


def stopped_by_share(past: Past, own_usd: float) -> bool:
    """Whether the run's share of the bench's budget has stopped it, and not a budget of its own."""
    error = past.error
    if past.status != "limited" or not isinstance(error, LimitError) or error.limit != "budget_usd":
        return False
    return error.allowed < own_usd - ROUNDING_USD


def needed_usd(past: Past, own_usd: float) -> float:
    """What the model call may cost that the run's share had no room for; 0: none is known."""
    error = past.error
    return error.wanted if isinstance(error, LimitError) and stopped_by_share(past, own_usd) else 0.0


def _arguments(step: Step) -> dict[str, Any]:
    shown = from_json(step.input)
    text = shown.get("arguments") if isinstance(shown, dict) else None
    try:
        found = from_json(text) if isinstance(text, str) else text
    except ValueError:
        return {}  # what a model wrote that is no JSON: the call was answered with that mistake
    return found if isinstance(found, dict) else {}
