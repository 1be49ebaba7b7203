"""What failed in a bench, each kind once: runs that ended without an answer, and scorers that could not judge."""

from __future__ import annotations

from callsheet.scenarios.results import BenchResult
from callsheet.scenarios.summary import Summary


def kinds_of_failure(result: BenchResult, summary: Summary) -> list[tuple[tuple[str, str], list[str]]]:
    """`((candidate, first line of what went wrong), cases)`, the most frequent first."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for c in summary.candidates:
        for trial in result.of(c.candidate):
            # A scorer's error names its case; without it, the same failure in many cases is one kind.
            wrong = [
                f"scorer {name}: {record.error.replace(f' at case {trial.case!r}', '', 1)}"
                for name, record in trial.scores.items()
                if record.error
            ]
            if trial.status != "done":
                wrong.append(trial.error or trial.status)
            for what in wrong:
                kinds.setdefault((c.label, what.strip().partition("\n")[0]), []).append(trial.case)
    return sorted(kinds.items(), key=lambda item: -len(item[1]))
