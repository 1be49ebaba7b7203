"""Scorers that judge answers given in a line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from callsheet.core.limits import RunUsage
from callsheet.scenarios import Attempt, Call, Case, Score
from callsheet.scenarios.scorers import make_scorer


async def never_run(crew: Any, given: Any) -> Any:
    raise AssertionError("this scorer runs no crew")


class Judged:
    """Scores answers: `judged("numeric", "It is 18.", 18, tolerance=1).value`."""

    def __call__(self, use: str, output: Any, expected: Any = None, **options: Any) -> Score:
        metadata = options.pop("metadata", {})
        calls = options.pop("calls", ())
        scorer = make_scorer({"use": use, **options})
        case = Case(id="c1", input="?", expected=expected, metadata=metadata)
        scorer.check(case)
        attempt = Attempt(case=case, output=output, calls=tuple(Call(name=n, arguments=a) for n, a in calls))
        return asyncio.run(scorer.score(attempt, never_run))

    def right(self, *given: Any, **options: Any) -> bool:
        """Whether the score is 1; fails for one that is neither 1 nor 0."""
        value = self(*given, **options).value
        assert value in (0.0, 1.0)
        return value == 1.0


@pytest.fixture
def judged() -> Judged:
    return Judged()


def attempt_of(output: Any, **more: Any) -> Attempt:
    """An attempt at a case that expects nothing."""
    return Attempt(case=Case(id="c1", input="?"), output=output, usage=more.pop("usage", RunUsage()), **more)
