"""Every scorer judges every text that strangers may write, as a share and without failing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.data import storable
from callsheet.scenarios import Attempt, Case
from callsheet.scenarios.scorers import make_scorer
from tests.data_sets import data_file

EXPECTED: dict[str, Any] = {
    "exact": "right",
    "contains": ["zebra", "crossing"],
    "numeric": 18.53125,
    "normalised": ["zebra", "crossing"],
    "f1": ["zebra", "crossing"],
    "choice": "yes",
    "regex": r"right\d",
    "json_schema": {"type": "object", "required": ["right"]},
    "function_calls": [{"right": {"x": [1]}}],
    "sql": {"database": "empty.sqlite", "sql": "SELECT 17"},
    "citation_precision": ["right.md"],
    "citation_recall": ["right.md"],
}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    found = [row["text"] for row in rows("naughty_strings/strings.jsonl")]
    found += [
        json.dumps(row) for name in ("direct", "indirect") for row in rows(f"prompt_injection/{name}.jsonl")
    ]
    found += [
        row["text"] for row in rows("malformed_json/model_outputs.jsonl") if isinstance(row.get("text"), str)
    ]
    assert len(found) > 400
    return found


@pytest.mark.parametrize("use", sorted(EXPECTED))
async def test_strangers_texts_are_judged(use: str, texts: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty.sqlite").touch()
    scorer = make_scorer(use, folder=tmp_path)
    case = Case(id="c", input="?", expected=EXPECTED[use])
    scorer.check(case)
    for text in texts:
        # What a journal keeps has no lone surrogates; what a function returns may.
        for output in (storable(text), text, {"value": text}, [text]):
            score = await scorer.score(Attempt(case=case, output=output), never)
            assert score.value < 1 or use == "choice", text
            assert score.value >= 0
            assert len(score.explanation) < 2000


async def never(crew: Any, given: Any) -> Any:
    raise AssertionError("no crew is run")


def rows(name: str) -> list[dict[str, Any]]:
    # Not splitlines: some of the texts hold signs that Python takes for ends of lines.
    return [json.loads(line) for line in data_file(name).read_bytes().splitlines()]
