"""`regex` and `json_schema` where an answer may take years: judged in a process of their own, and given up."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.core.errors import RunError
from callsheet.scenarios import Attempt, Case
from callsheet.scenarios.scorers import make_scorer, own_process


async def judged(pattern: str, answer: str, **options: Any) -> float:
    return await score("regex", answer, pattern=pattern, **options)


async def score(use: str, answer: Any, **options: Any) -> float:
    scorer = make_scorer({"use": use, **options})
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


@pytest.mark.parametrize(
    ("pattern", "answer"), [(r"(a+)+$", "a" * 5000 + "b"), (r"(a|a)+$", "a" * 5000 + "b")]
)
async def test_an_answer_on_which_a_pattern_explodes_is_given_up(
    pattern: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_process, "TIME_LIMIT_S", 0.5)
    with pytest.raises(RunError, match=r"took more than 0\.5 s") as caught:
        await judged(pattern, answer)
    assert "repeat within a repeat" in caught.value.hint


async def test_a_schema_with_such_a_pattern_judges_as_ever() -> None:
    schema = {"type": "object", "patternProperties": {"^(a+)+$": {"type": "integer"}}}
    assert await score("json_schema", {"aaa": 1}, schema=schema) == 1
    assert await score("json_schema", '{"aaa": "x"}', schema=schema) == 0
    assert await score("json_schema", "no JSON", schema=schema) == 0


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"pattern": "^(a+)+$"}, ["a" * 5000 + "b"]),
        ({"uniqueItems": True}, [[{"n": i} for i in range(20_000)]]),
    ],
)
async def test_an_answer_that_keeps_a_schemas_validator_busy_is_given_up(
    schema: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_process, "TIME_LIMIT_S", 1.0)
    with pytest.raises(RunError, match="took more than 1 s"):
        await score("json_schema", answer, schema={"type": "array", "items": schema})
