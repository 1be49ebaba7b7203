"""Errors survive pickle and JSON with their type, message and fields."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from callsheet.core import errors
from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import CallsheetError, LimitError, ModelError, RunError, UnknownNameError

TYPES = sorted(
    (c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, CallsheetError)),
    key=lambda c: c.__name__,
)
VALUES: dict[str, Any] = {
    "hint": "try this", "kind": "agent", "name": "clrk", "known": ("clerk", "editor"), "path": "a/b.py",
    "run_id": "r-1", "partial": {"text": ["half \ud83d", None]}, "agent": "a", "tool": "t", "model": "m",
    "provider": "p", "status": 503, "retryable": True, "retry_after_s": 1.5, "limit": "turns", "allowed": 3.0,
    "used": 4.0, "service": "gateway",
    "wanted": 0.5,
}  # fmt: skip


def filled(cls: type[CallsheetError]) -> CallsheetError:
    return cls("it broke: \u00fc", **{name: value for name, value in VALUES.items() if hasattr(cls, name)})


def facts(error: CallsheetError) -> tuple[Any, ...]:
    return (
        type(error), error.message, str(error), error.exit_status,
        {name: getattr(error, name) for name in VALUES if hasattr(error, name)},
    )  # fmt: skip


def test_every_class_of_the_tree_is_here() -> None:
    assert len(TYPES) == 27
    drawn = errors.__doc__ or ""
    assert [cls.__name__ for cls in TYPES if cls.__name__ not in drawn] == []


@pytest.mark.parametrize("cls", TYPES)
def test_it_survives_pickle(cls: type[CallsheetError]) -> None:
    assert facts(pickle.loads(pickle.dumps(filled(cls)))) == facts(filled(cls))
    assert facts(pickle.loads(pickle.dumps(cls("bare")))) == facts(cls("bare"))


@pytest.mark.parametrize("cls", TYPES)
def test_it_survives_json(cls: type[CallsheetError]) -> None:
    assert facts(CallsheetError.from_dict(from_json(to_json(filled(cls).to_dict())))) == facts(filled(cls))
    assert facts(CallsheetError.from_dict(from_json(to_json(cls("bare").to_dict())))) == facts(cls("bare"))


@pytest.mark.parametrize("cls", TYPES)
def test_every_field_is_covered_by_these_tests(cls: type[CallsheetError]) -> None:
    named = {name for c in cls.__mro__ for name in vars(c).get("__annotations__", ())} - {"exit_status"}
    assert named <= VALUES.keys()


def test_a_field_set_after_it_was_made_survives_too() -> None:
    error = ModelError("no", model="m")
    error.run_id = "r-9"
    error.add_note("seen by the tests")
    assert pickle.loads(pickle.dumps(error)).run_id == "r-9"
    assert error.to_dict()["fields"] == {"model": "m", "run_id": "r-9"}


def test_an_unknown_type_becomes_a_run_error_and_unknown_fields_are_left_out() -> None:
    error = CallsheetError.from_dict(
        {
            "type": "FutureError",
            "message": "m",
            "fields": {"hint": "h", "exit_status": 7, "to_dict": 1, "new": 2},
        }
    )
    assert type(error) is RunError
    assert (error.message, error.hint, error.exit_status) == ("m", "h", 1)
    assert error.to_dict()["fields"] == {"hint": "h"}


def test_an_incomplete_dictionary_still_makes_an_error() -> None:
    assert type(CallsheetError.from_dict({})) is RunError
    assert CallsheetError.from_dict({"type": "LimitError", "fields": None}).exit_status == 3


def test_a_users_own_error_keeps_its_type_where_it_is_known() -> None:
    class ShopError(RunError):
        order: int = 0

    again = CallsheetError.from_dict(ShopError("sold out", order=17).to_dict())
    assert isinstance(again, ShopError)
    assert again.order == 17


def test_what_is_not_a_field_is_refused() -> None:
    with pytest.raises(TypeError, match="LimitError has no field 'colour'"):
        LimitError("m", colour="red")
    with pytest.raises(TypeError, match="no field 'exit_status'"):
        LimitError("m", exit_status=0)


def test_its_text_has_the_hint_on_a_line_of_its_own() -> None:
    assert str(RunError("it broke", hint="mend it")) == "it broke\nmend it"
    assert str(RunError("it broke")) == "it broke"


@pytest.mark.parametrize(
    ("name", "status"),
    [("CallsheetError", 1), ("UsageError", 2), ("SettingsError", 2), ("RunError", 1), ("LimitError", 3),
     ("WaitingError", 4), ("CancelledError", 130), ("JournalError", 1)],
)  # fmt: skip
def test_its_exit_status_is_the_designs(name: str, status: int) -> None:
    assert getattr(errors, name)("m").exit_status == status


def test_a_slip_of_the_pen_is_told_the_nearest_names() -> None:
    error = errors.unknown_name("agent", "clrk", ["clerk", "editor"], hint="More help.")
    assert isinstance(error, UnknownNameError)
    assert error.hint == "Did you mean clerk? More help."
    assert errors.unknown_name("agent", "zzz", ["clerk", "editor"]).hint == "There is: clerk, editor."
    assert errors.unknown_name("agent", "zzz", []).hint == ""
