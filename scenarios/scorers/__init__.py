"""Scorers: functions of an attempt that say how good it is, or what it took."""

from callsheet.scenarios.scorers.base import FunctionScorer, RunCrew, Score, Scorer, scorer
from callsheet.scenarios.scorers.registry import make_scorer

__all__ = ["FunctionScorer", "RunCrew", "Score", "Scorer", "make_scorer", "scorer"]
