"""`regex`: patterns that are searched in this process; those with several open repeats are in tests/loopback."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.core.errors import DefinitionError
from callsheet.scenarios import Case
from callsheet.scenarios.scorers import make_scorer
from callsheet.scenarios.scorers.regex import may_explode


@pytest.mark.parametrize(
    ("answer", "options", "right"),
    [
        ("order 17 is out", {"pattern": r"order \d+"}, True),
        ("order x", {"pattern": r"order \d+"}, False),
        ("ORDER 17", {"pattern": "order", "ignore_case": True}, True),
        ("order 17", {"pattern": r"order", "whole": True}, False),
        ("order 17", {"pattern": r"order \d\d", "whole": True}, True),
        ("a\nb", {"pattern": "^b$"}, False),
        ("a\nb", {"pattern": "^b$", "multiline": True}, True),
        ("a\nb", {"pattern": "a.b", "dotall": True}, True),
        ("I am sorry", {"pattern": "sorry", "absent": True}, False),
        ("Here it is", {"pattern": "sorry", "absent": True}, True),
        ({"n": 17}, {"pattern": '"n":17'}, True),
    ],
)
def test_answers_match_or_not(judged: Any, answer: Any, options: Any, right: bool) -> None:
    assert judged.right("regex", answer, **options) is right


def test_the_pattern_may_be_the_cases_own(judged: Any) -> None:
    assert judged.right("regex", "order 17", r"\d{2}")
    assert judged("regex", "order", r"\d{2}").explanation == r"does not match '\\d{2}'"


@pytest.mark.parametrize(
    ("pattern", "risky"),
    [
        (r"a+", False),
        (r"\d{2,3}x", False),
        (r"[+*]+\+\*", False),
        (r"(a+)+", True),
        (r".*x.*", True),
        (r"a{2,}b*", True),
        (r"(a|a)+$", True),
        (r"(?:a|a){30}b", True),
        ("a?" * 30 + "a{30}", True),
        (r"\)+", False),
        (r"(yes|no), thanks?", False),
    ],
)
def test_patterns_with_several_repeats_or_a_repeated_group_are_told_apart(pattern: str, risky: bool) -> None:
    assert may_explode(pattern) is risky


@pytest.mark.parametrize("pattern", ["(", "*", 3, ["a"], "(?P<x>a)(?P<x>b)"])
def test_what_is_no_pattern_is_refused(pattern: Any) -> None:
    with pytest.raises(DefinitionError, match="regex"):
        make_scorer({"use": "regex", "pattern": pattern})
    with pytest.raises(DefinitionError, match="regex"):
        make_scorer("regex").check(Case(id="c", input="?", expected=pattern))
