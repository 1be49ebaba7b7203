"""The response cache as crews have it: off unless set, and marked where it answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from callsheet.agents import Agent
from callsheet.core.canonical import from_json
from callsheet.core.errors import DefinitionError
from callsheet.crews import Crew
from callsheet.crews.portal import close_portal
from callsheet.runtime.journal import Journal, end_of
from callsheet.settings import load_settings


def cached_calls(home: Path) -> list[int]:
    """How many of its model calls the cache answered, by run, as the journal has it of each."""
    journal = Journal(home / "journal.db")
    try:
        return [end_of(run).usage.cached_calls for run in sorted(journal.runs(), key=lambda run: run.started)]
    finally:
        journal.close()


def sources(home: Path) -> list[list[str]]:
    """Who answered each model call, by run."""
    journal = Journal(home / "journal.db")
    try:
        return [
            [from_json(step.result)["source"] for step in journal.steps(run.run_id) if step.kind == "llm"]
            for run in sorted(journal.runs(), key=lambda run: run.started)
        ]
    finally:
        journal.close()


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_portal()


def ask(cache: bool | None, temperature: float | None, times: int, *, on: bool) -> None:
    crew = Crew("desk", agents=[Agent("clerk", role="You answer.", cache=cache, temperature=temperature)])
    settings = load_settings(phoenix="off", response_cache=on)
    for _ in range(times):
        assert crew.run("Is it here?", host="inline", model="offline", settings=settings).status == "done"
        close_portal()  # what is kept is written by then; the next run may be another process's


@pytest.mark.parametrize(("cache", "temperature"), [(None, 0.0), (True, None), (True, 0.7)])
def test_where_it_is_on_the_second_run_is_answered_from_it(
    home: Path, cache: bool | None, temperature: float | None
) -> None:
    ask(cache, temperature, 2, on=True)
    assert sources(home) == [["model"], ["cache"]]
    assert cached_calls(home) == [0, 1]


@pytest.mark.parametrize(
    ("cache", "temperature", "on"), [(None, None, True), (False, 0.0, True), (True, 0.0, False)]
)
def test_else_models_are_asked(home: Path, cache: bool | None, temperature: float | None, on: bool) -> None:
    ask(cache, temperature, 2, on=on)
    assert sources(home) == [["model"], ["model"]]
    assert on or not (home / "responses.db").exists()


def test_an_agent_is_told_what_cache_is() -> None:
    with pytest.raises(DefinitionError, match="cache is 'on'"):
        Agent("clerk", role="You answer.", cache="on")  # type: ignore[arg-type]
