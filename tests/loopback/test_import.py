"""What importing callsheet loads: nothing heavy, in a process that has loaded nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp", "anthropic", "ddgs", "faiss", "genai_prices", "httpx", "numpy", "openai", "openinference",
    "opentelemetry", "phoenix", "pydantic_settings", "pypdf", "ray", "rich", "sqlalchemy", "trafilatura",
}  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a new process has after the statement."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_callsheet_loads_nothing_heavy() -> None:
    assert not loaded_by("import callsheet") & (HEAVY | {"pydantic"})


@pytest.mark.parametrize("name", ["tool", "Agent", "Role", "Limits", "CallsheetError"])
def test_defining_agents_and_tools_loads_neither_ray_nor_a_provider(name: str) -> None:
    loaded = loaded_by(f"from callsheet import {name}")
    assert not loaded & {"ray", "openai", "anthropic", "faiss", "opentelemetry", "sqlalchemy", "trafilatura"}


def test_the_command_line_shows_its_help_without_ray_or_a_provider() -> None:
    statement = "from callsheet.cli.entry import command_line\nassert command_line(['--help']) == 0"
    assert not loaded_by(statement) & {"ray", "openai", "anthropic", "faiss", "opentelemetry", "sqlalchemy"}


def test_an_agents_process_on_ray_loads_no_database() -> None:
    # Each agent has a process: what they all import in vain, each crew's start pays for several times.
    loaded = loaded_by("import callsheet.runtime.actors, callsheet.runtime.participant")
    assert not loaded & {"sqlalchemy", "pydantic", "numpy", "aiohttp", "rich"}
