"""A bench in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callsheet.scenarios.comparing import Comparison
from callsheet.scenarios.results import BenchResult

if TYPE_CHECKING:
    from rich.console import Console


def show(console: Console, result: BenchResult, comparison: Comparison | None = None) -> None:
    """Print the ranking, the differences, what failed and what changed, in the console's width."""
