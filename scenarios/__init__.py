"""Scenarios: suites of cases, scorers that judge answers, benches that compare crews, and their reports."""

from callsheet.scenarios.attempt import Attempt, Call
from callsheet.scenarios.case import Case
from callsheet.scenarios.scorers import Score, Scorer, scorer
from callsheet.scenarios.suite import Suite

__all__ = ["Attempt", "Call", "Case", "Score", "Scorer", "Suite", "scorer"]
