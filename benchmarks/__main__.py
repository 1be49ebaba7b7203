"""`python -m benchmarks [NAME …] [--quick] [--rounds N] [--json FILE] [--plots FOLDER]`: measure, and say what was
wanted.

`python -m benchmarks.chaos` is a command of its own: it kills processes, and takes half an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

from benchmarks.figures import render
from benchmarks.machine import load_average, machine

MODULES = {
    "relay": "relay",
    "growth": "growth",
    "parts": "parts",
    "sizes": "message_sizes",
    "messages": "messages",
    "durability": "durability",
    "gateway": "gateway",
    "agents": "agent_calls",
    "journal": "journal_size",
    "startup": "startup",
}
"""The benchmarks by name: each module has `measure(rounds, …)` and, where something is wanted, `WANTED`."""


def measure(name: str, rounds: int, *, quick: bool, plots: Path | None) -> dict[str, Any]:
    """One benchmark's figures, with the machine's load (of the last minute) before and after."""
    module = importlib.import_module(f"benchmarks.{MODULES[name]}")
    takes = inspect.signature(module.measure).parameters
    options = {key: value for key, value in (("quick", quick), ("plots", plots)) if key in takes}
    before = load_average()
    figures = module.measure(rounds, **options)
    if inspect.iscoroutine(figures):
        figures = asyncio.run(figures)
    print(f"\n{name}\n{render(figures, getattr(module, 'WANTED', ()))}", flush=True)
    wanted = [
        {"figure": want.figure, "wanted": want.bound, "reached": want.reached(figures)}
        for want in getattr(module, "WANTED", ())
    ]
    return {"load_before": before, "load_after": load_average(), "figures": figures, "wanted": wanted}


def main() -> None:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="*", metavar="NAME", help=f"of {', '.join(MODULES)}; default: all")
    parser.add_argument("--rounds", type=int, help="how often each is measured; default: 5, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="a few small loads, to see that all works")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write plots into this folder")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.which if name not in MODULES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there is: {', '.join(MODULES)}")
    rounds = chosen.rounds or (1 if chosen.quick else 5)
    found: dict[str, Any] = {"machine": machine()}
    for name in chosen.which or MODULES:
        found[name] = measure(name, rounds, quick=chosen.quick, plots=chosen.plots)
        if chosen.json:  # after each, so that what was measured is kept if the next one fails
            chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
