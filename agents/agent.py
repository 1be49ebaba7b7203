"""An agent: what it is for, what it may use, and what it must answer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from callsheet.agents.output import output_type
from callsheet.core.canonical import to_json
from callsheet.core.errors import DefinitionError
from callsheet.models.policy import AgentModel, check_model
from callsheet.roles import Role
from callsheet.tools import Tool, find_tool

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,47}")
_TAKEN = ("flow", "person", "user")


class Agent:
    """One member of a crew, defined once and used in any number of runs.

    `role` is a ready-made role's name, instructions in a sentence or more, or a Role; without one, the
    agent has the ready-made role of its own name, else a general one. `tools` are `@tool` functions or the
    names of built-in tools. `model` is `provider/name`, a ModelPolicy by which one is picked, or a Cascade of
    models to try in turn (None: the run's model). `output` is the type that its answers must fit. `replicas` is
    how many processes serve it on Ray, and `resources` what each reserves (`num_cpus`, `num_gpus`, `memory`).
    `extra` goes into the provider's request as it is. `cache` says whether an earlier answer to the same request
    will do, where the response cache is on (None: at temperature 0). Raises DefinitionError or UnknownNameError
    at once for what cannot work.
    """

    def __init__(
        self,
        name: str,
        role: str | Role = "",
        tools: Sequence[Tool | str | Callable[..., Any]] = (),
        *,
        model: AgentModel | None = None,
        output: Any = None,
        replicas: int = 1,
        resources: Mapping[str, float] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        cache: bool | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _TAKEN:
            raise DefinitionError(
                f"an agent cannot be called {name!r}",
                hint="Use a letter, then letters, digits, _ or - (at most 48), and not flow, person or user.",
            )
        self.name = name
        self.role = Role.of_name(name) if role == "" else Role.of(role)
        if isinstance(tools, (str, Tool)) or not isinstance(tools, Iterable):
            raise DefinitionError(
                f"agent {name!r}: tools is {tools!r}", hint="It is a list of tools: tools=[…]."
            )
        self.tools = tuple(_tool(name, item) for item in tools)
        twice = sorted({t.name for t in self.tools if [u.name for u in self.tools].count(t.name) > 1})
        if twice:
            raise DefinitionError(
                f"agent {name!r} has two tools called {twice[0]!r}",
                hint="@tool(name=…) gives one another name.",
            )
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 1:
            raise DefinitionError(
                f"agent {name!r}: replicas is {replicas!r}", hint="It must be a whole number, 1 or more."
            )
        if model is not None:
            try:
                check_model(model)
            except DefinitionError as error:
                raise DefinitionError(f"agent {name!r}: {error.message}", hint=error.hint) from None
        self.model = model
        self.output = output
        if output is not None:
            output_type(output)  # says now what would be wrong later
        for what, value, fits, hint in (
            ("temperature", temperature, _is_number(temperature), "a number, 0 or more"),
            (
                "max_tokens",
                max_tokens,
                isinstance(max_tokens, int) and max_tokens >= 1,
                "a whole number, 1 or more",
            ),
            ("cache", cache, isinstance(cache, bool), "True, False, or None for its temperature to decide"),
            ("resources", resources, _is_resources(resources), "numbers by name, such as {'num_gpus': 1}"),
            ("extra", extra, isinstance(extra, Mapping), "a dictionary"),
        ):
            if value is not None and not fits:
                raise DefinitionError(f"agent {name!r}: {what} is {value!r}", hint=f"It must be {hint}.")
        self.replicas = replicas
        self.resources = dict(resources or {})
        self.temperature, self.max_tokens = temperature, max_tokens
        self.cache = cache
        self.extra = dict(extra or {})
        try:
            to_json(self.extra)
        except (TypeError, ValueError) as error:
            raise DefinitionError(
                f"agent {name!r}: extra has no JSON form: {error}",
                hint="It goes into the provider's request as it is: plain data only.",
            ) from error

    def __repr__(self) -> str:
        return f"<Agent {self.name}>"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_resources(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_number(amount) for amount in value.values())


def _tool(agent: str, item: Tool | str | Callable[..., Any]) -> Tool:
    if isinstance(item, Tool):
        return item
    if isinstance(item, str):
        return find_tool(item)
    if callable(item):
        return Tool(item)
    raise DefinitionError(
        f"agent {agent!r}: {item!r} is not a tool",
        hint="Put @tool above a function, or name a built-in tool.",
    )
