"""The relay (see `benchmarks.relay_crew`) on Ray and inline, beside the bare OpenAI SDK and bare aiohttp.

All contenders are open at once, each in a process of its own, warm, and take the same load in turns; the order is
turned round from round to round. × is the CPU time of a run by that of the bare SDK in the same round. On Ray the
journal is on disk and spans go to a sink on loopback. Loads of 2,000 runs in flight come once, first of all: their
memory is how much the processes have grown since their warm-up. The SDK takes no part in those: it would take minutes.
`python -m benchmarks relay [--quick]` prints the figures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.figures import SEPARATOR, Wanted, name
from benchmarks.machine import spread
from benchmarks.model_server import ModelServer

CONTENDERS = ("sdk", "ray", "inline-disk", "inline-memory", "aiohttp")
SLOW = ("sdk",)
MANY = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """So many runs, of which so many are in flight, with a server that waits so long."""

    latency_ms: int
    in_flight: int
    runs: int
    slow_runs: int = 0
    """Of a contender that would take too long for `runs`; 0: it takes no part."""
    rounds: int = field(default=1000)
    """Not more rounds than this."""

    @property
    def label(self) -> str:
        """How it is told."""
        return f"{self.latency_ms} ms, {self.in_flight:,} in flight"


FULL = (
    Load(latency_ms=200, in_flight=MANY, runs=MANY, rounds=1),
    Load(latency_ms=0, in_flight=MANY, runs=MANY, rounds=1),
    Load(latency_ms=0, in_flight=1, runs=60, slow_runs=60),
    Load(latency_ms=0, in_flight=50, runs=300, slow_runs=150),
    Load(latency_ms=0, in_flight=200, runs=600, slow_runs=300),
    Load(latency_ms=200, in_flight=1, runs=3, slow_runs=3, rounds=2),
    Load(latency_ms=200, in_flight=50, runs=150, slow_runs=150, rounds=2),
    Load(latency_ms=200, in_flight=200, runs=1000, slow_runs=400, rounds=3),
)
QUICK = (
    Load(latency_ms=0, in_flight=1, runs=20, slow_runs=20),
    Load(latency_ms=0, in_flight=50, runs=150, slow_runs=100),
    Load(latency_ms=200, in_flight=200, runs=400, rounds=1),
)

_AT_0 = "0 ms, {} in flight"
WANTED = (
    Wanted(figure=name(_AT_0.format(50), "ray", "× SDK"), at_most=1.0),
    Wanted(figure=name(_AT_0.format(200), "ray", "× SDK"), at_most=0.7),
    Wanted(figure=name(_AT_0.format(1), "ray", "p50 ms"), at_most=60),
    *(
        Wanted(figure=name(_AT_0.format(n), who, "× SDK"), at_most=bound)
        for n in (1, 50)
        for who, bound in (("inline-disk", 0.6), ("inline-memory", 0.4))
    ),
    Wanted(
        figure=name("200 ms, 200 in flight", "ray", "runs/s"), at_least=100,
        given=Wanted(figure=name("200 ms, 200 in flight", "aiohttp", "runs/s"), at_least=110),
    ),
    Wanted(figure=name("200 ms, 2,000 in flight", "ray", "KB/run"), at_most=150),
    Wanted(figure="errors", at_most=0),
)  # fmt: skip


def measure(
    rounds: int = 5, *, quick: bool = False, contenders: Sequence[str] = CONTENDERS
) -> dict[str, Any]:
    """Every contender's figures for every load: see `Contender.load` for what they are."""
    found: dict[str, list[float]] = {"errors": []}
    with tempfile.TemporaryDirectory() as folder, ModelServer() as server, ExitStack() as stack:
        open_ = [stack.enter_context(Contender(who, server.root, Path(folder) / who)) for who in contenders]
        for contender in open_:
            _keep(found, ("idle", contender.name, "peak MB"), contender.idle_mb)
        for n in range(rounds):
            for load in QUICK if quick else FULL:
                if n < load.rounds:
                    server.set_latency(load.latency_ms)
                    _round(found, load, open_ if n % 2 == 0 else open_[::-1], server)
    figures: dict[str, Any] = {
        figure: spread(values) for figure, values in found.items() if figure != "errors"
    }
    return {**_sorted(figures), "errors": sum(found["errors"])}


def _round(
    found: dict[str, list[float]], load: Load, contenders: Iterable[Contender], server: ModelServer
) -> None:
    cpu: dict[str, float] = {}
    for contender in contenders:
        runs = load.slow_runs if contender.name in SLOW else load.runs
        if not runs:
            continue
        before = server.stats()
        took = contender.load(runs, load.in_flight)
        after = server.stats()
        who, cpu[contender.name] = (load.label, contender.name), took["cpu_ms"]
        _keep(found, (*who, "CPU ms/run"), took["cpu_ms"])
        for figure, key in (
            ("runs/s", "per_s"),
            ("p50 ms", "p50_ms"),
            ("p99 ms", "p99_ms"),
            ("peak MB", "peak_mb"),
        ):
            _keep(found, (*who, figure), took[key])
        if load.in_flight == MANY:
            _keep(found, (*who, "KB/run"), 1000 * took["grown_mb"] / MANY)
        _keep(found, (*who, "… server CPU ms/run"), 1000 * (after["cpu_s"] - before["cpu_s"]) / runs)
        _keep(found, (*who, "… sent KB/run"), (after["bytes_in"] - before["bytes_in"]) / runs / 1000)
        if contender.name.startswith("ray"):
            for kind, ms in took["by_kind"].items():
                _keep(found, (*who, f"… {kind}"), ms)
        found["errors"].append(took["errors"])
        if took["errors"]:
            print(
                f"  {load.label}, {contender.name}: {took['errors']} errors, as {took['first_error']}",
                flush=True,
            )
    for who_, used in cpu.items():
        if "sdk" in cpu and who_ != "sdk":
            _keep(found, (load.label, who_, "× SDK"), used / cpu["sdk"])


def _keep(found: dict[str, list[float]], parts: tuple[str, ...], value: float) -> None:
    found.setdefault(name(*parts), []).append(value)


def _sorted(figures: dict[str, Any]) -> dict[str, Any]:
    """Loads in the order of the list above, contenders in theirs."""
    loads = [load.label for load in (*FULL, *QUICK)]

    def key(figure: str) -> tuple[int, int]:
        load, who, _ = figure.split(SEPARATOR)
        return loads.index(load) if load in loads else len(loads), CONTENDERS.index(
            who
        ) if who in CONTENDERS else 99

    return {figure: figures[figure] for figure in sorted(figures, key=key)}
