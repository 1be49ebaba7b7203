"""StrategyQA: yes/no questions whose steps have to be thought of.

Geva et al., "Did Aristotle Use a Laptop? A Question Answering Benchmark with Implicit Reasoning Strategies",
TACL 2021.
"""

from __future__ import annotations

from pathlib import Path

from callsheet.scenarios.case import Case
from callsheet.scenarios.suite import Suite
from callsheet.scenarios.suites.crews import one_agent_crew
from callsheet.scenarios.suites.public_set import PublicSet, rows_with

PUBLIC = PublicSet(
    suite="strategyqa", folders=("strategyqa",),
    published="Elad Segal publishes StrategyQA on GitHub, as eladsegal/strategyqa: data/strategyqa. A line of "
    "questions.jsonl is one of its questions: qid, question, answer.",
)  # fmt: skip

crew = one_agent_crew(
    "solver",
    "You answer yes/no questions. Think first of what has to be known, state each fact in a "
    "sentence, and conclude. End with a line of its own: Answer: yes, or Answer: no",
    name="strategyqa", module=__name__, description="Answers yes/no questions with one agent.",
)  # fmt: skip


def suite(data: Path | None) -> Suite:
    """The questions of the file `questions.jsonl`."""
    path = PUBLIC.find(data, ("questions.jsonl",))
    cases = [
        Case(
            id=row.values["qid"],
            input=row.values["question"],
            expected="yes" if row.values["answer"] else "no",
            metadata={name: row.values[name] for name in ("term", "facts") if name in row.values},
        )
        for row in rows_with(path, "qid", "question", "answer")
    ]
    return Suite(
        "strategyqa", cases, ["choice"], folder=path.parent, crew=crew,
        description="Yes/no questions with implicit steps; right is the yes or no that the answer states.",
    )  # fmt: skip
