"""Crews with policies on the command line: what is missing is said before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import DefinitionError
from callsheet.crews.starting import RunOptions
from callsheet.models.policy import AgentModel, Cascade, ModelPolicy, model_from_data, model_to_data
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


def test_the_name_of_a_tier_is_a_model_of_every_agent(callsheet: Callsheet, crews: Path) -> None:
    ended = callsheet("run", f"{crews}:two", "Hi", "--inline", "--model", "frontier")
    assert ended.status == 2
    assert "no frontier model" in ended.err
    assert "Set ANTHROPIC_API_KEY or OPENAI_API_KEY" in ended.err


@pytest.mark.parametrize(
    "model",
    [
        "offline",
        ModelPolicy(tier="fast", needs=["vision"], prefer=["openai/*"]),
        Cascade(["offline", ModelPolicy()]),
    ],
)
def test_what_a_run_is_given_is_read_back_as_it_was(model: AgentModel) -> None:
    assert model_from_data(from_json(to_json(model_to_data(model)))) == model


def test_a_check_cannot_be_given_to_a_run_since_it_could_not_be_kept() -> None:
    with pytest.raises(DefinitionError, match="with a check") as caught:
        RunOptions.of({"model": Cascade(["offline", "openai/x"], accept=bool)})
    assert "Agent(model=" in caught.value.hint
