"""How well the whole of `research` answers from real documents; run with -s to see the figures.

The offline engine answers, which is no language model: what is measured is whether the crew finds the
right passages and cites them, from loading the files to the writer's last word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callsheet.crews.portal import close_portal
from callsheet.crews.ready import find_crew
from callsheet.settings import load_settings
from tests.data_sets import data_file

CITATION = re.compile(r"\[([^\[\]\s]+\.md)(?:#[^\[\]\s]*)?\]")
FLOOR = 0.75


@pytest.fixture(autouse=True)
def closed(home: Path) -> Iterator[None]:
    """A host of its own, which ends with the test."""
    close_portal()
    yield
    close_portal()


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data_file(name).read_text("utf-8").split("\n") if line.strip()]


@pytest.mark.timeout(600)
async def test_answers_cite_relevant_passages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Share of the questions whose answer cites a passage that the set's authors call relevant."""
    documents = tmp_path / "documents"
    documents.mkdir()
    ids = {}
    for number, row in enumerate(_rows("ir_claude_docs/corpus.jsonl")):
        if row["text"].strip():
            ids[f"{number:04}.md"] = row["doc_id"]
            (documents / f"{number:04}.md").write_text(f"# {row['title']}\n\n{row['text']}", "utf-8")
    monkeypatch.chdir(documents)
    questions = _rows("ir_claude_docs/queries.jsonl")
    settings = load_settings(phoenix="off")
    crew = find_crew("research")
    options: dict[str, Any] = {
        "host": "inline",
        "model": "offline",
        "settings": settings,
        "docs": [documents],
    }
    results = [await crew.arun(question["text"], **options) for question in questions]
    any_, first, none, cited_in_all = 0, 0, 0, 0
    for question, result in zip(questions, results, strict=True):
        cited = [ids[Path(name).name] for name in CITATION.findall(str(result.output))]
        cited_in_all += len(set(cited))
        none += not cited
        any_ += any(id_ in question["relevant"] for id_ in cited)
        first += bool(cited) and cited[0] in question["relevant"]
    print(
        f"\nresearch over ir_claude_docs ({len(ids)} files): of {len(questions)} answers {any_} cite a relevant "
        f"passage, {first} as their first; {none} cite nothing; {cited_in_all / len(questions):.1f} passages an answer"
    )
    assert any_ >= FLOOR * len(questions)
