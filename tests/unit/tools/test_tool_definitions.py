"""What cannot be a tool is refused when it is defined, with the remedy."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

import pytest

from callsheet.core.errors import DefinitionError, ToolError
from callsheet.tools import Tool, ToolContext, tool
from callsheet.tools.threads import CallStopped
from tests.data_sets import data_file

HERE = ToolContext(run_id="run-000001", agent="clerk", idempotency_key="key-1")


def _no_description(a: int) -> None: ...
def _no_type(a) -> None:  # type: ignore[no-untyped-def]
    """D."""


def _star(*items: int) -> None:
    """D."""


def _stars(**items: int) -> None:
    """D."""


def _by_position(a: int, /) -> None:
    """D."""


def _unknown_type(a: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """D."""


def _no_json(a: threading.Lock) -> None:
    """D."""


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (_no_description, "docstring"),
        (_no_type, "Annotate it"),
        (_star, r"list\[…\]"),
        (_stars, r"dict\[…\]"),
        (_by_position, "Remove the /"),
        (_unknown_type, "Import the type"),
        (_no_json, "pydantic model"),
        (17, "Write a function"),
    ],
)
def test_what_no_model_can_be_told_about_is_refused_with_the_remedy(function: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        tool(function)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "two words"},
        {"name": ""},
        {"name": "line\n"},
        {"effect": "perhaps"},
        {"name": 5},
        {"effect": None},
        {"timeout_s": 0},
        {"timeout_s": math.inf},
        {"timeout_s": math.nan},
        {"timeout_s": "5"},
        {"timeout_s": True},
        {"description": " "},
        {"description": 5},
        {"approval": "yes"},
        {"result_chars": 0},
        {"result_chars": 1.5},
        {"on_unknown": "guess", "effect": "once"},
        {"on_unknown": "retry"},
        {"on_unknown": "ask", "effect": "idempotent"},
        {"efect": "once"},
    ],
    ids=repr,
)  # fmt: skip
def test_wrong_options_are_refused_when_the_tool_is_defined(options: dict[str, Any]) -> None:
    def work() -> str:
        """Work."""
        return ""

    with pytest.raises(DefinitionError) as caught:
        tool(**options)(work)
    assert caught.value.hint


def test_an_unknown_option_is_told_with_those_there_are() -> None:
    with pytest.raises(DefinitionError, match="no option 'efect'") as caught:
        tool(efect="once")  # type: ignore[call-overload]
    assert "effect" in caught.value.hint


def test_an_unknown_outcome_is_asked_about_unless_the_tool_says_otherwise() -> None:
    def work() -> str:
        """Work."""
        return ""

    assert tool(effect="once")(work).on_unknown == "ask"
    assert tool(effect="once", on_unknown="retry")(work).on_unknown == "retry"
    assert tool(effect="once", on_unknown="fail")(work).on_unknown == "fail"


async def test_the_context_may_have_any_name() -> None:
    @tool
    def pay(run: ToolContext) -> str:
        """Pay."""
        return run.idempotency_key

    assert await pay.call("", HERE) == "key-1"


async def test_a_tool_cannot_ask_a_person_while_it_runs() -> None:
    @tool
    def pay(run: ToolContext) -> str:
        """Pay."""
        run.ask_person("Really?")

    with pytest.raises(ToolError, match="Really") as caught:
        await pay.call("", HERE)
    assert "approval=True" in caught.value.hint


async def test_a_call_that_raises_the_mark_of_a_stopped_call_has_failed() -> None:
    """Nobody stopped it: it is the tool's own doing, and must not end its agent."""

    @tool
    def odd() -> str:
        """Be odd."""
        raise CallStopped

    with pytest.raises(ToolError, match="CallStopped"):
        await odd.call("", HERE)


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(DefinitionError, match="name="):
        tool(lambda: "x")
    assert isinstance(tool(name="x", description="Give x.")(lambda: "x"), Tool)


async def test_naughty_strings_pass_through_a_tool_unchanged() -> None:
    @tool
    def echo(text: str) -> str:
        """Echo."""
        return text

    for line in data_file("naughty_strings/strings.jsonl").read_text("utf-8").split("\n"):
        if line:
            text = json.loads(line)["text"]
            assert await echo.call(json.dumps({"text": text}), HERE) == text
