"""What the tables say, and whether what was wanted was reached."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Wanted, name, number, render, shown
from benchmarks.machine import spread

RATE = name("200 ms", "ray", "runs/s")
OTHER = name("200 ms", "aiohttp", "runs/s")


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=9))
def test_a_spread_lies_between_its_ends(values: list[float]) -> None:
    found = spread(values)
    assert found["min"] <= found["median"] <= found["max"]
    assert found["n"] == len(values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0123, "0.012"),
        (0.5, "0.50"),
        (9.99, "9.99"),
        (12.34, "12.3"),
        (123.4, "123"),
        (20431.0, "20,431"),
    ],
)
def test_a_number_has_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_a_figure_is_shown_with_its_spread() -> None:
    assert shown(spread([1.0, 3.0, 2.0])) == "2.00 (1.00–3.00)"
    assert shown(spread([2.0])) == "2.00"


@pytest.mark.parametrize(("value", "reached"), [(0.59, True), (0.6, True), (0.61, False)])
def test_the_median_decides(value: float, reached: bool) -> None:
    figures = {"ratio": spread([0.0, value, 99.0])}
    assert Wanted(figure="ratio", at_most=0.6).reached(figures) is reached


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    assert Wanted(figure="ratio", at_most=1).reached({}) is None


def test_a_figure_that_hangs_on_another_is_asked_only_where_that_one_holds() -> None:
    wanted = Wanted(figure=RATE, at_least=100, given=Wanted(figure=OTHER, at_least=110))
    assert wanted.reached({RATE: spread([80.0]), OTHER: spread([112.0])}) is False
    assert wanted.reached({RATE: spread([80.0]), OTHER: spread([90.0])}) is None
    assert wanted.reached({RATE: spread([101.0]), OTHER: spread([112.0])}) is True


def test_figures_of_one_row_stand_in_one_line_and_what_was_wanted_below() -> None:
    figures = {RATE: spread([80.0]), name("200 ms", "ray", "p50 ms"): spread([5.0]), "errors": 0}
    lines = render(
        figures, [Wanted(figure=RATE, at_least=100), Wanted(figure="errors", at_most=0)]
    ).splitlines()
    (row,) = (line for line in lines if line.strip().startswith("200 ms · ray "))
    assert row.split()[-2:] == ["80.0", "5.00"]
    assert "  ✗ 200 ms · ray · runs/s: 80.0, at least 100" in lines
    assert "  ✓ errors: 0, at most 0" in lines


def test_details_stand_in_a_table_behind_the_others() -> None:
    figures = {name("a", "… driver"): spread([1.0]), name("a", "CPU ms"): spread([2.0])}
    heads = [line.strip() for line in render(figures).splitlines() if not line.strip().startswith("a")]
    assert heads == ["CPU ms", "… driver"]
