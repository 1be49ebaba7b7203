"""`json_schema`: the answer is JSON that fits a schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from callsheet.core.errors import RunError
from callsheet.scenarios.scorers import schema_faults
from callsheet.scenarios.scorers.answers import MISSING, AnswerScorer, text_of
from callsheet.scenarios.scorers.base import Score, right, wrong
from callsheet.scenarios.scorers.own_process import SAFE_LENGTH, in_own_process
from callsheet.scenarios.scorers.reading import json_in
from callsheet.scenarios.scorers.regex import may_explode


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
            self._check_schema(schema)

    def check_expected(self, expected: Any) -> None:
        """Takes a schema, unless the scorer has its own."""
        if self._schema is None:
            self._check_schema(expected)

    async def judged(self, answer: Any, expected: Any) -> Score:
        """As `judge`; in a process of its own, where the answer may take long. Raises RunError for 5 s and more."""
        schema = expected if self._schema is None else self._schema
        if not _takes_long(schema, text_of(answer)):
            return self.judge(answer, expected)
        value = _value(answer)
        if value is MISSING:
            return wrong("the answer is not JSON")
        try:
            return self._verdict(await in_own_process([schema_faults.__file__], [schema, value]))
        except TimeoutError as error:
            raise RunError(
                f"the scorer {self.name!r}: the schema on an answer: {error}",
                hint="Write its patterns without a repeat within a repeat; uniqueItems takes long on long lists.",
            ) from error

    def judge(self, answer: Any, expected: Any) -> Score:
        """Right if it fits."""
        value = _value(answer)
        if value is MISSING:
            return wrong("the answer is not JSON")
        return self._verdict(schema_faults.faults(expected if self._schema is None else self._schema, value))

    def _verdict(self, found: Mapping[str, Any]) -> Score:
        if "unusable" in found:
            raise self.misuse(
                f"the schema cannot be used: {found['unusable']}",
                "References point to definitions within the schema.",
            )
        count, shown = found["count"], found["shown"]
        if not count:
            return right()
        more = f"; and {count - len(shown)} more" if count > len(shown) else ""
        return wrong("; ".join(shown) + more)

    def _check_schema(self, schema: Any) -> None:
        from jsonschema import SchemaError

        if not isinstance(schema, (Mapping, bool)):
            raise self.misfit(schema)
        try:
            schema_faults.validator(schema)
        except SchemaError as error:
            raise self.misuse(
                f"no valid JSON Schema: {error.json_path}: {error.message[:200]}", "Mend the schema."
            ) from error


def _value(answer: Any) -> Any:
    return json_in(answer) if isinstance(answer, str) else answer


def _takes_long(schema: Any, text: str) -> bool:
    """Whether a stranger's answer might keep a validator busy: by a pattern, or by its length."""
    return len(text) > SAFE_LENGTH or any(map(may_explode, _patterns(schema)))


def _patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        if isinstance(schema.get("patternProperties"), Mapping):
            yield from schema["patternProperties"]
        for part in schema.values():
            yield from _patterns(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _patterns(part)
