"""callsheet: crews of LLM agents on Ray.

The public names. Each is loaded when it is first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callsheet.agents.agent import Agent
    from callsheet.core.errors import (
        AgentError,
        CallsheetError,
        CancelledError,
        DefinitionError,
        DocumentError,
        InfrastructureError,
        LimitError,
        ModelError,
        OutputError,
        RunError,
        ToolError,
        UnknownNameError,
        UsageError,
        WaitingError,
    )
    from callsheet.core.limits import Limits
    from callsheet.crews.crew import Crew
    from callsheet.crews.flow import FlowRun
    from callsheet.crews.result import Result, RunEvent
    from callsheet.crews.run import Run
    from callsheet.models.policy import Cascade, ModelPolicy
    from callsheet.roles.role import Role
    from callsheet.settings import Settings, load_settings
    from callsheet.tools.context import ToolContext
    from callsheet.tools.tool import Tool, ToolFailure, tool

_HOMES = {
    "Agent": "agents.agent",
    "Cascade": "models.policy",
    "Crew": "crews.crew",
    "FlowRun": "crews.flow",
    "Limits": "core.limits",
    "ModelPolicy": "models.policy",
    "Result": "crews.result",
    "Role": "roles.role",
    "Run": "crews.run",
    "RunEvent": "crews.result",
    "Settings": "settings",
    "Tool": "tools.tool",
    "ToolContext": "tools.context",
    "ToolFailure": "tools.tool",
    "load_settings": "settings",
    "tool": "tools.tool",
    **dict.fromkeys(
        (
            "AgentError",
            "CallsheetError",
            "CancelledError",
            "DefinitionError",
            "DocumentError",
            "InfrastructureError",
            "LimitError",
            "ModelError",
            "OutputError",
            "RunError",
            "ToolError",
            "UnknownNameError",
            "UsageError",
            "WaitingError",
        ),
        "core.errors",
    ),
}

__version__ = "0.1.0"

__all__ = [
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


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'callsheet' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"callsheet.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
