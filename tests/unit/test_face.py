"""The public names: pinned here, so that none comes or goes by accident."""

from __future__ import annotations

import importlib
import inspect

import pytest

import callsheet

NAMES = [
    "Agent",
    "AgentError",
    "CallsheetError",
    "CancelledError",
    "Cascade",
    "Crew",
    "DefinitionError",
    "DocumentError",
    "FlowRun",
    "InfrastructureError",
    "LimitError",
    "Limits",
    "ModelError",
    "ModelPolicy",
    "OutputError",
    "Result",
    "Role",
    "Run",
    "RunError",
    "RunEvent",
    "Settings",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolFailure",
    "UnknownNameError",
    "UsageError",
    "WaitingError",
    "__version__",
    "load_settings",
    "tool",
]


def test_the_public_names_are_these() -> None:
    assert callsheet.__all__ == NAMES
    assert dir(callsheet) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_what_its_own_module_defines(name: str) -> None:
    value = getattr(callsheet, name)
    if name != "__version__":
        home = importlib.import_module(value.__module__)
        assert getattr(home, name) is value


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_a_public_name_says_what_it_is_for(name: str) -> None:
    text = inspect.getdoc(getattr(callsheet, name)) or ""
    first = text.partition("\n")[0]
    assert first
    assert first[0].isupper() or first[0] in "`@"


def test_an_unknown_name_fails_as_with_any_module() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Swarm'"):
        callsheet.Swarm  # noqa: B018
