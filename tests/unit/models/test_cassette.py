"""Cassettes: what is kept of an exchange, which request gets which reply, and what a missing one is told."""

from __future__ import annotations

import json
import logging
import stat
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import (
    CallsheetError,
    ModelAuthError,
    ModelRateLimitError,
    ModelRequestError,
    UsageError,
)
from callsheet.models.cassette import Cassette, Cassettes, OpenCassette
from callsheet.models.messages import (
    Image,
    Message,
    ModelReply,
    ModelRequest,
    Opaque,
    OutputSpec,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    assistant,
    system,
    tool_results,
    user,
)

_ids = count()
SEARCH = ToolSpec(name="search", description="Search.", schema='{"type":"object"}')


def request(text: str = "hello", **more: Any) -> ModelRequest:
    messages = more.pop("messages", (system("You answer."), user(text)))
    return ModelRequest(
        **{"id": f"q{next(_ids)}", "model": "openai/x", "messages": messages, "agent": "clerk", **more}
    )


def reply(text: str) -> ModelReply:
    return ModelReply(
        request_id="then", message=assistant(text), stop="end", model="openai/x-1", cost_usd=0.5,
        usage=Usage(input_tokens=7, output_tokens=3),
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "c.jsonl")


def recorded(path: str, *exchanges: tuple[ModelRequest, ModelReply | CallsheetError]) -> Cassette:
    cassette = Cassette.open(path, "record")
    for asked, answer in exchanges:
        cassette.keep(asked, answer)
    return Cassette.open(path, "replay")


def test_a_reply_comes_back_whole_with_its_usage_and_price_and_the_new_requests_id(path: str) -> None:
    parts = (
        Thinking(text="hm", signature="s"),
        Text(text="Ein Blick – 見る"),
        ToolCall(id="c1", name="search", arguments='{"q": "x"'),
        Opaque(provider="anthropic", json='{"type":"new"}'),
    )
    answer = ModelReply(
        request_id="then", message=Message(role="assistant", parts=parts), stop="tool_calls", model="openai/x-1",
        usage=Usage(input_tokens=9, cache_read_tokens=4), cost_usd=0.25, response_id="r",
    )  # fmt: skip
    asked = request()
    found = recorded(path, (request(), answer)).find(asked)
    assert found.message == answer.message
    assert (found.usage, found.cost_usd, found.stop, found.model) == (
        answer.usage, 0.25, "tool_calls", "openai/x-1"
    )  # fmt: skip
    assert found.request_id == asked.id
    assert found.source == "cassette"


@pytest.mark.parametrize(
    "more",
    [
        {"id": "other"},
        {"deadline": 5.0},
        {"run_id": "r2", "turn_id": "t", "agent": "editor", "crew": "c", "session_id": "s"},
        {"stream": True},
        {"cache": "on"},
        {"parent_span_id": "ab"},
        {"extra": '{"api_key": "another"}'},
    ],
)
def test_who_asks_and_when_makes_no_other_request(path: str, more: dict[str, Any]) -> None:
    first = request(extra='{"api_key": "one"}') if "extra" in more else request()
    assert recorded(path, (first, reply("yes"))).find(request(**more)).message.text == "yes"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"model": "openai/y"}, "model: recorded openai/x, now openai/y"),
        ({"temperature": 0.0}, "temperature: recorded null, now 0.0"),
        ({"max_tokens": 5}, "max_tokens: recorded null, now 5"),
        ({"stop": ("END",)}, 'stop: recorded [], now ["END"]'),
        ({"extra": '{"seed": 1}'}, 'extra: recorded {}, now {"seed": 1}'),
        ({"tools": (SEARCH,)}, "tools: recorded none, now search"),
        ({"tool_choice": "none"}, "tool_choice: recorded auto, now none"),
        ({"output": OutputSpec(name="A", schema="{}")}, "output: recorded null"),
    ],
)
def test_what_the_model_is_given_makes_another(path: str, more: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelRequestError) as caught:
        recorded(path, (request(), reply("yes"))).find(request(**more))
    assert told in caught.value.message
    assert not caught.value.retryable


def test_a_missing_request_is_compared_with_the_nearest_message_by_message(path: str) -> None:
    history = (
        system("You answer."),
        user("Where is 17?"),
        assistant("", ToolCall(id="1", name="f", arguments="{}")),
    )

    def asked(content: str) -> ModelRequest:
        return request(messages=(*history, tool_results(ToolResult(call_id="1", name="f", content=content))))

    cassette = recorded(
        path,
        (request("Something else entirely"), reply("no")),
        (asked("one\ntwo\nthree"), reply("yes")),
    )
    with pytest.raises(ModelRequestError) as caught:
        cassette.find(asked("one\n2\nthree"))
    said = caught.value.message
    assert "line 2" in said
    assert "Message 4 of 4 differs, tool:" in said
    assert "  -two\n  +2" in said
    assert "three" not in said
    assert "record" in caught.value.hint


def test_of_equally_near_ones_the_likest_text_is_shown(path: str) -> None:
    cassette = recorded(
        path,
        (request("The quick brown fox"), reply("a")),
        (request("Where is order 17 now?"), reply("b")),
        (request("zzz"), reply("c")),
    )
    with pytest.raises(ModelRequestError, match="line 2"):
        cassette.find(request("Where is order 18 now?"))


def test_an_empty_cassette_says_that_nothing_is_in_it(path: str) -> None:
    with pytest.raises(ModelRequestError, match="nothing is recorded"):
        recorded(path).find(request())


def test_a_changed_tool_is_shown_by_its_lines(path: str) -> None:
    other = ToolSpec(name="search", description="Search the web.", schema='{"type":"object"}')
    with pytest.raises(ModelRequestError, match="Search the web") as caught:
        recorded(path, (request(tools=(SEARCH,)), reply("yes"))).find(request(tools=(other,)))
    assert "tool search:" in caught.value.message


def test_each_run_gets_the_replies_to_a_repeated_request_in_the_order_of_recording(path: str) -> None:
    cassette = recorded(path, (request(), reply("one")), (request(), reply("two")))
    for run in ("a", "b"):
        said = [cassette.find(request(run_id=run, turn_id=f"{run}{i}")).message.text for i in range(2)]
        assert said == ["one", "two"]
    with pytest.raises(ModelRequestError, match=r"recorded 2 times .* once more"):
        cassette.find(request(run_id="a", turn_id="a3"))


def test_a_turn_that_asks_again_gets_the_same_reply(path: str) -> None:
    cassette = recorded(path, (request(), reply("one")), (request(), reply("two")))
    assert [cassette.find(request(run_id="a", turn_id="t")).message.text for _ in range(3)] == ["one"] * 3


def test_a_refusal_is_raised_again_and_a_resumed_turn_gets_what_came_after_it(path: str) -> None:
    refused = ModelRequestError("too long", model="openai/x", status=400, hint="Shorten it.")
    cassette = recorded(path, (request(), refused), (request(), reply("now")))
    with pytest.raises(ModelRequestError) as caught:
        cassette.find(request(run_id="a", turn_id="t"))
    assert (caught.value.message, caught.value.status, caught.value.hint) == ("too long", 400, "Shorten it.")
    assert cassette.find(request(run_id="a", turn_id="t")).message.text == "now"


@pytest.mark.parametrize("error", [ModelAuthError("wrong key sk-1"), ModelRateLimitError("slow down")])
def test_what_says_nothing_of_the_request_is_not_kept(path: str, error: CallsheetError) -> None:
    recorded(path, (request(), error))
    assert Path(path).read_bytes() == b""


def test_no_secret_is_written(path: str) -> None:
    cassette = Cassette.open(path, "record", ["sk-planted-key"])
    cassette.keep(
        request(
            "my key is sk-planted-key",
            extra='{"metadata": {"Authorization": "Bearer abc"}, "api_key": "def"}',
        ),
        reply("keep sk-planted-key to yourself"),
    )
    text = Path(path).read_text()
    for secret in ("sk-planted-key", "Bearer abc", "def"):
        assert secret not in text
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_a_line_is_one_exchange_in_plain_json(path: str) -> None:
    recorded(path, (request("line\nend \u2028 \ud800"), reply("a\nb")), (request(), reply("c")))
    lines = Path(path).read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [sorted(json.loads(line)) for line in lines] == [["agent", "reply", "request", "v"]] * 2


@given(st.text(), st.text())
def test_any_text_is_found_again(tmp_path_factory: pytest.TempPathFactory, asked: str, said: str) -> None:
    path = str(tmp_path_factory.mktemp("c") / "c.jsonl")
    found = recorded(path, (request(asked), reply(said or "."))).find(request(asked))
    assert found.message.text == (said or ".").encode("utf-8", "replace").decode()


def test_pictures_and_stops_are_found_again(path: str) -> None:
    message = Message(role="user", parts=(Text(text="See"), Image(media_type="image/png", data="iVBOR")))
    asked = {
        "messages": (message,),
        "stop": ("a", "b"),
        "output": OutputSpec(name="A", schema="{}"),
        "tools": (SEARCH,),
    }
    assert recorded(path, (request(**asked), reply("ok"))).find(request(**asked)).message.text == "ok"


def test_a_torn_last_line_is_told_and_costs_no_other(path: str, caplog: pytest.LogCaptureFixture) -> None:
    recorded(path, (request("a"), reply("one")), (request("b"), reply("two")))
    whole = Path(path).read_bytes()
    for cut in (1, 20, len(whole) // 3):
        Path(path).write_bytes(whole[:-cut])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            cassette = Cassette.open(path, "replay")
        assert cassette.facts.exchanges == 1
        assert "torn" in caplog.text
        # Whoever records next begins a line of its own.
        again = recorded(path, (request("c"), reply("three")))
        assert again.facts.exchanges == 2
        assert again.find(request("c")).message.text == "three"


def test_many_writers_tear_no_line(path: str) -> None:
    def write(number: int) -> None:
        Cassette.open(path, "record").keep(request(f"{number} " + "x" * 5000), reply(str(number)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(80)))
    assert Cassette.open(path, "replay").facts.exchanges == 80


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"v":1}\n', "line 1: no recorded exchange"),
        ('{"v":2,"request":{}}\n', "version 2"),
        ("nonsense\n", "line 1"),
        ("[1]\n", "line 1"),
        ('{"v":1,"request":{"model":"m","messages":[{"role":"x"}]},"reply":{}}\n', "line 1"),
    ],
)
def test_a_line_that_is_no_exchange_is_named(path: str, text: str, told: str) -> None:
    Path(path).write_text(text)
    with pytest.raises(UsageError, match=told):
        Cassette.open(path, "replay")


def test_a_file_of_something_else_is_not_recorded_to(path: str) -> None:
    Path(path).write_text("precious\n")
    with pytest.raises(UsageError, match="no cassette"):
        Cassette.open(path, "record")
    assert Path(path).read_text() == "precious\n"


@pytest.mark.parametrize("wrong", ["relative.jsonl", "{folder}", "{folder}/none/c.jsonl"])
def test_a_path_that_cannot_be_written_is_told_at_once(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(UsageError):
        Cassette.open(wrong.format(folder=tmp_path), "record")


def test_lines_of_an_older_form_without_newer_fields_are_still_found(path: str) -> None:
    recorded(path, (request(), reply("yes")))
    data = json.loads(Path(path).read_text())
    for name in ("stop", "extra", "tool_choice", "output"):
        del data["request"][name]
    del data["reply"]["source"]
    Path(path).write_text(json.dumps(data) + "\n")
    assert Cassette.open(path, "replay").find(request()).message.text == "yes"


def test_a_file_that_was_recorded_anew_is_read_anew(path: str) -> None:
    cassettes = Cassettes()
    recorded(path, (request(), reply("old")))
    assert cassettes.open(OpenCassette(path=path, mode="replay")).models == ("openai/x",)
    found = cassettes.find(request(replay=path))
    assert found is not None
    assert found.message.text == "old"
    Path(path).unlink()
    cassettes.open(OpenCassette(path=path, mode="record"))
    cassettes.keep(request(record=path), reply("new one"))
    again = cassettes.find(request(replay=path))
    assert again is not None
    assert again.message.text == "new one"
    assert cassettes.find(request()) is None
