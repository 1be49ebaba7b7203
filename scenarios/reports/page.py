"""A bench as one HTML file: figures, tables and every case. It loads nothing, and runs no script but its own.

What models, cases and errors say is escaped; besides that, the page's content policy allows one script, by its hash,
and no connection, image, frame or form at all. So a hostile answer is text, whatever it holds.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from pathlib import Path

from callsheet.core.errors import UsageError
from callsheet.scenarios.comparing import Comparison
from callsheet.scenarios.measures import Difference
from callsheet.scenarios.reports import plots
from callsheet.scenarios.reports.case_list import case_list
from callsheet.scenarios.reports.failures import kinds_of_failure
from callsheet.scenarios.reports.files import write_text
from callsheet.scenarios.reports.formats import (
    count,
    interval,
    number,
    p_value,
    plural,
    seconds,
    signed,
    spent,
    usd,
)
from callsheet.scenarios.reports.markup import cut, table, text
from callsheet.scenarios.reports.style import SCRIPT, STYLE
from callsheet.scenarios.results import BenchResult
from callsheet.scenarios.summary import Summary, summarise

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def write_page(result: BenchResult, path: str | Path, comparison: Comparison | None = None) -> None:
    """Write the page; without matplotlib it says in the plots' place how to get them. Raises UsageError."""
    write_text(path, page(result, comparison))


def page(result: BenchResult, comparison: Comparison | None = None) -> str:
    """The page's HTML."""
    summary = summarise(result)
    allowed = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"{_POLICY}; script-src 'sha256-{allowed}'"
    title = text(f"{summary.suite}: {plural(summary.cases, 'case')}")
    sections = [
        _head(result, summary), _ranking(summary), _plots(result, summary), _scorers(summary), _passes(summary),
        _pairs(summary), _comparison(comparison), _failures(result, summary),
        case_list(result, summary, comparison),
    ]  # fmt: skip
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style></head><body>\n{''.join(sections)}"
        f"<script>{SCRIPT}</script>\n</body></html>\n"
    )


def _head(result: BenchResult, summary: Summary) -> str:
    info = result.info
    judging = sum(c.judging_usd for c in summary.candidates)
    facts = [
        f"{plural(summary.cases, 'case')} × {plural(len(summary.candidates), 'candidate')}"
        + (f" × {summary.repeats} repeats" if summary.repeats > 1 else ""),
        spent(
            sum(c.cost_total for c in summary.candidates) + judging,
            judging,
            sum(c.cost_unknown for c in summary.candidates),
        ),
        dt.datetime.fromtimestamp(info.started, dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        f"bench {info.bench_id} on {info.host}",
        *(f"{name} {version}" for name, version in info.versions.items()),
    ]
    unfinished = ""
    if not result.complete:
        unfinished = f'<p class="warn">Unfinished: {summary.trials:,} of {summary.planned:,} runs.</p>'
    return f'<h1>{text(summary.suite)}</h1><p class="soft">{text(" · ".join(facts))}</p>{unfinished}\n'


def _ranking(summary: Summary) -> str:
    name, unit = summary.scorers[0].name, summary.scorers[0].unit
    rows = []
    for rank, c in enumerate(summary.candidates, start=1):
        e, right = c.score.estimate, "–" if c.right is None else f"{c.right}/{c.trials}"
        edge = " ◆" if c.label in summary.frontier and len(summary.candidates) > 1 else ""
        star = "*" if c.cost_unknown else ""
        cost = "–" if c.cost is None else usd(c.cost.mean) + star
        total = "–" if c.cost_unknown and not c.cost_total else usd(c.cost_total) + star
        rows.append(
            [
                str(rank), text(c.label), f"<b>{number(e.mean if e else None, unit)}</b>", interval(e, unit), right,
                f'<span class="warn">{c.failed}</span>' if c.failed else "0", cost + edge, total,
                seconds(c.seconds_p50), seconds(c.seconds_p90), count(c.tokens_mean), f"{c.llm_calls_mean:.1f}",
                f"{c.tool_calls_mean:.1f}", f"{c.steps_mean:.1f}",
            ]
        )  # fmt: skip
    heads = [
        "#", "candidate", text(name), "95 % interval", "right", "failed", "cost a run", "cost in all", "time p50",
        "p90", "tokens", "model calls", "tool calls", "steps",
    ]  # fmt: skip
    notes = [
        "Failed runs count as the worst score." if not unit else "Failed runs are left out of the score."
    ]
    if len(summary.candidates) > 1 and summary.frontier:
        notes.append("◆ nobody is cheaper and as good.")
    if any("*" in cell for row in rows for cell in row[6:8]):
        notes.append("* a price is not known in all runs; the mean is of the others.")
    return f'<h2>Ranking</h2>\n{table(heads, rows, left=(1,))}<p class="soft">{" ".join(notes)}</p>\n'


def _plots(result: BenchResult, summary: Summary) -> str:
    try:
        drawn = plots.svgs(result, summary)
    except UsageError as error:
        return f'<p class="warn">{text(error.message)}: {text(error.hint)}</p>\n'
    figures = []
    for figure, svg in drawn:
        described = svg.replace("<svg", f'<svg role="img" aria-label="{text(figure.title)}"', 1)
        figures.append(f"<figure>{described}<figcaption>{text(figure.note)}</figcaption></figure>\n")
    return f'<h2>Plots</h2>\n<div class="plots">\n{"".join(figures)}</div>\n' if figures else ""


def _scorers(summary: Summary) -> str:
    rows = [
        [
            str(rank), text(c.label), text(s.name), number(s.estimate.mean if s.estimate else None, s.unit),
            interval(s.estimate, s.unit), number(s.answered.mean if s.answered else None, s.unit),
            f'<span class="warn">{s.errors}</span>' if s.errors else "0",
        ]
        for rank, c in enumerate(summary.candidates, start=1)
        for s in c.scores
    ]  # fmt: skip
    heads = ["#", "candidate", "scorer", "mean", "95 % interval", "of answered runs alone", "scorer failed"]
    return f"<h2>Scorers</h2>\n{table(heads, rows, left=(1, 2))}"


def _passes(summary: Summary) -> str:
    ks = sorted({k for c in summary.candidates for k in c.pass_at})
    if not ks:
        return ""
    rows = [
        [text(c.label), what, *(f"{rates[k]:.3f}" if k in rates else "–" for k in ks)]
        for c in summary.candidates
        for what, rates in (
            ("pass@k: at least one is right", c.pass_at),
            ("pass^k: all are right", c.pass_hat),
        )
    ]
    return f"<h2>Of k tries</h2>\n{table(['candidate', '', *(f'k = {k}' for k in ks)], rows, left=(0, 1))}"


def _pairs(summary: Summary) -> str:
    if not summary.differences:
        return ""
    rows = [[text(d.a), text(d.b), *_difference(d)] for d in summary.differences]
    heads = ["one", "less the other", *_DIFFERENCE]
    note = "Case by case; p is McNemar's, after Holm where there are several pairs."
    return (
        f"<h2>Differences in {text(summary.scorers[0].name)}</h2>\n{table(heads, rows, left=(0, 1))}"
        f'<p class="soft">{note}</p>\n'
    )


_DIFFERENCE = ("difference", "95 % interval", "better", "worse", "same", "p", "")


def _difference(d: Difference) -> list[str]:
    kind, verdict = {True: ("good", "better"), False: ("bad", "worse"), None: ("soft", "unsure")}[d.improved]
    return [
        signed(d.estimate.mean if d.estimate else None, d.unit), interval(d.estimate, d.unit, sign=True),
        str(d.wins), str(d.losses), str(d.ties), text(p_value(d.p if d.p_adjusted is None else d.p_adjusted)),
        f'<span class="{kind}">{verdict}</span>',
    ]  # fmt: skip


def _comparison(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    parts = [
        f"<h2>Against the baseline</h2>\n<p>{text(comparison.baseline_id)}, {plural(comparison.cases, 'case')}.</p>"
    ]
    parts += [f'<p class="warn">{text(note)}</p>' for note in comparison.notes]
    for compared in comparison.candidates:
        rows = [[text(d.measure), *_difference(d)] for d in compared.differences if d.estimate]
        parts.append(f"<h3>{text(compared.label)}</h3>{table(['now less then', *_DIFFERENCE], rows)}")
        worse = sum(not changed.improved for changed in compared.changed)
        verdicts = {True: '<span class="good">better</span>', False: '<span class="bad">worse</span>'}
        changed = [[text(c.case), text(c.change), verdicts[c.improved]] for c in compared.changed]
        if changed:
            head = f"{plural(len(changed), 'changed case')}: {worse} worse, {len(changed) - worse} better"
            listed = table(["case", "change", ""], changed, left=(0, 1, 2))
            parts.append(f"<details><summary>{head}</summary>{listed}</details>")
    return "\n".join(parts) + "\n"


def _failures(result: BenchResult, summary: Summary) -> str:
    rows = [
        [
            text(label),
            f"{len(cases)}",
            cut(what, 400),
            text(", ".join(cases[:5])) + (" …" if len(cases) > 5 else ""),
        ]
        for (label, what), cases in kinds_of_failure(result, summary)
    ]
    if not rows:
        return ""
    return f"<h2>Failures</h2>\n{table(['candidate', 'runs', 'what', 'cases'], rows, left=(0, 2, 3))}"
