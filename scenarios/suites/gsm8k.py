"""GSM8K: grade-school maths word problems, whose answer is a number.

Cobbe et al., "Training Verifiers to Solve Math Word Problems", arXiv:2110.14168 (2021).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from callsheet.core.errors import SuiteError
from callsheet.scenarios.case import Case
from callsheet.scenarios.suite import Suite
from callsheet.scenarios.suites.crews import one_agent_crew
from callsheet.scenarios.suites.public_set import PublicSet, rows_with

PUBLIC = PublicSet(
    suite="gsm8k", folders=("gsm8k", "grade_school_math"),
    published="OpenAI publishes GSM8K on GitHub, as openai/grade-school-math: grade_school_math/data/test.jsonl.",
)  # fmt: skip

crew = one_agent_crew(
    "solver",
    "You solve word problems. Work step by step, and check each step. End with a line of its "
    "own that has the result alone, as a number without unit: A: 42",
    name="gsm8k", module=__name__, description="Solves word problems with one agent.",
)  # fmt: skip


def suite(data: Path | None) -> Suite:
    """The problems of the file `problems.jsonl`, or of upstream's `test.jsonl`."""
    path = PUBLIC.find(data, ("problems.jsonl", "test.jsonl"))
    cases = [
        Case(
            id=str(row.values.get("id") or f"gsm8k-test-{number:04d}"),
            input=row.values["question"],
            expected=row.values.get("final") or _final(path, row.line, row.values["answer"]),
            metadata={"solution": row.values["answer"]},
        )
        for number, row in enumerate(rows_with(path, "question", "answer"))
    ]
    return Suite(
        "gsm8k", cases, ["numeric"], folder=path.parent, crew=crew,
        description="Grade-school maths word problems; right is the number that the answer ends with.",
    )  # fmt: skip


def _final(path: Path, line: int, answer: Any) -> str:
    _, marker, result = str(answer).rpartition("####")
    if not marker:
        raise SuiteError(
            f"{path}, line {line}: the answer does not end in #### and its result", path=str(path),
            hint="Give the set's own file, as it is published.",
        )  # fmt: skip
    return result.strip().replace(",", "")
