"""One long turn: an agent that calls its tool until the conversation has as many messages as wanted.

As a crew of callsheet's, and as the same requests by hand. The model server asks for the tool as long as the
model's name, `until-N`, says.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.relay_crew import Post, found
from callsheet.agents import Agent
from callsheet.core.limits import Limits
from callsheet.crews import Crew
from callsheet.models.messages import ToolSpec
from callsheet.models.openai_wire import openai_tools
from callsheet.tools import Tool, tool

TASK = "Look everything up."
LIMITS = Limits(model_calls_per_turn=1000)


def look_up_tool() -> Tool:
    """The tool; `n` makes each call another one."""

    @tool
    def look_up(word: str, n: int) -> str:
        """Look a word up.

        Args:
            word: The word to look up, in its basic form.
            n: Where to go on.
        """
        return found(f"{word} {n}")

    return look_up


def conversation() -> Crew:
    """The crew: one agent."""
    clerk = Agent("clerk", role="You look up what you are told to.", tools=[look_up_tool()])
    return Crew("conversation", agents=[clerk])


def calls_until(messages: int) -> int:
    """Model calls until a request has so many messages: each but the last one adds a call and its result."""
    return max(0, (messages - 1) // 2) + 1


async def run_by_hand(post: Post, messages: int) -> None:
    """One turn without any framework."""
    (clerk,) = conversation().agents
    spec = [ToolSpec(name=t.name, description=t.description, schema=t.schema) for t in clerk.tools]
    tools = openai_tools(tuple(spec))
    told: list[dict[str, Any]] = [
        {"role": "system", "content": clerk.role.prompt("clerk", "conversation")},
        {"role": "user", "content": TASK},
    ]
    while True:
        said = await post({"model": f"until-{messages}", "messages": told, "tools": tools})
        if said.text is not None:
            return
        arguments = json.loads(said.arguments)
        function = {"name": said.name, "arguments": said.arguments}
        call = {"id": said.call_id, "type": "function", "function": function}
        told += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {
                "role": "tool",
                "tool_call_id": said.call_id,
                "content": found(f"{arguments['word']} {arguments['n']}"),
            },
        ]
