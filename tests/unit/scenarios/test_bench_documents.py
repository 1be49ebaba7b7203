"""What crews may search in a bench: the suite's documents, and a case's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import DocumentError
from callsheet.crews import Crew
from callsheet.crews.system import System
from callsheet.scenarios import Case, Suite
from callsheet.scenarios.running import bench
from callsheet.testing import call, scripted


@pytest.fixture
def crew() -> Crew:
    return Crew("desk", agents=[Agent("clerk", role="You search.", tools=["search_documents"])])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "all.md").write_text("# Orders\n\nOrder 17 left the warehouse on Monday.\n")
    (tmp_path / "own.md").write_text("# Orders\n\nOrder 18 waits in Graz until the snow is gone.\n")
    return tmp_path


def found(request: Any) -> Any:
    """Search once, then say what was found."""
    results = [part for message in request.messages for part in message.parts if hasattr(part, "is_error")]
    return results[-1].content if results else call("search_documents", query="order warehouse snow")


def test_each_case_searches_the_suites_documents_and_its_own_files_alone(crew: Crew, folder: Path) -> None:
    cases = [
        Case(id="own", input="Where is 18?", expected="Monday", files=("own.md",)),
        Case(id="none", input="Where is 17?", expected="Monday"),
    ]
    suite = Suite("orders", cases, ["contains"], documents=["all.md"], folder=folder)
    with scripted(found):
        own, none = bench(suite, crew, host="inline").trials
    assert ("Monday" in own.output, "Graz" in own.output) == (True, True)
    assert ("Monday" in none.output, "Graz" in none.output) == (True, False)


def test_documents_are_read_once_for_all_cases(
    crew: Crew, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    add = System.add_documents

    async def counted(self: System, paths: Any, notices: Any) -> str:
        read.append(paths)
        return await add(self, paths, notices)

    monkeypatch.setattr(System, "add_documents", counted)
    cases = [Case(id=f"case-{n}", input=f"What is {n}?", expected="Monday") for n in range(6)]
    with scripted(found):
        result = bench(
            Suite("orders", cases, ["contains"], documents=["all.md"], folder=folder), crew, host="inline"
        )
    assert result.complete
    assert len(read) == 1


def test_documents_that_cannot_be_read_end_the_bench_and_fail_no_trial(crew: Crew, folder: Path) -> None:
    cases = [Case(id="one", input="Where is 17?", expected="Monday")]
    suite = Suite("orders", cases, ["contains"], documents=["all.md"], folder=folder)
    (folder / "all.md").unlink()
    with scripted(found), pytest.raises(DocumentError, match="does not exist"):
        bench(suite, crew, host="inline")
