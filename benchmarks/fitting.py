"""How a cost grows with a size: the exponent of the power that fits best."""

from __future__ import annotations

import math
from collections.abc import Sequence


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of log(cost) over log(size), by least squares: 1 where the cost is in proportion to the size.

    Raises ValueError for fewer than two different sizes, and for anything that is not above 0.
    """
    if len(set(sizes)) < 2:
        raise ValueError(f"an exponent needs two different sizes or more, got {list(sizes)}")
    x, y = [math.log(n) for n in sizes], [math.log(n) for n in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum(
        (a - mean_x) ** 2 for a in x
    )
