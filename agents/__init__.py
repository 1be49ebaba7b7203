"""Agents: a role, tools, a model and an output, and the think–act loop that makes turns of them."""

from callsheet.agents.agent import Agent

__all__ = ["Agent"]
