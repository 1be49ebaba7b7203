"""BFCL: which functions are called, with which arguments. Its single-turn categories; nothing is carried out.

Patil et al., "The Berkeley Function Calling Leaderboard (BFCL): From Tool Use to Agentic Evaluation of Large
Language Models", ICML 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from callsheet.agents import Agent
from callsheet.core.errors import SuiteError
from callsheet.crews import Crew
from callsheet.crews.flow import FlowRun
from callsheet.scenarios.case import Case
from callsheet.scenarios.suite import Suite
from callsheet.scenarios.suites.crews import findable
from callsheet.scenarios.suites.public_set import PublicSet, rows_with
from callsheet.scenarios.tables import Row

PARTS = (
    "simple_python", "multiple", "parallel", "parallel_multiple", "live_simple", "live_multiple", "live_parallel",
    "live_parallel_multiple", "irrelevance", "live_irrelevance",
)  # fmt: skip
"""The categories; each is a suite of its own too: `bfcl:parallel`."""

PUBLIC = PublicSet(
    suite="bfcl", folders=("bfcl", "bfcl_eval/data"),
    published="The Gorilla project publishes BFCL on GitHub, as ShishirPatil/gorilla: "
    "berkeley-function-call-leaderboard/bfcl_eval/data, with the folder possible_answer in it. Or a line of a "
    "category's .jsonl file has id, question, function and ground_truth.",
)  # fmt: skip

_UPSTREAM = "BFCL_v4_"

_KINDS = {"dict": "object", "float": "number", "tuple": "array"}
"""BFCL's names of types that JSON Schema has others for."""

crew = Crew(
    "bfcl",
    agents=[
        Agent(
            "caller",
            role="You answer by calling the functions that fit the request, all that it takes at once, with the "
            "arguments that the request gives. Where none fits, or a needed argument is not given, call none and "
            "say so in a sentence.",
        )
    ],
    description="Calls functions that differ from case to case.",
)
findable(crew, __name__)


@crew.flow
async def calls(run: FlowRun, given: dict[str, Any]) -> Any:
    """The calls that the model makes, or what it says if it makes none."""
    return await run.ask("caller", given["question"], functions=given["functions"])


def suite(data: Path | None, part: str = "") -> Suite:
    """The cases of one category, or of all that are there."""
    names = (part,) if part else PARTS
    first = PUBLIC.find(
        data, [file for name in names for file in (f"{name}.jsonl", f"{_UPSTREAM}{name}.json")]
    )
    cases = [_case(name, row) for name in names for row in _rows(first.parent, name)]
    return Suite(
        f"bfcl-{part}" if part else "bfcl", cases,
        [{"use": "function_calls", "functions_from": "input.functions"}],
        folder=first.parent, crew=crew,
        description="Function calling; right are the same functions with accepted arguments, in any order.",
    )  # fmt: skip


def _rows(folder: Path, name: str) -> list[Row]:
    """The rows of a category, answers included; none where it is not there. Upstream keeps the answers apart."""
    own, upstream = folder / f"{name}.jsonl", folder / f"{_UPSTREAM}{name}.json"
    if own.exists():
        return rows_with(own, "id", "question", "function", "ground_truth")
    if not upstream.exists():
        return []
    rows = rows_with(upstream, "id", "question", "function")
    if name.endswith("irrelevance"):  # no call is right
        answers: dict[Any, Any] = {row.values["id"]: [] for row in rows}
    else:
        path = folder / "possible_answer" / upstream.name
        answers = {
            row.values["id"]: row.values["ground_truth"] for row in rows_with(path, "id", "ground_truth")
        }
    for row in rows:
        if row.values["id"] not in answers:
            raise SuiteError(
                f"{upstream}, line {row.line}: {row.values['id']} has no answer in the folder possible_answer",
                path=str(upstream), hint="Take both files from the same version of the set.",
            )  # fmt: skip
        row.values["ground_truth"] = answers[row.values["id"]]
    return rows


def _case(category: str, row: Row) -> Case:
    functions = [
        {
            "name": function["name"],
            "description": function.get("description", ""),
            "parameters": json_schema(function["parameters"]),
        }
        for function in row.values["function"]
    ]
    said = [message["content"] for turn in row.values["question"] for message in turn]
    return Case(
        id=row.values["id"],
        input={"question": "\n\n".join(said), "functions": functions},
        expected=row.values["ground_truth"],
        metadata={"category": category},
    )


def json_schema(declared: Mapping[str, Any]) -> dict[str, Any]:
    """BFCL's declaration of a type as JSON Schema, in a form that providers take."""
    found = dict(declared)
    kind = found.get("type")
    if kind == "any":
        del found["type"]
    elif kind in _KINDS:
        found["type"] = _KINDS[kind]
    if found.get("type") == "array":
        found["items"] = json_schema(found["items"]) if isinstance(found.get("items"), Mapping) else {}
    if isinstance(found.get("properties"), Mapping):
        found["properties"] = {name: json_schema(part) for name, part in found["properties"].items()}
    return found
