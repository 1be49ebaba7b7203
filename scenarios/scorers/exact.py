"""`exact`: the answer is what is expected, as text or as data."""

from __future__ import annotations

from typing import Any

from callsheet.scenarios.scorers.answers import MISSING, AnswerScorer, text_of
from callsheet.scenarios.scorers.base import Score, right, wrong
from callsheet.scenarios.scorers.reading import json_in


class Exact(AnswerScorer):
    """The answer equals what is expected: a text, or any JSON value.

    Texts are compared without the blanks around them (`strip`) and with their case (`case`). Where data is
    expected, an answer in text is read as JSON; 18 and 18.0 are equal, 1 and true are not.
    """

    use = "exact"
    form = "a text or any JSON value"

    def __init__(self, *, strip: bool = True, case: bool = True, **where: str) -> None:
        super().__init__(**where)
        self._strip, self._case = strip, case

    def judge(self, answer: Any, expected: Any) -> Score:
        """Right if they are equal."""
        if isinstance(expected, str):
            answer = text_of(answer)
        elif isinstance(answer, str):
            read = json_in(answer)
            answer = answer if read is MISSING else read
        if self._same(answer, expected):
            return right()
        return wrong(f"{brief(answer)} is not {brief(expected)}")

    def _same(self, one: Any, other: Any) -> bool:
        return same_data(one, other, self._plain)

    def _plain(self, text: str) -> str:
        if self._strip:
            text = text.strip()
        return text if self._case else text.casefold()


def same_data(one: Any, other: Any, plain: Any = str) -> bool:
    """Whether two JSON values are equal, texts as `plain` makes them; numbers by value, never equal to true."""
    if isinstance(one, str) and isinstance(other, str):
        return bool(plain(one) == plain(other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_data(one[k], other[k], plain) for k in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(same_data(a, b, plain) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def brief(value: Any) -> str:
    """A value as an explanation shows it."""
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}…"
