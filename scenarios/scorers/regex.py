"""`regex`: the answer matches a regular expression."""

from __future__ import annotations

import re
from typing import Any

from callsheet.core.errors import RunError
from callsheet.scenarios.scorers.answers import AnswerScorer, text_of
from callsheet.scenarios.scorers.base import Score, right, wrong
from callsheet.scenarios.scorers.own_process import SAFE_LENGTH, in_own_process

_SEARCH = """
import json, re, sys
pattern, flags, whole, text = json.load(sys.stdin)
compiled = re.compile(pattern, flags)
json.dump((compiled.fullmatch if whole else compiled.search)(text) is not None, sys.stdout)
"""


class Regex(AnswerScorer):
    """The answer matches `pattern` somewhere, or as a `whole`; without a pattern, the one that the case expects.

    `ignore_case`, `multiline` (^ and $ at each line) and `dotall` (. is also a line's end) are Python's flags;
    `absent` turns it round: what matches is wrong. Answers are strangers' text, and some patterns take years for
    some texts: one with several open repeats, and any on a text above 20,000 characters, is searched in a process
    of its own, which is ended after 5 s (then a RunError).
    """

    use = "regex"
    form = "a regular expression"

    def __init__(
        self,
        *,
        pattern: str = "",
        whole: bool = False,
        absent: bool = False,
        ignore_case: bool = False,
        multiline: bool = False,
        dotall: bool = False,
        **where: str,
    ) -> None:
        super().__init__(**where)
        self._flags = (
            (re.IGNORECASE if ignore_case else re.NOFLAG)
            | (re.MULTILINE if multiline else re.NOFLAG)
            | (re.DOTALL if dotall else re.NOFLAG)
        )
        self._whole, self._absent = whole, absent
        self._pattern = pattern
        self.takes_none = bool(pattern)
        if pattern:
            self._compiled(pattern)

    def check_expected(self, expected: Any) -> None:
        """Takes a regular expression, unless the scorer has its own."""
        if not self._pattern:
            self._compiled(expected)

    async def judged(self, answer: Any, expected: Any) -> Score:
        """Right if it matches, or does not where it must not. Raises RunError if that takes too long."""
        pattern = self._compiled(self._pattern or expected)
        text = text_of(answer)
        if len(text) <= SAFE_LENGTH and not may_explode(pattern.pattern):
            return self.judge(answer, expected)
        given = [pattern.pattern, int(pattern.flags), self._whole, text]
        try:
            found = await in_own_process(["-S", "-c", _SEARCH], given)
        except TimeoutError as error:
            raise RunError(
                f"the scorer {self.name!r}: {pattern.pattern!r} on an answer: {error}",
                hint="Write it without a repeat within a repeat, such as (a+)+, or two that match the same.",
            ) from error
        return self._verdict(found, pattern.pattern)

    def judge(self, answer: Any, expected: Any) -> Score:
        """As `judged`, in this process."""
        pattern = self._compiled(self._pattern or expected)
        text = text_of(answer)
        found = pattern.fullmatch(text) if self._whole else pattern.search(text)
        return self._verdict(found is not None, pattern.pattern)

    def _verdict(self, found: bool, pattern: str) -> Score:
        if found is not self._absent:
            return right()
        return wrong(f"matches {pattern!r}" if found else f"does not match {pattern!r}")

    def _compiled(self, pattern: Any) -> re.Pattern[str]:
        if not isinstance(pattern, str) or not pattern:
            raise self.misfit(pattern)
        try:
            return re.compile(pattern, self._flags)
        except (re.error, RecursionError, OverflowError) as error:
            raise self.misuse(
                f"{pattern!r} is no regular expression: {error}", "Mend the pattern."
            ) from error


def may_explode(pattern: str) -> bool:
    """Whether a pattern has several repeats, or a repeated group, and so might take exponential or cubic time."""
    bare = re.sub(r"\\.", "x", pattern, flags=re.DOTALL)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "x", bare)
    # A `?` doubles the ways to match too, but it takes many of them; `(a|a)+` alone takes years.
    repeats = re.findall(r"[*+]|\{\d*,?\d*\}", bare)
    return len(repeats) > 1 or re.search(r"\)(?:[*+]|\{)", bare) is not None or bare.count("?") > _FEW


_FEW = 10
"""Of parts that may be left out, no more than these: each doubles the time at worst."""
