"""`python -m benchmarks.chaos --kills 300`: kill every kind of process of a working crew, and count what was lost.

Three campaigns share the kills: on a cluster, one actor or the driver at a time; on a cluster whose whole node
dies; and with a driver that has a Ray of its own, which is killed, or its node. Runs are kept going all the
while. See `chaos_lab` for what is done and how it is judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.chaos_lab.campaign import Campaign
from benchmarks.chaos_lab.models import ModelServer
from benchmarks.chaos_lab.schedule import ACTORS, KINDS, plan
from benchmarks.chaos_lab.stage import Stage
from benchmarks.chaos_lab.verdict import Verdict, judge, undisturbed
from benchmarks.machine import machine


def campaign(
    folder: Path, seed: int, kills: int, kinds: tuple[str, ...], *, alone: bool, in_flight: int
) -> Verdict:
    """One campaign in its own folder: the verdict on it."""

    def progress(line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)

    with ModelServer() as server:
        stage = Stage(folder, server.url)
        try:
            calm = undisturbed(stage, server)
            run = Campaign(stage, server, alone=alone, in_flight=in_flight, progress=progress)
            run.open()
            try:
                run.run(plan(seed, kills, kinds))
            finally:
                (folder / "log.json").write_text(json.dumps(run.log.to_dict(), indent=1))
                (folder / "sightings.json").write_text(json.dumps([asdict(s) for s in server.sightings]))
            return judge(stage.journal, stage.ledger(), list(server.sightings), run.log, calm)
        finally:
            stage.close()


def main() -> None:
    """Run the campaigns and print the figures; exit status 1 if anything was lost or repeated."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS), help="comma-separated")
    parser.add_argument("--in-flight", type=int, default=8, help="runs kept going at once")
    parser.add_argument(
        "--alone", choices=["yes", "no", "both"], default="both", help="a Ray of the driver's own"
    )
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--folder", type=Path, help="keep journals, ledgers and logs here")
    chosen = parser.parse_args()
    kinds = tuple(chosen.kinds.split(","))
    base = chosen.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    found: dict[str, Any] = {"machine": machine(), "seed": chosen.seed, "campaigns": {}}
    parts = shares(chosen.kills, kinds, chosen.alone)
    wrong: list[str] = []
    for name, (kills, of, alone) in parts.items():
        folder = base / name
        folder.mkdir(parents=True)
        verdict = campaign(folder, chosen.seed, kills, of, alone=alone, in_flight=chosen.in_flight)
        wrong += [f"{name}: {line}" for line in verdict.wrong]
        found["campaigns"][name] = {**asdict(verdict), "wrong": len(verdict.wrong)}
        show(name, verdict)
        if chosen.json:
            chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    for line in wrong[:200]:
        print(line)
    print(f"\nfolder: {base}\nfaults: {len(wrong)}")
    sys.exit(1 if wrong else 0)


def shares(kills: int, kinds: tuple[str, ...], alone: str) -> dict[str, tuple[int, tuple[str, ...], bool]]:
    """How the kills are shared out: a node's death takes as long as ten of an actor's."""
    single = tuple(kind for kind in kinds if kind in (*ACTORS, "driver"))
    whole = tuple(kind for kind in kinds if kind in ("driver", "node"))
    parts: dict[str, tuple[int, tuple[str, ...], bool]] = {}
    rest = kills
    if whole and alone != "no":
        parts["alone"] = (max(1, kills // 10), whole, True)
        rest -= parts["alone"][0]
    if "node" in kinds and alone != "yes":
        parts["node"] = (max(1, kills // 12), ("node",), False)
        rest -= parts["node"][0]
    if single and alone != "yes" and rest > 0:
        parts["cluster"] = (rest, single, False)
    return dict(reversed(parts.items()))


def show(name: str, verdict: Verdict) -> None:
    """Print the figures of one campaign."""
    print(f"\n{name}")
    for label, value in (
        ("kills", f"{verdict.kills} ({', '.join(f'{k} {n}' for k, n in sorted(verdict.by_kind.items()))})"),
        ("runs", verdict.runs), ("done", verdict.done), ("lost runs", len(verdict.lost_runs)),
        ("wrong answers", len(verdict.wrong_answers)), ("model calls", verdict.model_calls),
        ("repeated finished model calls", len(verdict.repeated_model_calls)), ("tool calls", verdict.tool_calls),
        ("repeated finished tool calls", len(verdict.repeated_tool_calls)),
        ("repeated once effects", len(verdict.repeated_once_effects)),
        ("missing effects", len(verdict.missing_effects)), ("decisions by a person", verdict.waited),
        ("caught in flight, made again", json.dumps(verdict.in_flight_again)), ("faults", len(verdict.faults)),
    ):  # fmt: skip
        print(f"  {label:<34}{value}")
    for who, times in verdict.recovery_s.items():
        print(f"  recovery, {who:<24}{json.dumps(times)}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
