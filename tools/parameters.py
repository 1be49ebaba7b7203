"""From a function's signature to what a model is told of its arguments, and the check of what it sends."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NotRequired, Required

from pydantic import ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import PydanticSerializationError, SchemaValidator, to_jsonable_python
from typing_extensions import TypedDict

from callsheet.core.errors import DefinitionError
from callsheet.tools.context import ToolContext
from callsheet.tools.failures import ToolInputError

# Numbers for text: models write {"order_id": 17} where a string is declared, and mean it.
_CONFIG = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
_SHOWN_CHARS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument that the model may give: its resolved type, and its default if it has one."""

    name: str
    annotation: Any
    description: str
    required: bool
    default: Any = None


def read_parameters(
    function: Callable[..., Any], described: dict[str, str], tool_name: str
) -> tuple[tuple[Parameter, ...], str]:
    """The function's parameters, and the name of the one that takes the `ToolContext` ("" if none).

    Types are resolved here, once: a function sent to another process may no longer know the names in its
    annotations. Raises DefinitionError for what a model cannot be told about.
    """
    hints = _type_hints(function, tool_name)
    found: list[Parameter] = []
    context = ""
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            star = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise DefinitionError(
                f"tool {tool_name!r} takes {star}{name}, which no schema can describe",
                hint=f"Name each argument, or take one of type {'list' if star == '*' else 'dict'}[…].",
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise DefinitionError(
                f"tool {tool_name!r} takes {name!r} by position only; a model gives arguments by name",
                hint="Remove the / from its signature.",
            )
        if name not in hints:
            raise DefinitionError(
                f"tool {tool_name!r}: the parameter {name!r} has no type",
                hint="Decorate the bound method instead: tool(thing.method)." if name in ("self", "cls")
                else f"Annotate it, as in `{name}: str`; the model is told this type.",
            )  # fmt: skip
        if _is_context(hints[name]):
            context = name
            continue
        required = parameter.default is parameter.empty
        found.append(
            Parameter(
                name=name, annotation=hints[name], description=described.get(name, ""),
                required=required, default=None if required else parameter.default,
            )
        )  # fmt: skip
    return tuple(found), context


def _type_hints(function: Callable[..., Any], tool_name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(
            function, localns=_enclosing_names(function) or None, include_extras=True
        )
    except (NameError, TypeError, AttributeError) as error:
        raise DefinitionError(
            f"tool {tool_name!r}: a type in its signature cannot be resolved: {error}",
            hint="Import the type where the tool is defined (not under `if TYPE_CHECKING:`), "
            "or define it at the top of the module.",
        ) from error


def _enclosing_names(function: Callable[..., Any]) -> dict[str, Any]:
    """The local names around a function that is being decorated inside another: its types may be there."""
    names: dict[str, Any] = {}
    space = getattr(function, "__globals__", None)
    frame = inspect.currentframe() if "<locals>" in function.__qualname__ else None
    while frame is not None:
        if frame.f_globals is space and frame.f_locals is not space:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def _is_context(annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(part is ToolContext for part in typing.get_args(annotation))
    return annotation is ToolContext


class Arguments:
    """The compiled check of one tool's arguments, and their JSON Schema.

    Pickled as pydantic's core schema, never rebuilt from the types: a dataclass that was sent by value no
    longer tells pydantic its defaults (cloudpickle makes a second `dataclasses.MISSING`).
    """

    def __init__(self, tool_name: str, parameters: tuple[Parameter, ...]) -> None:
        self._tool = tool_name
        fields: dict[str, Any] = {}
        for parameter in parameters:
            extra = _default_in_schema(parameter)
            # Only what is said: a None would take the place of what the author's own Field says.
            said: dict[str, Any] = {"description": parameter.description, "json_schema_extra": extra}
            info = Field(**{name: value for name, value in said.items() if value})
            # A field of the author's own (constraints, description) wins where the docstring says nothing.
            typed = typing.Annotated[parameter.annotation, info] if parameter.description or extra else (
                parameter.annotation
            )  # fmt: skip
            fields[parameter.name] = Required[typed] if parameter.required else NotRequired[typed]
        make: Any = TypedDict
        shape: Any = make("Arguments", fields)
        shape.__pydantic_config__ = _CONFIG
        try:
            adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(shape)
            schema = adapter.json_schema()
            self._core_schema = adapter.core_schema
            self._validator: SchemaValidator | None = SchemaValidator(self._core_schema)
        except (PydanticSchemaGenerationError, PydanticUserError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise DefinitionError(
                f"tool {tool_name!r}: a type in its signature has no JSON form: {reason}",
                hint="Use str, int, float, bool, Literal, Enum, list, dict, a dataclass or a pydantic model.",
            ) from error
        self._expected = _without_titles(schema)
        self._expected.setdefault("properties", {})
        self.schema = json.dumps(self._expected, ensure_ascii=False, separators=(",", ":"))

    def read(self, arguments: str) -> dict[str, Any]:
        """The keyword arguments in a model's JSON text; raises ToolInputError with what to mend."""
        text = arguments.strip()
        data = (text if text not in ("", "null") else "{}").encode("utf-8", "replace")
        if self._validator is None:
            self._validator = SchemaValidator(self._core_schema)
        try:
            given: dict[str, Any] = self._validator.validate_json(data)
        except ValidationError as error:
            raise ToolInputError(self._advice(error), self._tool) from None
        return given

    def __getstate__(self) -> dict[str, Any]:
        # Compiled again on first use: when it arrives, the classes it names may not be complete yet.
        return {**self.__dict__, "_validator": None}

    def _advice(self, error: ValidationError) -> str:
        lines = [f"The arguments for {self._tool} are wrong, so it was not run. Mend this and call it again:"]
        properties: dict[str, Any] = self._expected["properties"]
        for problem in error.errors(include_url=False, include_context=False)[:10]:
            where = ".".join(str(part) for part in problem["loc"])
            got = "" if problem["type"] == "missing" else f" Got {_shown(problem['input'])}."
            field = str(problem["loc"][0]) if problem["loc"] else ""
            if problem["type"] == "extra_forbidden":
                expected = f" There is no such argument; there is: {', '.join(properties) or 'none'}."
                lines.append(f"- {where}:{expected}")
                continue
            if field in properties:
                expected = f" Expected: {_shown(self._wanted(properties[field]), 400)}."
            else:
                expected = " Expected: one JSON object with the arguments by name."
            lines.append(f"- {where or 'arguments'}: {problem['msg']}.{got}{expected}")
        return "\n".join(lines)

    def _wanted(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The part of a property's schema that says what fits; of named types, what they are."""
        definitions: dict[str, Any] = self._expected.get("$defs", {})
        named = str(schema.get("$ref", "")).removeprefix("#/$defs/")
        found = {**definitions.get(named, {}), **schema}
        return {key: value for key, value in found.items() if key not in ("description", "default", "$ref")}


def _shown(value: Any, limit: int = _SHOWN_CHARS) -> str:
    try:
        text = json.dumps(to_jsonable_python(value, fallback=repr), ensure_ascii=False)
    except (PydanticSerializationError, ValueError):
        text = repr(value)
    return text if len(text) <= limit else text[:limit] + "…"


def _default_in_schema(parameter: Parameter) -> dict[str, Any] | None:
    if parameter.required or parameter.default is None:
        return None
    try:
        default = to_jsonable_python(parameter.default)
        json.dumps(default, allow_nan=False)
    except (PydanticSerializationError, ValueError):
        return None  # the default has no JSON form: the model need not know it to leave the argument out
    return {"default": default}


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without pydantic's generated titles, which cost tokens in every request."""
    cleaned: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in ("properties", "$defs"):
            cleaned[key] = {name: _without_titles(part) for name, part in value.items()}
        elif key in ("default", "enum", "const", "examples"):
            cleaned[key] = value
        elif isinstance(value, dict):
            cleaned[key] = _without_titles(value)
        elif isinstance(value, list):
            cleaned[key] = [_without_titles(v) if isinstance(v, dict) else v for v in value]
        else:
            cleaned[key] = value
    return cleaned
