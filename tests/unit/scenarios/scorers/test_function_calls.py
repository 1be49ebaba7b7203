"""`function_calls`: BFCL's rules one by one, and the forms in which calls are read."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.core.errors import DefinitionError
from callsheet.scenarios import Case
from callsheet.scenarios.scorers import make_scorer
from callsheet.scenarios.scorers.bfcl import same_name, standard


def declared(**types: Any) -> dict[str, Any]:
    properties = {name: kind if isinstance(kind, dict) else {"type": kind} for name, kind in types.items()}
    return {
        "functions": [{"name": "f", "parameters": {"type": "dict", "properties": properties, "required": []}}]
    }


def one(**arguments: Any) -> list[dict[str, Any]]:
    return [{"name": "f", "arguments": arguments}]


def test_strings_are_compared_without_case_blanks_and_punctuation() -> None:
    assert standard("April 1, 2024") == standard("april 1,2024")
    assert standard("St. John's_wort-x/y*z^2") == 'stjohn"swortxyz2'


@pytest.mark.parametrize(
    ("kind", "accepted", "given", "right"),
    [
        ("float", [5.0], 5, True),
        ("float", [5], 5.0, True),
        ("integer", [5], 5.0, False),
        ("integer", [5], True, False),
        ("integer", [1], "1", False),
        ("boolean", [True], 1, False),
        ("string", ["New York, NY"], "new york NY", True),
        ("string", ["a"], "b", False),
        ("integer", ["n"], "n", True),  # a variable in the place of a number
        ("string", ["", None], None, True),
        ({"type": "array", "items": {"type": "string"}}, [["a b", "c"]], ["A-B", "C"], True),
        ({"type": "array", "items": {"type": "string"}}, [["a", "c"]], ["c", "a"], False),
        ({"type": "array", "items": {"type": "integer"}}, [[1, 2]], [1, 2.0], False),
        ({"type": "array", "items": {"type": "float"}}, [[1.5, 2.0]], [1.5, 2.0], True),
        ({"type": "array", "items": {"type": "float"}}, [[1.0, 2.0]], [1, 2], False),  # as the leaderboard
        ("dict", [{"k": ["v", ""], "n": [1]}], {"n": 1}, True),
        ("dict", [{"k": ["v", ""], "n": [1]}], {"k": "V", "n": 1}, True),
        ("dict", [{"k": ["v"], "n": [1]}], {"n": 1}, False),
        ("dict", [{"k": ["v"]}], {"k": "v", "x": 1}, False),
        ("object", [{"k": ["v"]}], {"k": "v"}, True),
        ("number", [2.5], 2.5, True),
    ],
)
def test_types_and_values_are_those_of_the_leaderboard(
    judged: Any, kind: Any, accepted: Any, given: Any, right: bool
) -> None:
    assert (
        judged.right("function_calls", one(x=given), [{"f": {"x": accepted}}], metadata=declared(x=kind))
        is right
    )


def test_a_list_of_dictionaries_is_compared_element_by_element(judged: Any) -> None:
    expected = [{"f": {"x": [[{"k": ["a"]}, {"k": ["b", "c"]}]]}}]
    metadata = declared(x={"type": "array", "items": {"type": "dict"}})
    assert judged.right("function_calls", one(x=[{"k": "A"}, {"k": "c"}]), expected, metadata=metadata)
    assert not judged.right("function_calls", one(x=[{"k": "c"}, {"k": "A"}]), expected, metadata=metadata)
    assert not judged.right("function_calls", one(x=[{"k": "a"}]), expected, metadata=metadata)


def test_without_declarations_numbers_are_equal_by_value_but_never_to_true(judged: Any) -> None:
    assert judged.right("function_calls", one(x=5.0), [{"f": {"x": [5]}}])
    assert not judged.right("function_calls", one(x=True), [{"f": {"x": [1]}}])


def test_an_argument_may_be_left_out_where_the_empty_text_is_accepted(judged: Any) -> None:
    expected = [{"f": {"x": [1], "y": ["m", ""]}}]
    assert judged.right("function_calls", one(x=1), expected)
    assert not judged.right("function_calls", one(y="m"), expected)
    metadata = {"functions": [{"name": "f", "parameters": {"properties": {}, "required": ["y"]}}]}
    assert not judged.right("function_calls", one(x=1), expected, metadata=metadata)


def test_names_with_dots_are_those_that_providers_take() -> None:
    assert same_name("math_add", "math.add")
    assert same_name("math.add", "math.add")
    assert not same_name("math.add", "math_add")


def test_parallel_calls_are_paired_so_that_all_fit(judged: Any) -> None:
    # Taken one after the other, the first expected call would take what only the second one fits.
    expected = [{"f": {"x": [1, 2]}}, {"f": {"x": [1]}}]
    assert judged.right("function_calls", [*one(x=1), *one(x=2)], expected)
    assert not judged.right("function_calls", [*one(x=2), *one(x=2)], expected)


@pytest.mark.parametrize(
    "answer",
    [
        [{"name": "f", "arguments": {"x": 1}}],
        {"name": "f", "arguments": {"x": 1}},
        [{"name": "f", "arguments": '{"x": 1}'}],
        [{"type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
        [{"f": {"x": 1}}],
        {"calls": [{"name": "f", "parameters": {"x": 1}}]},
        '[{"name": "f", "arguments": {"x": 1}}]',
        'I call it:\n```json\n[{"name": "f", "arguments": {"x": 1}}]\n```\nDone.',
        'Sure: {"name": "f", "arguments": {"x": 1}} does it.',
    ],
)
def test_calls_are_read_from_data_and_from_text(judged: Any, answer: Any) -> None:
    assert judged.right("function_calls", answer, [{"f": {"x": [1]}}])


@pytest.mark.parametrize(
    "answer", ["f(x=1)", "", None, 3, [3], {"name": 3}, [{"name": "f", "arguments": "x"}]]
)
def test_what_is_no_call_is_wrong_where_one_is_expected(judged: Any, answer: Any) -> None:
    score = judged("function_calls", answer, [{"f": {"x": [1]}}])
    assert score.value == 0
    assert score.explanation


def test_what_is_wrong_is_told(judged: Any) -> None:
    expected = [{"f": {"x": [1]}}]
    assert judged("function_calls", one(x=2), expected).explanation == "f: x is 2, not one of [1]"
    assert judged("function_calls", one(), expected).explanation == "f: x is missing"
    assert judged("function_calls", one(x=1, y=2), expected).explanation == "f: it has no y"
    assert judged("function_calls", [], expected).explanation == "calls made: 0, expected: 1"


@pytest.mark.parametrize(
    "expected", [None, "f", {"f": {}}, [{}], [{"f": [1]}], [{"f": {"x": 1}}], [{"f": {}, "g": {}}], [1]]
)
def test_a_case_without_calls_in_that_form_is_refused(expected: Any) -> None:
    with pytest.raises(DefinitionError, match="function_calls"):
        make_scorer("function_calls").check(Case(id="c", input="?", expected=expected))


def test_declarations_of_another_form_are_refused() -> None:
    case = Case(id="c", input="?", expected=[], metadata={"functions": "f"})
    with pytest.raises(DefinitionError, match="holds no functions"):
        make_scorer("function_calls").check(case)
    for options in ({"of": "all"}, {"functions_from": "tools"}):
        with pytest.raises(DefinitionError):
            make_scorer({"use": "function_calls", **options})
