"""The relay: four agents in sequence, each of which calls the model, its one tool, and the model again.

As a crew of callsheet's, and as the same eight requests by hand, for clients that are no framework: the same
prompts, tools and growing conversations, word for word.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from callsheet.agents import Agent
from callsheet.agents.bodies import ask_body, prompt_of
from callsheet.crews import Crew
from callsheet.models.messages import ToolSpec
from callsheet.models.openai_wire import openai_tools
from callsheet.tools import Tool, tool

MODEL = "gpt-4o-mini"
TASK = "Which of our orders are late, and what do we tell the customers?"
ROLES = {
    "researcher": "You find the facts. Look up what you need with your tool, and give the facts alone.",
    "analyst": "You judge what the facts mean. Look up what is missing, and say what matters most.",
    "writer": "You write the answer in two friendly sentences. Look up how we address our customers.",
    "critic": "You check the answer against the facts. Look up what you doubt, and give the final answer.",
}
CALLS_A_RUN = 2 * len(ROLES)


def found(word: str) -> str:
    """What the tool tells: 200 characters."""
    return f"{word}: ".ljust(200, "x")


def look_up_tool() -> Tool:
    """The one tool."""

    @tool
    def look_up(word: str) -> str:
        """Look a word up.

        Args:
            word: The word to look up, in its basic form.
        """
        return found(word)

    return look_up


def relay(agents: int = len(ROLES)) -> Crew:
    """The crew, a chain; more agents than four are further critics."""
    names = [*ROLES, *(f"critic-{n}" for n in range(len(ROLES), agents))][:agents]
    look_up = look_up_tool()
    members = [Agent(name, role=ROLES[name.partition("-")[0]], tools=[look_up]) for name in names]
    return Crew("relay", agents=members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a client makes of a reply: the text, or the call of a tool."""

    text: str | None
    call_id: str = ""
    name: str = ""
    arguments: str = ""


Post = Callable[[dict[str, Any]], Awaitable[Said]]
"""One model call by hand: takes the request's body."""


@functools.cache
def _by_hand() -> tuple[tuple[str, str, list[dict[str, Any]]], ...]:
    """Each agent's name, prompt and tools, made once."""
    crew = relay()
    spec = [ToolSpec(name=t.name, description=t.description, schema=t.schema) for t in [look_up_tool()]]
    tools = openai_tools(tuple(spec))
    return tuple((agent.name, agent.role.prompt(agent.name, crew.name), tools) for agent in crew.agents)


async def run_by_hand(post: Post) -> str:
    """One run without any framework: the answer. Nothing is kept, checked or traced."""
    given: dict[str, str] = {}
    answer = ""
    for name, prompt, tools in _by_hand():
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": prompt},
            {"role": "user", "content": prompt_of(ask_body(TASK, given=given))},
        ]
        said = await post({"model": MODEL, "messages": messages, "tools": tools})
        assert said.text is None
        function = {"name": said.name, "arguments": said.arguments}
        call = {"id": said.call_id, "type": "function", "function": function}
        result = found(**json.loads(said.arguments))
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": said.call_id, "content": result},
        ]
        said = await post({"model": MODEL, "messages": messages, "tools": tools})
        assert said.text is not None
        answer = said.text
        given = {name: answer}
    return answer
