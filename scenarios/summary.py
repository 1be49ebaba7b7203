"""A bench in figures: each candidate's score, cost and time, who is better than whom, and who is worth its price."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from callsheet.scenarios import statistics
from callsheet.scenarios.measures import COST, TIME, Difference, difference, estimate, score_of
from callsheet.scenarios.results import BenchResult, Candidate, ScorerInfo, Trial, by_case
from callsheet.scenarios.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class ScoreSummary:
    """One scorer's figures for one candidate.

    `estimate` counts failed runs as the worst share; `answered` is of the runs that are done. `errors` counts the
    trials in which the scorer itself failed.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"]
    estimate: Estimate | None
    answered: Estimate | None
    errors: int


@dataclass(frozen=True, kw_only=True)
class CandidateSummary:
    """One candidate's figures. USD, seconds and tokens are a run's unless named total; None: not known."""

    label: str
    candidate: Candidate
    trials: int
    planned: int
    done: int
    failed: int
    """Runs that ended in any other way than done: apart from wrong answers."""
    statuses: dict[str, int]
    scores: tuple[ScoreSummary, ...]
    """One a scorer, in the suite's order; the first is the score."""
    right: int | None
    """Trials with the full score, where the score is right or wrong; None elsewhere, and where nothing was judged."""
    cost: Estimate | None
    cost_total: float
    """USD of all runs, as far as it is known."""
    cost_unknown: int
    judging_usd: float
    time: Estimate | None
    seconds_p50: float | None
    seconds_p90: float | None
    input_tokens: int
    """In all runs."""
    output_tokens: int
    tokens_mean: float
    llm_calls_mean: float
    tool_calls_mean: float
    steps_mean: float
    pass_at: dict[int, float]
    """pass@k by k, over the cases with k repeats; empty for one repeat, or a score that is not right or wrong."""
    pass_hat: dict[int, float]
    """pass^k by k."""

    @property
    def score(self) -> ScoreSummary:
        """The first scorer's figures."""
        return self.scores[0]

    @property
    def failed_share(self) -> float:
        """Failed runs as a share of all."""
        return self.failed / self.trials if self.trials else 0.0


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of a bench. `candidates` are ranked, the best first."""

    bench_id: str
    suite: str
    planned: int
    trials: int
    repeats: int
    cases: int
    scorers: tuple[ScorerInfo, ...]
    candidates: tuple[CandidateSummary, ...]
    differences: tuple[Difference, ...]
    """Of the score, for each pair of candidates, the higher ranked first."""
    frontier: tuple[str, ...]
    """Labels of those that none is both cheaper and better than, the cheapest first."""

    def candidate(self, label: str) -> CandidateSummary:
        """The figures of one candidate. Raises UnknownNameError."""
        from callsheet.core.errors import unknown_name

        for found in self.candidates:
            if found.label == label:
                return found
        raise unknown_name("candidate", label, [c.label for c in self.candidates])


def summarise(result: BenchResult) -> Summary:
    """The figures of a bench, also of one that was stopped halfway: then of the trials that are finished."""
    info = result.info
    trials = {candidate: result.of(candidate) for candidate in dict.fromkeys(info.candidates)}
    planned = len(info.cases) * info.repeats
    ranked = sorted(
        (_candidate(c, found, info.scorers, planned, info.repeats) for c, found in trials.items()), key=_rank
    )
    score = score_of(info.scorers[0])
    pairs = [
        difference(trials[a.candidate], trials[b.candidate], score, (a.label, b.label))
        for a, b in combinations(ranked, 2)
    ]
    return Summary(
        bench_id=info.bench_id, suite=info.suite, planned=info.planned, trials=len(result.trials),
        repeats=info.repeats, cases=len(info.cases), scorers=info.scorers, candidates=tuple(ranked),
        differences=_adjusted(pairs), frontier=frontier(ranked),
    )  # fmt: skip


def frontier(candidates: Sequence[CandidateSummary]) -> tuple[str, ...]:
    """Those that no other beats in score and cost at once, the cheapest first; none without a known price."""
    points: list[tuple[float, float, str]] = []
    for c in candidates:
        if c.cost is not None and not c.cost_unknown and c.score.estimate is not None:
            up = 1 if c.score.better == "higher" else -1
            points.append((c.cost.mean, up * c.score.estimate.mean, c.label))
    kept = [
        p for p in points
        if not any(q[0] <= p[0] and q[1] >= p[1] and q[:2] != p[:2] for q in points)
    ]  # fmt: skip
    return tuple(label for _, _, label in sorted(kept))


def _candidate(
    candidate: Candidate, trials: Sequence[Trial], scorers: Sequence[ScorerInfo], planned: int, repeats: int
) -> CandidateSummary:
    done = [trial for trial in trials if trial.status == "done"]
    statuses: dict[str, int] = {}
    for trial in trials:
        statuses[trial.status] = statuses.get(trial.status, 0) + 1
    seconds = [value for trial in trials if (value := TIME.of(trial)) is not None]
    unknown = [trial for trial in trials if COST.of(trial) is None]
    known = [COST.of(trial) or 0.0 for trial in trials] + [trial.known_usd for trial in unknown]
    judged = _judged(trials, scorers[0])
    return CandidateSummary(
        label=candidate.label, candidate=candidate, trials=len(trials), planned=planned, done=len(done),
        failed=len(trials) - len(done), statuses=statuses,
        scores=tuple(_score(trials, scorer) for scorer in scorers),
        right=sum(right for _, right in judged.values()) if judged and any(n for n, _ in judged.values()) else None,
        cost=estimate(trials, COST), cost_total=math.fsum(known), cost_unknown=len(unknown),
        judging_usd=math.fsum(trial.judging_usd for trial in trials), time=estimate(trials, TIME),
        seconds_p50=statistics.quantile(seconds, 0.5), seconds_p90=statistics.quantile(seconds, 0.9),
        input_tokens=sum(trial.input_tokens for trial in trials),
        output_tokens=sum(trial.output_tokens for trial in trials),
        tokens_mean=_mean([trial.tokens for trial in trials]),
        llm_calls_mean=_mean([trial.llm_calls for trial in trials]),
        tool_calls_mean=_mean([trial.tool_calls for trial in trials]),
        steps_mean=_mean([trial.steps for trial in trials]),
        pass_at=_passes(judged, repeats, statistics.pass_at_k),
        pass_hat=_passes(judged, repeats, statistics.pass_hat_k),
    )  # fmt: skip


def _score(trials: Sequence[Trial], scorer: ScorerInfo) -> ScoreSummary:
    return ScoreSummary(
        name=scorer.name, unit=scorer.unit, better=scorer.better,
        estimate=estimate(trials, score_of(scorer)),
        answered=estimate(trials, score_of(scorer, failures=False)),
        errors=sum(trial.status == "done" and score_of(scorer).of(trial) is None for trial in trials),
    )  # fmt: skip


def _judged(trials: Sequence[Trial], scorer: ScorerInfo) -> dict[str, tuple[int, int]] | None:
    """How many trials of each case were judged, and how many of them are right; None where it is a matter of degree.

    Where the scorer itself failed, nobody knows whether the trial was right: it is no try.
    """
    measure = score_of(scorer)
    values = {
        case: [value for trial in repeats if (value := measure.of(trial)) is not None]
        for case, repeats in by_case(trials).items()
    }
    if (
        scorer.unit
        or scorer.better == "lower"
        or not {v for found in values.values() for v in found} <= {0.0, 1.0}
    ):
        return None
    return {case: (len(found), sum(value == 1.0 for value in found)) for case, found in values.items()}


def _passes(
    judged: dict[str, tuple[int, int]] | None, repeats: int, share: statistics.PassRate
) -> dict[int, float]:
    if judged is None or repeats < 2:
        return {}
    found: dict[int, float] = {}
    for k in range(1, repeats + 1):
        rates = [share(tries, right, k) for tries, right in judged.values() if tries >= k]
        if rates:
            found[k] = _mean(rates)
    return found


def _rank(c: CandidateSummary) -> tuple[bool, float, float, str]:
    """The better score first; of equals the cheaper."""
    score = c.score.estimate
    up = -1.0 if c.score.better == "higher" else 1.0
    cost = c.cost.mean if c.cost is not None and not c.cost_unknown else math.inf
    return (score is None, up * score.mean if score else 0.0, cost, c.label)


def _adjusted(pairs: list[Difference]) -> tuple[Difference, ...]:
    tested = [pair for pair in pairs if pair.p is not None]
    adjusted = iter(statistics.holm([pair.p for pair in tested if pair.p is not None]))
    return tuple(replace(pair, p_adjusted=next(adjusted)) if pair.p is not None else pair for pair in pairs)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
