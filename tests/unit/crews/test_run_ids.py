"""Runs under an id of their starter's, and with documents that are in the memory already."""

from __future__ import annotations

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import DefinitionError, UsageError
from callsheet.crews import Crew
from callsheet.testing import scripted


@pytest.fixture
def crew() -> Crew:
    return Crew("desk", agents=[Agent("clerk", role="You answer.")])


def test_a_run_has_the_id_that_it_was_given(crew: Crew) -> None:
    with scripted(["yes"]):
        assert crew.run("Is it here?", host="inline", run_id="mine-00001").run_id == "mine-00001"


def test_an_id_is_for_one_run_and_a_second_is_refused_before_any_model_is_asked(crew: Crew) -> None:
    with scripted(["yes"]) as script:
        crew.run("Is it here?", host="inline", run_id="mine-00001")
        with pytest.raises(UsageError, match="there is a run mine-00001 already, and it is done"):
            crew.run("Is it there?", host="inline", run_id="mine-00001")
        assert len(script.requests) == 1


@pytest.mark.parametrize(
    "run_id", ["", "short", "Mine-00001", "mine/00001", "-mine-0001", "m" * 65, 17, "mine-0001\n"]
)
def test_what_can_be_no_id_is_refused(crew: Crew, run_id: object) -> None:
    with pytest.raises(DefinitionError, match="a run's id cannot be"):
        crew.run("Is it here?", host="inline", run_id=run_id)  # type: ignore[arg-type]


def test_documents_come_by_path_or_by_collection_and_not_both(crew: Crew) -> None:
    with pytest.raises(DefinitionError, match="docs and a collection are both given"):
        crew.run("Is it here?", host="inline", docs=["README.md"], collection="docs-1")
