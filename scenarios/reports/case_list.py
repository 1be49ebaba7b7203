"""The page's list of cases: each with its input, what was expected, and every answer with its scores and trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from callsheet.scenarios.comparing import Comparison
from callsheet.scenarios.measures import case_means, score_of
from callsheet.scenarios.reports.formats import number, seconds, text_of, usd
from callsheet.scenarios.reports.markup import cut, link, table, text
from callsheet.scenarios.results import BenchResult, ScorerInfo, Trial, by_case
from callsheet.scenarios.summary import Summary

MOST_CASES = 2000
MOST_RUNS = 10_000
"""Of all candidates and repeats: each may have an answer of 3,000 characters."""
_MOST_SIGNS = 3000

_FILTERS = (
    ("", "all"), ("wrong", "not fully right"), ("failed", "failed"), ("differ", "candidates differ"),
    ("changed", "changed"),
)  # fmt: skip


def case_list(result: BenchResult, summary: Summary, comparison: Comparison | None) -> str:
    """The section: filters, and a fold-out a case; the first 2,000 cases, fewer where each has many runs."""
    labels = [c.label for c in summary.candidates]
    trials = {c.label: by_case(result.of(c.candidate)) for c in summary.candidates}
    means = {
        c.label: case_means(result.of(c.candidate), score_of(summary.scorers[0])) for c in summary.candidates
    }
    changes: dict[str, list[str]] = {}
    for compared in comparison.candidates if comparison else ():
        for changed in compared.changed:
            changes.setdefault(changed.case, []).append(f"{compared.label}: {changed.change}")
    runs_a_case = max(1, len(labels) * summary.repeats)
    shown = result.info.cases[: max(1, min(MOST_CASES, MOST_RUNS // runs_a_case))]
    parts = []
    tags_used: set[str] = set()
    for case in shown:
        runs = {label: trials[label].get(case, []) for label in labels}
        values = {label: means[label].get(case) for label in labels}
        tags = _tags(runs, values, summary.scorers[0])
        if case in changes:
            tags.append("changed")
        tags_used.update(tags)
        parts.append(_case(case, result.inputs.get(case), runs, values, summary, tags, changes.get(case, [])))
    buttons = "".join(
        f'<button type="button" data-tag="{tag}" aria-pressed="{"false" if tag else "true"}">{words}</button>'
        for tag, words in _FILTERS
        if not tag or tag in tags_used
    )
    search = '<input type="search" placeholder="Search" aria-label="Search">'
    filters = f'<div class="filter hidden">{buttons}{search}</div>'
    left_out = len(result.info.cases) - len(shown)
    note = (
        f"<p>The first {len(shown):,} cases; {left_out:,} more are in the JSON file.</p>" if left_out else ""
    )
    order = ", ".join(f"{i} {text(label)}" for i, label in enumerate(labels, start=1))
    return (
        f'<h2>Cases</h2>\n<p class="soft">Marks: {order}. <span id="shown"></span></p>{note}\n'
        f'{filters}\n<div id="cases">\n{"".join(parts)}</div>\n'
    )


def _tags(
    runs: Mapping[str, Sequence[Trial]], values: Mapping[str, float | None], scorer: ScorerInfo
) -> list[str]:
    tags = []
    known = [value for value in values.values() if value is not None]
    full = 1.0 if scorer.better == "higher" else 0.0
    if not scorer.unit and any(value != full for value in known):
        tags.append("wrong")
    if any(trial.status != "done" for found in runs.values() for trial in found):
        tags.append("failed")
    if not scorer.unit and len({round(value, 9) for value in known}) > 1:
        tags.append("differ")
    return tags


def _case(
    case: str, given: Any, runs: Mapping[str, Sequence[Trial]], values: Mapping[str, float | None], summary: Summary,
    tags: Sequence[str], changes: Sequence[str],
) -> str:  # fmt: skip
    given = given if isinstance(given, dict) else {}
    asked = text_of(given.get("input", ""))
    marks = "".join(_mark(runs[label], value, summary.scorers[0]) for label, value in values.items())
    short = " ".join(asked.split())[:110]
    rows = [
        _row(rank, trial, summary)
        for rank, found in enumerate(runs.values(), start=1)
        for trial in found
    ]  # fmt: skip
    heads = ["#", "answer", *(text(s.name) for s in summary.scorers), "time", "cost", "trace"]
    if summary.repeats > 1:
        heads[0] = "# · repeat"
    changed = "".join(f'<p class="warn">Changed: {text(change)}</p>' for change in changes)
    expected = given.get("expected")
    return (
        f'<details data-tags="{" ".join(tags)}"><summary><span class="marks">{marks}</span>'
        f'<span class="id">{text(case)}</span> <span class="soft">{text(short)}</span></summary><div class="open">'
        f"{changed}<h3>Input</h3><pre>{cut(asked, _MOST_SIGNS)}</pre>"
        + (
            f"<h3>Expected</h3><pre>{cut(text_of(expected), _MOST_SIGNS)}</pre>"
            if expected is not None
            else ""
        )
        + f"<h3>Answers</h3>{table(heads, rows, left=range(len(heads)))}</div></details>\n"
    )


def _row(rank: int, trial: Trial, summary: Summary) -> list[str]:
    if trial.status == "done":
        answer = f'<pre class="answer">{cut(text_of(trial.output), _MOST_SIGNS)}</pre>'
    else:
        answer = f'<pre class="answer bad">{text(trial.status)}: {cut(trial.error or "no answer", _MOST_SIGNS)}</pre>'
    first = f"{rank} · {trial.repeat + 1}" if summary.repeats > 1 else str(rank)
    trace = link(trial.trace_url, "trace") or f'<span class="soft">{text(trial.run_id)}</span>'
    scores = [_score(trial, scorer) for scorer in summary.scorers]
    return [first, answer, *scores, seconds(trial.elapsed_s), usd(trial.cost_usd), trace]


def _score(trial: Trial, scorer: ScorerInfo) -> str:
    record = trial.scores.get(scorer.name)
    if record is None:
        return "–"
    if record.error:
        return f'<span class="warn">scorer failed: {cut(record.error, 300)}</span>'
    why = f'<br><span class="soft">{cut(record.explanation, 300)}</span>' if record.explanation else ""
    return f"{text(number(record.value, scorer.unit))}{why}"


def _mark(trials: Sequence[Trial], value: float | None, scorer: ScorerInfo) -> str:
    """One sign a candidate: right, wrong, failed, or the share."""
    if trials and all(trial.status != "done" for trial in trials):
        sign, kind, words = "!", "warn", "failed"
    elif value is None:
        sign, kind, words = "–", "soft", "not scored"
    elif scorer.unit or value not in (0.0, 1.0):
        sign, kind, words = number(value, scorer.unit) if scorer.unit else f"{value:.2f}", "", scorer.name
    elif (value == 1.0) == (scorer.better == "higher"):
        sign, kind, words = "✓", "good", "right"
    else:
        sign, kind, words = "✗", "bad", "wrong"
    return f'<span class="mark {kind}" title="{text(words)}">{text(sign)}</span>'
