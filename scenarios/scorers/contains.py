"""`contains`: the answer has certain words in it."""

from __future__ import annotations

import re
from typing import Any, Literal

from callsheet.scenarios.scorers.answers import AnswerScorer, text_of, texts_in
from callsheet.scenarios.scorers.base import Score, right, wrong


class Contains(AnswerScorer):
    """The answer contains what is expected: a text, or a list of which it must have `all` or `any`.

    Blanks count as one, and upper and lower case as the same unless `case` is set; `words` finds whole words only.
    """

    use = "contains"
    form = "a text, or a list of texts"

    def __init__(
        self, *, mode: Literal["all", "any"] = "all", case: bool = False, words: bool = False, **where: str
    ) -> None:
        super().__init__(**where)
        if mode not in ("all", "any"):
            raise self.misuse(f"mode is {mode!r}", "It is all or any.")
        self._mode, self._case, self._words = mode, case, words

    def check_expected(self, expected: Any) -> None:
        """Takes texts that are not blank."""
        if not all(text.strip() for text in texts_in(expected, self.misfit)):
            raise self.misfit(expected)

    def judge(self, answer: Any, expected: Any) -> Score:
        """Right if all of the texts, or one of them, stand in the answer."""
        text = self._plain(text_of(answer))
        wanted = texts_in(expected, self.misfit)
        absent = [item for item in wanted if not self._in(self._plain(item), text)]
        if not absent or (self._mode == "any" and len(absent) < len(wanted)):
            return right()
        return wrong(f"not in the answer: {', '.join(repr(item) for item in absent)}")

    def _plain(self, text: str) -> str:
        text = " ".join(text.split())
        return text if self._case else text.casefold()

    def _in(self, wanted: str, text: str) -> bool:
        if not self._words:
            return wanted in text
        return re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", text) is not None
