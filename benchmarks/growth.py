"""How CPU and memory grow: with the agents of a crew, the runs in flight, and the length of a conversation.

Of each series the exponent is told: the slope of log(cost) over log(size) by least squares, 1 where the cost is in
proportion. Agents: CPU of a run of a chain so long. In flight: CPU of all runs in flight together, and what they
take of memory beyond what the idle tree has. Conversation: CPU of one model call, on average over a turn that ends
with so many messages; since a request carries all of them, nobody's can have an exponent far below 1. The bare SDK
does the same conversations. On Ray crews end at 16 agents: each is a process. `--plots FOLDER` draws them.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.conversation import calls_until
from benchmarks.figures import SEPARATOR, Wanted, name
from benchmarks.fitting import exponent
from benchmarks.machine import spread
from benchmarks.model_server import ModelServer

AGENTS = {"inline-disk": (2, 4, 8, 16, 32, 64), "ray": (2, 4, 8, 16)}
IN_FLIGHT = {"inline-disk": (1, 10, 50, 200, 500, 2000), "ray": (1, 10, 50, 200, 500, 2000)}
MESSAGES = dict.fromkeys(("inline-disk", "ray", "sdk"), (10, 30, 100, 300, 1000))
QUICK = (
    {"inline-disk": (2, 8)},
    {"inline-disk": (1, 50, 200), "ray": (1, 50, 200)},
    {"inline-disk": (10, 100), "sdk": (10, 100)},
)
HELD = 200
"""Runs in flight from which on their memory stands out from the tree's own."""
MODEL_CALLS = 640
"""Of one load, roughly, where a load is of runs of different lengths."""
ROUNDS = 3
"""At most: a round starts a Ray for each crew."""

Series = dict[str, dict[int, list[float]]]
"""What a contender took (`who · what`), by size, one figure a round."""

OVER = ("agents", "runs in flight", "messages")
WANTED = (
    *(Wanted(figure=name("exponent over agents", who, "CPU"), at_most=1.1) for who in AGENTS),
    *(
        Wanted(figure=name("exponent over runs in flight", who, what), at_most=1.1)
        for who in IN_FLIGHT
        for what in ("CPU", "memory")
    ),
    *(Wanted(figure=name("exponent over messages", who, "CPU"), at_most=1.1) for who in MESSAGES if who != "sdk"),
)  # fmt: skip


def measure(rounds: int = ROUNDS, *, quick: bool = False, plots: Path | None = None) -> dict[str, Any]:
    """The costs by size, and their exponents."""
    agents, in_flight, messages = QUICK if quick else (AGENTS, IN_FLIGHT, MESSAGES)
    found: tuple[Series, Series, Series] = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder, ModelServer() as server:
        for n in range(min(rounds, ROUNDS)):
            place = Path(folder) / str(n)
            for who, sizes in agents.items():
                _over_agents(found[0], who, sizes, server, place)
            for who, sizes in in_flight.items():
                _over_runs(found[1], who, sizes, server, place)
            _over_messages(found[2], messages, server, place)
    figures: dict[str, Any] = {}
    for over, series in zip(OVER, found, strict=True):
        for who, by_size in series.items():
            for size, costs in by_size.items():
                figures[name(f"{over}: {size}", *who.split(SEPARATOR))] = spread(costs)
    for over, series in zip(OVER, found, strict=True):
        for who, by_size in series.items():
            contender, what = who.split(SEPARATOR)
            if len(by_size) < 2:
                continue  # a small selection of sizes
            figures[name(f"exponent over {over}", contender, what.split()[0])] = spread(exponents(by_size))
    if plots is not None:
        draw(found, plots / "growth.png")
    return figures


def exponents(by_size: Mapping[int, Sequence[float]]) -> list[float]:
    """The exponent of each round."""
    return [exponent(list(by_size), costs) for costs in zip(*by_size.values(), strict=True)]


def _over_agents(found: Series, who: str, sizes: Sequence[int], server: ModelServer, place: Path) -> None:
    for agents in sizes:
        runs = max(20, MODEL_CALLS // (2 * agents))
        with Contender(who, server.root, place / f"{who}-{agents}", agents=agents) as contender:
            took = _checked(contender.load(runs, 10))
        _keep(found, name(who, "CPU ms/run"), agents, took["cpu_ms"])


def _over_runs(found: Series, who: str, sizes: Sequence[int], server: ModelServer, place: Path) -> None:
    with Contender(who, server.root, place / f"{who}-runs") as contender:
        for size in sizes:
            took = _checked(contender.load(max(size, MODEL_CALLS // 8), size))
            _keep(found, name(who, "CPU ms of all"), size, took["cpu_ms"] * size)
            if size >= HELD:
                _keep(found, name(who, "memory MB of all"), size, took["grown_mb"])


def _over_messages(
    found: Series, sizes: Mapping[str, Sequence[int]], server: ModelServer, place: Path
) -> None:
    open_ = {who: Contender(who, server.root, place / f"{who}-messages", agents=0) for who in sizes}
    try:
        for who, lengths in sizes.items():
            for length in lengths:
                calls = calls_until(length)
                took = _checked(open_[who].load(max(1, MODEL_CALLS // calls), 1, length))
                _keep(found, name(who, "CPU ms/call"), length, took["cpu_ms"] / calls)
    finally:
        for contender in open_.values():
            contender.close()


def _checked(took: dict[str, Any]) -> dict[str, Any]:
    assert not took["errors"], took["first_error"]
    return took


def _keep(found: Series, who: str, size: int, cost: float) -> None:
    found.setdefault(who, {}).setdefault(size, []).append(cost)


def draw(found: Sequence[Series], path: Path) -> None:
    """The series as a picture of three panels, both axes logarithmic. Needs the extra `bench`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure, panels = plt.subplots(1, len(found), figsize=(15, 4.5), layout="constrained")
    for panel, over, series in zip(panels, OVER, found, strict=True):
        for who, by_size in series.items():
            middle = [statistics.median(costs) for costs in by_size.values()]
            low = [m - min(costs) for m, costs in zip(middle, by_size.values(), strict=True)]
            high = [max(costs) - m for m, costs in zip(middle, by_size.values(), strict=True)]
            power = f": n^{spread(exponents(by_size))['median']:.2f}" if len(by_size) > 1 else ""
            panel.errorbar(list(by_size), middle, yerr=(low, high), marker="o", capsize=3, label=who + power)
        panel.set(xscale="log", yscale="log", xlabel=over)
        panel.grid(visible=True, which="both", alpha=0.25)
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
