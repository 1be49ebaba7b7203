"""What a scorer is: it looks at an attempt and says how good it is, or what it took."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from callsheet.core.errors import DefinitionError
from callsheet.scenarios.attempt import Attempt
from callsheet.scenarios.case import Case

if TYPE_CHECKING:
    from callsheet.crews import Crew
    from callsheet.crews.result import Result

RunCrew = Callable[["Crew", Any], Awaitable["Result"]]
"""Runs a crew of the scorer's own, such as a judge, where the bench runs; its cost is the bench's."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a scorer says of one attempt. `value` is in the scorer's unit; `explanation` is for people."""

    value: float
    explanation: str = ""


class Scorer(ABC):
    """Judges attempts. `name` is unique in its suite.

    With no `unit` the value is a share of 1, as right and wrong (1 and 0) are; a measure such as cost has one
    (`usd`, `s`). `better` says which way is up.
    """

    name: str
    unit: str = ""
    better: Literal["higher", "lower"] = "higher"

    def check(self, case: Case) -> None:
        """Called for each case of a suite when it is put together. Raises DefinitionError for what cannot be scored."""
        return

    @abstractmethod
    async def score(self, attempt: Attempt, run: RunCrew) -> Score:
        """Judge one attempt. What it raises is shown as the scorer's failure, never as a wrong answer."""


Judgement = bool | float | Score


class FunctionScorer(Scorer):
    """A Python function as a scorer: takes an Attempt; gives True or False, a number, or a Score."""

    def __init__(self, function: Callable[[Attempt], Any], name: str = "") -> None:
        found = name or getattr(function, "__name__", "")
        if not found or not found.isidentifier():
            raise DefinitionError(
                f"a scorer cannot be called {found!r}", hint='Give it a name: @scorer(name="…").'
            )
        self.name = found
        self._function = function

    async def score(self, attempt: Attempt, run: RunCrew) -> Score:
        """What the function says; awaited if it is `async def`."""
        judged = self._function(attempt)
        if inspect.isawaitable(judged):
            judged = await judged
        if isinstance(judged, Score):
            return judged
        if isinstance(judged, (bool, int, float)):
            return Score(value=float(judged))
        raise DefinitionError(
            f"the scorer {self.name!r} gave {judged!r}", hint="It gives True or False, a number, or a Score."
        )


def scorer(function: Any = None, *, name: str = "") -> Any:
    """`@scorer`: make a scorer of `def name(attempt) -> bool | float | Score` (or `async def`)."""
    if function is None:
        return lambda f: FunctionScorer(f, name)
    return FunctionScorer(function, name)
