"""`python -m benchmarks.chaos --kills 300`: kill every kind of process of a working crew, and count what was lost.

Five campaigns share the kills. `cluster`: one actor, or the driver, at a time. `node`: all processes of the
cluster's one node. `alone`: a driver that has a Ray of its own, or its node. `inline`: a driver that is all there
is, before, within, after and behind each of its journal writes. `storm`: actors of a cluster, without waiting for
one to come back before the next is killed. Runs are kept going all the while, and whoever was
asked decides by looking into the ledger. See `chaos_lab` for what is done and how it is judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.chaos_lab.campaign import Campaign, Mode
from benchmarks.chaos_lab.models import ModelServer
from benchmarks.chaos_lab.schedule import KINDS, plan, storm, sweep
from benchmarks.chaos_lab.stage import Stage
from benchmarks.chaos_lab.verdict import Verdict, judge, undisturbed
from benchmarks.machine import machine

SHARES = {"cluster": 60, "inline": 20, "alone": 8, "node": 4, "storm": 8}
"""Of a hundred kills, how many each part gets: a node's death takes ten times as long as an actor's."""


def campaign(folder: Path, part: str, seed: int, kills: int, kinds: Sequence[str], in_flight: int) -> Verdict:
    """One campaign in its own folder: the verdict on it."""

    def progress(line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {part:<8}{line}", file=sys.stderr, flush=True)

    mode: Mode = "cluster" if part in ("node", "storm") else part  # type: ignore[assignment]
    single = [kind for kind in kinds if kind != "node"]
    plans = {
        "cluster": lambda: plan(seed, kills, single), "node": lambda: plan(seed, kills, ["node"]),
        "alone": lambda: plan(seed, kills, ["driver", "node"]), "inline": lambda: sweep(seed, kills),
    }  # fmt: skip
    with ModelServer() as server:
        stage = Stage(folder, server.url)
        try:
            calm = undisturbed(stage, server)
            run = Campaign(stage, server, mode=mode, in_flight=in_flight, progress=progress)
            run.open()
            try:
                run.storm(storm(seed, kills)) if part == "storm" else run.run(plans[part]())
            finally:
                run.save()
            return judge(stage.journal, stage.ledger(), list(server.sightings), run.log, calm)
        finally:
            stage.close()


def main() -> None:
    """Run the campaigns and print the figures; exit status 1 if anything was lost or repeated."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="over all parts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", default=",".join(SHARES), help=f"of {', '.join(SHARES)}")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of processes, in the cluster part")
    parser.add_argument("--in-flight", type=int, default=8, help="runs kept going at once")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--folder", type=Path, help="keep journals, ledgers and logs here")
    chosen = parser.parse_args()
    base = chosen.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    found: dict[str, Any] = {"machine": machine(), "seed": chosen.seed, "parts": {}}
    whole = Verdict()
    for part, kills in shared(chosen.kills, chosen.parts.split(",")).items():
        folder = base / part
        folder.mkdir(parents=True)
        verdict = campaign(folder, part, chosen.seed, kills, chosen.kinds.split(","), chosen.in_flight)
        found["parts"][part] = asdict(verdict)
        show(part, verdict)
        whole.add(verdict)
        found["all"] = asdict(whole)
        if chosen.json:
            chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    show("all", whole)
    for line in whole.wrong[:200]:
        print(line)
    print(f"\njournals, ledgers and logs: {base}")
    sys.exit(1 if whole.wrong else 0)


def shared(kills: int, parts: Sequence[str]) -> dict[str, int]:
    """How many kills each part gets, all of them together `kills`."""
    weight = sum(SHARES[part] for part in parts)
    found = {part: round(kills * SHARES[part] / weight) for part in parts}
    found[parts[0]] += kills - sum(found.values())
    return found


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
