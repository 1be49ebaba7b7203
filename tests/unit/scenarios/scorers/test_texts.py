"""`exact`, `contains` and `json_schema`, and where answers and expected answers stand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.canonical import to_json
from callsheet.core.errors import DefinitionError
from callsheet.scenarios import Case
from callsheet.scenarios.scorers import make_scorer
from callsheet.scenarios.scorers.answers import MISSING
from callsheet.scenarios.scorers.exact import same_data
from callsheet.scenarios.scorers.reading import fenced, json_in

DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("Paris", "Paris", True),
        (" Paris\n", "Paris", True),
        ("paris", "Paris", False),
        ("Paris.", "Paris", False),
        (18, "18", True),
        ("18", 18, True),
        ("18.0", 18, True),
        ("eighteen", 18, False),
        (True, 1, False),
        ({"a": [1, "x "]}, {"a": [1.0, "x"]}, True),
        ('Here:\n```json\n{"a": 1}\n```', {"a": 1}, True),
        ('{"a": 1, "b": 2}', {"a": 1}, False),
        ([1, 2], [2, 1], False),
        ("[1, 2]", [1, 2], True),
        ("NaN", [1], False),
        (None, "null", True),
    ],
)
def test_exact_compares_texts_and_data(judged: Any, answer: Any, expected: Any, right: bool) -> None:
    assert judged.right("exact", answer, expected) is right


def test_a_long_answer_is_compared_whole(judged: Any) -> None:
    long = "x" * 200_000
    assert judged.right("exact", long, long)
    assert not judged.right("exact", f"y{long}", long)
    assert judged.right("contains", f"Paris {long}", "Paris")


def test_exact_can_take_blanks_and_no_case_into_account(judged: Any) -> None:
    assert not judged.right("exact", " Paris", "Paris", strip=False)
    assert judged.right("exact", "PARIS", "Paris", case=False)
    assert judged.right("exact", {"x": "PARIS"}, {"x": "Paris"}, case=False)


@given(DATA)
def test_data_equals_itself_also_after_json(value: Any) -> None:
    assert same_data(value, value)
    assert same_data(json_in(to_json(value)), value)


@pytest.mark.parametrize(
    ("answer", "expected", "options", "right"),
    [
        ("The Capital  is\nParis.", "capital is paris", {}, True),
        ("Paris", ["paris", "france"], {}, False),
        ("Paris, France", ["paris", "france"], {}, True),
        ("Paris", ["paris", "france"], {"mode": "any"}, True),
        ("Rome", ["paris", "france"], {"mode": "any"}, False),
        ("Paris", "paris", {"case": True}, False),
        ("concatenate", "cat", {}, True),
        ("concatenate", "cat", {"words": True}, False),
        ("the cat.", "cat", {"words": True}, True),
        ("costs $5 (net)", "$5 (net)", {"words": True}, True),
        ({"city": "Paris"}, "paris", {}, True),
        ("It is 18.", 18, {}, True),
    ],
)
def test_contains_finds_all_or_any(
    judged: Any, answer: Any, expected: Any, options: Any, right: bool
) -> None:
    assert judged.right("contains", answer, expected, **options) is right


def test_contains_says_what_is_not_there(judged: Any) -> None:
    assert judged("contains", "x", ["x", "y", "z"]).explanation == "not in the answer: 'y', 'z'"


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "t": {"$ref": "#/$defs/t"}},
    "required": ["n"],
    "$defs": {"t": {"type": "string"}},
}


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ({"n": 1}, True),
        ('{"n": 1, "t": "x"}', True),
        ('Sure:\n```json\n{"n": 1}\n```', True),
        ({"n": "1"}, False),
        ({}, False),
        ({"n": 1, "t": 2}, False),
        ("n is 1", False),
        ("[" * 50_000, False),
    ],
)
def test_answers_fit_a_schema_or_not(judged: Any, answer: Any, right: bool) -> None:
    assert judged.right("json_schema", answer, schema=SCHEMA) is right
    assert judged.right("json_schema", answer, SCHEMA) is right


def test_what_does_not_fit_is_told(judged: Any) -> None:
    explanation = judged("json_schema", {"n": "x", "t": 1}, SCHEMA).explanation
    assert explanation == "$.n: 'x' is not of type 'integer'; $.t: 1 is not of type 'string'"


def test_a_schema_elsewhere_is_never_fetched(judged: Any) -> None:
    # Unit tests fail at a connection, too.
    with pytest.raises(DefinitionError, match="the schema cannot be used"):
        judged("json_schema", {"n": 1}, {"$ref": "http://example.com/schema.json"})


@pytest.mark.parametrize("schema", [{"type": "number of apples"}, "object", 3, {"required": "n"}])
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(DefinitionError, match="json_schema"):
        make_scorer({"use": "json_schema", "schema": schema})
    with pytest.raises(DefinitionError, match="json_schema"):
        make_scorer("json_schema").check(Case(id="c", input="?", expected=schema))


def test_a_part_of_an_answer_can_be_judged_by_a_part_of_the_case(judged: Any) -> None:
    output = {"label": {"items": ["x", "cat"]}, "why": "dog"}
    assert judged.right("exact", output, "cat", answer_from="label.items.1")
    assert judged.right(
        "exact", output, {"label": "cat"}, answer_from="label.items.1", expected_from="expected.label"
    )
    assert judged.right("exact", "cat", metadata={"label": "cat"}, expected_from="metadata.label")
    score = judged("exact", output, "cat", answer_from="label.items.2")
    assert (score.value, score.explanation) == (0, "the answer has no label.items.2")
    assert judged("exact", "a text", "cat", answer_from="label").value == 0


@pytest.mark.parametrize("use", ["exact", "contains", "regex", "json_schema"])
def test_a_case_that_expects_nothing_is_refused(use: str) -> None:
    with pytest.raises(DefinitionError, match="the case has no expected") as caught:
        make_scorer(use).check(Case(id="c", input="?"))
    assert "Say there what is right" in caught.value.hint
    with pytest.raises(DefinitionError, match=r"the case has no metadata\.label"):
        make_scorer({"use": use, "expected_from": "metadata.label"}).check(Case(id="c", input="?"))


@pytest.mark.parametrize("expected", ["", "  ", [], ["x", ""], {"x": 1}])
def test_contains_refuses_what_every_answer_contains(expected: Any) -> None:
    with pytest.raises(DefinitionError, match="contains"):
        make_scorer("contains").check(Case(id="c", input="?", expected=expected))


def test_fenced_blocks_and_json_are_found() -> None:
    text = "a\n```json\n{}\n```\nb\n  ```SQL\nSELECT 1\n  ```\n```\nopen"
    assert fenced(text) == [("json", "{}"), ("sql", "SELECT 1"), ("", "open")]
    assert json_in("see {x} and then [1, 2] there") == [1, 2]


@pytest.mark.parametrize(
    "text", ["```" + "a" * 200_000 + "`", "```" + " " * 200_000 + "`", "```x\n" * 50_000]
)
def test_fences_that_strangers_write_are_read_in_linear_time(text: str) -> None:
    # Read by one expression the first of them would take an hour.
    assert json_in(text) is MISSING
