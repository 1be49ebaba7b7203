"""`json_schema`: the answer is JSON that fits a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callsheet.scenarios.scorers.answers import MISSING, AnswerScorer
from callsheet.scenarios.scorers.base import Score, right, wrong
from callsheet.scenarios.scorers.reading import json_in

_SHOWN = 3
"""Faults that an explanation lists."""


class JsonSchema(AnswerScorer):
    """The answer, as data or as JSON in text, fits a JSON Schema: `schema`, or the one that the case expects.

    The draft is the one that `$schema` names, else 2020-12. References point into the schema itself: nothing is
    fetched.
    """

    use = "json_schema"
    form = "a JSON Schema"

    def __init__(self, *, schema: Any = None, **where: str) -> None:
        super().__init__(**where)
        self._schema = schema
        self.takes_none = schema is not None
        if schema is not None:
            self._validator(schema)

    def check_expected(self, expected: Any) -> None:
        """Takes a schema, unless the scorer has its own."""
        if self._schema is None:
            self._validator(expected)

    def judge(self, answer: Any, expected: Any) -> Score:
        """Right if it fits."""
        if isinstance(answer, str):
            read = json_in(answer)
            if read is MISSING:
                return wrong("the answer is not JSON")
            answer = read
        from referencing.exceptions import Unresolvable

        validator = self._validator(expected if self._schema is None else self._schema)
        try:
            faults = sorted(validator.iter_errors(answer), key=lambda fault: fault.json_path)
        except (Unresolvable, RecursionError) as error:
            raise self.misuse(
                f"the schema cannot be used: {error}", "References point to definitions within the schema."
            ) from error
        if not faults:
            return right()
        shown = "; ".join(f"{fault.json_path}: {fault.message[:200]}" for fault in faults[:_SHOWN])
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        return wrong(shown + more)

    def _validator(self, schema: Any) -> Any:
        from jsonschema import Draft202012Validator, SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry

        if not isinstance(schema, (Mapping, bool)):
            raise self.misfit(schema)
        kind = validator_for(schema, default=Draft202012Validator)
        try:
            kind.check_schema(schema)
        except SchemaError as error:
            raise self.misuse(
                f"no valid JSON Schema: {error.json_path}: {error.message[:200]}", "Mend the schema."
            ) from error
        # With a registry of our own a `$ref` to an address fails, where the default one would fetch it.
        return kind(schema, registry=Registry())
