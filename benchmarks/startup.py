"""How long it takes to begin: importing the package, a first answer inline, Ray cold and warm.

Each is a fresh process, since what a process has loaded once it has for good.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.figures import Wanted
from benchmarks.machine import spread
from benchmarks.model_server import ModelServer

IMPORT = "import time; t = time.perf_counter(); import callsheet; print(time.perf_counter() - t)"

CREW = """
import json, sys, time
began = time.perf_counter()
from callsheet import Agent, Crew, tool

@tool
def order_status(order_id: str) -> str:
    "Look up where an order is."
    return f"Order {order_id} was shipped on Monday and arrives on Friday."

crew = Crew("bench", agents=[
    Agent("clerk", role="You answer questions about orders.", tools=[order_status]),
    Agent("editor", role="You rewrite answers in two friendly sentences."),
    Agent("critic"),
])
if __name__ == "__main__":
    first = crew.run("Where is order 17?", host=sys.argv[1], model="offline")
    answered = time.perf_counter()
    crew.run("Where is order 18?", host=sys.argv[1], model="offline")
    again = time.perf_counter()
    assert "17" in first.output
    print(json.dumps({"first_s": answered - began, "second_s": again - answered}))
"""


RAY = """
import time
from callsheet.runtime.cluster import LOCAL_ENVIRONMENT
import os
os.environ.update(LOCAL_ENVIRONMENT)
import ray
ray.init(address="local", include_dashboard=False, log_to_driver=False)
print("started", time.time(), flush=True)
ray.shutdown()
"""
"""Ray's own start, as callsheet starts it."""

CLI = "from callsheet.cli import main; main()"
MODEL = "openai-compatible/any"
RAY_ROUNDS = 3
"""At most: each starts Ray four times."""
TIMEOUT_S = 180
QUESTION = "Where is order 17?"

WANTED = (
    Wanted(figure="import callsheet, s", at_most=0.3),
    Wanted(figure="inline, first answer, s", at_most=2),
    Wanted(figure="`run` cold, first model call less Ray's own start, s", at_most=2.5),
    Wanted(figure="the first `run` after `up`, first model call, s", at_most=2.5),
    Wanted(figure="`run` after `up`, first model call, s", at_most=2.5),
)


def measure(rounds: int = 5, *, quick: bool = False) -> dict[str, Any]:
    """Wall seconds, each from a fresh process. First model calls are told by the server that sees them."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "crew.py"
        script.write_text(CREW)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("CALLSHEET_", "RAY_"))
        }
        environment |= {"CALLSHEET_HOME": str(Path(folder) / "home"), "CALLSHEET_PHOENIX": "off"}

        def run(*command: str, **variables: str) -> str:
            return subprocess.run(
                [sys.executable, *command], env=environment | variables, capture_output=True, text=True,
                stdin=subprocess.DEVNULL, check=True, timeout=TIMEOUT_S,
            ).stdout  # fmt: skip

        def keep(figure: str, value: float) -> None:
            found.setdefault(figure, []).append(value)

        def first_call(server: ModelServer) -> float:
            """From the start of a `callsheet run` to its first model call."""
            server.set_latency(0)
            begun = time.time()
            command = ("-c", CLI, "run", str(script), QUESTION, "--model", MODEL, "--json")
            result = json.loads(run(*command, OPENAI_COMPATIBLE_BASE_URL=server.url))
            assert result["status"] == "done", result
            return server.stats()["first_at"] - begun

        for _ in range(rounds):
            keep("import callsheet, s", float(run("-c", IMPORT)))
            inline = json.loads(run(str(script), "inline"))
            keep("inline, first answer, s", inline["first_s"])
            keep("inline, second answer, s", inline["second_s"])
        for _ in range(1 if quick else min(rounds, RAY_ROUNDS)):
            begun = time.time()
            own = float(run("-c", RAY).split("started ")[1].split()[0]) - begun
            keep("Ray's own start, s", own)
            with ModelServer() as server:
                cold = first_call(server)
            keep("`run` cold, first model call, s", cold)
            keep("`run` cold, first model call less Ray's own start, s", cold - own)
            ray = json.loads(run(str(script), "ray"))
            keep("on Ray in a script, cold, first answer, s", ray["first_s"])
            keep("on Ray in a script, second answer, s", ray["second_s"])
            with ModelServer() as server:
                _warm(run, functools.partial(first_call, server), keep, server.url)
    return {figure: spread(values) for figure, values in found.items()}


def _warm(
    run: Callable[..., str], first_call: Callable[[], float], keep: Callable[[str, float], None], url: str
) -> None:
    """After `callsheet up`: the first `run` starts the services on the cluster, the next ones find them."""
    begun = time.time()
    run("-c", CLI, "up", OPENAI_COMPATIBLE_BASE_URL=url)
    keep("`up`, s", time.time() - begun)
    try:
        keep("the first `run` after `up`, first model call, s", first_call())
        keep("`run` after `up`, first model call, s", first_call())
    finally:
        run("-c", CLI, "down")
