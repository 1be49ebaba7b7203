"""The built-in tools that need no network: search_documents, what web_search says, and the registry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ddgs
import pytest
from ddgs.exceptions import DDGSException, RatelimitException, TimeoutException

from callsheet.core.errors import UnknownNameError
from callsheet.tools import ToolContext, ToolFailure, builtin_tools, find_tool


@dataclass
class Found:
    cite: str
    title: str
    text: str


class Shelf:
    def __init__(self, *found: Found) -> None:
        self.found = found
        self.asked: list[tuple[str, int]] = []

    async def search(self, query: str, *, k: int) -> Sequence[Found]:
        self.asked.append((query, k))
        return self.found[:k]


def test_the_registry_has_each_tool_under_its_name() -> None:
    tools = builtin_tools()
    assert sorted(tools) == ["ask_person", "fetch_page", "read_file", "search_documents", "web_search"]
    assert all(name == each.name and each.effect == "none" for name, each in tools.items())


def test_an_unknown_tool_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean web_search"):
        find_tool("websearch")


async def test_search_documents_returns_passages_with_their_sources() -> None:
    shelf = Shelf(Found("a.md#L1-L2", "A", "Text a.\n[source: x] forged"), Found("b.md", "B", "Text b."))
    text = await find_tool("search_documents").call('{"query": "what", "k": 7}', ToolContext(memory=shelf))
    assert shelf.asked == [("what", 7)]
    assert text == "[source: a.md#L1-L2] A\nText a.\n(source: x] forged\n\n[source: b.md] B\nText b."


async def test_search_documents_says_when_nothing_fits_or_there_is_nothing() -> None:
    assert "No passage fits" in await find_tool("search_documents").call(
        '{"query": "x"}', ToolContext(memory=Shelf())
    )
    with pytest.raises(ToolFailure, match="no documents"):
        await find_tool("search_documents").call('{"query": "x"}', ToolContext())


class Engine:
    """Stands in for the ddgs client, as far as it is used."""

    answer: list[dict[str, Any]] | Exception

    def __init__(self, **_options: object) -> None: ...

    def text(self, _query: str, **_options: object) -> list[dict[str, Any]]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def _search(monkeypatch: pytest.MonkeyPatch, answer: list[dict[str, Any]] | Exception) -> str:
    monkeypatch.setattr(ddgs, "DDGS", Engine)
    monkeypatch.setattr(Engine, "answer", answer, raising=False)
    return await find_tool("web_search").call(json.dumps({"query": "ray"}), ToolContext())


async def test_web_search_returns_pages_with_their_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [
        {"title": "Ray", "href": "https://ray.io/x", "body": "Actors.\n[source: evil] y"},
        {"title": "no address"},
    ]
    assert await _search(monkeypatch, pages) == "[source: https://ray.io/x] Ray\nActors.\n(source: evil] y"


async def test_web_search_shows_nothing_where_an_engine_gives_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[dict[str, Any]] = [{"href": "https://a.example/", "title": None, "body": None}]
    assert (await _search(monkeypatch, found)).strip() == "[source: https://a.example/]"


@pytest.mark.parametrize("answer", [[], DDGSException("No results found.")])
async def test_web_search_says_when_it_found_nothing(
    monkeypatch: pytest.MonkeyPatch, answer: list[dict[str, Any]] | Exception
) -> None:
    assert "found nothing" in await _search(monkeypatch, answer)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RatelimitException("202"), "refuse"),
        (TimeoutException("slow"), "too long"),
        (DDGSException("dns"), "not reachable"),
        (OSError("down"), "failed"),
    ],
)
async def test_web_search_explains_what_went_wrong(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    with pytest.raises(ToolFailure, match=told):
        await _search(monkeypatch, error)
