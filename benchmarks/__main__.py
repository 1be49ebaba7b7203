"""`python -m benchmarks [messages|durability|startup …] [--rounds N] [--json FILE]`: measure, and print the figures."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from benchmarks import durability, messages, startup
from benchmarks.machine import machine


def main() -> None:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="*", choices=["messages", "durability", "startup", []], help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    chosen = parser.parse_args()
    which = chosen.which or ["messages", "durability", "startup"]
    found: dict[str, Any] = {"machine": machine()}
    if "messages" in which:
        found["messages"] = asyncio.run(messages.measure(chosen.rounds))
    if "durability" in which:
        found["durability"] = asyncio.run(durability.measure(chosen.rounds))
    if "startup" in which:
        found["startup"] = startup.measure(chosen.rounds)
    for name in which:
        print(f"\n{name}")
        for figure, value in found[name].items():
            if isinstance(value, dict):
                shown = f"{value['median']:>12,.3f}   ({value['min']:,.3f} to {value['max']:,.3f}, n={value['n']})"
            else:
                shown = f"{value:>12}"
            print(f"  {figure:<36}{shown}")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
