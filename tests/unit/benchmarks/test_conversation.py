"""The same requests by hand as by the crew: their number follows from the length."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import conversation, relay_crew
from benchmarks.model_server import reply_to
from benchmarks.relay_crew import Said


class Model:
    """The model server without a wire."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    async def post(self, body: dict[str, Any]) -> Said:
        self.requests.append(json.loads(json.dumps(body)))
        message = json.loads(reply_to(json.dumps(body).encode())[1])["choices"][0]["message"]
        if message["content"] is not None:
            return Said(text=message["content"])
        (call,) = message["tool_calls"]
        return Said(text=None, call_id=call["id"], **call["function"])


async def test_a_relay_by_hand_makes_eight_calls_with_what_the_agent_before_has_said() -> None:
    model = Model()
    assert await relay_crew.run_by_hand(model.post)
    assert len(model.requests) == relay_crew.CALLS_A_RUN
    roles = [[message["role"] for message in asked["messages"]] for asked in model.requests]
    assert roles == [["system", "user"], ["system", "user", "assistant", "tool"]] * 4
    results = {
        len(m["content"]) for asked in model.requests for m in asked["messages"] if m["role"] == "tool"
    }
    assert results == {200}
    second = model.requests[2]["messages"][1]["content"]
    assert relay_crew.TASK in second
    assert '<from agent="researcher">' in second


@pytest.mark.parametrize("messages", [1, 2, 3, 4, 10, 31, 100])
async def test_a_conversation_ends_with_so_many_messages_and_calls(messages: int) -> None:
    model = Model()
    await conversation.run_by_hand(model.post, messages)
    assert len(model.requests) == conversation.calls_until(messages)
    assert len(model.requests[-1]["messages"]) in (max(2, messages), max(2, messages) + 1)
