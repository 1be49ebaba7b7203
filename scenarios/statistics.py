"""How sure we may be of a mean, a difference, or a pass rate: intervals over cases, McNemar's test, pass@k.

A bench's unit of sampling is the case. Repeats of a case are not independent of each other, so they enter as their
mean, and it is cases that are resampled (Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640, sections 2.2
and 4). All here is deterministic: the bootstrap's random numbers have a fixed seed.

Which interval serves where was chosen by simulation (tests/unit/scenarios/test_statistics.py repeats it):
- right or wrong, once a case: Wilson's score interval; for a paired difference Agresti and Min's. A bootstrap of
  few wrong answers covers too little (80 to 90 % at 30 cases), whichever kind it is.
- all else: the symmetric bootstrap-t, which holds 94 to 97 % from 30 cases on for shares with many zeros and for
  costs with a long tail alike, where BCa falls to 86 % and the equal-tailed bootstrap-t to 89 %.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

PassRate = Callable[[int, int, int], float]
"""Of tries, those passed, and k: a rate between 0 and 1."""

LEVEL = 0.95
"""The share of intervals that cover what they estimate."""

RESAMPLES = 2000
_FEWEST_RESAMPLES = 1000
_MOST_WEIGHTS = 4_000_000  # 32 MB of weights; with more cases than that allows, fewer resamples
_MOST_T = 8.0
_SEED = 20_240_917
_Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over `n` cases with its 95 % interval; `low` and `high` are None where one case tells nothing."""

    mean: float
    low: float | None
    high: float | None
    n: int


def mean(values: Sequence[float] | Values, *, share: bool = False) -> Estimate | None:
    """The mean of one value a case, with its interval; None of no values.

    `share`: the values lie between 0 and 1, and so does the interval; a share that is the same in all cases still
    has an interval, since it would not be in all others.
    """
    x = _checked(values)
    if x.size == 0:
        return None
    m = float(x.mean())
    if share and bool(np.isin(x, (0.0, 1.0)).all()):
        return _estimate(m, wilson(float(x.sum()), x.size), x.size)
    bounds = _resampled(x)
    if bounds is None and share:
        # Of all shares with this mean, right-or-wrong ones vary most: their interval covers enough.
        bounds = wilson(float(x.sum()), x.size)
    return _estimate(m, _clipped(bounds, 0.0, 1.0) if share else bounds or _by_t(x), x.size)


def paired_difference(
    a: Sequence[float] | Values, b: Sequence[float] | Values, *, share: bool = False
) -> Estimate | None:
    """The mean of `a - b` over cases that both have, in the same order, with its interval; None of no cases.

    `share`: both lie between 0 and 1. Raises ValueError if the lengths differ.
    """
    first, second = _checked(a), _checked(b)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} values and {second.size} are no pairs")
    d = first - second
    if d.size == 0:
        return None
    m = float(d.mean())
    if share and bool(np.isin(d, (-1.0, 0.0, 1.0)).all()):
        return _estimate(m, _clipped(_agresti_min(d), -1.0, 1.0), d.size)
    bounds = _resampled(d)
    if bounds is None and share:
        bounds = _agresti_min(d)
    return _estimate(m, _clipped(bounds, -1.0, 1.0) if share else bounds or _by_t(d), d.size)


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927, JASA 22: 209-212)."""
    p, zz = successes / n, _Z * _Z
    middle = (p + zz / (2 * n)) / (1 + zz / n)
    half = _Z * math.sqrt(p * (1 - p) / n + zz / (4 * n * n)) / (1 + zz / n)
    # The limits are exact at the ends, where rounding would leave 1e-17.
    return (0.0 if p == 0 else max(0.0, middle - half), 1.0 if p == 1 else min(1.0, middle + half))


def mcnemar(wins: int, losses: int) -> float:
    """The exact two-sided p of McNemar's test: how often a fair coin parts the cases that differ at least so unevenly.

    `wins` and `losses` are the cases that one has right and the other wrong, and the reverse (McNemar 1947,
    Psychometrika 12: 153-157; the exact binomial form is Cochran's). 1.0 where no case differs.
    """
    n, fewer = wins + losses, min(wins, losses)
    # Exact fractions, and logarithms from where these are slow to make.
    if n < 1000:
        tail = float(sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)
    else:
        logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(fewer + 1)]
        tail = math.fsum(math.exp(x - n * math.log(2)) for x in logs)
    return min(1.0, 2 * tail)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values, each raised for there being many (Holm 1979, Scand. J. Stat. 6: 65-70), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, p_values[i] * (len(p_values) - rank)))
        adjusted[i] = highest
    return adjusted


def pass_at_k(tries: int, passed: int, k: int) -> float:
    """The chance that at least one of k tries passes, unbiased: 1 - C(n-c, k) / C(n, k).

    Chen et al. 2021, "Evaluating Large Language Models Trained on Code", arXiv:2107.03374, equation 1.
    Raises ValueError for fewer tries than k.
    """
    _check_k(tries, passed, k)
    return 1.0 - math.comb(tries - passed, k) / math.comb(tries, k)


def pass_hat_k(tries: int, passed: int, k: int) -> float:
    """The chance that all of k tries pass, "pass^k", unbiased: C(c, k) / C(n, k).

    Yao et al. 2024, "tau-bench", arXiv:2406.12045, section 3. Raises ValueError for fewer tries than k.
    """
    _check_k(tries, passed, k)
    return math.comb(passed, k) / math.comb(tries, k)


def quantile(values: Iterable[float], q: float) -> float | None:
    """The q-quantile (linear between neighbours, as numpy's); None of no values."""
    x = np.asarray(list(values), dtype=np.float64)
    return float(np.quantile(x, q)) if x.size else None


def _checked(values: Sequence[float] | Values) -> Values:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not bool(np.isfinite(x).all()):
        raise ValueError("one finite number a case is wanted")
    return x


def _estimate(m: float, bounds: tuple[float, float] | None, n: int) -> Estimate:
    if bounds is None:
        return Estimate(mean=m, low=None, high=None, n=n)
    # Agresti and Min's interval lies around a mean drawn towards 0; the plain one belongs in it.
    return Estimate(mean=m, low=min(m, bounds[0]), high=max(m, bounds[1]), n=n)


def _clipped(bounds: tuple[float, float] | None, low: float, high: float) -> tuple[float, float] | None:
    return bounds and (max(low, bounds[0]), min(high, bounds[1]))


def _resampled(x: Values) -> tuple[float, float] | None:
    """The symmetric bootstrap-t interval of the mean (Hall 1988, J. R. Stat. Soc. B 50: 35-45).

    None where resamples without any spread are too many to tell: the values are (nearly) all the same.
    """
    n = x.size
    if n < 2:
        return None
    weights = _weights(n)
    centred = x - x.mean()
    scale = float(np.abs(centred).max())
    if scale <= 1e-12 * max(1.0, float(np.abs(x).max())):
        return None
    centred = centred / scale  # what is squared below is about 1, in whatever unit x comes
    # Not `@`: BLAS would take all cores for it, wait for busy ones, and round differently from machine to machine.
    means = np.einsum("ij,j->i", weights, centred) / n
    variances = np.einsum("ij,j->i", weights, centred * centred) / n - means * means
    flat = variances < 1e-13  # rounding leaves some 1e-16 of nothing
    if float(flat.mean()) > (1 - LEVEL) / 2:
        return None
    t = np.abs(means) / np.sqrt(np.where(flat, 1.0, variances) / n)
    t[flat] = np.inf
    # One value far from many that are nearly the same makes some resamples' errors tiny, and t absurd.
    widest = min(float(np.quantile(t, LEVEL, method="higher")), _MOST_T)
    half = widest * float(x.std()) / math.sqrt(n)
    m = float(x.mean())
    return m - half, m + half


@functools.lru_cache(maxsize=2)
def _weights(n: int) -> Values:
    """How often each of n cases is drawn in each resample: shape (resamples, n), each row sums to n."""
    resamples = min(RESAMPLES, max(_FEWEST_RESAMPLES, _MOST_WEIGHTS // n))
    rng = np.random.default_rng(_SEED)
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def _agresti_min(d: Values) -> tuple[float, float]:
    """The interval of a difference of paired proportions with half a case added to each cell of the 2 × 2 table.

    Agresti and Min 2005, Statistics in Medicine 24: 729-740. For shares between 0 and 1 it is on the safe side.
    """
    n = d.size + 2
    m = float(d.sum()) / n
    spread = math.sqrt(max(0.0, (float(np.abs(d).sum()) + 1) / n - m * m) / n)
    return m - _Z * spread, m + _Z * spread


def _by_t(x: Values) -> tuple[float, float] | None:
    """Student's interval, for values of which nearly all are the same; None of one value.

    The quantile is exact for one and two degrees of freedom, else the expansion in Abramowitz and Stegun 1964, 26.7.5.
    """
    nu = x.size - 1
    if nu < 1:
        return None
    z, p = _Z, 0.5 + LEVEL / 2
    if nu == 1:
        t = math.tan(math.pi * (p - 0.5))
    elif nu == 2:
        t = (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    else:
        t = (
            z
            + (z**3 + z) / (4 * nu)
            + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * nu**3)
        )
    half = t * float(x.std(ddof=1)) / math.sqrt(x.size)
    m = float(x.mean())
    return m - half, m + half


def _check_k(tries: int, passed: int, k: int) -> None:
    if not 0 <= passed <= tries or not 1 <= k <= tries:
        raise ValueError(f"{passed} of {tries} tries passed, and k is {k}: k is at most the tries")
