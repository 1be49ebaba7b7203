"""Figures of a bench."""

from __future__ import annotations

from pathlib import Path

from callsheet.scenarios.results import BenchResult


def write_plots(result: BenchResult, folder: str | Path) -> list[Path]:
    """Write the figures as PNG files and return their paths."""
    return []
