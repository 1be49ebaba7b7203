"""The crews that built-in suites bring along: simple on purpose, to be beaten."""

from __future__ import annotations

from collections.abc import Sequence

from callsheet.agents import Agent
from callsheet.core.canonical import to_json
from callsheet.crews import Crew


def findable(crew: Crew, module: str) -> Crew:
    """The crew, made known as a variable of that module, so that another process can resume its runs."""
    crew.source = to_json({"module": module, "crew": crew.name})
    return crew


def one_agent_crew(
    agent: str, role: str, *, name: str, module: str, description: str, tools: Sequence[str] = ()
) -> Crew:
    """A crew of one agent, the variable `crew` of that module."""
    agents = [Agent(agent, role=role, tools=list(tools))]
    return findable(Crew(name, agents=agents, description=description), module)
