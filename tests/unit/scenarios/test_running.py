"""Benches in this process: what they do, keep, and say when something goes wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import DefinitionError, LimitError, ModelRequestError, RunError, UsageError
from callsheet.crews import Crew
from callsheet.scenarios import Case, Suite, scorer
from callsheet.scenarios.running import Bench, abench, bench
from callsheet.scenarios.standing import Standing
from callsheet.testing import call, reply, scripted
from callsheet.tools import tool


@scorer
def right(attempt: Any) -> bool:
    return bool(attempt.output == attempt.case.expected)


@tool
def double(number: int) -> int:
    """Double a number.

    Args:
        number: The number.
    """
    return 2 * number


def crew(name: str = "solver", **fields: Any) -> Crew:
    return Crew(name, agents=[Agent("clerk", role="You answer.", **fields)])


def suite(count: int = 4, **fields: Any) -> Suite:
    cases = [Case(id=f"case-{i}", input=f"What is {i}?", expected=f"it is {i}") for i in range(count)]
    return Suite("small", cases, scorers=fields.pop("scorers", [right]), **fields)


def asked(request: Any) -> str:
    """The number that a case asks for."""
    return str(request.messages[-1].text).rpartition("What is ")[2].partition("?")[0]


def answers(request: Any) -> Any:
    return f"it is {asked(request)}"


def test_each_case_is_in_the_result_once_with_its_score() -> None:
    with scripted(answers):
        result = bench(suite(4), crew(), host="inline")
    assert result.complete
    assert [trial.case for trial in result.trials] == [f"case-{i}" for i in range(4)]
    assert all(trial.scores["right"].value == 1 for trial in result.trials)
    assert [trial.llm_calls for trial in result.trials] == [1] * 4
