"""Documents of a run: what its agents may search, and what belongs to other runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.crews import Crew
from callsheet.models.messages import ToolResult
from tests.unit.crews.fake_models import Bench, call, calls, prompt


def searcher() -> Crew:
    return Crew("search", agents=[Agent("clerk", tools=["search_documents", "read_file"])])


def search_and_quote(request: Any) -> Any:
    if len(request.messages) == 2:
        return calls(call("search_documents", query=prompt(request)))
    (result,) = request.messages[-1].parts
    assert isinstance(result, ToolResult)
    return result.content


async def test_one_path_is_a_list_of_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("guide.md").write_text("Parrots eat seeds.")
    bench.script(search_and_quote, memory=True)
    for docs in ("guide.md", Path("guide.md"), ["guide.md"], [tmp_path]):
        result = await bench.run(searcher(), "What do parrots eat?", docs=docs)
        assert result.error is None
        assert "Parrots eat seeds." in result.output
        assert "guide.md" in result.output


async def test_files_of_one_name_in_two_folders_do_not_mix(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs at once, each from its own folder: the first must not be given the second's text."""
    second_is_in = asyncio.Event()

    async def answer(request: Any) -> Any:
        if request.session_id == "one":
            await second_is_in.wait()
        else:
            second_is_in.set()
        return search_and_quote(request)

    bench.script(answer, memory=True)
    crew, runs = searcher(), []
    for folder, food in (("one", "seeds"), ("two", "nuts")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "guide.md").write_text(f"Parrots eat {food}.")
        monkeypatch.chdir(tmp_path / folder)
        task = "What do parrots eat?"
        runs.append(await crew.astart(task, docs="guide.md", session=folder, **bench.options()))
    one, two = [(await run.aresult()).output for run in runs]
    assert "seeds" in one
    assert "nuts" not in one
    assert "nuts" in two


async def test_what_was_edited_is_found_and_what_was_removed_is_not(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bench.script(search_and_quote, memory=True)
    for food in ("seeds", "nuts"):
        Path("guide.md").write_text(f"Parrots eat {food}.")
        result = await bench.run(searcher(), "What do parrots eat?", docs="guide.md")
        assert f"Parrots eat {food}." in result.output
    assert "seeds" not in result.output


async def test_a_run_reads_files_of_its_own_folder_alone(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("inside")
    (tmp_path / "secret.txt").write_text("hidden text")
    paths = ("a.txt", "../secret.txt", str(tmp_path / "secret.txt"))
    gateway = bench.script([calls(*(call("read_file", path=path) for path in paths)), "done"])
    await bench.run(searcher(), folder=tmp_path / "in")
    inside, *outside = gateway.results()
    assert "inside" in inside.content
    assert all(result.is_error and "hidden text" not in result.content for result in outside)
