"""Crews with policies on the command line: what is missing is said before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Callsheet

CREW = """
from callsheet import Agent, Cascade, Crew, ModelPolicy

policy = ModelPolicy(tier="fast", needs={"vision"})
one = Crew("one", agents=[Agent("clerk", "You help.", model=policy)])
two = Crew("two", agents=[Agent("clerk", "You help.", model=Cascade(["offline", policy]))])
"""


@pytest.fixture
def crews(tmp_path: Path) -> Path:
    """A file with two crews."""
    path = tmp_path / "crews.py"
    path.write_text(CREW)
    return path


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_policy_that_no_model_fits_is_told_before_the_run(
    callsheet: Callsheet, crews: Path, name: str
) -> None:
    ended = callsheet("run", f"{crews}:{name}", "Hi", "--inline")
    assert ended.status == 2
    assert "no fast model with vision" in ended.err
    assert "Set ANTHROPIC_API_KEY or OPENAI_API_KEY" in ended.err


def test_the_runs_own_model_needs_no_policy(callsheet: Callsheet, crews: Path) -> None:
    ended = callsheet("run", f"{crews}:one", "Hi", "--inline", "--model", "offline")
    assert ended.status == 0
