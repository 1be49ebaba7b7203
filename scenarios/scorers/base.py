"""What a scorer is: it looks at an attempt and says how good it is, or what it took."""

from __future__ import annotations

import inspect
import math
import numbers
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from callsheet.core.errors import CallsheetError, DefinitionError
from callsheet.scenarios.attempt import Attempt
from callsheet.scenarios.case import Case

if TYPE_CHECKING:
    from callsheet.crews import Crew
    from callsheet.crews.result import Result

RunCrew = Callable[["Crew", Any], Awaitable["Result"]]
"""Runs a crew of the scorer's own, such as a judge, where the bench runs; its cost is the bench's."""

Better = Literal["higher", "lower"]
"""Which way is up."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,47}")


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a scorer says of one attempt. `value` is in the scorer's unit; `explanation` is for people."""

    value: float
    explanation: str = ""


def right(explanation: str = "") -> Score:
    """The score of a right answer."""
    return Score(value=1.0, explanation=explanation)


def wrong(explanation: str) -> Score:
    """The score of a wrong answer, and why it is one."""
    return Score(value=0.0, explanation=explanation)


class Scorer(ABC):
    """Judges attempts. `name` is unique in its suite.

    With no `unit` the value is a share of 1, as right and wrong (1 and 0) are; a measure such as cost has one
    (`usd`, `s`). `better` says which way is up.
    """

    name: str
    unit: str = ""
    better: Better = "higher"

    def check(self, case: Case) -> None:
        """Called for each case of a suite when it is put together. Raises DefinitionError for what cannot be scored."""
        return

    @abstractmethod
    async def score(self, attempt: Attempt, run: RunCrew) -> Score:
        """Judge one attempt. What it raises is shown as the scorer's failure, never as a wrong answer."""


def checked_name(name: Any) -> str:
    """The name, if reports and `--fail-under` can use it. Raises DefinitionError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"a scorer cannot be called {name!r}",
            hint='Use a letter, then letters, digits, _ or - (at most 48): name="…".',
        )
    return name


def checked_score(scorer: Scorer, score: Score) -> Score:
    """The score, if its value is a number that the scorer can give. Raises DefinitionError.

    Without a unit that is a share, 0 to 1; with one, any finite number.
    """
    if not math.isfinite(score.value):
        raise DefinitionError(
            f"the scorer {scorer.name!r} gave {score.value}", hint="A score is a finite number."
        )
    if not scorer.unit and not 0 <= score.value <= 1:
        raise DefinitionError(
            f"the scorer {scorer.name!r} gave {score.value:g}, and a score without a unit is a share, 0 to 1",
            hint='Divide by the most there is, or give it a unit: @scorer(unit="points").',
        )
    return score


class FunctionScorer(Scorer):
    """A Python function as a scorer: takes an Attempt; gives True or False, a number, or a Score.

    A plain function runs in the bench's event loop, so what waits or computes for long is better an `async def`.
    What it raises, and values that are no score, end up as DefinitionErrors that name scorer and case.
    """

    def __init__(
        self, function: Callable[[Attempt], Any], name: str = "", unit: str = "", better: Better = "higher"
    ) -> None:
        if not callable(function):
            raise DefinitionError(f"{function!r} is no function", hint="Put @scorer above a function.")
        found = name or getattr(function, "__name__", "")
        if found == "<lambda>":
            raise DefinitionError("a scorer made of a lambda has no name", hint='scorer(…, name="…").')
        self.name = checked_name(found)
        if better not in ("higher", "lower"):
            raise DefinitionError(
                f"the scorer {found!r}: better is {better!r}", hint="It is 'higher' or 'lower'."
            )
        self.unit, self.better = unit, better
        self._function = function
        try:
            inspect.signature(function).bind(None)
        except TypeError:
            raise DefinitionError(
                f"the scorer {found!r} must take one argument", hint=f"def {found}(attempt): …"
            ) from None
        except ValueError:  # written in C, without a signature
            return

    async def score(self, attempt: Attempt, run: RunCrew) -> Score:
        """What the function says; awaited if it is `async def`. Raises DefinitionError for what is no score."""
        try:
            judged = self._function(attempt)
            if inspect.isawaitable(judged):
                judged = await judged
        except CallsheetError:
            raise
        except Exception as error:
            raise DefinitionError(
                f"the scorer {self.name!r} failed at case {attempt.case.id!r}: {type(error).__name__}: {error}",
                hint="An answer that it cannot read is a wrong one: let it give False.",
            ) from error
        return checked_score(self, self._as_score(judged))

    def _as_score(self, judged: Any) -> Score:
        found = judged.value if isinstance(judged, Score) else judged
        if not isinstance(found, numbers.Real) and hasattr(found, "item") and getattr(found, "ndim", 1) == 0:
            found = found.item()  # numpy's own True and False
        if not isinstance(found, numbers.Real):
            raise DefinitionError(
                f"the scorer {self.name!r} gave {judged!r}",
                hint="It gives True or False, a number, or a Score.",
            )
        explanation = judged.explanation if isinstance(judged, Score) else ""
        return Score(value=float(found), explanation=explanation)


def scorer(function: Any = None, *, name: str = "", unit: str = "", better: Better = "higher") -> Any:
    """`@scorer`: make a scorer of `def name(attempt) -> bool | float | Score` (or `async def`).

    With a `unit` it is a measure, of any finite value; `better="lower"` where less is better.
    """
    if function is None:
        return lambda f: FunctionScorer(f, name, unit, better)
    return FunctionScorer(function, name, unit, better)
