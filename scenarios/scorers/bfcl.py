"""When a function call is right, by the rules of the Berkeley Function Calling Leaderboard.

Patil et al., "The Berkeley Function Calling Leaderboard (BFCL)", ICML 2025; the rules are those of its AST checker
for Python (bfcl_eval/eval_checker/ast_eval/ast_checker.py), applied to calls with JSON arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_DROPPED = re.compile(r"[ ,./\-_*^]")
_TYPES: dict[str, type] = {
    "string": str, "any": str, "integer": int, "float": float, "number": float, "boolean": bool,
    "array": list, "tuple": list, "dict": dict, "object": dict,
}  # fmt: skip

Declared = Mapping[str, Any]
"""A function's declaration: `{"name", "parameters": {"properties", "required"}}`, as BFCL or as JSON Schema."""


def standard(text: str) -> str:
    """A text as texts are compared: lower case, without blanks and ,./-_*^, with double quotes for single ones."""
    return _DROPPED.sub("", text).lower().replace("'", '"')


def same_name(given: str, wanted: str) -> bool:
    """Whether two names are one function's: providers take no dots in names, so they are sent as underscores."""
    return given == wanted or given == re.sub(r"[^A-Za-z0-9_-]", "_", wanted)


def call_fault(
    name: str,
    arguments: Mapping[str, Any],
    wanted: str,
    accepted: Mapping[str, Sequence[Any]],
    declared: Declared | None,
) -> str:
    """What is wrong with a call, or "". `accepted` has each argument's accepted values; "" means optional.

    Types are checked where the function is `declared`; else a value's type is that of the accepted ones, and
    numbers are equal by value.
    """
    if not same_name(name, wanted):
        return f"{name} is called, not {wanted}"
    parameters = (declared or {}).get("parameters") or {}
    properties = parameters.get("properties") or {}
    for required in parameters.get("required") or ():
        if required not in arguments:
            return f"{wanted}: {required} is missing"
    for argument, value in arguments.items():
        if argument not in accepted or (properties and argument not in properties):
            return f"{wanted}: it has no {argument}"
        if not _fits(value, accepted[argument], properties.get(argument)):
            return f"{wanted}: {argument} is {value!r}, not one of {list(accepted[argument])!r}"
    for argument, values in accepted.items():
        if argument not in arguments and "" not in values:
            return f"{wanted}: {argument} is missing"
    return ""


def _fits(value: Any, accepted: Sequence[Any], declared: Mapping[str, Any] | None) -> bool:
    # Some cases list no accepted value where the empty list is meant; read strictly, no answer to them is right.
    accepted = accepted or [[]]
    described = (declared or {}).get("type")
    kind = _TYPES.get(described) if isinstance(described, str) else None
    if kind is None:
        return any(_equal(value, item) for item in accepted)
    if kind is float and type(value) is int:
        value = float(value)
    # An accepted value of another type than the declared one stands for itself, compared as it is.
    of_accepted = next((type(item) for item in accepted if item != ""), None)
    if type(value) is not kind:
        return type(value) is of_accepted and any(_identical(value, item) for item in accepted)
    if isinstance(value, list):
        within = (declared or {}).get("items") or {}
        inner = _TYPES.get(within.get("type", ""))
        return any(isinstance(item, list) and _list_fits(value, item, inner) for item in accepted)
    if of_accepted not in (None, kind):
        return any(_identical(value, item) for item in accepted)
    return any(_equal(value, item) for item in accepted)


def _list_fits(value: list[Any], accepted: list[Any], inner: type | None) -> bool:
    """Elements in order, each of the declared type or of that of the first accepted one: 1 is no float here."""
    also = next((type(item) for item in accepted if item != ""), None)
    typed = inner is None or all(type(item) in (inner, also) for item in value)
    return typed and _equal(value, accepted)


def _equal(value: Any, accepted: Any) -> bool:
    if isinstance(value, str) and isinstance(accepted, str):
        return standard(value) == standard(accepted)
    if isinstance(value, Mapping) and isinstance(accepted, Mapping):
        return _dict_fits(value, accepted)
    if isinstance(value, (list, tuple)) and isinstance(accepted, (list, tuple)):
        return len(value) == len(accepted) and all(map(_equal, value, accepted))
    return _identical(value, accepted)


def _dict_fits(value: Mapping[str, Any], accepted: Mapping[str, Any]) -> bool:
    """Each key's value is among its accepted ones, and no key is missing that may not be."""
    choices = {key: items if isinstance(items, list) else [items] for key, items in accepted.items()}
    known = all(
        key in choices and any(_equal(item, one) for one in choices[key]) for key, item in value.items()
    )
    return known and all(key in value or "" in items for key, items in choices.items())


def _identical(value: Any, accepted: Any) -> bool:
    if isinstance(value, bool) or isinstance(accepted, bool):
        return value is accepted
    return bool(value == accepted)
