"""Which tools the offline engine calls: those whose name and description speak of the task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from callsheet.core.canonical import digest
from callsheet.models.messages import ToolCall, ToolSpec
from callsheet.models.offline_arguments import fill, is_query_like
from callsheet.models.offline_schema import properties, required, resolve
from callsheet.models.offline_text import Index, keywords, name_words, stem_set
from callsheet.models.structured import parse_schema

MOST_CALLS = 4
"""Calls made at once, at most."""

_FETCHES = stem_set("search find look lookup retriev retrieve query fetch recall ask")
_OWN = stem_set("document memory knowledge passage note file docs local")
_WEB = stem_set("web internet online news website")
# Words of descriptions in general, which say nothing of what a tool is about.
_GENERIC = stem_set(
    """
    tool function return call use argument parameter result string number value text answer question
    given list user information data search find get look show give tell
    """
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tool that could be called: how well it fits, the task's words it knows, and its arguments."""

    spec: ToolSpec
    score: float
    shared: frozenset[str]
    arguments: tuple[str, ...]
    searches: bool


def rank(tools: Sequence[ToolSpec], task: str) -> list[Candidate]:
    """The tools that fit the task and can be filled from it, best first; ties in the tools' order."""
    query = set(keywords(task))
    index = Index([_about(tool) for tool in tools])
    found = []
    for position, tool in enumerate(tools):
        schema = resolve(parse_schema(tool.schema), parse_schema(tool.schema))
        named = set(name_words(tool.name))
        shared = frozenset((query & set(_about(tool))) - _GENERIC)
        score = index.score(position, query - _GENERIC) + 2.0 * len((query & named) - _GENERIC)
        searches = _searches(tool, schema)
        if searches:
            about = named | set(keywords(tool.description))
            score += 1.0 + (0.6 if about & _OWN else 0.0)
            if about & _WEB and not about & _OWN:
                score += 1.0 if query & _WEB else -0.3  # what is at hand comes before the network
        arguments = fill(schema, task)
        if any(value in task for item in arguments[:1] for value in _addresses(item)):
            score += 3.0  # an address in the task is there to be read
        elif not searches and not shared:
            continue
        if score > 0 and arguments:
            texts = tuple(json.dumps(item, ensure_ascii=False) for item in arguments)
            found.append(Candidate(tool, score, shared, texts, searches))
    found.sort(key=lambda item: -item.score)
    return found


def plan(
    tools: Sequence[ToolSpec], task: str, earlier: Sequence[ToolCall], seed: str
) -> tuple[ToolCall, ...]:
    """The calls to make for the task, none twice; empty where no tool fits or can be filled.

    The best tool is called, and with it each other that fits nearly as well and knows a word of the task
    that those before it do not. One search is made at a time: the next is for when it finds nothing.
    """
    done = {(call.name, _normal(call.arguments)) for call in earlier}
    calls: list[ToolCall] = []
    known: set[str] = set()
    best, searched = 0.0, False
    for candidate in rank(tools, task):
        if calls and (candidate.score < 0.6 * best or not candidate.shared - known):
            continue
        if candidate.searches and searched:
            continue
        fresh = [text for text in candidate.arguments if (candidate.spec.name, _normal(text)) not in done]
        if not fresh:
            continue
        best = best or candidate.score
        known |= candidate.shared
        searched = searched or candidate.searches
        calls.extend(_call(candidate.spec.name, text, seed) for text in fresh[: MOST_CALLS - len(calls)])
        if len(calls) >= MOST_CALLS:
            break
    return tuple(calls)


def forced(spec: ToolSpec, task: str, seed: str) -> tuple[ToolCall, ...]:
    """A call of that very tool; what the task does not say is filled with the schema's plainest value."""
    from callsheet.models.offline_output import plainest

    schema = parse_schema(spec.schema)
    for arguments in fill(schema, task)[:1]:
        return (_call(spec.name, json.dumps(arguments, ensure_ascii=False), seed),)
    value = plainest(schema, task)
    return (_call(spec.name, json.dumps(value, ensure_ascii=False), seed),)


def _call(name: str, arguments: str, seed: str) -> ToolCall:
    return ToolCall(id=f"call_{digest(seed, name, arguments)[:16]}", name=name, arguments=arguments)


def _normal(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


def _about(tool: ToolSpec) -> list[str]:
    fields = properties(parse_schema(tool.schema))
    return [
        *name_words(tool.name) * 2,
        *keywords(tool.description),
        *(w for name in fields for w in name_words(name)),
    ]


def _addresses(arguments: dict[str, Any]) -> list[str]:
    texts = [value for value in arguments.values() if isinstance(value, str)]
    return [text for text in texts if text.startswith(("http://", "https://")) and " " not in text]


def _searches(tool: ToolSpec, schema: dict[str, Any]) -> bool:
    fields, needed = properties(schema), required(schema)
    wanted = needed or list(fields)[:1]
    if len(wanted) != 1 or not is_query_like(wanted[0]):
        return False
    says = set(name_words(tool.name)) | set(keywords(tool.description))
    return bool(says & _FETCHES)
