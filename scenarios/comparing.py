"""A bench beside an earlier one: what became better or worse, how sure that is, and which cases changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from callsheet.core.errors import UsageError
from callsheet.scenarios.measures import COST, TIME, Difference, case_means, difference, score_of
from callsheet.scenarios.results import BenchResult, Candidate, ScorerInfo, Trial, by_case
from callsheet.scenarios.thresholds import FailUnder

__all__ = ["ChangedCase", "Compared", "Comparison", "FailUnder", "compare"]


@dataclass(frozen=True, kw_only=True)
class ChangedCase:
    """A case that came out otherwise: `before` and `after` say how (`right`, `wrong`, `failed`, or the score)."""

    case: str
    before: str
    after: str
    improved: bool

    @property
    def change(self) -> str:
        """Such as `right → wrong`."""
        return f"{self.before} → {self.after}"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One candidate now (`label`) and then (`baseline`): every scorer's difference, cost and time; changed cases."""

    label: str
    baseline: str
    differences: tuple[Difference, ...]
    """The score's first, then the other scorers', `cost` and `time`; each is now minus then."""
    changed: tuple[ChangedCase, ...]
    """Those that became worse first."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A bench beside its baseline, over the cases that both have."""

    suite: str
    baseline_id: str
    cases: int
    notes: tuple[str, ...]
    """What a reader has to know: cases or scorers that only one of them has, candidates without a match."""
    candidates: tuple[Compared, ...]


def compare(result: BenchResult, baseline: BenchResult) -> Comparison:
    """Compare a bench with an earlier one of the same suite, or of one that shares cases with it.

    Candidates are matched by label, or if each bench has one only, these two. Raises UsageError where there is no
    case, no scorer or no candidate to compare.
    """
    notes: list[str] = []
    cases = _shared_cases(result, baseline, notes)
    scorers = _shared_scorers(result, baseline, notes)
    compared = []
    for now, then in _matched(result, baseline, notes):
        a = [trial for trial in result.of(now) if trial.case in cases]
        b = [trial for trial in baseline.of(then) if trial.case in cases]
        measures = [*(score_of(scorer) for scorer in scorers), COST, TIME]
        compared.append(
            Compared(
                label=now.label, baseline=then.label,
                differences=tuple(
                    difference(a, b, measure, (now.label, f"{then.label} (baseline)")) for measure in measures
                ),
                changed=_changed(a, b, scorers[0]),
            )
        )  # fmt: skip
    return Comparison(
        suite=result.info.suite, baseline_id=baseline.info.bench_id,
        cases=len(cases), notes=tuple(notes), candidates=tuple(compared),
    )  # fmt: skip


def _shared_cases(result: BenchResult, baseline: BenchResult, notes: list[str]) -> set[str]:
    mine, theirs = set(result.info.cases), set(baseline.info.cases)
    if result.info.digest == baseline.info.digest:
        return mine & theirs
    both = mine & theirs
    edited = {case for case in both if _differs(result.inputs.get(case), baseline.inputs.get(case))}
    shared = both - edited
    if not shared:
        raise UsageError(
            f"no case of {result.info.suite!r} is also in the baseline, a bench of {baseline.info.suite!r}",
            hint="Compare with a bench of the same suite, or bench this one first and keep its JSON.",
        )
    parts = [f"{len(shared)} cases are the same in both and are compared"]
    for count, what in (
        (len(mine - theirs), "only in this bench"),
        (len(theirs - mine), "only in the baseline"),
        (len(edited), "edited since"),
    ):
        if count:
            parts.append(f"{count} {what}")
    notes.append(f"The suite is not the baseline's: {', '.join(parts)}.")
    return shared


def _differs(one: Any, other: Any) -> bool:
    return one is not None and other is not None and bool(one != other)


def _shared_scorers(result: BenchResult, baseline: BenchResult, notes: list[str]) -> tuple[ScorerInfo, ...]:
    theirs = {scorer.name: scorer for scorer in baseline.info.scorers}
    shared = tuple(scorer for scorer in result.info.scorers if theirs.get(scorer.name) == scorer)
    if not shared:
        raise UsageError(
            "this bench and the baseline have no scorer in common",
            hint=f"Here: {_names(result.info.scorers)}; there: {_names(baseline.info.scorers)}.",
        )
    left = [scorer.name for scorer in result.info.scorers if scorer not in shared]
    if left:
        notes.append(f"Not scored alike in the baseline: {', '.join(left)}.")
    return shared


def _names(scorers: Sequence[ScorerInfo]) -> str:
    return ", ".join(scorer.name for scorer in scorers)


def _matched(
    result: BenchResult, baseline: BenchResult, notes: list[str]
) -> list[tuple[Candidate, Candidate]]:
    mine, theirs = result.info.candidates, baseline.info.candidates
    if len(mine) == len(theirs) == 1:
        if mine[0] != theirs[0]:
            notes.append(f"{mine[0].label} is compared with {theirs[0].label}.")
        return [(mine[0], theirs[0])]
    pairs = [(candidate, candidate) for candidate in mine if candidate in theirs]
    if not pairs:
        raise UsageError(
            "no candidate of this bench is in the baseline",
            hint=f"Here: {'; '.join(c.label for c in mine)}. There: {'; '.join(c.label for c in theirs)}.",
        )
    alone = [candidate.label for candidate in mine if candidate not in theirs]
    if alone:
        notes.append(f"Not in the baseline: {'; '.join(alone)}.")
    return pairs


def _changed(now: Sequence[Trial], then: Sequence[Trial], scorer: ScorerInfo) -> tuple[ChangedCase, ...]:
    measure = score_of(scorer)
    mine, theirs = by_case(now), by_case(then)
    a, b = case_means(now, measure), case_means(then, measure)
    up = 1 if scorer.better == "higher" else -1
    found: list[tuple[float, ChangedCase]] = []
    for case, trials in mine.items():
        if case not in theirs:
            continue
        before, after = _state(theirs[case], b.get(case), scorer), _state(trials, a.get(case), scorer)
        if before != after:
            gain = up * (a.get(case, 0.0) - b.get(case, 0.0))
            if not gain:
                gain = 1e-9 if before == "failed" else -1e-9
            found.append((gain, ChangedCase(case=case, before=before, after=after, improved=gain > 0)))
    return tuple(changed for _, changed in sorted(found, key=lambda pair: pair[0]))


def _state(trials: Sequence[Trial], score: float | None, scorer: ScorerInfo) -> str:
    """How a case came out: `failed` if each of its runs did, `right`, `wrong`, or the score."""
    if all(trial.status != "done" for trial in trials):
        return "failed"
    if score is None:
        return "not scored"
    if scorer.unit == "" and scorer.better == "higher" and score in (0.0, 1.0):
        return "right" if score else "wrong"
    return f"{score:.3g}"
