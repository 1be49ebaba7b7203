"""What pyproject.toml says agrees with the code and the folders."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

import callsheet
from callsheet.settings import Settings
from callsheet.tracing.phoenix import PHOENIX_REQUIREMENT

ROOT = Path(__file__).resolve().parent.parent.parent
LINKED = ("agents", "core", "crews", "memory", "models", "roles", "runtime", "scenarios", "tools", "tracing")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_is_one(project: dict[str, Any]) -> None:
    assert project["project"]["version"] == callsheet.__version__
    assert f"## {callsheet.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_phoenix_is_pinned_to_one_version_and_constrains_nothing(project: dict[str, Any]) -> None:
    pinned = project["tool"]["callsheet"]["phoenix_requirement"]
    assert pinned == PHOENIX_REQUIREMENT == Settings.model_fields["phoenix_requirement"].default
    groups = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    # Its client, for experiments, is small, and an extra.
    named = [one for group in groups for one in group if "phoenix" in one]
    assert [one for one in named if not one.startswith("arize-phoenix-client")] == []
    assert not any("phoenix" in one for one in project["project"]["dependencies"])


@pytest.mark.parametrize("name", LINKED)
def test_a_folder_at_the_top_is_linked_into_the_package_by_a_relative_link(name: str) -> None:
    link = ROOT / "callsheet" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..", name)
    assert (link / "__init__.py").is_file()


def test_every_folder_of_code_is_linked_or_kept_out_on_purpose() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders - {"callsheet", "benchmarks"} == set(LINKED)


def test_the_linter_bans_each_folder_under_its_bare_name(project: dict[str, Any]) -> None:
    banned = project["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert set(banned) == set(LINKED)


def test_every_folder_has_a_place_in_the_import_order(project: dict[str, Any]) -> None:
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert {name.strip() for layer in layers for name in layer.split("|")} >= set(LINKED)


def test_the_ci_script_can_be_run_and_ends_with_the_readmes_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    steps = [line for line in script.read_text(encoding="utf-8").splitlines() if line.startswith("step ")]
    assert steps[-1] == "step uv run pytest"
    assert "uv run pytest\n" in (ROOT / "README.md").read_text(encoding="utf-8")
