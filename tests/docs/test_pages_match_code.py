"""What the pages list is what the code has: settings, commands, errors, limits, tools, roles."""

from __future__ import annotations

import re

import pytest

from callsheet.core import errors
from callsheet.core.limits import Limits
from callsheet.models.catalogue import PROVIDERS
from callsheet.settings import Settings
from callsheet.tools.registry import builtin_tools
from tests.docs.markdown import PAGES, ROOT

PLANNED = {"init", "memory"}
"""Commands that the pages may name as planned. One that comes to be leaves this list, and those sentences."""


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands() -> set[str]:
    from callsheet.cli.app import app

    alone = {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }
    return alone | {group.name for group in app.registered_groups if group.name}


def test_every_setting_is_on_its_page_with_its_variable_and_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page("docs/settings.md"), re.MULTILINE))
    assert set(rows) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert f"`CALLSHEET_{name.upper()}`" in rows[name]
        if isinstance(field.default, (str, bool)):
            assert f"`{str(field.default).lower()}`" in rows[name].lower()


def test_every_option_of_run_is_on_the_settings_page() -> None:
    from typer.main import get_command

    from callsheet.cli.app import app

    run = get_command(app).commands["run"]  # type: ignore[attr-defined]
    options = {name for param in run.params for name in param.opts if name.startswith("--")} - {"--help"}
    assert not [option for option in options if f"`{option}" not in page("docs/settings.md")]


def test_every_command_is_in_the_readmes_table() -> None:
    table = page("README.md").partition("## Commands")[2].partition("## ")[0]
    named = set(re.findall(r"`(?:callsheet )?([a-z]+)(?: [A-Z\[][^`]*)?`", table))
    assert commands() <= named
    assert not named & PLANNED


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_command_that_a_page_names_is_there_or_planned(path: object) -> None:
    named = set(re.findall(r"`callsheet ([a-z]+)\b", str(page(str(path)))))
    assert named <= commands() | PLANNED


def test_nothing_that_is_there_is_called_planned() -> None:
    assert not commands() & PLANNED


def test_the_tree_of_errors_is_the_modules_own() -> None:
    tree = (errors.__doc__ or "").split("\n\n")[1]
    assert tree.startswith("CallsheetError")
    assert tree in page("docs/errors.md")


def test_the_limits_named_are_the_defaults() -> None:
    limits = Limits()
    sentence = f"{limits.model_calls_per_turn} model calls a turn, {limits.turns} turns, {limits.messages:,} messages"
    for name in ("README.md", "docs/settings.md"):
        assert sentence in page(name)
    assert all(f"{field}=" in page("docs/settings.md") for field in limits.to_dict() if field != "budget_usd")


def test_every_provider_is_on_the_models_page_with_its_variables() -> None:
    text = page("docs/models.md")
    for info in PROVIDERS.values():
        for word in (info.name, info.key_env, info.url_env):
            assert not word or f"`{word}`" in text


def test_every_built_in_tool_is_on_the_tools_page() -> None:
    assert all(f"| `{name}` |" in page("docs/tools.md") for name in builtin_tools())


def test_no_page_names_a_folder_of_a_machine_or_a_registry() -> None:
    for path in (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "ray_cluster.yaml"):
        assert not re.findall(r"(?<![\w.~])/(?:home|root|tmp|work|Users)/", page(str(path)))
