"""Structured answers of the offline engine: a value that fits the schema, made of what was found.

Texts get the answer (or what their name asks for: the question, the sources, a title), lists one entry a
sentence, truth values whether anything was found, numbers those that stand in the answer. What there is
nothing for gets the schema's plainest value, so that the result is valid, not that it is wise.
"""

from __future__ import annotations

import re
from typing import Any

from callsheet.models.offline_answer import Answer, quoted
from callsheet.models.offline_schema import DEEPEST, bounded, in_length, properties, required, resolve
from callsheet.models.offline_text import name_words, stem_set, words

_NUMBER = re.compile(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,9})?(?!\w)")
_SOURCES = stem_set("source citation reference cite url link document")
_QUESTIONS = stem_set("question task query request input topic")
_TITLES = stem_set("title name headline label heading")
_NEGATIVE = stem_set("need missing error fail wrong bad reject unsafe refus incomplet problem issue")
_GRADES = stem_set("score rating confidenc grade quality rank probability")
_FORMATS = {
    "date": "1970-01-01",
    "date-time": "1970-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "email": "nobody@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "hostname": "example.com",
}


def structured(schema: dict[str, Any], answer: Answer, text: str) -> Any:
    """A JSON value that fits the schema; `text` is the answer as prose."""
    return _Filler(schema, answer, text).value("", schema, 0)


def plainest(schema: dict[str, Any], text: str) -> Any:
    """A JSON value that fits the schema, with `text` for its texts."""
    return _Filler(schema, Answer((), text), text).value("", schema, 0)


class _Filler:
    def __init__(self, root: dict[str, Any], answer: Answer, text: str) -> None:
        self.root = root
        self.answer = answer
        self.text = text

    def value(self, name: str, raw: Any, depth: int) -> Any:
        schema = resolve(raw, self.root)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return self.option(schema["enum"])
        match schema.get("type"):
            case "object":
                return self.object(schema, depth)
            case "array":
                return self.array(name, schema, depth)
            case "integer" | "number" as kind:
                return self.number(name, schema, whole=kind == "integer")
            case "boolean":
                return self.truth(name)
            case "null":
                return None
            case _:
                return self.string(name, schema)

    def object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        needed = required(schema)
        made: dict[str, Any] = {}
        for name, raw in properties(schema).items():
            if name not in needed and (
                depth >= 3 or (isinstance(raw, dict) and raw.get("default", 0) is None)
            ):
                continue
            if depth >= DEEPEST:
                made[name] = None
            else:
                made[name] = self.value(name, raw, depth + 1)
        for name in needed:
            made.setdefault(name, self.text)
        return made

    def array(self, name: str, schema: dict[str, Any], depth: int) -> list[Any]:
        least, most = schema.get("minItems"), schema.get("maxItems")
        least = least if isinstance(least, int) else 0
        most = most if isinstance(most, int) else 20
        item = resolve(schema.get("items"), self.root)
        if isinstance(schema.get("prefixItems"), list):
            return [self.value(name, part, depth + 1) for part in schema["prefixItems"]]
        made: list[Any] = []
        if item.get("type") == "string" and "enum" not in item:
            if set(name_words(name)) & _SOURCES:
                made = [in_length(source, item) for source in self.answer.sources]
            else:
                made = [in_length(quoted(statement), item) for statement in self.answer.statements]
        elif depth < DEEPEST:
            for statement in self.answer.statements[: max(1, min(most, 5))]:
                part = Answer((statement,), self.answer.question)
                made.append(_Filler(self.root, part, part.text).value(name, schema.get("items"), depth + 1))
            if item.get("type") == "object" and depth >= 3 and least == 0:
                made = []
        if schema.get("uniqueItems"):
            made = [entry for place, entry in enumerate(made) if entry not in made[:place]]
        made = made[:most]
        for number in range(len(made), least):
            value = self.value(name, schema.get("items"), depth + 1)
            made.append(self.varied(value, item, number) if schema.get("uniqueItems") else value)
        return made

    def varied(self, value: Any, item: dict[str, Any], number: int) -> Any:
        if not number or "const" in item:
            return value
        if isinstance(item.get("enum"), list):
            return item["enum"][number % len(item["enum"])]
        if isinstance(value, str):
            return in_length(f"{number + 1}. {value}", item)
        return value + number if type(value) in (int, float) else value

    def option(self, options: list[Any]) -> Any:
        present = set(words(self.text)) | set(words(self.answer.question))
        best, most = options[0], 0.0
        for option in options:
            wanted = set(words(str(option).replace("_", " ")))
            share = len(wanted & present) / len(wanted) if wanted else 0.0
            if share > most:
                best, most = option, share
        return best

    def truth(self, name: str) -> bool:
        negative = any(word.startswith(tuple(_NEGATIVE)) for word in name_words(name))
        return self.answer.found != negative

    def number(self, name: str, schema: dict[str, Any], *, whole: bool) -> int | float:
        if any(word.startswith(tuple(_GRADES)) for word in name_words(name)):
            high = schema.get("maximum")
            top = float(high) if isinstance(high, int | float) else 1.0
            low = schema.get("minimum")
            bottom = float(low) if isinstance(low, int | float) else 0.0
            return bounded(top if self.answer.found else bottom, schema, whole=whole)
        stated = " ".join(statement.text for statement in self.answer.statements) or self.answer.question
        found = [float(text) for text in _NUMBER.findall(stated)]
        if whole:
            found = [number for number in found if number == int(number)]
        return bounded(found[0] if found else 0.0, schema, whole=whole)

    def string(self, name: str, schema: dict[str, Any]) -> str:
        form = schema.get("format")
        if isinstance(form, str) and form in _FORMATS:
            return _FORMATS[form]
        named = set(name_words(name))
        if named & _SOURCES and self.answer.sources:
            text = self.answer.sources[0]
        elif named & _QUESTIONS and self.answer.question:
            text = self.answer.question
        elif named & _TITLES:
            text = self.answer.question.strip().split("\n")[0][:80] or self.text[:80]
        else:
            text = self.text
        return in_length(text, schema)
