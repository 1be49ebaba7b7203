"""How a bench stands while it runs: done, scores, failures, spending."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from callsheet.scenarios.results import BenchInfo, BenchResult, Candidate, Trial

ALL_FAIL = 10
"""So many trials of a candidate that all fail with the same error, and no other, end a bench."""


@dataclass(kw_only=True)
class Tally:
    """One candidate's trials so far. `failed` are those without an answer; they count as 0 in the score."""

    done: int = 0
    failed: int = 0
    total: float = 0.0
    scored: int = 0

    @property
    def score(self) -> float | None:
        """The mean of the first scorer over what is done, or None while there is nothing."""
        judged = self.scored + self.failed
        return self.total / judged if judged else None


@dataclass(kw_only=True)
class BenchProgress:
    """The bench as a whole, after each trial; `last` is the trial that was just finished.

    `kept` trials were finished by an earlier process. `spent_usd` are the known costs, judges' among them;
    `unpriced` says whether there were calls whose price is not known.
    """

    info: BenchInfo
    kept: int = 0
    tallies: dict[Candidate, Tally] = field(default_factory=dict)
    spent_usd: float = 0.0
    unpriced: bool = False
    last: Trial | None = None

    @property
    def done(self) -> int:
        """Trials that are finished, failed ones among them."""
        return sum(tally.done for tally in self.tallies.values())

    @property
    def failed(self) -> int:
        """Trials whose run gave no answer."""
        return sum(tally.failed for tally in self.tallies.values())

    def add(self, trial: Trial) -> None:
        """Count a trial."""
        tally = self.tallies.setdefault(trial.candidate, Tally())
        tally.done += 1
        if trial.status != "done":
            tally.failed += 1
        first = trial.scores.get(self.info.scorers[0].name)
        if first is not None and first.value is not None:
            tally.scored += 1
            tally.total += first.value
        self.unpriced = self.unpriced or trial.cost_usd is None
        self.last = trial


class FailureWatch:
    """Sees when a candidate only ever fails, in the trials that this process has taken."""

    def __init__(self, planned: int) -> None:
        self._enough = min(ALL_FAIL, planned)
        self._errors: dict[Candidate, list[str]] = {}

    def add(self, trial: Trial) -> str:
        """The error that ended every run of the trial's candidate, if that is to end the bench; else ""."""
        errors = self._errors.setdefault(trial.candidate, [])
        if len(errors) < self._enough:
            errors.append(_error_of(trial))
        return errors[0] if len(errors) == self._enough and same_error(errors) else ""


def _error_of(trial: Trial) -> str:
    """What a crew did wrong; somebody's cancelling a run is none of it."""
    return "" if trial.status in ("done", "cancelled") else trial.error


def same_error(errors: Iterable[str]) -> bool:
    """Whether all are errors, and of one type."""
    return len(kinds := {error.partition(":")[0] for error in errors}) == 1 and "" not in kinds


def every_run_failed(trials: Iterable[Trial]) -> str:
    """The first error of a candidate all of whose runs failed with errors of one type; "" if they did not."""
    errors = [_error_of(trial) for trial in trials]
    return errors[0] if errors and same_error(errors) else ""


def never_judged(result: BenchResult, candidate: Candidate) -> str:
    """The first scorer's first error in a line, if it failed at every answer of a candidate; "" if it did not."""
    name = result.info.scorers[0].name
    records = [trial.scores.get(name) for trial in result.of(candidate) if trial.status == "done"]
    errors = [record.error for record in records if record is not None and record.error]
    return errors[0].strip().partition("\n")[0] if errors and len(errors) == len(records) else ""
