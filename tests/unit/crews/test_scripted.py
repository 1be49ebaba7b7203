"""`callsheet.testing`: models that say what a test wants."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from callsheet.agents import Agent
from callsheet.core.errors import DefinitionError, LimitError, ModelRequestError, UsageError
from callsheet.crews import Crew
from callsheet.models.messages import ModelRequest, ToolResult
from callsheet.models.policy import ModelPolicy
from callsheet.testing import call, own_home, reply, scripted
from callsheet.tools import tool


class Verdict(BaseModel):
    """What a critic says."""

    good: bool


@tool
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


def alone(**more: Any) -> Crew:
    return Crew("desk", agents=[Agent("clerk", role="You answer.", tools=[double], **more)])


def pair() -> Crew:
    return Crew("desk", agents=[Agent("clerk", role="You answer."), Agent("editor", role="You polish.")])


def test_a_list_answers_in_the_order_of_asking() -> None:
    with scripted(["first", "second"]) as script:
        assert pair().run("Go.", host="inline").output == "second"
    assert [request.agent for request in script.requests] == ["clerk", "editor"]
    assert script.left == 0


def test_tools_are_called_with_what_the_script_says_and_their_results_go_back() -> None:
    with scripted([[call("double", number=2), call("double", "no JSON")], "done"]) as script:
        assert alone().run("Go.", host="inline").output == "done"
    results = script.requests[1].messages[-1].parts
    assert next(part.content for part in results if isinstance(part, ToolResult)) == "4"
    assert [part.is_error for part in results if isinstance(part, ToolResult)] == [False, True]
    assert len({part.call_id for part in results if isinstance(part, ToolResult)}) == 2


def test_each_agent_has_a_list_of_its_own() -> None:
    with scripted({"editor": ["polished"], "clerk": ["raw"]}) as script:
        assert pair().run("Go.", host="inline").output == "polished"
    assert "raw" in script.of("editor")[0].messages[-1].text


@pytest.mark.parametrize("given", [{"good": True}, Verdict(good=True), '{"good": true}'])
def test_data_are_given_as_json(given: Any) -> None:
    with scripted([given]):
        assert alone(output=Verdict).run("Go.", host="inline").output == Verdict(good=True)


async def test_a_function_decides_by_the_request_and_may_wait() -> None:
    async def answer(request: ModelRequest) -> str:
        return f"{request.agent} heard: {request.messages[-1].text}"

    with scripted(answer):
        assert (await alone().arun("Hello", host="inline")).output == "clerk heard: Hello"


def test_a_script_that_runs_out_says_who_asked_what() -> None:
    with scripted(["first"]), pytest.raises(ModelRequestError) as caught:
        pair().run("Go.", host="inline")
    for part in ("editor asks once more", "had 1 reply", "told last (user)", "first"):
        assert part in caught.value.message


def test_an_agent_without_a_list_is_named() -> None:
    with (
        scripted({"clerk": ["yes"]}),
        pytest.raises(ModelRequestError, match="for clerk, and none for editor"),
    ):
        pair().run("Go.", host="inline")


def test_what_the_function_asserts_fails_the_test() -> None:
    def answer(request: ModelRequest) -> str:
        assert "price" in request.messages[0].text, "the price is missing"
        return "yes"

    with pytest.raises(AssertionError, match="the price is missing"), scripted(answer):
        alone().run("Go.", host="inline")
    with pytest.raises(AssertionError, match="the price is missing"), scripted(answer):
        assert alone().run("Go.", host="inline", check=False).status == "failed"


def test_errors_are_raised_as_a_provider_would() -> None:
    with (
        scripted([ModelRequestError("too long", hint="Cut it.")]),
        pytest.raises(ModelRequestError, match="too long"),
    ):
        alone().run("Go.", host="inline")


def test_what_replies_cost_counts_for_the_budget() -> None:
    with scripted([reply("", call("double", number=1), cost_usd=2.0), "done"]), pytest.raises(LimitError):
        alone().run("Go.", host="inline", budget_usd=1.0)


def test_no_key_is_needed_whatever_the_agents_name() -> None:
    for model in ("openai/gpt-5.5", ModelPolicy(needs={"vision"})):
        with scripted(["yes"]):
            assert alone(model=model).run("Go.", host="inline", budget_usd=1.0).output == "yes"


def test_a_run_on_ray_is_refused_while_a_script_stands_in() -> None:
    with scripted(["yes"]), pytest.raises(UsageError, match="on Ray"):
        alone().run("Go.")


def test_after_it_models_answer_again() -> None:
    crew = alone()
    with scripted(["scripted"]):
        assert crew.run("Go.", host="inline").output == "scripted"
    assert crew.run("Go.", host="inline", model="offline").output != "scripted"


@pytest.mark.parametrize("wrong", ["text", 5, {"clerk": "text"}, None])
def test_what_is_no_script_is_told_at_once(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="a script of"), scripted(wrong):
        pass


def test_what_is_no_reply_is_told() -> None:
    with scripted([object()]), pytest.raises(DefinitionError, match="no reply"):
        alone().run("Go.", host="inline")


def test_without_a_home_a_test_gets_one_that_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLSHEET_HOME")
    with scripted(["yes"]):
        folder = Path(os.environ["CALLSHEET_HOME"])
        alone().run("Go.", host="inline")
        assert (folder / "journal.db").exists()
    assert not folder.exists()
    assert "CALLSHEET_HOME" not in os.environ
    assert "CALLSHEET_JOURNAL" not in os.environ


def test_a_home_that_is_set_is_left_alone(home: Path) -> None:
    with own_home() as folder:
        assert folder == home
