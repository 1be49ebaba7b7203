"""Structured output: any type that pydantic can describe, read from what models really write."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from callsheet.agents.data import data_of
from callsheet.agents.output import OutputFormatError, output_type
from callsheet.core.canonical import to_json
from callsheet.core.errors import DefinitionError, UsageError


class Verdict(BaseModel):
    """Whether a draft is good."""

    good: bool
    advice: str = ""


class Renamed(BaseModel):
    good: bool = Field(alias="isGood")
    score: int = Field(default=0, validation_alias=AliasChoices("points", "score"))


class Dated(BaseModel):
    model_config = ConfigDict(strict=True)
    day: dt.date


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Node(BaseModel):
    name: str
    children: list[Node] = []


def read(type_: Any, text: str) -> Any:
    kind = output_type(type_)
    return kind.value(kind.read(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"good": true}',
        ' \n{"good": true}\n',
        '```json\n{"good": true}\n```',
        '```\n{"good": true}\n```',
        'Here you are:\n```json\n{"good": true}\n```\nAnything else?',
        'My verdict is {"good": true}.',
    ],
)
def test_json_is_found_where_models_put_it(text: str) -> None:
    assert read(Verdict, text) == Verdict(good=True)


@pytest.mark.parametrize(
    ("type_", "answer", "value"),
    [
        (int, '{"value": 7}', 7),
        (int, "7", 7),
        (str, '{"value": "so"}', "so"),
        (list[str], '{"value": ["a"]}', ["a"]),
        (list[str], '["a"]', ["a"]),
        (list[Verdict], '{"value": [{"good": false}]}', [Verdict(good=False)]),
        (int | None, '{"value": null}', None),
        (Literal["yes", "no"], '{"value": "no"}', "no"),
        (Annotated[int, Field(ge=3)], '{"value": 3}', 3),
        (Node, '{"value": {"name": "a", "children": [{"name": "b"}]}}', Node(name="a", children=[Node(name="b")])),
        (dict[str, int], '{"value": 1}', {"value": 1}),
        (Point, '{"x": 1}', Point(1)),
        (Renamed, '{"isGood": true, "points": 4}', Renamed(isGood=True, points=4)),
        (Dated, '{"day": "2026-01-02"}', Dated(day=dt.date(2026, 1, 2))),
        (set[int], '{"value": [1, 1, 2]}', {1, 2}),
        (dt.date, '{"value": "2026-01-02"}', dt.date(2026, 1, 2)),
    ],
)  # fmt: skip
def test_answers_become_values_of_the_type(type_: Any, answer: str, value: Any) -> None:
    assert read(type_, answer) == value


@pytest.mark.parametrize("type_", [int, list[str], Verdict, Node, Literal["a"], int | None, Point])
def test_what_a_provider_is_told_is_always_an_object(type_: Any) -> None:
    kind = output_type(type_)
    schema = json.loads(kind.schema)
    assert schema["type"] == "object"
    assert kind.name.replace("_", "").replace("-", "").isalnum()
    # References into $defs still hold after the wrapping.
    for reference in set(_references(schema)):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [v for k, v in value.items() if k == "$ref"] + [
            r for v in value.values() for r in _references(v)
        ]
    return [r for v in value for r in _references(v)] if isinstance(value, list) else []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("no idea", "not JSON"),
        ("", "not JSON"),
        ('{"good": true', "not JSON"),
        ('{"good": NaN}', "not JSON"),
        ("[]", "the answer"),
        ('{"good": "perhaps"}', "good"),
        ('{"advice": "x"}', "good: Field required"),
        ('{"good": "\ud800"}', "not JSON"),
    ],
)
def test_what_does_not_fit_is_explained_by_place(answer: str, said: str) -> None:
    with pytest.raises(OutputFormatError, match=said):
        output_type(Verdict).read(answer)


@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_any_text_is_read_or_refused_and_what_is_read_can_be_kept(text: str) -> None:
    for type_ in (Verdict, list[float], Any, str | None):
        try:
            data = output_type(type_).read(text)
        except OutputFormatError as fault:
            assert str(fault)  # noqa: PT017 - either outcome is right
        else:
            to_json(data)
            output_type(type_).value(data)


def test_a_value_of_the_type_survives_as_data() -> None:
    for value in (Verdict(good=True), Dated(day=dt.date(2026, 1, 2)), Point(1), {1, 2}):
        kind = output_type(set[int] if isinstance(value, set) else type(value))
        assert kind.value(json.loads(to_json(kind.data(value)))) == value


def test_an_output_type_is_made_once() -> None:
    assert output_type(Verdict) is output_type(Verdict)


def test_a_type_that_cannot_be_hashed_is_a_type_all_the_same() -> None:
    assert read(Annotated[int, ["note"]], "5") == 5


def test_a_type_that_json_cannot_describe_is_refused() -> None:
    with pytest.raises(DefinitionError, match="cannot be an output"):
        output_type(type("Odd", (), {}))


@pytest.mark.parametrize("value", [object(), [object()], b"\xff", {"f": test_an_output_type_is_made_once}])
def test_what_has_no_json_form_is_refused_by_name(value: Any) -> None:
    with pytest.raises(UsageError, match=f"a {type(value).__name__} cannot be sent"):
        data_of(value)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, None), (float("nan"), None), ({"a": ["\ud800b"]}, {"a": ["?b"]}), ("x", "x"),
        (True, True), (1.5, 1.5), ((1, 2), [1, 2]), (Point(1), {"x": 1, "y": 0}),
        (Verdict(good=True), {"good": True, "advice": ""}), ({"d": dt.date(2026, 1, 2)}, {"d": "2026-01-02"}),
    ],
)  # fmt: skip
def test_models_dataclasses_and_plain_types_travel_as_json(value: Any, data: Any) -> None:
    assert data_of(value) == data
