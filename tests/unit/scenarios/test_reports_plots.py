"""Plots: which figures there are, in benches of any size, and that labels neither collide nor are cut."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from callsheet.core.errors import UsageError
from callsheet.scenarios.reports import plots, write_plots
from callsheet.scenarios.results import BenchResult, Candidate
from callsheet.scenarios.summary import summarise
from tests.unit.scenarios.made_benches import bench, generated, trial

ALL = ["scores", "frontier", "latency", "tokens"]


def figures(result: BenchResult) -> dict[str, Any]:
    with plots._style():
        found = {drawn.name: drawn.figure for drawn in plots.draw(result, summarise(result))}
        for figure in found.values():
            FigureCanvasAgg(figure).draw()
        return found


def boxes(figure: Any) -> list[tuple[str, Bbox]]:
    """Where each text that is drawn lies, in pixels."""
    (ax,) = figure.axes
    texts = [text for legend in figure.legends for text in legend.get_texts()] + [
        ax.xaxis.label,
        ax.yaxis.label,
    ]
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    found = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return [*found, (ax.get_title(loc="left"), ax._left_title.get_window_extent())]


def test_each_figure_is_a_png_file_in_a_folder_that_is_made(tmp_path: Path) -> None:
    paths = write_plots(generated(3, 10), tmp_path / "new" / "plots")
    assert [path.name for path in paths] == [f"{name}.png" for name in ALL]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("candidates", [1, 2, 5, 12])
def test_no_label_lies_over_another_or_beyond_the_edge(candidates: int) -> None:
    for name, figure in figures(generated(candidates, 30)).items():
        placed, edge = boxes(figure), figure.bbox
        assert len(placed) > candidates
        for i, (one, box) in enumerate(placed):
            assert edge.x0 - 1 <= box.x0 <= box.x1 <= edge.x1 + 1, (name, one)
            assert edge.y0 - 1 <= box.y0 <= box.y1 <= edge.y1 + 1, (name, one)
            for other, another in placed[i + 1 :]:
                overlap = Bbox.intersection(box, another)
                assert overlap is None or min(overlap.width, overlap.height) < 1, (name, one, other)


def test_names_are_text_never_formulas() -> None:
    found = figures(bench({}, trials=[trial("c0", 1.0, Candidate(crew="$x^", model="\\frac{$ \x07\nb"))]))
    (label,) = [text.get_text() for text in found["scores"].axes[0].get_yticklabels()]
    assert label == "$x^ · \\frac{$ \N{REPLACEMENT CHARACTER} b"


def test_a_figure_without_data_is_left_out() -> None:
    unpriced = [trial(f"c{i}", 1.0, cost_usd=None, input_tokens=5) for i in range(3)]
    assert list(figures(bench({}, trials=unpriced))) == ["scores", "latency", "tokens"]
    free = [trial(f"c{i}", 1.0, cost_usd=0.0) for i in range(3)]
    assert list(figures(bench({}, trials=free))) == ["scores", "latency"]
    assert figures(bench({"a": [1.0]}).model_copy(update={"trials": ()})) == {}
    assert list(figures(bench({"a": [None, None]}))) == ["scores", "frontier"]


def test_scores_are_drawn_where_they_are() -> None:
    result = bench({"a": [1.0] * 8 + [0.0] * 2, "b": [1.0] * 2 + [0.0] * 8})
    drawn = [list(line.get_xdata()) for line in figures(result)["scores"].axes[0].lines]
    (a, b) = [c.score.estimate for c in summarise(result).candidates]
    assert a is not None
    assert b is not None
    assert drawn == [[a.low, a.high], [a.mean], [b.low, b.high], [b.mean]]


def test_costs_far_apart_are_drawn_on_a_logarithmic_axis() -> None:
    def scale(dear: float) -> str:
        usd = {"a": 0.001, "b": dear}
        trials = [trial("c0", 1.0, Candidate(crew=crew), cost_usd=cost) for crew, cost in usd.items()]
        return str(figures(bench({}, trials=trials))["frontier"].axes[0].get_xscale())

    assert (scale(0.01), scale(1.0)) == ("linear", "log")


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match="matplotlib") as caught:
        write_plots(generated(1, 3), tmp_path)
    assert "pip install 'callsheet[bench]'" in caught.value.hint


def test_the_callers_settings_of_matplotlib_stay() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures(generated(1, 3))
    assert dict(mpl.rcParams) == before
