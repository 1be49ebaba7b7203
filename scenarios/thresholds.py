"""`--fail-under`: what every candidate has to reach for a bench to pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from callsheet.core.errors import UsageError, unknown_name
from callsheet.scenarios.results import ScorerInfo
from callsheet.scenarios.summary import CandidateSummary, Summary

OWN_NAMES = ("score", "cost", "time", "failures")
"""What can be asked for besides a scorer's name: the first scorer's mean, USD a run, median seconds, failed share."""

_HINT = "Write --fail-under NAME=NUMBER,…; for example score=0.8,cost=0.05"


@dataclass(frozen=True, kw_only=True)
class FailUnder:
    """Thresholds by name, inclusive: what is better when higher is at least that, all else at most."""

    limits: tuple[tuple[str, float], ...] = ()

    @staticmethod
    def parse(text: str) -> FailUnder:
        """Read `score=0.8,cost=0.05`. Raises UsageError for what is no such list."""
        limits: dict[str, float] = {}
        for part in text.split(","):
            name, sign, number = (piece.strip() for piece in part.partition("="))
            try:
                value = float(number)
            except ValueError:
                value = math.nan
            if not name or not sign or not math.isfinite(value):
                raise UsageError(f"--fail-under: {part.strip()!r} is no NAME=NUMBER", hint=_HINT)
            if name == "failures" and not 0 <= value <= 1:
                raise UsageError(
                    f"--fail-under: failures={number} is no share of the runs",
                    hint="Write it between 0 and 1: failures=0.05 lets 5 of 100 runs fail.",
                )
            if name in limits:
                raise UsageError(f"--fail-under: {name} is given twice", hint=_HINT)
            limits[name] = value
        return FailUnder(limits=tuple(limits.items()))

    def check_names(self, scorers: Sequence[ScorerInfo] | Sequence[str]) -> None:
        """Refuse, before a bench is paid for, a name that it will not have, and a share that there cannot be.

        Of scorers given by name alone nothing but the name is known. Raises UnknownNameError, and UsageError.
        """
        known = {*OWN_NAMES, *(s if isinstance(s, str) else s.name for s in scorers)}
        infos = [scorer for scorer in scorers if isinstance(scorer, ScorerInfo)]
        shares = {scorer.name for scorer in infos if not scorer.unit}
        if infos and not infos[0].unit:
            shares.add("score")
        for name, limit in self.limits:
            if name not in known:
                raise unknown_name("figure to fail under", name, tuple(sorted(known)), hint=_HINT)
            if name in shares and not 0 <= limit <= 1:
                raise UsageError(
                    f"--fail-under: {name}={limit:g} is no share, which {name} is",
                    hint=f"Write it between 0 and 1: {name}={limit / 100:g} is {limit:g} %." if 1 < limit <= 100
                    else "Write it between 0 and 1.",
                )  # fmt: skip

    def check(self, summary: Summary) -> list[str]:
        """A sentence for each threshold that a candidate does not meet; empty if all are met.

        A figure that is not known, such as the cost of a model without a price, is not met. Raises
        UnknownNameError.
        """
        self.check_names(summary.scorers)
        return [
            f"{candidate.label}: {complaint}"
            for candidate in summary.candidates
            for name, limit in self.limits
            if (complaint := _complaint(candidate, name, limit))
        ]


def _complaint(candidate: CandidateSummary, name: str, limit: float) -> str:
    value, unit, higher = _figure(candidate, name)
    if value is None:
        if name == "cost" and candidate.cost_unknown:
            return f"cost is not known, since {candidate.cost_unknown} runs used a model without a price"
        return f"{name} has no value"
    missed = value < limit if higher else value > limit
    if not missed:
        return ""
    return f"{name} is {_shown(value, unit)}, {'under' if higher else 'over'} {_shown(limit, unit)}"


def _figure(candidate: CandidateSummary, name: str) -> tuple[float | None, str, bool]:
    """The figure, its unit, and whether more is better."""
    match name:
        case "cost":
            known = candidate.cost is not None and not candidate.cost_unknown
            return (candidate.cost_total / candidate.trials if known else None), "usd", False
        case "time":
            return candidate.seconds_p50, "s", False
        case "failures":
            return (candidate.failed_share if candidate.trials else None), "", False
    found = candidate.score if name == "score" else next(s for s in candidate.scores if s.name == name)
    return (found.estimate.mean if found.estimate else None), found.unit, found.better == "higher"


def _shown(value: float, unit: str) -> str:
    number = f"{value:.4g}"
    return f"{number} USD" if unit == "usd" else f"{number} {unit}" if unit else number
