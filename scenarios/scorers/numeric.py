"""`numeric`: the number that an answer gives."""

from __future__ import annotations

import bisect
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from callsheet.scenarios.scorers.answers import AnswerScorer, end_of
from callsheet.scenarios.scorers.base import Score, right, wrong

# Not a part of a word (H2O), nor of a longer number. A minus counts unless it stands between two things (10-8).
_NUMBER = re.compile(
    r"(?<!\w)(?<![0-9]\.)(?:(?<![\w)\]])[-−])?(?:[$€£¥]\s?)?"
    r"((?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)(e[+-]?[0-9]{1,3}(?![0-9]))?",
    re.IGNORECASE,
)
_MARKERS = re.compile(
    r"####|\\boxed\s*\{|^[ \t*_#>]{0,20}(?:the\s)?(?:final\s)?(?:answer|a)[ *_]{0,4}(?::|=|\bis\b)",
    re.IGNORECASE | re.MULTILINE,
)
# What stands before the result of a sum that is written out: "3 + 4 =".
_SUM = re.compile(r"[ \t\d.,+*/×·()$€£%−-]*=(?!=)")
_LATEX = ((r"{,}", ","), ("\\!", ""), (r"\$", "$"), (r"\,", ""), ("\u202f", ","), ("\u2009", ","))


class Numeric(AnswerScorer):
    """The answer gives the expected number; 18, 18.0, $18 and 18 % are the same, and so are 1,000 and 1000.

    Which number: the one after the last `####`, `\\boxed{` or line that begins with `A:`, `Answer:` or `The
    answer is`; without any, the last in the answer. `marker` names a text of your own in their place, without
    which an answer is wrong. Off by at most `tolerance` (in the number's unit), or by the share `relative` of the
    expected one, is right. Fractions (3/4) are two numbers.
    """

    use = "numeric"
    form = "a number"

    def __init__(
        self, *, tolerance: float = 0.0, relative: float = 0.0, marker: str = "", **where: str
    ) -> None:
        super().__init__(**where)
        for option, value in (("tolerance", tolerance), ("relative", relative)):
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not 0 <= value < float("inf")
            ):
                raise self.misuse(f"{option} is {value!r}", "It is a number, 0 or more.")
        if not isinstance(marker, str):
            raise self.misuse(f"marker is {marker!r}", "It is the text before the number.")
        self._tolerance, self._relative = Decimal(str(tolerance)), Decimal(str(relative))
        self._marker = re.compile(re.escape(marker), re.IGNORECASE) if marker else None

    def check_expected(self, expected: Any) -> None:
        """Takes a number, or a text that is one."""
        if self._wanted(expected) is None:
            raise self.misfit(expected)

    def judge(self, answer: Any, expected: Any) -> Score:
        """Right if the answer's number is near enough to the expected one."""
        wanted = self._wanted(expected)
        if wanted is None:
            raise self.misfit(expected)
        found = self._given(answer)
        if found is None:
            return wrong("no number found in the answer")
        if abs(found - wanted) <= max(self._tolerance, self._relative * abs(wanted)):
            return right()
        return wrong(f"{found:f}"[:100] + f" is not {wanted:f}"[:100])

    def _given(self, answer: Any) -> Decimal | None:
        if isinstance(answer, (int, float)) and not isinstance(answer, bool):
            return _exact(answer)
        text = end_of(answer)
        for written, meant in _LATEX:
            text = text.replace(written, meant)
        found = list(_NUMBER.finditer(text))
        starts = [match.start() for match in found]
        for mark in reversed(list((self._marker or _MARKERS).finditer(text))):
            first = bisect.bisect_left(starts, mark.end())
            if first < len(found):
                written_out = _SUM.match(text, mark.end())
                result = bisect.bisect_left(starts, written_out.end()) if written_out else first
                return _value(found[result if result < len(found) else first])
        return _value(found[-1]) if found and not self._marker else None

    def _wanted(self, expected: Any) -> Decimal | None:
        if isinstance(expected, str):
            found = _NUMBER.fullmatch(expected.strip().removesuffix("%").strip())
            return _value(found) if found else None
        if isinstance(expected, (int, float)) and not isinstance(expected, bool):
            return _exact(expected)
        return None


def _value(match: re.Match[str]) -> Decimal:
    number = Decimal(match.group(1).replace(",", "") + (match.group(2) or ""))
    return -number if match.group().lstrip()[0] in "-−" else number


def _exact(number: float) -> Decimal | None:
    """A number as it is meant: 0.1 + 0.2 is 0.3. None for infinities, which are no answer."""
    try:
        found = Decimal(number if isinstance(number, int) else format(number, ".15g"))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None
