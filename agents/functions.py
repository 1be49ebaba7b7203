"""Functions that a flow offers an agent for one ask: the model calls them, and the flow gets the calls.

Nobody carries them out: what to do with the calls is the flow's to decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from callsheet.agents.data import data_of
from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import UsageError
from callsheet.models.messages import ToolCall, ToolResult, ToolSpec

_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST = 64
_KEYS = ("name", "description", "parameters")


def functions_data(functions: Any, output: Any = None) -> list[dict[str, Any]]:
    """The functions as they travel, checked. Raises UsageError for what a model cannot be offered, and where an
    `output` is wanted too."""
    if output is not None:
        raise UsageError(
            "an output is asked for and functions are offered", hint="Ask for one after the other."
        )
    if isinstance(functions, (str, Mapping)) or not isinstance(functions, Sequence):
        raise UsageError(
            f"functions is {str(functions)[:200]!r}", hint=f"It is a list: functions=[{_SHAPE}]."
        )
    found: list[dict[str, Any]] = []
    for function in functions:
        if (
            not isinstance(function, Mapping)
            or not isinstance(function.get("name"), str)
            or not function["name"]
        ):
            raise UsageError(f"{str(function)[:200]!r} is no function", hint=f"It is {_SHAPE}.")
        name = function["name"]
        for key in function:
            if key not in _KEYS:
                raise UsageError(
                    f"the function {name!r} has a field {key!r}", hint=f"It has: {', '.join(_KEYS)}."
                )
        description, parameters = function.get("description", ""), function.get("parameters") or {}
        if not isinstance(description, str):
            raise UsageError(f"the function {name!r}: description is {description!r}", hint="It is a text.")
        if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
            raise UsageError(
                f"the function {name!r}: parameters is {str(parameters)[:200]!r}",
                hint='It is the JSON Schema of an object: {"type": "object", "properties": {…}}.',
            )
        if any(name == other["name"] for other in found):
            raise UsageError(f"two functions are called {name!r}", hint="Calls are told apart by name.")
        schema = {"type": "object", "properties": {}, **parameters}
        found.append({"name": name, "description": description, "schema": to_json(data_of(schema))})
    return found


_SHAPE = '{"name": …, "description": …, "parameters": {"type": "object", …}}'


class Offered:
    """The functions of one ask, as an agent offers them to its model beside its own tools.

    Providers take letters, digits, _ and - in names, 64 of them at most; others are called by a name like theirs,
    and told by their own again. Raises UsageError for a function that has the name of one of the agent's tools.
    """

    def __init__(self, functions: Sequence[Mapping[str, Any]], agent: str, own: Sequence[str]) -> None:
        self._names: dict[str, str] = {}
        # Those whose names can stay come first, so that no other takes them.
        for function in sorted(functions, key=lambda f: _told(f["name"]) != f["name"]):
            name = function["name"]
            if name in own:
                raise UsageError(
                    f"{agent} is offered a function {name!r}, and has a tool of that name",
                    hint="Offer it under another name, or ask an agent without that tool.",
                )
            self._names[_free(_told(name), {*own, *self._names})] = name
        told = {name: told for told, name in self._names.items()}
        self.specs = tuple(
            ToolSpec(name=told[f["name"]], description=f["description"], schema=f["schema"])
            for f in functions
        )
        self.text = to_json([[spec.name, spec.description, spec.schema] for spec in self.specs])
        """What the digest of a conversation takes in."""

    def called(self, calls: Sequence[ToolCall]) -> bool:
        """Whether any of the calls is one of an offered function."""
        return any(call.name in self._names for call in calls)

    def calls(self, calls: Sequence[ToolCall]) -> list[dict[str, Any]] | tuple[ToolResult, ...]:
        """The calls of offered functions, `{"name", "arguments"}`; or what to tell the model of calls that
        cannot be read, for it to make them again."""
        found: list[dict[str, Any]] = []
        faults: dict[str, str] = {}
        for call in calls:
            if call.name not in self._names:
                continue
            try:
                arguments = from_json(call.arguments or "{}")
                to_json(arguments)  # NaN and the like, which JSON lacks
            except (ValueError, RecursionError) as error:
                faults[call.id] = f"The arguments are not JSON: {error}"
                continue
            if not isinstance(arguments, dict):
                faults[call.id] = "The arguments are not an object of arguments by name."
                continue
            found.append({"name": self._names[call.name], "arguments": arguments})
        if not faults:
            return found
        return tuple(
            ToolResult(
                call_id=call.id, name=call.name, is_error=True,
                content=faults.get(call.id, "Not done: another call of this message cannot be read.")
                + " Make all calls of this message again.",
            )
            for call in calls
        )  # fmt: skip


def _told(name: str) -> str:
    return _REFUSED.sub("_", name)[:_LONGEST]


def _free(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name[: _LONGEST - 1 - len(str(number))]}_{number}"
    return found
