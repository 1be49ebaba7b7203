"""`normalised` and `f1`: answers in a few words, compared as SQuAD and HotpotQA compare them.

Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (EMNLP 2016), §6.1, and the
evaluation scripts published with it (v1.1, v2.0); Yang et al., "HotpotQA" (EMNLP 2018), hotpot_evaluate_v1.py.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Any

from callsheet.scenarios.scorers.answers import AnswerScorer, text_of, texts_in
from callsheet.scenarios.scorers.base import Score, right, wrong
from callsheet.scenarios.scorers.exact import brief

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CLOSED = ("yes", "no", "noanswer")
"""Answers that are no phrase: HotpotQA gives them no part of a score."""


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, without a, an and the, with single blanks; in SQuAD's order."""
    bare = text.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def token_f1(answer: str, expected: str) -> float:
    """The harmonic mean of precision and recall of the normalised texts' tokens, counted with repeats; 0 to 1.

    Where one has no tokens it is 1 if neither has, else 0, as in SQuAD 2.0.
    """
    given, wanted = normalise_answer(answer).split(), normalise_answer(expected).split()
    if not given or not wanted:
        return float(given == wanted)
    shared = sum((Counter(given) & Counter(wanted)).values())
    # 2pr / (p + r) with p = shared / given and r = shared / wanted.
    return 2 * shared / (len(given) + len(wanted))


class Normalised(AnswerScorer):
    """SQuAD's exact match: the normalised answer equals the expected one, or one of its aliases."""

    use = "normalised"
    form = "a text, a list of texts, or {answer: …, aliases: […]}"

    def check_expected(self, expected: Any) -> None:
        """Takes texts."""
        texts_in(expected, self.misfit)

    def judge(self, answer: Any, expected: Any) -> Score:
        """Right if it is one of them."""
        given = normalise_answer(text_of(answer))
        wanted = {normalise_answer(text) for text in texts_in(expected, self.misfit)}
        if given in wanted:
            return right()
        return wrong(f"{brief(given)} is not {' or '.join(repr(text) for text in sorted(wanted))}")


class F1(AnswerScorer):
    """SQuAD's token F1 against the expected answer; the best over its aliases.

    With `hotpot`, a yes, no or noanswer on either side scores only where both normalise to the same.
    """

    use = "f1"
    form = Normalised.form

    def __init__(self, *, hotpot: bool = False, **where: str) -> None:
        super().__init__(**where)
        self._hotpot = hotpot

    def check_expected(self, expected: Any) -> None:
        """Takes texts."""
        texts_in(expected, self.misfit)

    def judge(self, answer: Any, expected: Any) -> Score:
        """The best F1."""
        given = text_of(answer)
        found = [(self._one(given, text), text) for text in texts_in(expected, self.misfit)]
        best, nearest = max(found, key=lambda entry: entry[0])
        return Score(value=best, explanation="" if best == 1 else f"against {nearest!r}")

    def _one(self, given: str, wanted: str) -> float:
        if self._hotpot:
            one, other = normalise_answer(given), normalise_answer(wanted)
            if one != other and (one in _CLOSED or other in _CLOSED):
                return 0.0
        return token_f1(given, wanted)
