"""Every Python example and every command line of README and docs runs, as it is written.

A block that cannot has a comment `<!-- no test: why -->` above it, and shows up as skipped for that reason.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from callsheet.scenarios.scorers import make_scorer
from tests.docs.markdown import PAGES, ROOT, blocks, files

TIMEOUT_S = 150

# Ray is started by the README's first command and its first crew; the other examples need not.
INLINE = """
import runpy, sys
from callsheet.crews.crew import Crew
Crew._start.__kwdefaults__["host"] = "inline"
runpy.run_path(sys.argv[1], run_name="__main__")
"""
CALLSHEET = "from callsheet.cli import main; main()"
INSTALLED_BY = "pip install uv && uv run "


def run(
    args: list[str], folder: Path, *, given: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A process in that folder that finds this callsheet; it must end in time."""
    return subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CALLSHEET_PHOENIX": "off", **environment},
        stdin=subprocess.DEVNULL if given is None else None,
        input=given,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the repository's pages in it, the README's first crew as `helpdesk.py`, and the pages' files."""
    place = tmp_path / "work"
    place.mkdir()
    shutil.copytree(ROOT / "docs", place / "docs")
    shutil.copy(ROOT / "README.md", place)
    (place / "helpdesk.py").write_text(blocks("python")[0].code)
    for name, text in files().items():
        (place / name).write_text(text, encoding="utf-8")
    return place


def python_examples() -> list[Any]:
    return [
        pytest.param(
            block.code, id=block.place, marks=[pytest.mark.skip(reason=block.untested)] * bool(block.untested)
        )
        for block in blocks("python")
    ]


def commands() -> list[Any]:
    """Each command line once, with what stands before it in its block being of no matter."""
    found: dict[str, Any] = {}
    for block in blocks("console"):
        for line in block.code.splitlines():
            if line in found or not line.strip():
                continue
            reason = block.untested or ("it is this very run" if line.endswith("uv run pytest") else "")
            marks = [pytest.mark.skip(reason=reason)] * bool(reason)
            found[line] = pytest.param(line, id=f"{block.place} {line[:60]}", marks=marks)
    return list(found.values())


@pytest.mark.parametrize("code", python_examples())
def test_a_python_example_runs(code: str, folder: Path) -> None:
    (folder / "example.py").write_text(code)
    done = run(["-c", INLINE, "example.py"], folder)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", commands())
def test_a_command_line_works(command: str, folder: Path) -> None:
    words = shlex.split(command.removeprefix(INSTALLED_BY))
    assert words[0] == "callsheet", f"what should this do here: {command}"
    done = run(["-c", CALLSHEET, *words[1:]], folder)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_the_readme_crew_runs_on_ray_and_answers_from_its_tool(folder: Path) -> None:
    done = run(["helpdesk.py"], folder)
    assert done.returncode == 0, done.stderr
    assert "left the warehouse on Monday" in done.stdout


def test_the_readme_begins_with_the_two_commands_that_set_it_up() -> None:
    first = [block.code.strip() for block in blocks("console")][:2]
    question = "How does callsheet survive a crash?"
    assert first[0] == f'{INSTALLED_BY}callsheet run research --docs docs README.md "{question}"'
    assert first[1] == f"{INSTALLED_BY}pytest"


def test_the_documents_answer_how_callsheet_survives_a_crash(folder: Path) -> None:
    question = "How does callsheet survive a crash?"
    done = run(
        ["-c", CALLSHEET, "run", "research", "--inline", "--docs", "docs", "README.md", question], folder
    )
    assert "journal" in done.stdout
    assert "[docs/durability.md#L" in done.stdout


def test_the_bench_of_the_page_comes_out_as_it_shows(folder: Path) -> None:
    command = "bench orders.yaml --crew shop.py:before --crew shop.py:after --inline --json"
    done = run(["-c", CALLSHEET, *command.split()], folder)
    shares = [each["scores"]["contains"]["value"] for each in json.loads(done.stdout)["result"]["trials"]]
    assert (sum(shares[0::2]), sum(shares[1::2])) == (6, 9)


def test_every_scorer_in_the_pages_yaml_is_one() -> None:
    found = [spec for block in blocks("yaml") for spec in yaml.safe_load(block.code).get("scorers", ())]
    assert len([make_scorer(spec) for spec in found]) >= 5


def test_every_relative_link_leads_somewhere() -> None:
    for page in (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
