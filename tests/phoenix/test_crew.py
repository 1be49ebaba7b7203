"""A crew on real Ray, watched in a real Phoenix: its spans, from all its processes, read back over the API."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core import ids
from callsheet.crews import Crew, Result
from callsheet.crews.portal import close_portal, portal
from callsheet.crews.system import shared_system
from callsheet.settings import Settings, load_settings
from callsheet.tools import tool
from callsheet.tracing.phoenix import PhoenixClient
from tests.loopback.models_server import Answer, serving

pytestmark = pytest.mark.timeout(600)

PROJECT = "callsheet-crew-tests"
MODEL = "gpt-4o-mini-2024-07-18"
QUESTION = "Where is order 17?"
Wait = Callable[[Callable[[], bool]], None]


def chat(message: dict[str, Any], stop: str) -> Answer:
    return Answer(
        200,
        {
            "id": "c-1", "model": MODEL,
            "choices": [{"index": 0, "finish_reason": stop, "message": {"role": "assistant", **message}}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
        },
    )  # fmt: skip


CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "order_status", "arguments": '{"order": 17}'},
}
REPLIES = (
    chat({"content": None, "tool_calls": [CALL]}, "tool_calls"),
    chat({"content": "Order 17 is in Utrecht."}, "stop"),
)


@pytest.fixture(scope="module")
def settings(real_phoenix: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings for a Ray and a home of this module's own, which end with it."""
    close_portal()
    os.environ["OPENAI_API_KEY"] = "sk-planted-0123456789abcdef"
    home: Path = tmp_path_factory.mktemp("crew-home")
    try:
        yield load_settings(home=home, phoenix=real_phoenix.process.url, project=PROJECT)
    finally:
        close_portal()
        del os.environ["OPENAI_API_KEY"]


@pytest.fixture
def client(real_phoenix: Any) -> PhoenixClient:
    return PhoenixClient(real_phoenix.process.url, timeout_s=30.0)


async def run_helpdesk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> tuple[Result, list[int]]:
    """One run of two agents, the first on a priced model of the loopback server; and the processes' ids."""

    @tool
    def order_status(order: int) -> str:
        """Look up where an order is."""
        return f"order {order} is in Utrecht"

    clerk = Agent(
        "clerk", role="You answer questions about orders.", tools=[order_status], model="openai/gpt-4o-mini"
    )
    editor = Agent("editor", role="You rewrite answers.", model="offline")
    crew = Crew("helpdesk", agents=[clerk, editor])
    async with serving(*REPLIES) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        result = await crew.arun(QUESTION, host="ray", settings=settings, session="talk-1")

    async def processes() -> list[int]:
        system = await shared_system(settings, "ray", print)
        host: Any = system.host
        services = await host.wait_ready()
        (launch,) = await host.client.query("launches")
        return [*services.values(), *(pid for pids in launch["participants"].values() for pid in pids)]

    return result, await portal().arun(processes())


TRACE = """query($project: ID!, $trace: ID!) { node(id: $project) { ... on Project { trace(traceId: $trace) {
    costSummary { total { cost tokens } } session { sessionId }
    rootSpan { name input { value } output { value } cumulativeTokenCountTotal } } } } }"""


async def test_a_run_on_ray_is_one_trace_over_all_its_processes(
    settings: Settings, client: PhoenixClient, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, pids = await run_helpdesk(settings, monkeypatch)
    assert result.status == "done"
    assert "Utrecht" in result.output
    # coordinator, gateway, memory, flow and two agents: each a process of its own, and none is this one.
    assert len(pids) == len(set(pids)) == 6
    assert os.getpid() not in pids

    wait_until(lambda: len(client.spans(PROJECT, result.run_id)) == 14)
    spans = client.spans(PROJECT, result.run_id)
    assert {span["context"]["trace_id"] for span in spans} == {result.trace_id}
    names = {span["context"]["span_id"]: span["name"] for span in spans}
    assert [span["name"] for span in spans if span["parent_id"] is None] == ["helpdesk"]
    # What the flow did hangs below the message that began it, whoever's name it goes by.
    flows = {name for name in names.values() if name.endswith("(flow)")}
    shown = [("(flow)" if span["name"] in flows else span["name"], span["parent_id"]) for span in spans]
    assert sorted((name, names.get(parent, "")) for name, parent in shown) == sorted(
        [
            ("helpdesk", ""),
            ("person → flow", "helpdesk"), ("flow → clerk", "helpdesk"), ("clerk → flow", "helpdesk"),
            ("flow → editor", "helpdesk"), ("editor → flow", "helpdesk"), ("flow → person", "helpdesk"),
            ("(flow)", "person → flow"), ("clerk", "flow → clerk"), ("editor", "flow → editor"),
            (MODEL, "clerk"), (MODEL, "clerk"), ("order_status", "clerk"), ("offline", "editor"),
        ]
    )  # fmt: skip
    assert {span["status_code"] for span in spans} == {"OK"}

    first, second = sorted(
        (span for span in spans if span["name"] == MODEL), key=lambda span: span["start_time"]
    )
    for span in (first, second):
        assert span["span_kind"] == "LLM"
        assert span["attributes"]["llm.token_count.prompt"] == 1000
        assert span["attributes"]["llm.token_count.completion"] == 100
    asked = second["attributes"]
    assert asked["llm.input_messages.1.message.content"] == QUESTION
    assert asked["llm.input_messages.3.message.content"] == "order 17 is in Utrecht"
    assert asked["llm.output_messages.0.message.content"] == "Order 17 is in Utrecht."
    called = "llm.output_messages.0.message.tool_calls.0.tool_call.function"
    assert first["attributes"][f"{called}.name"] == "order_status"
    assert json.loads(first["attributes"][f"{called}.arguments"]) == {"order": 17}

    (used,) = [span for span in spans if span["span_kind"] == "TOOL"]
    assert json.loads(used["attributes"]["input.value"]) == {"order": 17}
    assert used["attributes"]["output.value"] == "order 17 is in Utrecht"
    assert {span["attributes"]["session.id"] for span in spans} == {"talk-1"}

    variables = {"project": client.project_id(PROJECT), "trace": ids.trace_id(result.run_id)}

    def trace() -> dict[str, Any]:
        return dict(client.graphql(TRACE, variables)["node"]["trace"])

    wait_until(lambda: trace()["costSummary"]["total"]["cost"] is not None)
    found = trace()
    assert found["session"]["sessionId"] == "talk-1"
    assert found["rootSpan"]["input"]["value"] == QUESTION
    assert found["rootSpan"]["output"]["value"] == result.output
    # Two calls of gpt-4o-mini, USD a million tokens: 0.15 in, 0.60 out; Phoenix and we agree.
    assert found["costSummary"]["total"]["cost"] == pytest.approx(2 * (1000 * 0.15e-6 + 100 * 0.6e-6))
    assert result.usage.cost_usd == pytest.approx(found["costSummary"]["total"]["cost"])
    assert (
        found["rootSpan"]["cumulativeTokenCountTotal"]
        == result.usage.input_tokens + result.usage.output_tokens
    )
    assert result.trace_url is not None
    assert result.trace_url.endswith(f"/traces/{result.trace_id}")
