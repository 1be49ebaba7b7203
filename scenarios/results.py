"""What a bench leaves: a header, and a line for each trial. Versioned; survives JSON; read by later benches."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

VERSION = 1
"""Version of the stored form. 1: the first."""

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def _storable(value: Any) -> Any:
    """The value without lone surrogates: models send some, and UTF-8, which files are in, has none."""
    if isinstance(value, str):
        return value if value.isascii() else _LONE_SURROGATES.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(item) for item in value]
    return value


Told = Annotated[str, AfterValidator(_storable)]
"""Text from outside."""

Given = Annotated[Any, AfterValidator(_storable)]
"""Data from outside."""

Status = Literal["done", "failed", "limit", "waiting", "cancelled"]
"""How a trial's run ended. Only `done` has an answer that is scored; the rest are failures, not wrong answers."""


class Candidate(BaseModel):
    """What is compared: a crew with a model (None: the models that the crew names itself)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crew: str
    model: str | None = None

    @property
    def label(self) -> str:
        """How it is shown and named on the command line."""
        return self.crew if self.model is None else f"{self.crew} · {self.model}"


class ScoreRecord(BaseModel):
    """One score of a trial. `error` is set where the scorer itself failed; then `value` is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    explanation: Told = ""
    error: Told = ""


class Trial(BaseModel):
    """One run of one case by one candidate, with its scores by scorer's name.

    `repeat` counts from 0. Tokens, USD and seconds are the run's; `cost_usd` is None where a price is unknown.
    `judging_usd` is what scorers of this trial spent on models. Times are Unix seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: int = VERSION
    number: int
    case: str
    candidate: Candidate
    repeat: int = 0
    run_id: str
    status: Status
    output: Given = None
    scores: dict[str, ScoreRecord] = Field(default_factory=dict)
    error: Told = ""
    """What ended the run, with its type, if it is not done."""
    llm_calls: int = 0
    tool_calls: int = 0
    steps: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    known_usd: float = 0.0
    """The known part of its cost, where that is not known whole; else the same."""
    judging_usd: float = 0.0
    elapsed_s: float = 0.0
    started: float = 0.0
    trace_id: str = ""
    trace_url: str | None = None

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.input_tokens + self.output_tokens

    def changed(self, **fields: Any) -> Trial:
        """The trial with these fields, checked as all are: `model_copy` would let text in that no file can hold."""
        return Trial(**{**dict(self), **fields})


class ScorerInfo(BaseModel):
    """What a report has to know of a scorer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    unit: str = ""
    better: Literal["higher", "lower"] = "higher"


class BenchInfo(BaseModel):
    """The head of a bench: what was to be done, with what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: int = VERSION
    bench_id: str
    suite: str
    digest: str
    """The suite's: benches of equal digests judge the same cases in the same way."""
    cases: tuple[str, ...]
    """The ids, in order."""
    scorers: tuple[ScorerInfo, ...]
    """The first is the score by which candidates are ranked."""
    candidates: tuple[Candidate, ...]
    repeats: int = 1
    host: str = "ray"
    started: float = 0.0
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    """What it was started with, such as budget_usd and data; how it is resumed is read from here."""

    @property
    def planned(self) -> int:
        """How many trials it has in all."""
        return len(self.cases) * len(self.candidates) * self.repeats


class BenchResult(BaseModel):
    """A bench with the trials that are finished; not all of them, if it was stopped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    info: BenchInfo
    trials: tuple[Trial, ...] = ()
    inputs: Annotated[dict[str, Any], AfterValidator(_storable)] = Field(default_factory=dict)
    """Each case's input and expected answer, by id: `{"input": …, "expected": …}`, for reports."""

    @property
    def complete(self) -> bool:
        """Whether every planned trial is there."""
        return len(self.trials) == self.info.planned

    def of(self, candidate: Candidate) -> tuple[Trial, ...]:
        """The trials of one candidate, by number."""
        return tuple(sorted((t for t in self.trials if t.candidate == candidate), key=lambda t: t.number))


def by_case(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """The trials of each case, by repeat."""
    found: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda t: t.repeat):
        found.setdefault(trial.case, []).append(trial)
    return found
