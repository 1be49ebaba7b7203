"""`regex` with patterns that may take years: they are searched in a process of their own, and given up."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.core.errors import RunError
from callsheet.scenarios import Attempt, Case
from callsheet.scenarios.scorers import regex


async def judged(pattern: str, answer: str, **options: Any) -> float:
    scorer = regex.Regex(pattern=pattern, **options)
    return (await scorer.score(Attempt(case=Case(id="c", input="?"), output=answer), never)).value


async def never(crew: Any, given: Any) -> Any:
    raise AssertionError("no crew is run")


async def test_a_pattern_with_several_repeats_judges_as_ever() -> None:
    assert await judged(r"(\w+)\s+(\w+)", "two words") == 1
    assert await judged(r"(\w+)\s+(\w+)", "word") == 0
    assert await judged(r"(É+)\s*(\w+)", "é 'x' \u2028 \ud83d", ignore_case=True) == 0
    assert await judged(r"A+\nB+", "a\nb", ignore_case=True, whole=True) == 1


async def test_a_long_answer_is_searched_from_its_beginning() -> None:
    assert await judged("sorry", "sorry" + "." * 100_000) == 1
    assert await judged("sorry", "sorry" + "." * 100_000, absent=True) == 0
    assert await judged("sorry", "sorry" + "." * 100_000, whole=True) == 0


async def test_an_answer_on_which_a_pattern_explodes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regex, "_TIME_LIMIT_S", 0.5)
    with pytest.raises(RunError, match=r"took more than 0\.5 s") as caught:
        await judged(r"(a+)+$", "a" * 5000 + "b")
    assert "repeat within a repeat" in caught.value.hint
