"""Which model a run takes, told before it begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Callsheet

DESK = """
from callsheet import Agent, Crew
crew = Crew("desk", agents=[Agent("clerk", role="You answer."%s)])
"""


@pytest.mark.parametrize("host", [["--inline"], []], ids=["inline", "on a Ray of its own"])
@pytest.mark.parametrize(
    ("model", "key"),
    [("openai/gpt-5.4-mini", "OPENAI_API_KEY"), ("anthropic/claude-sonnet-5", "ANTHROPIC_API_KEY")],
)
def test_a_missing_key_is_told_before_anything_is_started(
    callsheet: Callsheet, home: Path, model: str, key: str, host: list[str]
) -> None:
    ended = callsheet("run", "research", "--model", model, *host, "hello")
    assert ended.status == 2
    assert f"{key} is not set" in ended.err
    assert "gateway" not in ended.err
    assert "starting Ray" not in ended.err
    assert not home.exists()


def test_a_key_that_an_agents_own_model_wants_is_asked_for(callsheet: Callsheet) -> None:
    Path("desk.py").write_text(DESK % ', model="openai/gpt-5.4-mini"')
    ended = callsheet("run", "desk.py", "--inline", "hello")
    assert ended.status == 2
    assert "OPENAI_API_KEY is not set" in ended.err
    assert callsheet("run", "desk.py", "--inline", "--model", "offline", "hello").status == 0


def test_the_models_of_the_settings_want_a_key_too(
    callsheet: Callsheet, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("desk.py").write_text(DESK % "")
    monkeypatch.setitem(os.environ, "CALLSHEET_MODEL", "openai/gpt-5.4-mini")
    assert "OPENAI_API_KEY is not set" in callsheet("run", "desk.py", "--inline", "hello").err


def test_documents_that_nobody_can_search_are_warned_of(callsheet: Callsheet, documents: Path) -> None:
    Path("desk.py").write_text(DESK % "")
    warned = callsheet("run", "desk.py", "--inline", "--docs", "docs", "--", "journal?")
    assert warned.status == 0
    assert 'tools=["search_documents"]' in warned.err
    Path("desk.py").write_text(DESK % ', tools=["search_documents"]')
    fine = callsheet("run", "desk.py", "--inline", "--docs", "docs", "--", "journal?")
    assert "warning" not in fine.err
