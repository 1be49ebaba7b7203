"""`python -m benchmarks [NAME …] [--rounds N] [--json FILE]`: measure, and print the figures.

`python -m benchmarks.chaos` is a command of its own: it kills processes, and takes half an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import agent_calls, durability, gateway, journal_size, messages, startup
from benchmarks.machine import machine

MEASURES: dict[str, Callable[[int], dict[str, Any]]] = {
    "messages": lambda rounds: asyncio.run(messages.measure(rounds)),
    "durability": lambda rounds: asyncio.run(durability.measure(rounds)),
    "gateway": lambda rounds: asyncio.run(gateway.measure(rounds)),
    "agents": lambda rounds: asyncio.run(agent_calls.measure(rounds)),
    "journal": journal_size.measure,
    "startup": startup.measure,
}


def main() -> None:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.which if name not in MEASURES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there is: {', '.join(MEASURES)}")
    which = chosen.which or list(MEASURES)
    found: dict[str, Any] = {"machine": machine()}
    for name in which:
        found[name] = MEASURES[name](chosen.rounds)
        print(f"\n{name}")
        for figure, value in found[name].items():
            if isinstance(value, dict):
                shown = f"{value['median']:>12,.3f}   ({value['min']:,.3f} to {value['max']:,.3f}, n={value['n']})"
            else:
                shown = f"{value:>12}"
            print(f"  {figure:<36}{shown}", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
