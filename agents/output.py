"""Structured output: the schema a model is told, and the check of what it answers."""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any

import pydantic_core
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from callsheet.agents.data import storable
from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import DefinitionError

_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)


class OutputFormatError(Exception):
    """The answer does not fit; the text tells the model what to mend."""


class OutputType:
    """A type that an answer must fit: any that pydantic can describe.

    Providers want an object at the top, so any other type travels as `{"value": …}`.
    """

    def __init__(self, type_: Any) -> None:
        fault = "it is a function" if inspect.isroutine(type_) else ""
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(type_)
            schema = self._adapter.json_schema()
        except (PydanticUserError, NameError) as error:
            fault = str(error).splitlines()[0]
        except (SyntaxError, TypeError, LookupError):  # pydantic's own, for what is no type at all
            fault = "it is no type"
        if fault:
            raise DefinitionError(
                f"{type_!r} cannot be an output: {fault}",
                hint="Give a pydantic model, a dataclass, or a type made of plain types.",
            )
        self.wrapped = schema.get("type") != "object"
        if self.wrapped:
            definitions = schema.pop("$defs", None)
            schema = {
                "type": "object", "properties": {"value": schema}, "required": ["value"],
                "additionalProperties": False, **({"$defs": definitions} if definitions else {}),
            }  # fmt: skip
        self.name = re.sub(r"[^a-zA-Z0-9_-]", "_", getattr(type_, "__name__", "answer"))[:64] or "answer"
        self.description = (getattr(type_, "__doc__", None) or "").strip().split("\n\n")[0][:500]
        self.schema = to_json(schema)

    def read(self, text: str) -> Any:
        """The answer as JSON-compatible data, as the model wrote it and after the check that it fits.

        Raises OutputFormatError with what is wrong with it.
        """
        try:
            data = pydantic_core.from_json(_json_part(text), allow_inf_nan=False)
        except (ValueError, TypeError) as error:  # TypeError: text that is no Unicode
            raise OutputFormatError(f"- the answer: it is not JSON ({error})") from error
        if self.wrapped and isinstance(data, dict) and set(data) == {"value"}:
            data = data["value"]
        try:
            self.value(data)
        except ValidationError as error:
            raise OutputFormatError(_explained(error)) from error
        return data

    def value(self, data: Any) -> Any:
        """The typed value of what `read` or `data` returned. Raises pydantic's ValidationError."""
        # As JSON, for that is what it is: strict models take a date from JSON text, but not from a str.
        return self._adapter.validate_json(to_json(data))

    def data(self, value: Any) -> Any:
        """A value of the type, or one that can be made into it, as JSON-compatible data.

        Raises pydantic's ValidationError for one that does not fit.
        """
        checked = self._adapter.validate_python(value)
        return storable(self._adapter.dump_python(checked, mode="json", by_alias=True, round_trip=True))


def output_type(type_: Any) -> OutputType:
    """The OutputType of a type, made once. Raises DefinitionError for what cannot be one."""
    try:
        return _known(type_)
    except TypeError:  # not hashable, as some Annotated types are not
        return OutputType(type_)


def plausible(schema: str, text: str) -> bool:
    """Whether the text is a JSON object with what the schema requires: for who has the schema and not the type."""
    try:
        data = pydantic_core.from_json(_json_part(text))
    except (ValueError, TypeError):
        return False
    required = from_json(schema).get("required", ())
    if required == ["value"]:  # how a type that is no object travels: models also write it bare
        return True
    return isinstance(data, dict) and all(name in data for name in required)


@functools.lru_cache(maxsize=256)
def _known(type_: Any) -> OutputType:
    return OutputType(type_)


def _json_part(text: str) -> str:
    """The JSON in an answer: models like to fence it, or to say a word before it."""
    fenced = _FENCE.match(text)
    if fenced:
        return fenced.group(1)
    stripped = text.strip()
    if stripped[:1] in "{[":
        return stripped
    begin, end = stripped.find("{"), stripped.rfind("}")
    return stripped[begin : end + 1] if 0 <= begin < end else stripped


def _explained(error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_url=False)[:8]:
        place = ".".join(str(part) for part in fault["loc"]) or "the answer"
        got = repr(fault.get("input"))
        lines.append(f"- {place}: {fault['msg']} (got {got[:120]})")
    return "\n".join(lines)
