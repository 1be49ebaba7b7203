"""Tools: `@tool`, what a tool may know of its call, and the built-in tools."""

# Not lazily: importing the module `tool` later would put it in the place of the function of that name.
from callsheet.tools.context import DocumentSearch, PassageLike, ToolContext
from callsheet.tools.registry import builtin_tools, find_tool
from callsheet.tools.stuck_calls import on_stuck, stuck
from callsheet.tools.tool import Effect, OnUnknown, Tool, ToolFailure, ToolInputError, tool

__all__ = [
    "DocumentSearch",
    "Effect",
    "OnUnknown",
    "PassageLike",
    "Tool",
    "ToolContext",
    "ToolFailure",
    "ToolInputError",
    "builtin_tools",
    "find_tool",
    "on_stuck",
    "stuck",
    "tool",
]
