"""Built-in suites: public sets, read from where the user has them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from callsheet.core.errors import unknown_name
from callsheet.scenarios.suite import Suite

_MADE_BY = {
    "gsm8k": ("gsm8k", "suite"),
    "bfcl": ("bfcl", "suite"),
    "hotpotqa": ("multihop", "hotpotqa"),
    "musique": ("multihop", "musique"),
    "strategyqa": ("strategyqa", "suite"),
    "sql": ("sql", "suite"),
}
"""Module and function; imported when they are asked for."""


def built_in_names() -> tuple[str, ...]:
    """The names of the built-in suites."""
    return tuple(_MADE_BY)


def built_in_suite(ref: str, data: Path | None) -> Suite:
    """The built-in suite of that name (`bfcl:parallel`: a part of one), of the set in the folder `data`.

    Raises UnknownNameError for a name or a part that there is none of, and SuiteError where its files are not.
    """
    name, _, part = ref.partition(":")
    if name not in _MADE_BY:
        raise unknown_name("built-in suite", name, built_in_names())
    module_name, function = _MADE_BY[name]
    module = importlib.import_module(f"callsheet.scenarios.suites.{module_name}")
    make: Callable[..., Suite] = getattr(module, function)
    if not part:
        return make(data)
    parts: tuple[str, ...] = getattr(module, "PARTS", ())
    if part not in parts:
        raise unknown_name(f"part of the suite {name!r}", part, parts)
    return make(data, part)
