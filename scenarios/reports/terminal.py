"""A bench in a terminal: the ranking, who is surely better, what failed, and what changed since a baseline.

Text of models and cases is shown as it is, without its control characters, and no markup is read in it. What does
not fit a narrow terminal is left out, the least telling column first; rich leaves out the styles in a pipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from callsheet.scenarios.comparing import Compared, Comparison
from callsheet.scenarios.measures import Difference
from callsheet.scenarios.reports.failures import kinds_of_failure
from callsheet.scenarios.reports.formats import (
    DASH,
    count,
    interval,
    number,
    p_value,
    plain,
    plural,
    seconds,
    signed,
    spent,
    usd,
)
from callsheet.scenarios.results import BenchResult
from callsheet.scenarios.summary import Summary, summarise

if TYPE_CHECKING:
    from rich.console import Console

_MOST_CHANGES = 20
_MOST_FAILURES = 8
_MOST_PAIRS = 15

Column = tuple[str, int]
"""A column's head, and how soon it goes where it is narrow: 0 never, 8 first; 9: it has nothing to show."""


def show(console: Console, result: BenchResult, comparison: Comparison | None = None) -> None:
    """Print the ranking, the other scorers, differences, failures and, with a comparison, what changed."""
    summary = summarise(result)
    _line(console, _head(result, summary), style="bold")
    _ranking(console, summary)
    _others(console, summary)
    _passes(console, summary)
    if len(summary.candidates) > 1:
        _pairs(console, summary)
    _failures(console, result, summary)
    if comparison is not None:
        _comparison(console, comparison)


def _head(result: BenchResult, summary: Summary) -> str:
    parts = [f"{summary.suite}: {plural(summary.cases, 'case')}"]
    if summary.repeats > 1:
        parts.append(f"{summary.repeats} repeats")
    if not result.complete:
        parts.append(f"unfinished: {summary.trials} of {summary.planned} runs")
    judging = sum(c.judging_usd for c in summary.candidates)
    known = sum(c.cost_total for c in summary.candidates) + judging
    parts.append(spent(known, judging, sum(c.cost_unknown for c in summary.candidates)))
    return ", ".join(parts)


def _ranking(console: Console, summary: Summary) -> None:
    name, unit = summary.scorers[0].name, summary.scorers[0].unit
    wrong = any(c.right is not None for c in summary.candidates)
    rows = []
    for rank, c in enumerate(summary.candidates, start=1):
        e = c.score.estimate
        cost = DASH if c.cost is None else usd(c.cost.mean) + ("*" if c.cost_unknown else "")
        rows.append(
            [
                str(rank), c.label, number(e.mean if e else None, unit), interval(e, unit),
                DASH if c.right is None else f"{c.right}/{c.trials}", str(c.failed) if c.failed else "0",
                cost + (" ◆" if c.label in summary.frontier and len(summary.candidates) > 1 else ""),
                seconds(c.seconds_p50), seconds(c.seconds_p90), count(c.tokens_mean), f"{c.steps_mean:.1f}",
            ]
        )  # fmt: skip
    # What goes first where it is narrow has the highest number.
    columns = [
        ("#", 0), ("candidate", 0), (name, 0), ("95 %", 1), ("right", 5 if wrong else 9), ("failed", 2),
        ("cost/run", 1), ("p50", 2), ("p90", 5), ("tokens", 6), ("steps", 7),
    ]  # fmt: skip
    shown = _table(console, "", columns, rows, left=(1,))
    costs = [row[6] for row in rows] if 6 in shown else []
    notes = []
    if any(c.failed for c in summary.candidates) and not unit:
        notes.append("Failed runs count as the worst score.")
    if any("◆" in cost for cost in costs):
        notes.append("◆ nobody is cheaper and as good.")
    if any("*" in cost for cost in costs):
        notes.append("* a price is not known in all runs; the mean is of the others.")
    if notes:
        _line(console, " ".join(notes), style="dim")


def _others(console: Console, summary: Summary) -> None:
    """Each scorer's mean, and the first's over the answered runs where some failed."""
    rows = []
    failed = any(c.failed for c in summary.candidates)
    for rank, c in enumerate(summary.candidates, start=1):
        for i, s in enumerate(c.scores):
            if i == 0 and not c.failed and not s.errors:
                continue
            e, a = s.estimate, s.answered
            rows.append(
                [
                    str(rank), c.label, s.name, number(e.mean if e else None, s.unit), interval(e, s.unit),
                    number(a.mean if a else None, s.unit), str(s.errors) if s.errors else "0",
                ]
            )  # fmt: skip
    if rows:
        columns = [
            ("#", 0), ("candidate", 1), ("scorer", 0), ("mean", 0), ("95 %", 0), ("answered only", 2 if failed else 9),
            ("scorer failed", 3 if any(s.errors for c in summary.candidates for s in c.scores) else 9),
        ]  # fmt: skip
        _table(console, "Scorers", columns, rows, left=(1, 2))


def _passes(console: Console, summary: Summary) -> None:
    ks = sorted({k for c in summary.candidates for k in c.pass_at})
    if not ks:
        return
    rows = [
        [str(rank), c.label, what, *(f"{rates[k]:.3f}" if k in rates else DASH for k in ks)]
        for rank, c in enumerate(summary.candidates, start=1)
        for what, rates in (("pass@k", c.pass_at), ("pass^k", c.pass_hat))
    ]
    columns = [("#", 0), ("candidate", 8), ("", 0), *((f"k={k}", k if k < max(ks) else 1) for k in ks)]
    _table(
        console, "Of k tries, at least one is right (pass@k); all are (pass^k)", columns, rows, left=(1, 2)
    )


def _pairs(console: Console, summary: Summary) -> None:
    shown = summary.differences[:_MOST_PAIRS]
    rank = {c.label: f"#{i}" for i, c in enumerate(summary.candidates, start=1)}
    rows = [[f"{rank[d.a]} − {rank[d.b]}", *_difference(d)] for d in shown]
    title = f"Differences in {summary.scorers[0].name}, case by case"
    _table(console, title, [("pair", 0), *_difference_columns(shown, adjusted=True)], rows, left=(0,))
    more = len(summary.differences) - len(shown)
    if more:
        _line(console, f"and {plural(more, 'more pair')}, in the JSON file", style="dim")


def _difference_columns(shown: Sequence[Difference], *, adjusted: bool = False) -> list[Column]:
    tested = any(d.p is not None for d in shown)
    p = "p (Holm)" if adjusted and len(shown) > 1 else "p"
    return [("difference", 0), ("95 %", 0), ("better/worse/same", 2), (p, 1 if tested else 9), ("", 1)]


def _difference(d: Difference) -> list[str]:
    verdict = {True: "better", False: "worse", None: "unsure"}[d.improved]
    return [
        signed(d.estimate.mean if d.estimate else None, d.unit), interval(d.estimate, d.unit, sign=True),
        f"{d.wins}/{d.losses}/{d.ties}", p_value(d.p if d.p_adjusted is None else d.p_adjusted),
        verdict if d.estimate else DASH,
    ]  # fmt: skip


def _failures(console: Console, result: BenchResult, summary: Summary) -> None:
    """Runs that ended without an answer, and scorers that failed, each kind of error once."""
    found = kinds_of_failure(result, summary)
    if not found:
        return
    rows = [[label, str(len(cases)), what[:200], cases[0]] for (label, what), cases in found[:_MOST_FAILURES]]
    _table(
        console,
        "Failures",
        [("candidate", 1), ("runs", 0), ("what", 0), ("first case", 2)],
        rows,
        left=(0, 2, 3),
    )
    if len(found) > _MOST_FAILURES:
        _line(
            console, f"and {plural(len(found) - _MOST_FAILURES, 'more kind')}, in the JSON file", style="dim"
        )


def _comparison(console: Console, comparison: Comparison) -> None:
    console.print()
    _line(
        console,
        f"Against the baseline {comparison.baseline_id}, {plural(comparison.cases, 'case')}",
        style="bold",
    )
    for note in comparison.notes:
        _line(console, note, style="yellow")
    for compared in comparison.candidates:
        rows = [[d.measure, *_difference(d)] for d in compared.differences if d.estimate]
        _table(
            console, compared.label, [("now − then", 0), *_difference_columns(compared.differences)], rows, left=(0,)
        )  # fmt: skip
        _changed(console, compared)


def _changed(console: Console, compared: Compared) -> None:
    if not compared.changed:
        _line(console, f"{compared.label}: no case came out otherwise.", style="dim")
        return
    worse = sum(not changed.improved for changed in compared.changed)
    better = len(compared.changed) - worse
    # The worse ones come first; the list is cut from both its halves alike.
    shown = compared.changed
    if len(shown) > _MOST_CHANGES:
        keep_better = min(better, max(_MOST_CHANGES // 2, _MOST_CHANGES - worse))
        shown = shown[: _MOST_CHANGES - keep_better] + shown[len(shown) - keep_better :]
    rows = [[changed.case, changed.change, "better" if changed.improved else "worse"] for changed in shown]
    title = f"Changed cases: {worse} worse, {better} better"
    _table(console, title, [("case", 0), ("change", 0), ("", 1)], rows, left=(0, 1, 2))
    if len(shown) < len(compared.changed):
        _line(
            console,
            f"and {len(compared.changed) - len(shown)} more, in the page and the JSON file",
            style="dim",
        )


def _table(
    console: Console,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    left: tuple[int, ...],
) -> list[int]:
    """A table without the columns that do not fit: those with the highest number go first, 0 stays, 9 never shows.

    Returns which columns are shown.
    """
    from rich.table import Table
    from rich.text import Text

    wanted = [max(len(name), *(len(row[i]) for row in rows)) for i, (name, _) in enumerate(columns)]
    kept = [i for i, (_, rank) in enumerate(columns) if rank < 9]

    def least(i: int) -> int:
        # Text may fold, down to 18 signs; numbers may not.
        return min(wanted[i], 18) if i in left else wanted[i]

    def spare() -> int:
        return console.width - sum(map(least, kept)) - 2 * (len(kept) - 1)

    while spare() < 0 and any(columns[i][1] for i in kept):
        kept.remove(max(reversed(kept), key=lambda i: columns[i][1]))
    free = max(0, spare())
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for i in kept:
        extra = min(free, wanted[i] - least(i))
        free -= extra
        table.add_column(
            Text(plain(columns[i][0])), justify="left" if i in left else "right", overflow="fold",
            width=least(i) + extra,
        )  # fmt: skip
    for row in rows:
        table.add_row(*(Text(plain(row[i]), style=_STYLES.get(row[i], "")) for i in kept))
    console.print()
    if title:
        _line(console, title, style="bold")
    console.print(table)
    return kept


_STYLES = {"better": "green", "worse": "red"}


def _line(console: Console, text: str, *, style: str = "") -> None:
    from rich.text import Text

    console.print(Text(plain(text), style=style))
