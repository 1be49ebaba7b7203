"""What models say while they say it."""

from __future__ import annotations

from callsheet.agents import Agent
from callsheet.crews import Crew
from callsheet.tools import tool
from tests.unit.crews.fake_models import Bench, call, calls


@tool
def lookup(order: int) -> str:
    """Look an order up."""
    return f"order {order}"


def desk() -> Crew:
    clerk = Agent("clerk", role="You answer.", tools=[lookup])
    return Crew("desk", agents=[clerk, Agent("editor", role="You polish.")])


async def test_the_parts_of_an_answer_come_before_it_and_add_up_to_it(bench: Bench) -> None:
    bench.script({"clerk": [calls(call("lookup", order=17)), "it is on its way"], "editor": ["all is well"]})
    run = await desk().astart("Where is it?", stream=True, **bench.options())
    events = [event async for event in run.events()]
    said: dict[str, str] = {}
    for event in events:
        if event.kind == "tokens":
            said[event.sender] = said.get(event.sender, "") + event.text
    assert said == {"clerk": " it is on its way ", "editor": "all is well "}
    order = [(event.kind, event.sender) for event in events]
    assert order.index(("tokens", "editor")) < order.index(("llm", "editor"))
    assert (await run.aresult()).output == "all is well"


async def test_nothing_is_streamed_that_nobody_wanted(bench: Bench) -> None:
    bench.script({"clerk": ["yes"], "editor": ["yes"]})
    run = await desk().astart("Where is it?", **bench.options())
    assert "tokens" not in [event.kind async for event in run.events()]
    assert not any(request.stream for request in bench.gateway.requests)
