"""Scorers that compare the crew's answer with what a case expects: where both are found, and what is no answer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from callsheet.core.canonical import to_json
from callsheet.core.errors import DefinitionError
from callsheet.scenarios.attempt import Attempt
from callsheet.scenarios.case import Case
from callsheet.scenarios.scorers.base import RunCrew, Score, Scorer, checked_name, checked_score, wrong

MISSING: Any = object()
"""What `found_at` gives where there is nothing."""

LONGEST_TEXT = 100_000
"""Characters of an answer in which something is looked for, from its end: that is where answers conclude."""


class AnswerScorer(Scorer):
    """A scorer of the answer alone. Subclasses say what fits (`check_expected`) and what is right (`judge`).

    `answer_from` is where in an answer that is data the judged part stands, as `verdict.label` or `items.0`;
    without it the whole answer is judged. `expected_from` is where in the case the right one stands:
    `expected.label`, `metadata.label`; without it, `expected`.
    """

    use: str
    """The name in suites, and the scorer's own unless it is given one."""
    takes_none: bool = False
    """Whether a case may expect nothing, because the scorer's options say what is right."""
    form: str = "a text"
    """What an expected answer looks like, for hints."""

    def __init__(self, *, name: str = "", answer_from: str = "", expected_from: str = "") -> None:
        self.name = checked_name(name or self.use)
        for option, value in (("answer_from", answer_from), ("expected_from", expected_from)):
            if not isinstance(value, str):
                raise self.misuse(f"{option} is {value!r}", 'It is a path of keys, as "answer.label".')
        if expected_from and expected_from.partition(".")[0] not in ("expected", "metadata", "input"):
            raise self.misuse(
                f"expected_from is {expected_from!r}",
                'It begins with expected, metadata or input: "metadata.x".',
            )
        self._answer_from, self._expected_from = answer_from, expected_from

    def misuse(self, what: str, hint: str) -> DefinitionError:
        """The error for an option or a case that cannot work."""
        return DefinitionError(f"the scorer {self.name!r}: {what}", hint=hint)

    def expected_of(self, case: Case) -> Any:
        """What the case expects of this scorer's answer; None where it says nothing."""
        if not self._expected_from:
            return case.expected
        where, _, path = self._expected_from.partition(".")
        found = found_at(getattr(case, where), path)
        return None if found is MISSING else found

    def check(self, case: Case) -> None:
        """Raises DefinitionError for a case that does not say, in this scorer's form, what is right."""
        expected = self.expected_of(case)
        if expected is None and not self.takes_none:
            where = self._expected_from or "expected"
            raise self.misuse(f"the case has no {where}", f"Say there what is right: {self.form}.")
        self.check_expected(expected)

    def check_expected(self, expected: Any) -> None:
        """Raises DefinitionError for an expected answer that this scorer cannot compare with."""
        return

    def misfit(self, expected: Any) -> DefinitionError:
        """The error for an expected answer of another form."""
        return self.misuse(f"it expects {_shown(expected)}", f"It compares with {self.form}.")

    async def score(self, attempt: Attempt, run: RunCrew) -> Score:
        """Compare the answer with what the case expects; an answer without the judged part is wrong."""
        answer = found_at(attempt.output, self._answer_from)
        if answer is MISSING:
            return wrong(f"the answer has no {self._answer_from}")
        return checked_score(self, await self.judged(answer, self.expected_of(attempt.case)))

    async def judged(self, answer: Any, expected: Any) -> Score:
        """As `judge`; for scorers that have to wait."""
        return self.judge(answer, expected)

    @abstractmethod
    def judge(self, answer: Any, expected: Any) -> Score:
        """Compare an answer with what `check_expected` let pass."""


def found_at(data: Any, path: str) -> Any:
    """What stands in data at a path of keys and indexes joined by dots; MISSING if nothing does."""
    for key in path.split(".") if path else ():
        if isinstance(data, Mapping) and key in data:
            data = data[key]
        elif isinstance(data, list) and key.isdecimal() and int(key) < len(data):
            data = data[int(key)]
        else:
            return MISSING
    return data


def text_of(answer: Any) -> str:
    """An answer as text, data as JSON."""
    return answer if isinstance(answer, str) else to_json(answer)


def end_of(answer: Any) -> str:
    """An answer as text; of a very long one its end."""
    return text_of(answer)[-LONGEST_TEXT:]


def texts_in(expected: Any, wrong_form: Callable[[Any], DefinitionError]) -> tuple[str, ...]:
    """The texts of which one is as right as another: a text or number, a list of them, or `{answer, aliases}`."""
    if isinstance(expected, Mapping) and "answer" in expected and set(expected) <= {"answer", "aliases"}:
        aliases = expected.get("aliases") or []
        if not isinstance(aliases, list):
            raise wrong_form(expected)
        expected = [expected["answer"], *aliases]
    if isinstance(expected, str) or not isinstance(expected, Sequence):
        expected = [expected]
    if not expected or any(
        isinstance(item, bool) or not isinstance(item, (str, int, float)) for item in expected
    ):
        raise wrong_form(expected)
    return tuple(item if isinstance(item, str) else to_json(item) for item in expected)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 120 else f"{shown[:120]}…"
