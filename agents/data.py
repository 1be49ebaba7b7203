"""Values as JSON-compatible data: what agents and flows are given, answer and return."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from callsheet.core.errors import UsageError

_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def data_of(value: Any) -> Any:
    """A value as data that can be sent and kept: pydantic models, dataclasses and plain types.

    NaN and infinities become null, lone surrogates question marks. Raises UsageError for what has no
    JSON form.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return storable(value)
    try:
        return storable(_ANY.dump_python(value, mode="json", by_alias=True))
    except (PydanticSerializationError, ValueError) as error:
        raise UsageError(
            f"a {type(value).__name__} cannot be sent: {str(error).splitlines()[0]}",
            hint="What agents and crews are given and return is text, plain data, or a pydantic model.",
        ) from error


def storable(data: Any) -> Any:
    """JSON-compatible data with each lone surrogate, which no database or network takes, as a question mark.

    Models and strangers write them; Python's JSON reader lets them in.
    """
    if isinstance(data, str):
        return data if data.isascii() else data.encode("utf-8", "replace").decode()
    if isinstance(data, dict):
        return {storable(key): storable(value) for key, value in data.items()}
    if isinstance(data, list):
        return [storable(item) for item in data]
    return data
