"""A bench in a terminal: what is shown, in which width, and that no text of a model steers it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from callsheet.scenarios.comparing import Comparison, compare
from callsheet.scenarios.reports import terminal
from callsheet.scenarios.results import BenchResult, Candidate, ScoreRecord
from tests.unit.scenarios.made_benches import bench, generated, trial


def shown(
    result: BenchResult, comparison: Comparison | None = None, width: int = 120, colour: bool = False
) -> str:
    out = io.StringIO()
    system = "truecolor" if colour else None
    terminal.show(
        Console(file=out, width=width, force_terminal=colour, color_system=system), result, comparison
    )
    return out.getvalue()


def line_with(text: str, words: str) -> str:
    return next(line for line in text.splitlines() if words in line)


def test_the_ranking_has_score_interval_right_failed_cost_and_time() -> None:
    text = shown(bench({"a": [1.0, 1.0, 0.0, None]}))
    row = line_with(text, " a ")
    for part in ("0.500", "[0.150, 0.850]", "2/4", "1", "$0.0100", "1.0 s"):
        assert part in row
    assert "Failed runs count as the worst score." in text


def test_failures_are_shown_by_kind_with_how_often() -> None:
    trials = [
        *(trial(f"c{i}", None, error="ToolError: lost\nand more") for i in range(3)),
        trial("d0", 1.0, scores={"exact": ScoreRecord(value=None, error="KeyError: 'x'")}),
    ]
    text = shown(bench({}, trials=trials))
    assert line_with(text, "ToolError: lost").split()[:2] == ["a", "3"]
    assert "scorer exact: KeyError: 'x'" in text
    assert "and more" not in text


def test_a_scorer_that_fails_in_many_cases_is_one_kind_of_failure() -> None:
    trials = [
        trial(
            case,
            1.0,
            scores={"exact": ScoreRecord(value=None, error=f"E: 'exact' failed at case '{case}': no")},
        )
        for case in ("c0", "c1", "c2")
    ]
    text = shown(bench({}, trials=trials))
    assert line_with(text, "scorer exact: E: 'exact' failed: no").split()[:2] == ["a", "3"]


def test_a_bench_that_was_stopped_says_so() -> None:
    result = bench({"a": [1.0, 1.0]})
    assert "unfinished: 1 of 2 runs" in shown(result.model_copy(update={"trials": result.trials[:1]}))
    assert "unfinished" not in shown(result)


def test_a_price_that_is_not_known_is_marked() -> None:
    text = shown(bench({}, trials=[trial("c0", 1.0, cost_usd=None), trial("c1", 1.0, cost_usd=0.5)]))
    assert "$0.50*" in text
    assert "* a price is not known" in text


def test_a_cost_of_which_nothing_is_known_is_never_shown_as_0() -> None:
    text = shown(bench({}, trials=[trial("c0", 1.0, cost_usd=None), trial("c1", 1.0, cost_usd=None)]))
    assert "what it cost is not known" in text
    assert "$0" not in text
    assert "*" not in text
    part = [trial("c0", 1.0, cost_usd=None), trial("c1", 1.0, cost_usd=0.5)]
    assert "$0.50 spent, and 1 run with calls of no known price" in shown(bench({}, trials=part))


def test_signs_are_explained_only_where_they_are_on_the_screen() -> None:
    result = bench({}, trials=[trial("c0", 1.0, cost_usd=None), trial("c1", 1.0, cost_usd=0.5)])
    assert "* a price" in shown(result, width=100)
    assert "* a price" not in shown(result, width=24)
    assert "nobody is cheaper" not in shown(bench({"a": [1.0], "b": [0.0]}), width=24)


def test_pairs_say_who_is_better_or_that_it_is_unsure() -> None:
    text = shown(bench({"a": [1.0] * 12, "b": [0.0] * 12, "c": [1.0] * 11 + [0.0]}))
    assert line_with(text, "#1 − #3").endswith("better")
    assert line_with(text, "#1 − #2").endswith("unsure")


def test_a_comparison_lists_differences_and_changed_cases() -> None:
    now, then = bench({"a": [0.0, 1.0, 1.0]}), bench({"b": [1.0, 1.0, None]})
    text = shown(now, compare(now, then))
    assert "a is compared with b." in text
    assert "Changed cases: 1 worse, 1 better" in text
    assert line_with(text, "right → wrong").startswith("c0")
    assert line_with(text, "failed → right").startswith("c2")


def test_a_long_list_of_changes_is_cut_from_the_middle() -> None:
    now, then = bench({"a": [0.0] * 40 + [1.0] * 5}), bench({"a": [1.0] * 40 + [0.0] * 5})
    text = shown(now, compare(now, then))
    assert text.count("right → wrong") == 15
    assert text.count("wrong → right") == 5
    assert "and 25 more" in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    result = generated(4, 12, 2)
    lines = shown(result, compare(result, generated(4, 12, 2, seed=9)), width=width).splitlines()
    assert max(map(len, lines)) <= width


def test_a_narrow_terminal_keeps_names_scores_and_whole_numbers() -> None:
    text = shown(generated(3, 12), width=46)
    assert "steps" not in text
    assert "exact" in text
    assert "…" not in text
    assert shown(generated(3, 12), width=140).count("steps") == 1


def test_text_of_models_neither_steers_the_terminal_nor_is_read_as_markup() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07[red]not markup[/red] \u202e"
    result = bench({}, trials=[trial(hostile, None, Candidate(crew=hostile, model=hostile), error=hostile)])
    text = shown(result, compare(result, bench({}, trials=[trial(hostile, 1.0)])), width=200)
    assert not set(text) & set("\x1b\x07\u202e")
    assert "[red]not markup[/red]" in text


def test_there_is_colour_in_a_terminal_and_none_in_a_pipe() -> None:
    result = bench({"a": [1.0] * 12, "b": [0.0] * 12})
    assert "\x1b[32mbetter" in shown(result, colour=True)
    assert "\x1b" not in shown(result)


def test_a_bench_without_a_trial_is_shown() -> None:
    assert "unfinished: 0 of 1 runs" in shown(bench({"a": [1.0]}).model_copy(update={"trials": ()}))
