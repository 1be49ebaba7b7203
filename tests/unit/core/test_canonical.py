"""Canonical JSON, digests and ids: the same value always has the same text, everywhere and for ever."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callsheet.core import ids
from callsheet.core.canonical import digest, from_json, to_json

GOLDEN = (
    "a4d2502de3aca3ac159bba2d99ea81a8",
    "beed3f47aca317335a654a2f082cd2ea",
    "2ede592a2cbb8a1e5559ca3a473e6302",
    "2ad4474d6cc1b276",
    "5ddab72a4f3e674c19161db1b7c81a82",
    "1d3ac08e3359a46f",
    "3607d848456e0b98",
    "ask-9d1aed0cfccd91748a8080308a0b22b9",
    "b21bd198b5b7e26cce8887044f7e1d95",
)

any_text = st.text(st.characters(exclude_categories=()))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=20,
)


def shuffled(value: Any) -> Any:
    """The same value, with every dictionary filled in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(json_values)
@example("\ud83d")
@example({"\udfff": "\0"})
def test_any_value_comes_back_and_its_text_can_be_stored_and_sent(value: Any) -> None:
    text = to_json(value)
    assert from_json(text) == value
    assert to_json(from_json(text)) == text
    text.encode("utf-8")
    assert "\0" not in text


@given(json_values)
def test_the_order_of_keys_makes_no_difference(value: Any) -> None:
    assert to_json(shuffled(value)) == to_json(value)


@given(json_values, json_values)
def test_different_values_have_different_texts(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (to_json(one) == to_json(other)) == same


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), b"x", {"a": {"b": 1j}}])
def test_what_json_lacks_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        to_json(value)


@given(st.lists(any_text, max_size=4), st.lists(any_text, max_size=4))
@example(["ab", "c"], ["a", "bc"])
@example(["1:a"], ["a"])
@example([], [""])
@example(["\ud800"], ["\\ud800"])
def test_digests_differ_when_the_parts_do(one: list[str], other: list[str]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)
    assert re.fullmatch(r"[0-9a-f]{32}", digest(*one))


@given(any_text)
def test_trace_and_span_ids_are_valid_and_distinct(run_id: str) -> None:
    trace, span = ids.trace_id(run_id), ids.root_span_id(run_id)
    assert re.fullmatch(r"[0-9a-f]{32}", trace)
    assert trace != "0" * 32
    assert re.fullmatch(r"[0-9a-f]{16}", span)
    assert span != "0" * 16
    spans = {span, ids.message_span_id(run_id), ids.turn_span_id(run_id)}
    assert len(spans) == 3


@given(any_text, any_text, st.integers(0, 5), st.integers(0, 5))
def test_each_sending_step_has_an_envelope_id_of_its_own(turn: str, key: str, one: int, other: int) -> None:
    first, second = ids.sent_envelope_id(turn, key, one), ids.sent_envelope_id(turn, key, other)
    assert (first == second) == (one == other)
    assert ids.reply_envelope_id(first) not in (first, second)


def test_old_journals_can_be_read_these_values_never_change() -> None:
    """They are in journals and traces: a change here loses the steps of runs that were begun before it."""
    assert (
        to_json({"b": [1, 2.5, None, True], "a": "ü\n\ud83d"}) == '{"a":"ü\\n\\ud83d","b":[1,2.5,null,true]}'
    )
    assert digest("a", "bc") == GOLDEN[0]
    assert digest("ü", "") == GOLDEN[1]
    assert ids.trace_id("0101-000000-0123abcd") == GOLDEN[2]
    assert ids.root_span_id("0101-000000-0123abcd") == GOLDEN[3]
    root = ids.root_envelope_id("0101-000000-0123abcd")
    assert root == GOLDEN[4]
    assert ids.message_span_id(root) == GOLDEN[5]
    assert ids.turn_span_id(root) == GOLDEN[6]
    key = ids.step_key("ask", digest("clerk", '{"input":"x"}'))
    assert key == GOLDEN[7]
    assert ids.sent_envelope_id(root, key, 1) == GOLDEN[8]
    assert ids.reply_envelope_id("abc") == "abc-reply"


@pytest.mark.parametrize("run_id", ["0101-000000-0123abcd", "abcdef", "a" * 64])
def test_a_run_id_is_lower_case_letters_digits_and_dashes(run_id: str) -> None:
    assert ids.RUN_ID.match(run_id)


@pytest.mark.parametrize(
    "run_id", ["", "a", "-abcdef", "ABCDEF", "a/../../b", "abc def", "a" * 65, "abcdef\n"]
)
def test_anything_else_is_no_run_id(run_id: str) -> None:
    assert not ids.RUN_ID.match(run_id)
