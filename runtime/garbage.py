"""Looking for garbage less often: messages are many, short-lived and without cycles.

Python looks for cycles each time 700 more objects were made than freed, and a run makes thousands: with 50 runs in
flight inline that was a fifth of the CPU time. What has no cycles is freed at once in any case.
"""

from __future__ import annotations

import gc

DEFAULT = (700, 10, 10)
"""CPython's own thresholds."""
SELDOM = (50_000, 20, 100)

_holders = 0


def collect_seldom() -> None:
    """Until `collect_as_before` was called as often. A program that chose thresholds of its own keeps them."""
    global _holders
    _holders += 1
    if gc.get_threshold() == DEFAULT:
        gc.set_threshold(*SELDOM)


def collect_as_before() -> None:
    """Whoever called `collect_seldom` needs it no more."""
    global _holders
    _holders -= 1
    if not _holders and gc.get_threshold() == SELDOM:
        gc.set_threshold(*DEFAULT)
