"""What a person is asked by an agent, and what is made of the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from callsheet.core.errors import ToolError
from callsheet.core.limits import Limits
from callsheet.core.records import PERSON
from callsheet.tools import Tool, ToolContext, ToolInputError, find_tool, tool
from tests.unit.agents.desk import Desk
from tests.unit.crews.fake_models import call, calls
from tests.unit.runtime.town import output

Open = Callable[..., Awaitable[Desk]]


class Till:
    """Pays, once approved."""

    def __init__(self, effect: Any = "none") -> None:
        self.paid: list[int] = []

        @tool(approval=True, effect=effect)
        def pay(amount: int) -> str:
            """Pay an amount."""
            self.paid.append(amount)
            return f"paid {amount}"

        self.tool: Tool = pay


async def test_a_call_that_wants_approval_is_made_after_it(desk: Open) -> None:
    till = Till()
    at = await desk(till.tool, script=[calls(call("pay", amount=5)), "done"])
    question = await at.question()
    assert question == {
        "question": "clerk wants to call pay. May it?", "choices": None, "kind": "approval", "tool": "pay",
        "arguments": '{"amount":5}',
    }  # fmt: skip
    assert till.paid == []
    await at.decide("approve")
    assert output(await at.end()) == "done"
    assert till.paid == [5]
    assert at.told() == [("paid 5", False)]


async def test_a_call_that_is_denied_is_not_made_and_the_model_told_why(desk: Open) -> None:
    till = Till(effect="once")
    at = await desk(till.tool, script=[calls(call("pay", amount=5)), "as you wish"])
    await at.decide("deny", "too much")
    assert output(await at.end()) == "as you wish"
    assert till.paid == []
    ((told, is_error),) = at.told()
    assert is_error
    assert "A person did not allow this call, so it was not made. They said: too much" in told
    _, steps = await at.records()
    assert [step.kind for step in steps if step.kind == "tool"] == [], "not even the intent was recorded"


async def test_nobody_is_asked_about_a_call_whose_arguments_do_not_fit(desk: Open) -> None:
    till = Till()
    at = await desk(till.tool, script=[calls(call("pay", amount="much")), "done"])
    assert output(await at.end()) == "done"
    assert till.paid == []
    assert at.told()[0][1]
    envelopes, _ = await at.records()
    assert not [e for e in envelopes if e.receiver == PERSON and e.kind == "ask"]


async def test_what_a_person_allowed_holds_after_a_crash(desk: Open) -> None:
    """Approved, then its process dies before the call: nobody is asked again, and it is made once."""
    paid: list[int] = []
    begun = asyncio.Event()
    crashed = False

    @tool(approval=True)
    async def pay(amount: int) -> str:
        """Pay an amount."""
        if not crashed:
            begun.set()
            await asyncio.Event().wait()
        paid.append(amount)
        return "paid"

    at = await desk(pay, script=[calls(call("pay", amount=5)), "done"])
    await at.decide("approve")
    await begun.wait()
    crashed = True
    await at.crash()
    assert output(await at.end()) == "done"
    assert paid == [5]
    envelopes, _ = await at.records()
    assert len([e for e in envelopes if e.receiver == PERSON and e.kind == "ask"]) == 1


async def test_each_call_of_a_reply_is_decided_by_itself(desk: Open) -> None:
    till = Till()
    at = await desk(till.tool, script=[calls(call("pay", amount=1), call("pay", amount=2)), "done"])
    first, second = await at.questions(2)
    assert json.loads(json.loads(first.body)["arguments"]) == {"amount": 1}
    await at.decide("deny", question=first)
    (left,) = await at.questions(1)
    assert left.id == second.id
    await at.decide("approve", question=second)
    assert output(await at.end()) == "done"
    assert till.paid == [2]
    assert [is_error for _, is_error in at.told()] == [True, False]


async def test_other_calls_go_on_while_a_person_is_asked(desk: Open) -> None:
    """Questions take no slot: with one call at a time, the second is made while the first has no answer."""
    till, looked = Till(), []

    @tool
    def look(n: int) -> str:
        """Look."""
        looked.append(n)
        return "seen"

    script = [calls(call("pay", amount=1), call("look", n=2)), "done"]
    at = await desk(till.tool, look, script=script, limits=Limits(parallel_tool_calls=1))
    await at.questions()
    assert looked == [2]
    await at.decide("approve")
    assert output(await at.end()) == "done"
    assert looked == [2], "what was done while the person thought is not done again"


async def test_an_answer_that_decides_nothing_fails_the_turn_in_words(desk: Open) -> None:
    at = await desk(Till().tool, script=[calls(call("pay", amount=5))])
    await at.decide("result", "it is paid")  # there is no result yet: it was not begun
    end = await at.end()
    assert end.status == "failed"
    assert end.error is not None
    assert "no decision" in end.error["message"]
    assert "approve, deny" in end.error["fields"]["hint"]


# --- the tool `ask_person` --------------------------------------------------------------------------------

ASK = find_tool("ask_person")


async def test_an_agent_asks_a_person_and_is_given_the_answer(desk: Open) -> None:
    script = [calls(call("ask_person", question="Which size?", choices=["S", "L"])), "An L then."]
    at = await desk(ASK, script=script)
    assert await at.question() == {
        "question": "Which size?", "choices": ["S", "L"], "kind": "question", "tool": None, "arguments": None
    }  # fmt: skip
    await at.answer("L")
    assert output(await at.end()) == "An L then."
    assert at.told() == [("L", False)]
    _, steps = await at.records()
    assert not [step for step in steps if step.kind == "tool"], "the question is a message, and no step"


@pytest.mark.parametrize("choices", [None, []])
async def test_no_choices_means_any_answer(desk: Open, choices: list[str] | None) -> None:
    at = await desk(ASK, script=[calls(call("ask_person", question="Why?", choices=choices)), "I see."])
    assert (await at.question())["choices"] is None
    await at.answer("Because.")
    assert output(await at.end()) == "I see."


async def test_a_question_that_does_not_fit_goes_back_to_the_model(desk: Open) -> None:
    at = await desk(ASK, script=[calls(call("ask_person", choices=["a"])), "never mind"])
    assert output(await at.end()) == "never mind"
    ((told, is_error),) = at.told()
    assert is_error
    assert "question" in told


async def test_a_run_that_waits_is_taken_up_by_another_process(desk: Open) -> None:
    at = await desk(ASK, script=[calls(call("ask_person", question="Why?")), "I see."])
    await at.questions()
    await at.town.kill("clerk")
    await at.begin_clerk()
    await at.answer("Because.")
    assert output(await at.end()) == "I see."
    assert len(at.gateway.requests) == 2, "the model was not asked again what it had answered"


async def test_a_tool_of_ones_own_with_that_name_is_a_tool_like_any(desk: Open) -> None:
    @tool(name="ask_person", description="Ask a colleague.")
    def ask(question: str) -> str:
        return f"{question} Nobody knows."

    at = await desk(ask, script=[calls(call("ask_person", question="Why?")), "done"])
    assert output(await at.end()) == "done"
    assert at.told() == [("Why? Nobody knows.", False)]


async def test_a_tool_that_asks_within_its_own_call_is_told_what_can_ask(desk: Open) -> None:
    @tool
    def order(run: ToolContext, size: str) -> str:
        """Order a shirt."""
        run.ask_person(f"Is {size} right?", ["yes", "no"])

    at = await desk(order, script=[calls(call("order", size="L")), "done"])
    assert output(await at.end()) == "done"
    ((told, is_error),) = at.told()
    assert is_error
    assert "cannot ask a person while its call is under way" in told


async def test_outside_of_an_agents_turn_the_tool_says_who_can_ask() -> None:
    with pytest.raises(ToolError, match="cannot ask a person") as caught:
        await ASK.call('{"question": "Why?"}', ToolContext())
    assert "approval=True" in caught.value.hint
    with pytest.raises(ToolInputError):
        await ASK.call('{"question": ""}', ToolContext())
