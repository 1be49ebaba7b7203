"""How long it takes to begin: importing the package, a first answer inline, Ray cold and warm.

Each is a fresh process, since what a process has loaded once it has for good.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import spread

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


def measure(rounds: int = 5, ray_rounds: int = 2) -> dict[str, Any]:
    """Wall seconds, each from a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "crew.py"
        script.write_text(CREW)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("CALLSHEET_", "RAY_"))
        }
        environment |= {"CALLSHEET_HOME": str(Path(folder) / "home"), "CALLSHEET_PHOENIX": "off"}

        def run(*command: str) -> tuple[str, float]:
            began = time.perf_counter()
            found = subprocess.run(
                [sys.executable, *command], env=environment, capture_output=True, text=True, check=True
            )
            return found.stdout, time.perf_counter() - began

        imports = [float(run("-c", IMPORT)[0]) for _ in range(rounds)]
        inline = [json.loads(run(str(script), "inline")[0]) for _ in range(rounds)]
        ray = [json.loads(run(str(script), "ray")[0]) for _ in range(ray_rounds)]
    return {
        "import_callsheet_s": spread(imports),
        "inline_first_answer_s": spread([found["first_s"] for found in inline]),
        "inline_second_answer_s": spread([found["second_s"] for found in inline]),
        "ray_cold_first_answer_s": spread([found["first_s"] for found in ray]),
        "ray_warm_answer_s": spread([found["second_s"] for found in ray]),
    }
