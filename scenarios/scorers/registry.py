"""Scorers by name, as suites in YAML and the command line write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from callsheet.core.errors import DefinitionError, unknown_name
from callsheet.scenarios.scorers.base import FunctionScorer, Scorer

SCORERS: dict[str, Callable[..., Scorer]] = {}
"""What makes each; its keyword arguments are the options that a suite may give."""


def make_scorer(spec: Any) -> Scorer:
    """A scorer of what a suite names: a Scorer, a function, a name, or `{"use": name, option: value, …}`.

    Raises UnknownNameError for a name that no scorer has and DefinitionError for options that it does not take.
    """
    if isinstance(spec, Scorer):
        return spec
    if callable(spec):
        return FunctionScorer(spec)
    options: dict[str, Any] = {}
    if isinstance(spec, Mapping):
        options = dict(spec)
        spec = options.pop("use", None)
    if not isinstance(spec, str):
        raise DefinitionError(
            f"{spec!r} is no scorer", hint="It is a name, or {use: name, option: value}, or a function."
        )
    if spec not in SCORERS:
        raise unknown_name("scorer", spec, tuple(SCORERS))
    try:
        return SCORERS[spec](**options)
    except TypeError as error:
        raise DefinitionError(f"the scorer {spec!r}: {error}", hint="See docs/scenarios.md.") from error
