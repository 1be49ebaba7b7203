"""Built-in suites: public sets, read from where the user has them."""

from __future__ import annotations

import importlib
from pathlib import Path

from callsheet.core.errors import unknown_name
from callsheet.scenarios.suite import Suite

_MODULES = {
    "gsm8k": "gsm8k",
}

_DESCRIPTIONS = {
    "gsm8k": "grade-school maths word problems",
}


def built_in_names() -> tuple[str, ...]:
    """The names of the built-in suites."""
    return tuple(_MODULES)


def built_in_suite(ref: str, data: Path | None) -> Suite:
    """The built-in suite of that name (`bfcl:parallel`: a part of one), of the set in the folder `data`.

    Raises UnknownNameError for a name or a part that there is none of, and SuiteError where its files are not.
    """
    name, _, part = ref.partition(":")
    if name not in _MODULES:
        raise unknown_name("built-in suite", name, built_in_names())
    module = importlib.import_module(f"callsheet.scenarios.suites.{_MODULES[name]}")
    parts: tuple[str, ...] = getattr(module, "PARTS", ())
    if part and part not in parts:
        raise unknown_name(f"part of the suite {name!r}", part, parts)
    suite: Suite = module.suite(data, part) if parts else module.suite(data)
    return suite
