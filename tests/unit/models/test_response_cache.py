"""The response cache: what it answers, what it keeps, and that it never stands in the way."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import ModelRequestError
from callsheet.models.messages import ModelReply, ModelRequest, Stop, ToolCall, Usage, assistant, user
from callsheet.models.response_cache import ResponseCache

_ids = count()


def request(text: str = "hello", **more: Any) -> ModelRequest:
    return ModelRequest(
        **{"id": f"q{next(_ids)}", "model": "openai/x", "messages": (user(text),), "temperature": 0.0, **more}
    )


def reply(text: str, stop: Stop = "end") -> ModelReply:
    return ModelReply(
        request_id="then", message=assistant(text), stop=stop, model="openai/x-1", cost_usd=0.5,
        usage=Usage(input_tokens=7, output_tokens=3), attempts=2,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "responses.db"


async def kept(path: Path, asked: ModelRequest, answer: Any, **options: Any) -> None:
    cache = ResponseCache(path, **options)
    cache.keep(asked, answer)
    await cache.close()


async def found(path: Path, asked: ModelRequest, **options: Any) -> ModelReply | None:
    cache = ResponseCache(path, **options)
    try:
        return cache.find(asked)
    finally:
        await cache.close()


async def test_the_same_request_is_answered_for_nothing_by_any_process(path: Path) -> None:
    answer = replace(reply("yes"), message=assistant("so", ToolCall(id="c", name="f", arguments="{}")))
    await kept(path, request(), answer)
    asked = request(run_id="other", agent="editor")
    again = await found(path, asked)
    assert again is not None
    assert again.message == answer.message
    assert (again.cost_usd, again.usage, again.source, again.request_id) == (0.0, Usage(), "cache", asked.id)


@pytest.mark.parametrize(
    ("more", "answered"),
    [
        ({"temperature": 0.0}, True),
        ({"temperature": None}, False),
        ({"temperature": 0.2}, False),
        ({"temperature": None, "cache": "on"}, True),
        ({"temperature": 0.0, "cache": "off"}, False),
    ],
)
async def test_temperature_0_is_answered_and_what_asks_for_it(
    path: Path, more: dict[str, Any], answered: bool
) -> None:
    await kept(path, request(**{**more, "cache": "on"}), reply("yes"))
    assert (await found(path, request(**more)) is not None) is answered
    await kept(path, request("else", **more), reply("yes"))
    assert (await found(path, request("else", **{**more, "cache": "on"})) is not None) is answered


@pytest.mark.parametrize("stop", ["length", "refusal", "content_filter", "other"])
async def test_what_is_no_whole_answer_is_asked_for_again(path: Path, stop: Stop) -> None:
    await kept(path, request(), reply("half", stop))
    assert await found(path, request()) is None


async def test_errors_and_answers_of_a_cassette_are_not_kept(path: Path) -> None:
    await kept(path, request("a"), ModelRequestError("no"))
    await kept(path, request("b"), replace(reply("x"), source="cassette"))
    assert await found(path, request("a")) is None
    assert await found(path, request("b")) is None


async def test_another_server_is_another_model(path: Path) -> None:
    await kept(path, request(), reply("yes"), scope="here")
    assert await found(path, request(), scope="there") is None
    assert await found(path, request(), scope="here") is not None


async def test_the_file_stays_within_its_size_and_the_longest_unused_go(path: Path) -> None:
    most = 200_000
    cache = ResponseCache(path, max_bytes=most)
    cache.keep(request("first"), reply("first"))
    for number in range(60):
        cache.keep(request(str(number)), reply("x" * 10_000))
    await cache.close()
    assert path.stat().st_size < most + 60_000  # the pages that the last writing freed
    assert await found(path, request("first")) is None
    assert await found(path, request("59")) is not None


async def test_a_reply_that_would_fill_the_cache_is_not_kept(path: Path) -> None:
    await kept(path, request(), reply("x" * 20_000), max_bytes=100_000)
    assert await found(path, request(), max_bytes=100_000) is None


async def test_two_processes_share_the_file(path: Path) -> None:
    caches = [ResponseCache(path) for _ in range(3)]
    for number, cache in enumerate(caches * 10):
        cache.keep(request(str(number)), reply(str(number)))
    for cache in caches:
        await cache.close()
    for number in range(30):
        again = await found(path, request(str(number)))
        assert again is not None
        assert again.message.text == str(number)


async def test_a_broken_file_is_told_and_costs_only_what_it_would_have_saved(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_text("no database " * 1000)
    assert await found(path, request()) is None
    await kept(path, request(), reply("yes"))
    assert "cannot be used" in caplog.text


async def test_a_file_of_another_version_is_begun_anew(path: Path) -> None:
    import sqlite3

    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE replies (old TEXT)")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    await kept(path, request(), reply("yes"))
    assert await found(path, request()) is not None


async def test_only_its_owner_reads_it(path: Path) -> None:
    await kept(path, request(), reply("yes"))
    assert path.stat().st_mode & 0o077 == 0
