"""Scorers by name, as suites in YAML and the command line write them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from callsheet.core.errors import DefinitionError, unknown_name
from callsheet.scenarios.scorers import measures
from callsheet.scenarios.scorers.base import FunctionScorer, Scorer
from callsheet.scenarios.scorers.choice import Choice
from callsheet.scenarios.scorers.citations import citation_precision, citation_recall
from callsheet.scenarios.scorers.contains import Contains
from callsheet.scenarios.scorers.exact import Exact
from callsheet.scenarios.scorers.function_calls import FunctionCalls
from callsheet.scenarios.scorers.json_schema import JsonSchema
from callsheet.scenarios.scorers.judge import Judge
from callsheet.scenarios.scorers.numeric import Numeric
from callsheet.scenarios.scorers.regex import Regex
from callsheet.scenarios.scorers.sql import Sql
from callsheet.scenarios.scorers.squad import F1, Normalised

SCORERS: dict[str, Callable[..., Scorer]] = {
    "exact": Exact,
    "contains": Contains,
    "numeric": Numeric,
    "normalised": Normalised,
    "f1": F1,
    "choice": Choice,
    "regex": Regex,
    "json_schema": JsonSchema,
    "function_calls": FunctionCalls,
    "sql": Sql,
    "citation_precision": citation_precision,
    "citation_recall": citation_recall,
    "judge": Judge,
    "cost": measures.cost,
    "time": measures.time,
    "steps": measures.steps,
    "tokens": measures.tokens,
}
"""What makes each; its keyword arguments are the options that a suite may give."""

_PLACES = ("name", "answer_from", "expected_from")
"""Options of every scorer of answers."""


def make_scorer(spec: Any, folder: Path | None = None) -> Scorer:
    """A scorer of what a suite names: a Scorer, a function, a name, or `{"use": name, option: value, …}`.

    `folder` is where paths in cases begin. Raises UnknownNameError for a name or an option that there is none of,
    and DefinitionError for what the options cannot be.
    """
    if isinstance(spec, Scorer):
        return spec
    options: dict[str, Any] = {}
    if isinstance(spec, Mapping):
        options = {str(key): value for key, value in spec.items()}
        spec = options.pop("use", None)
    elif callable(spec):
        return FunctionScorer(spec)
    if not isinstance(spec, str):
        raise DefinitionError(
            f"{spec!r} is no scorer", hint="It is a name, or {use: name, option: value}, or a function."
        )
    if spec not in SCORERS:
        raise unknown_name("scorer", spec, tuple(SCORERS))
    known = _options_of(SCORERS[spec])
    for option in options:
        if option not in known:
            raise unknown_name(f"option of the scorer {spec!r}", option, known)
    if folder is not None and "folder" in known:
        options["folder"] = folder / options.get("folder", "")
    try:
        return SCORERS[spec](**options)
    except TypeError as error:
        raise DefinitionError(f"the scorer {spec!r}: {error}", hint="See docs/scenarios.md.") from error


def _options_of(factory: Callable[..., Scorer]) -> tuple[str, ...]:
    named = inspect.signature(factory).parameters.values()
    own = tuple(p.name for p in named if p.kind is inspect.Parameter.KEYWORD_ONLY)
    further = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in named)
    return (*own, *_PLACES) if further else own
