"""Intervals cover what they promise; tests and pass rates agree with counting by hand."""

from __future__ import annotations

import functools
import itertools
import math
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.scenarios import statistics
from callsheet.scenarios.statistics import Estimate

REPEATS = 1000
Rows = np.ndarray


def covered(found: Estimate | None, truth: float) -> bool:
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


def right_or_wrong(rng: np.random.Generator, n: int, tries: int) -> tuple[Rows, Rows, float]:
    """Two candidates on cases of all difficulties; b is right with 0.15 more, where there is room."""
    easy = rng.beta(2, 1.2, size=(REPEATS, n))
    a = rng.binomial(tries, easy) / tries
    b = rng.binomial(tries, np.minimum(easy + 0.15, 1)) / tries
    return b, a, better_by()


@functools.cache
def better_by() -> float:
    many = np.random.default_rng(0).beta(2, 1.2, size=4_000_000)
    return float((np.minimum(many + 0.15, 1) - many).mean())


def binary(rng: np.random.Generator, n: int) -> tuple[Rows, Rows, float]:
    return right_or_wrong(rng, n, 1)


def thrice(rng: np.random.Generator, n: int) -> tuple[Rows, Rows, float]:
    return right_or_wrong(rng, n, 3)


def skewed_shares(rng: np.random.Generator, n: int) -> tuple[Rows, Rows, float]:
    """F1-like: many zeros, correlated by case."""
    easy = rng.beta(2, 2, size=(REPEATS, n))
    a, b = (rng.beta(4 * easy + 0.1, 4 * (1 - easy) + 0.1) for _ in range(2))
    a = a * (rng.random(a.shape) >= 0.3)
    b = b * (rng.random(b.shape) >= 0.15)
    # E[beta] = (4e + 0.1) / 4.2 and E[e] is a half: a half
    return b, a, (0.85 - 0.7) * 0.5


def long_tailed(rng: np.random.Generator, n: int) -> tuple[Rows, Rows, float]:
    """Costs: log-normal, and b a fifth dearer."""
    size = rng.lognormal(0, 0.7, size=(REPEATS, n))
    a, b = (size * rng.lognormal(0, 0.4, size=size.shape) for _ in range(2))
    return b * 1.2, a, 0.2 * math.exp(0.7**2 / 2 + 0.4**2 / 2)


@pytest.mark.parametrize("n", [30, 100, 300])
@pytest.mark.parametrize(
    ("simulate", "share"), [(binary, True), (thrice, True), (skewed_shares, True), (long_tailed, False)]
)
def test_a_paired_difference_is_covered_as_often_as_promised(
    simulate: Callable[[np.random.Generator, int], tuple[Rows, Rows, float]], share: bool, n: int
) -> None:
    rng = np.random.default_rng([n, zlib.crc32(simulate.__name__.encode())])
    b, a, truth = simulate(rng, n)
    hits = sum(
        covered(statistics.paired_difference(x, y, share=share), truth) for x, y in zip(b, a, strict=True)
    )
    assert 0.93 <= hits / REPEATS <= 0.97


@pytest.mark.parametrize("n", [30, 100, 300])
def test_the_mean_of_skewed_shares_is_covered_as_often_as_promised(n: int) -> None:
    rng = np.random.default_rng(n)
    values = rng.beta(0.5, 4, size=(REPEATS, n)) * (rng.random((REPEATS, n)) < 0.7)
    truth = 0.7 * 0.5 / 4.5
    hits = sum(covered(statistics.mean(row, share=True), truth) for row in values)
    assert 0.93 <= hits / REPEATS <= 0.97


@pytest.mark.parametrize(("n", "p"), [(30, 0.5), (100, 0.8), (300, 0.93)])
def test_a_proportion_is_covered_as_often_as_promised(n: int, p: float) -> None:
    rng = np.random.default_rng(n)
    values = (rng.random((REPEATS, n)) < p).astype(float)
    hits = sum(covered(statistics.mean(row, share=True), p) for row in values)
    assert 0.93 <= hits / REPEATS <= 0.97


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998, Statistics in Medicine 17: 857-872, table I, method 3.
    for successes, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
    ):
        found = statistics.wilson(successes, n)
        assert found == pytest.approx((low, high), abs=5e-5)


def test_mcnemar_is_the_binomial_test_of_the_cases_that_differ() -> None:
    assert statistics.mcnemar(0, 0) == 1.0
    assert statistics.mcnemar(5, 5) == 1.0
    assert statistics.mcnemar(0, 6) == pytest.approx(2 / 64)
    assert statistics.mcnemar(2, 8) == pytest.approx(2 * (1 + 10 + 45) / 1024)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_takes_no_side_and_is_a_probability(wins: int, losses: int) -> None:
    p = statistics.mcnemar(wins, losses)
    assert p == statistics.mcnemar(losses, wins)
    assert 0 < p <= 1


def test_mcnemar_of_thousands_of_cases_goes_on_where_the_exact_fractions_end() -> None:
    below, above = statistics.mcnemar(470, 529), statistics.mcnemar(470, 530)
    assert above < below < 0.1
    assert above == pytest.approx(below, rel=0.1)
    assert statistics.mcnemar(9000, 9000) == 1.0


def test_holm_raises_p_by_how_many_are_left_and_keeps_their_order() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_rates_are_shares_of_all_choices_of_k_tries(drawn: tuple[int, int, int]) -> None:
    tries, passed, k = drawn
    chosen = list(itertools.combinations([True] * passed + [False] * (tries - passed), k))
    assert statistics.pass_at_k(tries, passed, k) == pytest.approx(sum(map(any, chosen)) / len(chosen))
    assert statistics.pass_hat_k(tries, passed, k) == pytest.approx(sum(map(all, chosen)) / len(chosen))


def test_a_pass_rate_of_more_tries_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="at most the tries"):
        statistics.pass_at_k(2, 1, 3)


shares = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@given(shares)
def test_an_interval_holds_its_mean_and_stays_within_the_shares(values: list[float]) -> None:
    found = statistics.mean(values, share=True)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert -1e-9 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= 1 + 1e-9


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_swapping_a_pair_turns_its_difference_round(pairs: list[tuple[float, float]]) -> None:
    a, b = [p for p, _ in pairs], [q for _, q in pairs]
    one, other = (
        statistics.paired_difference(a, b, share=True),
        statistics.paired_difference(b, a, share=True),
    )
    assert one is not None
    assert other is not None
    assert one.low is not None
    assert other.high is not None
    assert one.mean == pytest.approx(-other.mean, abs=1e-12)
    assert one.low == pytest.approx(-other.high, abs=1e-9)


@given(st.lists(st.floats(0, 1e3), min_size=2, max_size=30), st.sampled_from([1e-6, 1e-3, 1e6]))
def test_an_interval_does_not_depend_on_the_unit(values: list[float], unit: float) -> None:
    x = [round(value, 3) for value in values]
    one, other = statistics.mean(x), statistics.mean([value * unit for value in x])
    assert one is not None
    assert other is not None
    assert one.low is not None
    assert other.low is not None
    assert other.low == pytest.approx(one.low * unit, rel=1e-6, abs=1e-6 * unit)


def test_one_outlier_among_values_nearly_the_same_does_not_make_the_interval_absurd() -> None:
    values = 1 + np.random.default_rng(5).normal(0, 1e-5, size=30)
    values[7] = 2.0
    found = statistics.mean(values)
    assert found is not None
    assert found.low is not None
    assert 0.5 < found.low < 1.0


def test_the_same_values_have_the_same_interval_every_time() -> None:
    values = np.random.default_rng(3).lognormal(size=50)
    assert statistics.mean(values) == statistics.mean(values)


def test_all_cases_right_is_not_certainty() -> None:
    once, repeated = statistics.mean([1.0] * 20, share=True), statistics.mean([0.5] * 20, share=True)
    assert once is not None
    assert once.low is not None
    assert 0.8 < once.low < 0.9
    assert once.high == 1.0
    assert repeated is not None
    assert repeated.low is not None
    assert repeated.low < 0.4
    same = statistics.paired_difference([1.0] * 20, [1.0] * 20, share=True)
    assert same is not None
    assert same.low is not None
    assert same.low < 0 < (same.high or 0)


def test_one_value_with_a_unit_has_no_interval_and_none_has_no_mean() -> None:
    assert statistics.mean([3.0]) == Estimate(mean=3.0, low=None, high=None, n=1)
    assert statistics.mean([]) is None
    assert statistics.paired_difference([], []) is None


@pytest.mark.parametrize(("n", "t"), [(2, 12.7062), (3, 4.3027)])
def test_few_values_with_a_unit_have_students_interval(n: int, t: float) -> None:
    values = [1.0, 2.0, 4.0][:n]
    found = statistics.mean(values)
    assert found is not None
    assert found.high is not None
    half = t * float(np.std(values, ddof=1)) / math.sqrt(n)
    assert found.high - found.mean == pytest.approx(half, rel=1e-4)


def test_students_interval_holds_for_values_of_which_nearly_all_are_the_same() -> None:
    values = [0.0] * 29 + [1.0]
    found = statistics.mean(values)
    assert found is not None
    assert found.high is not None
    half = 2.04523 * float(np.std(values, ddof=1)) / math.sqrt(30)
    assert found.high - found.mean == pytest.approx(half, rel=1e-5)


def test_what_is_no_pair_or_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        statistics.paired_difference([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        statistics.mean([1.0, math.nan])
