"""What is measured of a trial: each scorer's value, cost and time; and paired differences of them between benches.

A run that failed has no answer, so no scorer saw it. It counts as the worst that a share can be (0, or 1 where less
is better): a crew that fails on the hard cases must not look better for it. A scorer with a unit, such as seconds,
has no worst value: failed runs are left out of it. Where the scorer itself failed the trial is left out of that
scorer's figures, and counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from callsheet.scenarios import statistics
from callsheet.scenarios.results import ScorerInfo, Trial, by_case
from callsheet.scenarios.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that a trial has, or None. `unit` is empty for shares of 1; `better` says which way is up."""

    name: str
    unit: str
    better: Literal["higher", "lower"]
    of: Callable[[Trial], float | None]


COST = Measure(name="cost", unit="usd", better="lower", of=lambda trial: _finite(trial.cost_usd))
"""USD of a run, failed ones too: they are paid as well. None where a price is unknown."""

AMOUNTS = ("usd", "s", "tokens", "steps")
"""Units of what a run takes: there is no less than none of it, and an interval says so."""

TIME = Measure(
    name="time", unit="s", better="lower",
    of=lambda trial: _finite(trial.elapsed_s) if trial.status == "done" else None,
)  # fmt: skip
"""Seconds of a run that is done: one that failed at once was not fast."""


def score_of(scorer: ScorerInfo, *, failures: bool = True) -> Measure:
    """A scorer's value; failed runs count as the worst share if `failures`, else they are left out."""
    worst = None if scorer.unit or not failures else 0.0 if scorer.better == "higher" else 1.0

    def value(trial: Trial) -> float | None:
        if trial.status != "done":
            return worst
        record = trial.scores.get(scorer.name)
        return None if record is None else _finite(record.value)

    return Measure(name=scorer.name, unit=scorer.unit, better=scorer.better, of=value)


def case_means(trials: Iterable[Trial], measure: Measure) -> dict[str, float]:
    """The measure's mean over the repeats of each case; cases where no trial has it are left out."""
    found: dict[str, float] = {}
    for case, repeats in by_case(trials).items():
        values = [value for trial in repeats if (value := measure.of(trial)) is not None]
        if values:
            found[case] = math.fsum(values) / len(values)
    return found


def estimate(trials: Iterable[Trial], measure: Measure) -> Estimate | None:
    """The measure's mean over cases, with its interval; None where no trial has it."""
    values = list(case_means(trials, measure).values())
    found = statistics.mean(values, share=is_share(measure, values))
    if found is None or found.low is None or measure.unit not in AMOUNTS or min(values) < 0:
        return found
    return replace(found, low=max(0.0, found.low))


def is_share(measure: Measure, values: Iterable[float]) -> bool:
    """Whether the values are what a measure without unit promises: shares of 1."""
    return not measure.unit and all(0.0 <= value <= 1.0 for value in values)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much more of a measure `a` has than `b`, over the cases that both have.

    `estimate` is of a - b; wins are cases in which `a` is the better. `p` is McNemar's, where each case was right
    or wrong once; `p_adjusted` is Holm's, where there are several pairs.
    """

    a: str
    b: str
    measure: str
    unit: str
    better: Literal["higher", "lower"]
    estimate: Estimate | None
    wins: int
    losses: int
    ties: int
    p: float | None = None
    p_adjusted: float | None = None

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out 0."""
        e = self.estimate
        return e is not None and e.low is not None and e.high is not None and (e.low > 0 or e.high < 0)

    @property
    def improved(self) -> bool | None:
        """Whether `a` is surely better (True) or worse (False); None where it may be either."""
        if not self.sure or self.estimate is None:
            return None
        return (self.estimate.mean > 0) == (self.better == "higher")


def difference(
    a: Iterable[Trial], b: Iterable[Trial], measure: Measure, labels: tuple[str, str]
) -> Difference:
    """The paired difference of a measure between two candidates' trials, over the cases in which both have it."""
    a, b = tuple(a), tuple(b)
    first, second = case_means(a, measure), case_means(b, measure)
    shared = [case for case in first if case in second]
    x, y = [first[case] for case in shared], [second[case] for case in shared]
    up = 1 if measure.better == "higher" else -1
    wins = sum(up * (p - q) > 1e-12 for p, q in zip(x, y, strict=True))
    losses = sum(up * (q - p) > 1e-12 for p, q in zip(x, y, strict=True))
    once = all(trial.repeat == 0 for trial in (*a, *b))
    binary = not measure.unit and set(x) | set(y) <= {0.0, 1.0}
    return Difference(
        a=labels[0], b=labels[1], measure=measure.name, unit=measure.unit, better=measure.better,
        estimate=statistics.paired_difference(x, y, share=is_share(measure, (*x, *y))),
        wins=wins, losses=losses, ties=len(shared) - wins - losses,
        p=statistics.mcnemar(wins, losses) if binary and once and shared else None,
    )  # fmt: skip


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
