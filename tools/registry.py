"""The built-in tools by name."""

from __future__ import annotations

import importlib

from callsheet.core.errors import unknown_name
from callsheet.tools.tool import Tool

# Each lives in the module of its own name.
_BUILT_IN = ("ask_person", "fetch_page", "read_file", "search_documents", "web_search")


def builtin_tools() -> dict[str, Tool]:
    """All built-in tools by name."""
    return {name: find_tool(name) for name in _BUILT_IN}


def find_tool(name: str) -> Tool:
    """The built-in tool of that name. Raises UnknownNameError, which names the nearest."""
    if name not in _BUILT_IN:
        raise unknown_name("tool", name, _BUILT_IN, hint="Your own: put @tool above a function and pass it.")
    found = getattr(importlib.import_module(f"callsheet.tools.{name}"), name)
    if not isinstance(found, Tool):
        raise TypeError(f"callsheet.tools.{name} holds no tool")
    return found
