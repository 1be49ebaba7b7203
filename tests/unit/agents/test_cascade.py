"""An agent with several models: which one is asked, when the next one is, and what a resumed turn finds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel

from callsheet import Agent, AgentError, Cascade, Crew, DefinitionError, ModelPolicy, tool
from callsheet.core.canonical import from_json
from callsheet.core.errors import ModelUnavailableError
from callsheet.models.messages import ModelRequest
from tests.unit.agents.desk import Desk
from tests.unit.crews.fake_models import Bench, call, calls, reply

Open = Callable[..., Awaitable[Desk]]
CHEAP, STRONG = "openai/gpt-5.4-nano", "openai/gpt-5.5"


class Verdict(BaseModel):
    """A verdict."""

    good: bool


@tool
def lookup(order: int) -> str:
    """Look an order up."""
    return f"order {order}"


def crew(accept: Any = None, **fields: Any) -> Crew:
    return Crew(
        "desk", agents=[Agent("clerk", "You help.", model=Cascade([CHEAP, STRONG], accept), **fields)]
    )


def models(bench: Bench) -> list[str]:
    return [request.model for request in bench.gateway.requests]


def by_model(cheap: Any, strong: Any) -> Any:
    def answer(request: ModelRequest) -> Any:
        return cheap if request.model == CHEAP else strong

    return answer


async def test_an_answer_that_will_do_ends_the_cascade(bench: Bench) -> None:
    bench.script(["fine"])
    result = await bench.run(crew(accept=lambda text: text == "fine"))
    assert (result.output, models(bench)) == ("fine", [CHEAP])


@pytest.mark.parametrize(
    "bad",
    [
        "hm",
        reply("I will not.", stop="refusal"),
        reply("Half of", stop="length"),
        ModelUnavailableError("nobody is there"),
    ],
    ids=["not accepted", "refused", "cut off", "not reached"],
)
async def test_an_answer_that_will_not_do_is_asked_of_the_next_model(bench: Bench, bad: Any) -> None:
    bench.script(by_model(bad, "a good answer"))
    result = await bench.run(crew(accept=lambda text: "good" in text))
    assert (result.output, models(bench)) == ("a good answer", [CHEAP, STRONG])
    first, second = bench.gateway.requests
    assert second.messages == first.messages  # the strong one does not see what the cheap one wrote


async def test_output_that_does_not_fit_goes_to_the_next_model_before_it_is_mended(bench: Bench) -> None:
    bench.script(by_model('{"good": "perhaps"}', '{"good": true}'))
    seen: list[Any] = []

    async def accept(verdict: Verdict) -> bool:
        seen.append(verdict)
        return True

    result = await bench.run(crew(accept, output=Verdict))
    assert (result.output, models(bench)) == (Verdict(good=True), [CHEAP, STRONG])
    assert seen == []  # the misfit was never shown, and the last model's answer is not asked about


async def test_accept_is_given_the_typed_value(bench: Bench) -> None:
    bench.script(by_model('{"good": false}', '{"good": true}'))
    result = await bench.run(crew(lambda verdict: verdict.good, output=Verdict))
    assert (result.output, models(bench)) == (Verdict(good=True), [CHEAP, STRONG])


async def test_a_format_that_the_flow_asks_for_counts_too(bench: Bench) -> None:
    desk = crew()

    @desk.flow
    async def ask(run: Any, task: str) -> Any:
        return (await run.ask("clerk", task, output=Verdict)).good

    bench.script(by_model("Yes, all good.", '{"good": true}'))
    result = await bench.run(desk)
    assert (result.output, models(bench)) == (True, [CHEAP, STRONG])


async def test_the_turn_stays_with_the_model_that_it_came_to(bench: Bench) -> None:
    def answer(request: ModelRequest) -> Any:
        if request.model == CHEAP:
            return calls(call("lookup", order=1)) if request.messages[-1].role == "user" else "hm"
        return calls(call("lookup", order=2)) if "order 2" not in str(request.messages) else "good"

    bench.script(answer)
    result = await bench.run(crew(accept=lambda text: text == "good", tools=[lookup]))
    assert result.output == "good"
    assert models(bench) == [CHEAP, CHEAP, STRONG, STRONG]


async def test_the_last_models_answer_is_treated_like_that_of_a_single_one(bench: Bench) -> None:
    bench.script(by_model("hm", reply("I will not.", stop="refusal")))
    result = await bench.run(crew(accept=lambda text: False))
    assert result.status == "failed"
    assert isinstance(result.error, AgentError)
    assert "refusal" in result.error.message


async def test_a_check_that_fails_itself_fails_the_run_and_says_so(bench: Bench) -> None:
    bench.script(["hm"])
    result = await bench.run(crew(accept=lambda text: text.nonsense))
    assert "`accept` of its cascade failed: AttributeError" in str(result.error)


async def test_the_runs_model_takes_the_place_of_a_cascade(bench: Bench) -> None:
    bench.script(["hm"])
    result = await bench.run(crew(accept=lambda text: False), model="offline")
    assert (result.output, models(bench)) == ("hm", ["offline"])


async def test_a_reader_sees_the_words_of_the_model_that_answered(bench: Bench) -> None:
    bench.script(by_model("no idea", "all is well"))
    run = await crew(accept=lambda text: "well" in text).astart("Hi", stream=True, **bench.options())
    said = ""
    async for event in run.events():
        if event.kind == "tokens":
            said = event.text if event.name == "anew" else said + event.text
    assert said.strip() == "all is well"


async def test_a_policy_travels_as_its_text_and_names_its_steps(bench: Bench) -> None:
    policy = ModelPolicy(tier="fast", needs=frozenset({"vision"}))
    bench.script(["hello"])
    run = await Crew("desk", agents=[Agent("clerk", "You help.", model=policy)]).astart(
        "Hi", **bench.options()
    )
    steps = [event async for event in run.events() if event.kind == "llm"]
    assert models(bench) == [policy.to_text()]
    assert len(steps) == 1


async def test_a_resumed_turn_goes_the_same_way_and_asks_no_model_again(desk: Open) -> None:
    reached = asyncio.Event()
    down = [ModelUnavailableError("nobody is there")]

    @tool
    async def slow() -> str:
        """Take long, the first time."""
        if not reached.is_set():
            reached.set()
            await asyncio.Event().wait()
        return "done"

    def answer(request: ModelRequest) -> Any:
        if request.model == CHEAP:
            return down.pop() if down else "I am back."  # by then the turn has gone on without it
        return calls(call("slow")) if request.messages[-1].role == "user" else "strong"

    cascade = Cascade([CHEAP, STRONG], accept=lambda text: True)
    at = await desk(slow, script=answer, model=cascade)
    await reached.wait()
    await at.crash()
    assert from_json((await at.end()).output or "null")["output"] == "strong"
    assert [request.model for request in at.gateway.requests] == [CHEAP, STRONG, STRONG]


def test_what_is_no_model_is_refused_with_the_agents_name() -> None:
    with pytest.raises(DefinitionError, match=r"agent 'clerk': model is 7.*\n.*Cascade"):
        Agent("clerk", model=7)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="two models"):
        Cascade([CHEAP])
    with pytest.raises(DefinitionError, match="a list of models"):
        Cascade(CHEAP)


def test_a_crews_description_names_cascades_and_policies_for_people() -> None:
    described = crew().description()["agents"][0]["model"]
    assert described == f"{CHEAP}, then {STRONG}"
