"""Figures of a bench: scores with intervals, the cost–quality frontier, how time and tokens spread.

matplotlib draws them without a screen (its Agg and SVG canvases; pyplot is not imported, so nothing of the caller's
is changed). Colours are those of Okabe and Ito, told apart also by who is colour-blind; markers differ as well.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callsheet.core.errors import UsageError
from callsheet.scenarios.measures import TIME
from callsheet.scenarios.reports.formats import plain
from callsheet.scenarios.results import BenchResult
from callsheet.scenarios.summary import CandidateSummary, Summary, summarise

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_INK, _GRID = "#1b1e24", "#d6d9de"  # on a page they follow its colours
_WIDTH_IN = 8.0
_DOTS = 400  # runs of a candidate that are drawn one by one; more would be a smear


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure to be drawn: `name` is its file's, `title` and `note` go with it on a page."""

    name: str
    title: str
    note: str
    figure: Any


def write_plots(result: BenchResult, folder: str | Path) -> list[Path]:
    """Write the figures as PNG files (150 dots an inch) into a folder, and return their paths.

    Raises UsageError where matplotlib is not installed, or the folder cannot be written.
    """
    target = Path(folder)
    paths: list[Path] = []
    with _style():
        figures = draw(result, summarise(result))
        try:
            target.mkdir(parents=True, exist_ok=True)
            for drawn in figures:
                paths.append(target / f"{drawn.name}.png")
                drawn.figure.savefig(paths[-1], dpi=150, facecolor="white")
        except OSError as error:
            raise UsageError(
                f"{target} cannot be written: {error.strerror}", hint="Give a folder that you may write to."
            ) from error
    return paths


def svgs(result: BenchResult, summary: Summary) -> list[tuple[Figure, str]]:
    """The figures as inline SVG, whose ink is the page's. Raises UsageError where matplotlib is not installed."""
    with _style():
        return [(drawn, _svg(drawn)) for drawn in draw(result, summary)]


def draw(result: BenchResult, summary: Summary) -> Iterator[Figure]:
    """The figures that the bench has data for; call within the style."""
    looks = {c.label: (_COLOURS[i % 6], _MARKERS[(i + i // 6) % 6]) for i, c in enumerate(summary.candidates)}
    if any(c.score.estimate for c in summary.candidates):
        yield _scores(summary, looks)
    if any(_priced(c) and c.cost_total > 0 for c in summary.candidates):
        yield _frontier(summary, looks)
    times = {
        c.label: [v for t in result.of(c.candidate) if (v := TIME.of(t)) is not None]
        for c in summary.candidates
    }
    if any(times.values()):
        note = (
            "Seconds of the runs that are done. Box: the middle half; line: the median; whiskers: 5 to 95 %."
        )
        yield _spread("latency", "Time of a run", note, times, looks, _seconds)
    tokens = {c.label: [float(t.tokens) for t in result.of(c.candidate)] for c in summary.candidates}
    if any(any(values) for values in tokens.values()):
        note = "Tokens of all runs, in and out. Box: the middle half; line: the median; whiskers: 5 to 95 %."
        yield _spread("tokens", "Tokens of a run", note, tokens, looks, _count)


@contextmanager
def _style() -> Iterator[None]:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UsageError(
            "plots need matplotlib, which is not installed", hint="pip install 'callsheet[bench]'"
        ) from error
    settings = {
        "text.parse_math": False,  # a name with dollar signs is a name
        "text.color": _INK, "axes.edgecolor": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
        "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.linewidth": 0.8,
        "grid.color": _GRID, "grid.linewidth": 0.8, "font.size": 10, "font.family": ["DejaVu Sans"],
        "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left", "svg.fonttype": "path",
    }  # fmt: skip
    with mpl.rc_context(settings), warnings.catch_warnings():
        # Its font lacks Chinese, say: a box in a plot is no reason to alarm whoever benches.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(_WIDTH_IN, height), layout="constrained")
    return figure, figure.add_subplot()


def _rows(ax: Any, labels: Sequence[str]) -> None:
    """One row a candidate, the first on top."""
    ax.set_yticks(range(len(labels)), [_wrapped(label) for label in labels])
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")


def _height(rows: int) -> float:
    return 1.3 + 0.42 * rows


def _scores(summary: Summary, looks: dict[str, tuple[str, str]]) -> Figure:
    found = [c for c in summary.candidates if c.score.estimate]
    figure, ax = _axes(_height(len(found)))
    ends: list[float] = []
    for row, c in enumerate(found):
        e = c.score.estimate
        assert e is not None
        colour, marker = looks[c.label]
        low, high = (e.low, e.high) if e.low is not None and e.high is not None else (e.mean, e.mean)
        ax.plot([low, high], [row, row], color=colour, linewidth=3, solid_capstyle="butt", alpha=0.55)
        ax.plot([e.mean], [row], marker=marker, color=colour, markersize=8, linestyle="none")
        ends += [low, high]
    _rows(ax, [c.label for c in found])
    if not summary.scorers[0].unit and min(ends) >= 0 and max(ends) <= 1:
        _room(ax, max(0.0, min(ends) - 0.05), min(1.0, max(ends) + 0.05))
    ax.set_xlabel(_axis(summary))
    ax.set_title("Score")
    note = "Mean over the cases with its 95 % interval; runs that failed count as the worst score."
    return Figure(name="scores", title="Score", note=note, figure=figure)


def _frontier(summary: Summary, looks: dict[str, tuple[str, str]]) -> Figure:
    found = [c for c in summary.candidates if _priced(c)]
    names = 0.2 * sum(_wrapped(c.label).count("\n") + 1 for c in found)
    figure, ax = _axes(max(3.8, 1.2 + names))
    points = {c.label: (c.cost.mean, c.score.estimate) for c in found if c.cost and c.score.estimate}
    for label, (cost, e) in points.items():
        colour, marker = looks[label]
        if e.low is not None and e.high is not None:
            ax.plot([cost, cost], [e.low, e.high], color=colour, linewidth=1.6, alpha=0.45)
        best = label in summary.frontier
        ax.plot(
            [cost], [e.mean], marker=marker, markersize=9, linestyle="none", label=_wrapped(label), color=colour,
            markerfacecolor=colour if best else "none", markeredgewidth=1.6,
        )  # fmt: skip
    edge = [points[label] for label in summary.frontier if label in points]
    if len(edge) > 1:
        ax.step(
            [cost for cost, _ in edge], [e.mean for _, e in edge], where="post", color=_INK, linewidth=1,
            linestyle=(0, (4, 3)), zorder=0,
        )  # fmt: skip
    _scale(ax, [cost for cost, _ in points.values()], _usd, "USD a run")
    ax.set_ylabel(_axis(summary))
    if summary.scorers[0].better == "lower":
        ax.invert_yaxis()
    ax.grid()
    ax.set_title("Cost and score")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9, handletextpad=0.4, labelspacing=0.7)
    note = (
        "Filled: on the frontier, none is cheaper and as good. Hollow: another is at least as good for less."
    )
    return Figure(name="frontier", title="Cost and score", note=note, figure=figure)


def _spread(
    name: str,
    title: str,
    note: str,
    values: dict[str, list[float]],
    looks: dict[str, tuple[str, str]],
    show: Any,
) -> Figure:
    import numpy as np

    found = {label: np.asarray(v) for label, v in values.items() if v}
    figure, ax = _axes(_height(len(found)))
    rng = np.random.default_rng(0)
    for row, (label, x) in enumerate(found.items()):
        colour, _ = looks[label]
        dots = x if x.size <= _DOTS else rng.choice(x, _DOTS, replace=False)
        ax.plot(
            dots,
            row + rng.uniform(-0.26, 0.26, dots.size),
            ".",
            color=colour,
            alpha=0.3,
            markersize=4,
            zorder=1,
        )
        ax.boxplot(
            [x], positions=[row], orientation="horizontal", widths=0.5, whis=(5, 95), showfliers=False, zorder=3,
            manage_ticks=False, boxprops={"color": _INK}, medianprops={"color": _INK, "linewidth": 2.2},
            whiskerprops={"color": _INK}, capprops={"color": _INK},
        )  # fmt: skip
    _rows(ax, list(found))
    _scale(ax, [v for x in found.values() for v in (x.min(), x.max())], show, "", floor=True)
    ax.set_title(title)
    return Figure(name=name, title=title, note=note, figure=figure)


def _scale(ax: Any, values: Sequence[float], show: Any, label: str, *, floor: bool = False) -> None:
    """A logarithmic axis where values lie more than twentyfold apart, else one from 0, with few readable ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = min(values), max(values)
    log = low > 0 and high / low > 20
    if log:
        ax.set_xscale("log")
        decades = 3 if high / low > 1e4 else 6
        ax.xaxis.set_major_locator(
            LogLocator(subs=(1.0,) if high / low > 1e3 else (1.0, 3.0), numticks=decades * 2)
        )
        ax.xaxis.set_minor_formatter(NullFormatter())
        if not floor:
            ax.set_xlim(low / 1.6, high * 1.6)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6))
        ax.set_xlim(0, high * 1.06 if high > 0 else 1)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    ax.set_xlabel(f"{label}, logarithmic" if label and log else "logarithmic scale" if log else label)


def _room(ax: Any, low: float, high: float) -> None:
    """Limits at which markers on 0 or 1 are not cut off."""
    margin = (high - low) * 0.03
    ax.set_xlim(low - margin, high + margin)


def _axis(summary: Summary) -> str:
    name, unit = summary.scorers[0].name, summary.scorers[0].unit
    return _wrapped(f"{name} ({unit})" if unit else name)


def _priced(c: CandidateSummary) -> bool:
    return c.cost is not None and not c.cost_unknown and c.score.estimate is not None


def _wrapped(label: str) -> str:
    """A label in lines of 28 signs, three at most."""
    lines = textwrap.wrap(plain(label).replace("\n", " "), 28, max_lines=3, placeholder=" …")
    return "\n".join(lines) or "?"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value < 10_000 else f"{value / 1000:,.0f}k"


def _seconds(value: float) -> str:
    return "0" if value == 0 else f"{value:.4g} s" if value >= 1 else f"{value * 1000:.4g} ms"


def _usd(value: float) -> str:
    return f"${value:.6f}".rstrip("0").rstrip(".") if value < 1 else f"${value:,.4g}"


def _svg(drawn: Figure) -> str:
    """The figure as one `<svg>` element without size, comments or metadata; its ids carry its name."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": drawn.name}):
        drawn.figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    head, rest = text.split(">", 1)
    text = re.sub(r' (?:width|height)="[^"]*"', "", head) + ">" + rest
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{drawn.name}-", text)
    for colour, page_colour in ((_INK, "currentColor"), (_GRID, "var(--line)"), (_COLOURS[0], "var(--blue)")):
        text = text.replace(colour.lower(), page_colour)
    return text
