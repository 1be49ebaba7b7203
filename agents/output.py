"""Structured output: the schema a model is told, and the check of what it answers."""

from __future__ import annotations

import functools
import re
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from callsheet.core.canonical import to_json
from callsheet.core.errors import DefinitionError

_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)


class OutputFormatError(Exception):
    """The answer does not fit; the text tells the model what to mend."""


class OutputType:
    """A type that an answer must fit: any that pydantic can describe.

    Providers want an object at the top, so any other type travels as `{"value": …}`.
    """

    def __init__(self, type_: Any) -> None:
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(type_)
            schema = self._adapter.json_schema()
        except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
            raise DefinitionError(
                f"{type_!r} cannot be an output: {str(error).splitlines()[0]}",
                hint="Give a pydantic model, a dataclass, or a type made of plain types.",
            ) from error
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
        """The answer as JSON-compatible data. Raises OutputFormatError with what is wrong with it."""
        try:
            value = self._adapter.validate_json(self._unwrapped(_json_part(text)))
        except ValidationError as error:
            raise OutputFormatError(_explained(error)) from error
        return self._adapter.dump_python(value, mode="json")

    def value(self, data: Any) -> Any:
        """The typed value of what `read` returned."""
        return self._adapter.validate_python(data)

    def _unwrapped(self, text: str) -> str:
        if not self.wrapped:
            return text
        try:
            data = TypeAdapter(dict[str, Any]).validate_json(text)
        except ValidationError:
            return text
        return to_json(data["value"]) if set(data) == {"value"} else text


@functools.lru_cache(maxsize=256)
def output_type(type_: Any) -> OutputType:
    """The OutputType of a type, made once."""
    return OutputType(type_)


def data_of(value: Any) -> Any:
    """A value as JSON-compatible data: pydantic models, dataclasses and plain types."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return _ANY.dump_python(value, mode="json")


_ANY: TypeAdapter[Any] = TypeAdapter(Any)


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
