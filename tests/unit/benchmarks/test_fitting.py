"""Exponents: they are those of the law that the costs follow."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fitting import exponent
from benchmarks.growth import exponents

SIZES = st.lists(st.integers(1, 10_000), min_size=2, max_size=8, unique=True)


@given(SIZES, st.floats(-2, 3), st.floats(0.01, 1000))
def test_the_exponent_of_a_power_law_is_found_whatever_its_factor(
    sizes: list[int], power: float, factor: float
) -> None:
    costs = [factor * size**power for size in sizes]
    assert exponent(sizes, costs) == pytest.approx(power, abs=1e-6)


@given(SIZES, st.floats(0.1, 100))
def test_the_unit_of_the_costs_makes_no_difference(sizes: list[int], unit: float) -> None:
    costs = [3.0 + math.sqrt(size) for size in sizes]
    assert exponent(sizes, [unit * cost for cost in costs]) == pytest.approx(exponent(sizes, costs), abs=1e-9)


def test_one_size_has_no_exponent() -> None:
    with pytest.raises(ValueError, match="two different sizes"):
        exponent([10, 10], [1.0, 2.0])


def test_each_round_has_its_own_exponent() -> None:
    found = exponents({1: [1.0, 1.0], 10: [10.0, 100.0], 100: [100.0, 10_000.0]})
    assert found == pytest.approx([1.0, 2.0])
