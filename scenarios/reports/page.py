"""A bench as one HTML page."""

from __future__ import annotations

from pathlib import Path

from callsheet.scenarios.comparing import Comparison
from callsheet.scenarios.results import BenchResult


def write_page(result: BenchResult, path: str | Path, comparison: Comparison | None = None) -> None:
    """Write the page."""
