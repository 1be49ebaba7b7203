"""The tool with which an agent asks a person."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from callsheet.tools.context import ToolContext
from callsheet.tools.tool import tool


@tool
def ask_person(
    question: Annotated[str, Field(min_length=1, max_length=4000)],
    context: ToolContext,
    choices: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=20)]
    | None = None,
) -> str:
    """Ask a person a question and wait for the answer, for what only a person can know or decide.

    Args:
        question: The question, with all that is needed to answer it.
        choices: The answers to choose from; leave it out where any answer will do.
    """
    # An agent's turn never calls this: it sends the question as a message, so that the run can wait for days
    # without a process. Whoever calls the tool by itself is told what can ask.
    context.ask_person(question, choices)
