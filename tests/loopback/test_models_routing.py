"""Policies over real HTTP: which server is asked, what happens on providers' bad days, and what the trace says."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from callsheet import tracing
from callsheet.core.errors import DefinitionError, ModelUnavailableError, UsageError
from callsheet.models.config import GatewayConfig
from callsheet.models.gateway import Gateway
from callsheet.models.messages import Image, Message, ModelReply, ModelRequest, user
from callsheet.models.policy import ModelPolicy
from callsheet.models.quotes import Quote
from tests.loopback.models_server import Answer, ModelServer, serving

KEYS = {"OPENAI_API_KEY": "sk-test-openai-1", "ANTHROPIC_API_KEY": "sk-ant-test-1"}


def chat(text: str, **headers: str) -> Answer:
    body = {
        "id": "1",
        "model": "gpt-5-nano-2025-08-07",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }
    return Answer(body=body, headers=headers)


def message(text: str) -> Answer:
    body = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 2},
    }
    return Answer(body=body)


def streamed(*pieces: str, whole: bool = True) -> Answer:
    events = [
        {"id": "1", "model": "gpt-5-nano", "choices": [{"index": 0, "delta": {"content": piece}}]}
        for piece in pieces
    ]
    if whole:
        events.append({"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return Answer(
        text=text + ("data: [DONE]\n\n" if whole else ""), headers={"content-type": "text/event-stream"}
    )


def gateway(openai: ModelServer, anthropic: ModelServer | None = None, **config: Any) -> Gateway:
    urls = {"openai": openai.url, "anthropic": (anthropic or openai).url}
    settings = {"first_backoff_s": 0.01, "max_attempts": 2, "base_urls": urls, **config}
    keys = KEYS if anthropic is not None else {"OPENAI_API_KEY": KEYS["OPENAI_API_KEY"]}
    return Gateway(GatewayConfig(**settings), environ=keys)


def asking(policy: ModelPolicy, **fields: Any) -> ModelRequest:
    return ModelRequest(**{"id": "r", "model": policy.to_text(), "messages": (user("Hi"),), **fields})


async def test_a_policy_comes_to_the_cheapest_model_of_a_provider_with_a_key() -> None:
    async with serving(chat("Hello.")) as openai:
        made = gateway(openai)
        reply = await made.handle(asking(ModelPolicy(tier="fast")))
        await made.close()
    assert reply.message.text == "Hello."
    assert openai.asked[0].body["model"] == "gpt-5-nano"
    assert reply.cost_usd is not None
    assert 0 < reply.cost_usd < 0.0001


async def test_when_one_provider_is_down_the_other_answers_and_the_trace_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spans: list[Any] = []
    monkeypatch.setattr(tracing, "emit", spans.append)
    monkeypatch.setattr(tracing, "is_enabled", lambda: True)
    async with (
        serving(Answer(500, {"error": {"message": "oh no"}})) as openai,
        serving(message("Hi.")) as other,
    ):
        made = gateway(openai, other)
        policy = ModelPolicy(tier="fast", prefer=("openai/gpt-5-nano", "anthropic/claude-haiku-4-5"))
        reply = await made.handle(asking(policy, run_id="run-1"))
        await made.close()
    assert reply.message.text == "Hi."
    assert (len(openai.asked), len(other.asked), reply.attempts) == (2, 1, 3)
    (span,) = spans
    assert span.provider == "anthropic"
    assert span.notes["policy"] == "fast model"
    assert [attempt["model"] for attempt in span.notes["failed_attempts"]] == ["openai/gpt-5-nano"] * 2
    assert "oh no" in span.notes["failed_attempts"][0]["cause"]


async def test_a_stream_that_is_cut_is_begun_again_and_reads_as_one_text() -> None:
    async with serving(streamed("Once ", "upon", whole=False), streamed("All ", "of it.")) as server:
        made = gateway(server)
        heard: list[str | None] = []
        request = ModelRequest(id="r", model="openai/gpt-5-nano", messages=(user("Hi"),), stream=True)
        reply: ModelReply = await made.stream(request, heard.append)
        await made.close()
    assert reply.message.text == "All of it."
    at = heard.index(None)
    assert "".join(part or "" for part in heard[at + 1 :]) == "All of it."
    assert reply.attempts == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "0.4"},
        {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "400ms",
        },
    ],
    ids=["Retry-After", "x-ratelimit-reset"],
)
async def test_a_rate_limit_is_waited_for_as_long_as_the_provider_says(headers: dict[str, str]) -> None:
    limited = Answer(429, {"error": {"message": "too fast"}}, headers=headers)
    async with serving(limited, chat("Hello.")) as server:
        made = gateway(server)
        request = ModelRequest(id="r", model="openai/gpt-5-nano", messages=(user("Hi"),))
        begun = time.monotonic()
        assert (await made.handle(request)).message.text == "Hello."
        await made.close()
    assert time.monotonic() - begun >= 0.4
    assert len(server.asked) == 2


async def test_the_most_that_a_call_may_cost_is_also_the_most_that_it_asks_for() -> None:
    async with serving(chat("Hello.")) as openai:
        made = gateway(openai)
        await made.handle(asking(ModelPolicy(tier="fast", max_usd_per_call=0.01)))
        await made.close()
    body = openai.asked[0].body
    assert body.get("max_completion_tokens", body.get("max_tokens")) == 4096


async def test_a_picture_goes_to_a_model_that_sees() -> None:
    picture = Message(role="user", parts=(Image(media_type="image/png", data="iVBORw0KGgo="),))
    blind = {"openai/gpt-5-nano": {"vision": False}}
    async with serving(chat("A dot.")) as openai:
        made = gateway(openai, models=blind)
        await made.handle(asking(ModelPolicy(tier="fast"), messages=(picture,)))
        await made.close()
    assert openai.asked[0].body["model"] != "gpt-5-nano"


async def test_where_no_model_will_do_nothing_is_sent_and_the_error_says_what_to_set() -> None:
    made = Gateway(GatewayConfig(), environ={})
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        await made.handle(asking(ModelPolicy(tier="fast")))
    with pytest.raises(DefinitionError):
        await made.handle(ModelRequest(id="r", model="policy:nonsense", messages=(user("Hi"),)))
    await made.close()


async def test_a_quote_of_a_policy_is_of_the_dearest_model_that_it_may_come_to() -> None:
    made = Gateway(GatewayConfig(), environ=KEYS)
    tokens = {"input_tokens": 1000, "output_tokens": 1000}
    policy = ModelPolicy(tier="fast", prefer=("anthropic/claude-opus-4-5",))
    whole = await made.handle(Quote(model=policy.to_text(), **tokens))
    dear = await made.handle(Quote(model="anthropic/claude-opus-4-5", **tokens))
    assert whole == dear == pytest.approx(0.03)
    await made.close()


async def test_a_server_that_nobody_answers_at_uses_up_no_budget() -> None:
    limits = {"*": {"usd_per_day": 0.01}}
    config = GatewayConfig(
        base_urls={"openai": "http://127.0.0.1:9"}, limits=limits, max_attempts=1, first_backoff_s=0
    )
    made = Gateway(config, environ=KEYS)
    for _ in range(5):  # each may cost more than a fifth of the budget
        with pytest.raises(ModelUnavailableError):
            await made.handle(
                ModelRequest(id="r", model="openai/gpt-5.4-mini", messages=(user("Hi"),), max_tokens=1000)
            )
    await made.close()
