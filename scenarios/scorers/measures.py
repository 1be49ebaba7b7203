"""`cost`, `time`, `steps` and `tokens`: what an attempt took. Less is better."""

from __future__ import annotations

from collections.abc import Callable

from callsheet.core.errors import RunError
from callsheet.scenarios.attempt import Attempt
from callsheet.scenarios.scorers.base import RunCrew, Score, Scorer, checked_name


class Measure(Scorer):
    """A number that the run has anyway, in a unit; judges nothing and needs nothing of a case."""

    better = "lower"

    def __init__(self, name: str, unit: str, read: Callable[[Attempt], float]) -> None:
        self.name, self.unit = checked_name(name), unit
        self._read = read

    async def score(self, attempt: Attempt, run: RunCrew) -> Score:
        """The measured value."""
        return Score(value=float(self._read(attempt)))


def cost(*, name: str = "cost") -> Measure:
    """USD of the run's model calls. Raises RunError at an attempt with a call of which no price is known."""
    return Measure(name, "usd", _cost_usd)


def time(*, name: str = "time") -> Measure:
    """Seconds of work, without the time for which the run waited for a person."""
    return Measure(name, "s", lambda attempt: attempt.elapsed_s)


def steps(*, name: str = "steps") -> Measure:
    """Recorded steps: model calls, tool calls, messages asked."""
    return Measure(name, "steps", lambda attempt: attempt.steps)


def tokens(*, name: str = "tokens") -> Measure:
    """Tokens in and out."""
    return Measure(name, "tokens", lambda attempt: attempt.usage.tokens)


def _cost_usd(attempt: Attempt) -> float:
    unpriced = attempt.usage.unpriced_calls
    if unpriced:
        raise RunError(
            f"the cost is not known: {unpriced} of its {attempt.usage.llm_calls} model calls have no price",
            run_id=attempt.run_id,
            hint="Give the model's price in the setting `models`: see docs/models.md.",
        )
    return attempt.usage.cost_usd
