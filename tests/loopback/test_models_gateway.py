"""The gateway over real HTTP on loopback: what it sends, what it makes of failures, and when it retries."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import time
from typing import Any

import pytest

from callsheet.core.errors import (
    CallsheetError,
    CancelledError,
    ModelAuthError,
    ModelError,
    ModelRateLimitError,
    ModelReplyError,
    ModelRequestError,
    ModelUnavailableError,
)
from callsheet.models.config import GatewayConfig
from callsheet.models.embeddings import EmbedRequest
from callsheet.models.gateway import Gateway, ListModels
from callsheet.models.messages import (
    ModelReply,
    ModelRequest,
    OutputSpec,
    ToolSpec,
    reply_to_data,
    system,
    user,
)
from tests.loopback.models_server import Answer, ModelServer, serving

KEY = "sk-secret-0123456789abcdef"

CHAT = {
    "id": "chatcmpl-1",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello."}}],
    "usage": {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 200},
    },
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hello."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 2},
}
OVERLOADED = Answer(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})


def request(model: str = "openai/gpt-4o", **fields: Any) -> ModelRequest:
    return ModelRequest(
        **{"id": "r1", "model": model, "messages": (system("Be kind."), user("Hi")), **fields}
    )


def make(server: ModelServer | None, *, on_call: Any = None, **settings: Any) -> Gateway:
    urls = {}
    if server is not None:
        urls = dict.fromkeys(("openai", "anthropic", "openai-compatible", "ollama", "vllm"), server.url)
    config = GatewayConfig(base_urls=urls, **{"first_backoff_s": 0.001, **settings})
    environ = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY}
    return Gateway(config, environ=environ, on_call=on_call or (lambda *_: None))


async def ask(server: ModelServer | None, model: str = "openai/gpt-4o", **settings: Any) -> ModelReply:
    gateway = make(server, **settings)
    try:
        return await gateway.handle(request(model))
    finally:
        await gateway.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_openai_gets_the_key_and_the_body_and_the_reply_has_a_price() -> None:
    async with serving(Answer(200, CHAT)) as server:
        reply = await ask(server)
    asked = server.asked[0]
    assert asked.path == "/chat/completions"
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert reply.message.text == "Hello."
    assert reply.model == "openai/gpt-4o-2024-08-06"
    assert reply.cost_usd == pytest.approx(800 * 2.5e-6 + 200 * 1.25e-6 + 100 * 10e-6)
    assert reply.elapsed_s > 0


async def test_anthropic_gets_the_key_once_and_a_token_limit() -> None:
    async with serving(Answer(200, MESSAGE)) as server:
        reply = await ask(server, "anthropic/claude-sonnet-4-5", default_max_tokens=777)
    asked = server.asked[0]
    assert asked.path == "/v1/messages"
    # SDK 2 sends a bearer token, those before it a header of Anthropic's own; never both.
    assert [value for value in asked.headers.values() if KEY in value] in ([KEY], [f"Bearer {KEY}"])
    assert asked.headers["anthropic-version"]
    assert asked.body["max_tokens"] == 777
    assert reply.cost_usd is not None
    assert reply.cost_usd > 0


@pytest.mark.parametrize("model", ["ollama/llama3", "vllm/qwen", "openai-compatible/x"])
async def test_other_servers_never_see_the_key_of_openai(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    async with serving(Answer(200, {**CHAT, "model": "x"})) as server:
        reply = await ask(server, model)
    assert KEY not in json.dumps(server.asked[0].headers)
    assert reply.cost_usd is None, "unknown is not 0"


async def test_a_key_of_the_environment_of_the_process_is_not_taken_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "another")
    async with serving(Answer(200, MESSAGE)) as server:
        await ask(server, "anthropic/claude-sonnet-4-5")
    assert "another" not in json.dumps(server.asked[0].headers)


async def test_nobody_there_names_the_address_and_what_to_start() -> None:
    port = free_port()
    gateway = Gateway(
        GatewayConfig(max_attempts=2, first_backoff_s=0), environ={"OLLAMA_HOST": f"127.0.0.1:{port}"}
    )
    with pytest.raises(ModelUnavailableError, match="nobody answers") as caught:
        await gateway.handle(request("ollama/llama3"))
    await gateway.close()
    assert f"http://127.0.0.1:{port}/v1" in caught.value.message
    assert "(after 2 attempts)" in caught.value.message
    assert "ollama serve" in caught.value.hint
    assert caught.value.retryable


async def test_no_key_says_which_variable_to_set_before_anything_is_sent() -> None:
    gateway = Gateway(GatewayConfig(), environ={})
    for model, variable in (("openai/gpt-4o", "OPENAI_API_KEY"), ("anthropic/claude", "ANTHROPIC_API_KEY")):
        with pytest.raises(ModelAuthError) as caught:
            await gateway.handle(request(model))
        assert variable in caught.value.hint
        assert "`callsheet down`, then `callsheet up` with the key set" in caught.value.hint
        assert not caught.value.retryable
    await gateway.close()


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk-one sk-two", "sk-ключ", "sk-\udc80", "sk-\0"])
async def test_a_key_that_can_be_none_is_refused_before_anything_is_sent(key: str) -> None:
    gateway = Gateway(GatewayConfig(), environ={"OPENAI_API_KEY": key})
    with pytest.raises(ModelAuthError, match="characters that no key has") as caught:
        await gateway.handle(request())
    await gateway.close()
    assert "OPENAI_API_KEY" in caught.value.hint
    assert key not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_not_tried_again_and_is_nowhere_in_the_error(status: int) -> None:
    message = f"Incorrect API key provided: {KEY}. sk-abc***wxyz"
    body = {"error": {"message": message, "code": "invalid_api_key"}}
    async with serving(Answer(status, body)) as server:
        with pytest.raises(ModelAuthError) as caught:
            await ask(server)
    assert len(server.asked) == 1
    assert "OPENAI_API_KEY" in caught.value.hint
    assert caught.value.status == status
    for text in (str(caught.value), repr(caught.value), pickle.dumps(caught.value).decode("latin-1")):
        assert KEY not in text
        assert "wxyz" not in text


async def test_an_unknown_model_is_named() -> None:
    async with serving(Answer(404, {"error": {"message": "model 'llama9' not found"}})) as server:
        with pytest.raises(ModelRequestError) as caught:
            await ask(server, "ollama/llama9")
    assert "llama9" in caught.value.message
    assert "ollama pull llama9" in caught.value.hint
    assert len(server.asked) == 1


async def test_overload_is_tried_again_until_it_passes() -> None:
    async with serving(OVERLOADED, OVERLOADED, Answer(200, MESSAGE)) as server:
        reply = await ask(server, "anthropic/claude-sonnet-4-5")
    assert reply.attempts == 3
    assert len(server.asked) == 3


async def test_attempts_are_limited_and_the_error_counts_them() -> None:
    async with serving(OVERLOADED) as server:
        with pytest.raises(ModelUnavailableError) as caught:
            await ask(server, "anthropic/claude-sonnet-4-5", max_attempts=3)
    assert len(server.asked) == 3
    assert "(after 3 attempts)" in caught.value.message
    assert caught.value.status == 529


async def test_a_rate_limit_is_waited_out_as_asked() -> None:
    limited = Answer(
        429,
        {"error": {"message": "slow down", "code": "rate_limit_exceeded"}},
        headers={"retry-after-ms": "60"},
    )
    async with serving(limited, Answer(200, CHAT)) as server:
        reply = await ask(server, first_backoff_s=0.0)
    assert reply.attempts == 2
    assert reply.elapsed_s >= 0.06


async def test_a_used_up_quota_is_not_tried_again() -> None:
    body = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    async with serving(Answer(429, body)) as server:
        with pytest.raises(ModelRateLimitError) as caught:
            await ask(server)
    assert not caught.value.retryable
    assert "billing" in caught.value.hint
    assert len(server.asked) == 1


async def test_a_longer_wait_than_the_deadline_leaves_is_not_begun() -> None:
    limited = Answer(429, {"error": {"message": "slow down"}}, headers={"retry-after": "30"})
    async with serving(limited) as server:
        gateway = make(server)
        with pytest.raises(ModelRateLimitError) as caught:
            await gateway.handle(request(deadline=time.time() + 5))
        await gateway.close()
    assert caught.value.retryable
    assert caught.value.retry_after_s == 30
    assert len(server.asked) == 1


async def test_x_should_retry_overrides_the_status() -> None:
    body = {"error": {"type": "api_error", "message": "odd"}}
    async with serving(Answer(500, body, headers={"x-should-retry": "false"})) as server:
        with pytest.raises(ModelUnavailableError):
            await ask(server, "anthropic/claude-sonnet-4-5")
    assert len(server.asked) == 1
    async with serving(Answer(400, body, headers={"x-should-retry": "true"}), Answer(200, MESSAGE)) as server:
        await ask(server, "anthropic/claude-sonnet-4-5")
    assert len(server.asked) == 2


@pytest.mark.parametrize("model", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5"])
async def test_a_server_that_hangs_is_given_up_at_the_deadline(model: str) -> None:
    async with serving(None) as server:
        gateway = make(server)
        with pytest.raises(ModelUnavailableError) as caught:
            await gateway.handle(request(model, deadline=time.time() + 0.3))
        await gateway.close()
    assert not caught.value.retryable
    assert "--deadline" in caught.value.hint


async def test_a_slow_attempt_is_given_up_and_made_again() -> None:
    async with serving(None, Answer(200, CHAT)) as server:
        reply = await ask(server, request_timeout_s=0.3)
    assert reply.attempts == 2


async def test_a_passed_deadline_sends_nothing() -> None:
    async with serving(Answer(200, CHAT)) as server:
        gateway = make(server)
        with pytest.raises(ModelUnavailableError, match="deadline has passed"):
            await gateway.handle(request(deadline=time.time() - 1))
        await gateway.close()
    assert not server.asked


BROKEN = {
    "html with status 200": Answer(200, text="<html>proxy</html>", headers={"content-type": "text/html"}),
    "cut JSON": Answer(200, text='{"id": "x", "choices": [{"mess'),
    "a list": Answer(200, []),
    "no choices": Answer(200, {"id": "x", "choices": [], "usage": None}),
    "choices null": Answer(200, {"id": "x", "choices": None}),
    "no message": Answer(200, {"id": "x", "choices": [{"finish_reason": "stop"}]}),
    "an error without a status": Answer(200, {"error": {"message": "upstream said no", "code": "weird"}}),
    "an error as text": Answer(200, {"error": "upstream said no"}),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_no_reply_is_said_to_be_none_and_tried_again(name: str) -> None:
    async with serving(BROKEN[name], Answer(200, CHAT)) as server:
        reply = await ask(server)
    assert reply.attempts == 2
    async with serving(BROKEN[name]) as server:
        with pytest.raises(ModelReplyError) as caught:
            await ask(server, max_attempts=1)
    assert caught.value.hint


@pytest.mark.parametrize(
    "body",
    [{"content": None}, {"content": [{"text": "x"}]}, {"content": [{"type": "tool_use", "name": "a"}]}, []],
)
async def test_broken_messages_of_anthropic_are_reply_errors(body: Any) -> None:
    async with serving(Answer(200, body)) as server:
        with pytest.raises(ModelReplyError):
            await ask(server, "anthropic/claude-sonnet-4-5", max_attempts=1)


async def test_an_error_inside_of_a_200_is_judged_by_the_status_it_names() -> None:
    body = {"error": {"code": 429, "message": "Rate limited upstream"}}
    async with serving(Answer(200, body), Answer(200, CHAT)) as server:
        reply = await ask(server, "openai-compatible/x")
    assert reply.attempts == 2
    async with serving(Answer(200, {"error": {"code": 401, "message": "no"}})) as server:
        with pytest.raises(ModelAuthError):
            await ask(server, "openai-compatible/x")


async def test_a_gateway_error_page_is_a_server_out_of_order() -> None:
    page = Answer(502, text="<html>Bad Gateway</html>", headers={"content-type": "text/html"})
    async with serving(page) as server:
        with pytest.raises(ModelUnavailableError) as caught:
            await ask(server, max_attempts=1)
    assert caught.value.status == 502


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    async with serving(Answer(200, MESSAGE)) as elsewhere:
        moved = Answer(307, {}, headers={"location": f"{elsewhere.url}/v1/messages"})
        async with serving(moved) as server:
            with pytest.raises(ModelRequestError, match="redirects"):
                await ask(server, "anthropic/claude-sonnet-4-5")
        assert not elsewhere.asked


@pytest.mark.parametrize("extra", ["[]", "{", '{"stream": true}', '{"model": "other"}', '{"top_p": NaN}'])
async def test_extra_fields_that_cannot_be_are_refused_before_sending(extra: str) -> None:
    async with serving(Answer(200, CHAT)) as server:
        gateway = make(server)
        with pytest.raises(ModelRequestError) as caught:
            await gateway.handle(request(extra=extra))
        await gateway.close()
    assert caught.value.hint
    assert not server.asked


async def test_text_that_is_no_unicode_is_refused_with_a_reason() -> None:
    async with serving(Answer(200, CHAT)) as server:
        gateway = make(server)
        with pytest.raises(ModelRequestError, match="surrogate"):
            await gateway.handle(request(messages=(user("\ud800"),)))
        await gateway.close()
    assert not server.asked


VECTORS = {"data": [{"index": 1, "embedding": [0, 1.5]}, {"index": 0, "embedding": [1, 0]}]}


async def test_vectors_come_in_the_order_of_the_texts_and_after_a_retry() -> None:
    async with serving(Answer(503, {}), Answer(200, VECTORS)) as server:
        gateway = make(server)
        vectors = await gateway.handle(EmbedRequest(model="ollama/nomic", texts=("a", "b")))
        await gateway.close()
    assert vectors == [[1.0, 0.0], [0.0, 1.5]]
    assert server.asked[1].body == {"model": "nomic", "input": ["a", "b"], "encoding_format": "float"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": []},
        {"data": [{"embedding": [1]}]},
        {"data": [{"embedding": [1]}, {"embedding": [1, 2]}]},
        {"data": [{"embedding": [1]}, {"embedding": ["x"]}]},
        {"data": [{"embedding": [1]}, {"embedding": None}]},
        {"data": [{"embedding": [1], "index": 0}, {"embedding": [1], "index": 0}]},
        {"data": [{"embedding": [1], "index": 0}, {"embedding": [1], "index": 7}]},
        {"data": [{"embedding": []}, {"embedding": []}]},
    ],
)
async def test_vectors_that_do_not_fit_the_texts_are_a_reply_error(body: Any) -> None:
    async with serving(Answer(200, body)) as server:
        gateway = make(server, max_attempts=1)
        with pytest.raises(ModelReplyError):
            await gateway.handle(EmbedRequest(model="ollama/nomic", texts=("a", "b")))
        await gateway.close()


@pytest.mark.parametrize("model", ["anthropic/claude", "offline"])
async def test_providers_without_embeddings_name_others(model: str) -> None:
    gateway = make(None)
    with pytest.raises(ModelRequestError) as caught:
        await gateway.handle(EmbedRequest(model=model, texts=("a",)))
    assert "lexical" in caught.value.hint


async def test_every_call_is_reported_with_its_reply_or_its_error() -> None:
    calls: list[tuple[Any, ...]] = []
    async with serving(Answer(200, CHAT), Answer(401, {"error": {"message": "no"}})) as server:
        gateway = make(server, on_call=lambda *call: calls.append(call))
        reply = await gateway.handle(request(run_id="run-1"))
        with pytest.raises(ModelAuthError) as caught:
            await gateway.handle(request(run_id="run-1"))
        await gateway.close()
    assert [(call[1], call[2]) for call in calls] == [(reply, None), (None, caught.value)]
    assert caught.value.run_id == "run-1"
    assert all(call[3] <= call[4] for call in calls)


async def test_a_call_given_up_from_outside_is_reported_and_stays_cancelled() -> None:
    errors: list[CallsheetError | None] = []
    async with serving(None) as server:
        gateway = make(server, on_call=lambda *call: errors.append(call[2]))
        task = asyncio.ensure_future(gateway.handle(request()))
        while not server.asked:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gateway.close()
    assert [type(error) for error in errors] == [CancelledError]


async def test_a_failing_report_does_not_fail_the_call(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("disk full")

    async with serving(Answer(200, CHAT)) as server:
        gateway = make(server, on_call=broken)
        assert (await gateway.handle(request())).message.text == "Hello."
        await gateway.close()
    assert "could not be reported" in caplog.text


async def test_200_calls_at_once_all_get_their_own_reply() -> None:
    async with serving(Answer(200, CHAT)) as server:
        gateway = make(server)
        replies = await asyncio.gather(*(gateway.handle(request(id=f"r{i}")) for i in range(200)))
        await gateway.close()
    assert [reply.request_id for reply in replies] == [f"r{i}" for i in range(200)]


async def test_no_key_is_in_config_gateway_reply_or_error() -> None:
    async with serving(Answer(200, CHAT), Answer(500, {"error": {"message": f"with {KEY}"}})) as server:
        gateway = make(server, max_attempts=1)
        reply = await gateway.handle(request())
        with pytest.raises(ModelError) as caught:
            await gateway.handle(request())
        shown = [
            repr(gateway),
            repr(vars(gateway)["_providers"]),
            repr(await gateway.handle(ListModels())),
            repr(gateway.config),
            pickle.dumps(gateway.config).decode("latin-1"),
            repr(reply),
            json.dumps(reply_to_data(reply)),
            str(caught.value),
            json.dumps(caught.value.to_dict()),
            pickle.dumps(caught.value).decode("latin-1"),
        ]
        with pytest.raises(TypeError, match="holds keys"):
            pickle.dumps(gateway)
        await gateway.close()
    assert [text for text in shown if KEY in text] == []


async def test_structured_output_by_tool_reads_like_native_output() -> None:
    spec = OutputSpec(name="verdict", schema='{"type":"object","properties":{"good":{"type":"boolean"}}}')
    tool = ToolSpec(name="look", description="Look.", schema='{"type":"object","properties":{}}')
    block = {"type": "tool_use", "id": "t1", "name": "give_structured_answer", "input": {"good": True}}
    answer = {**MESSAGE, "content": [block], "stop_reason": "tool_use"}
    async with serving(Answer(200, answer)) as server:
        gateway = make(server)
        reply = await gateway.handle(request("anthropic/claude-3-5-haiku", output=spec, tools=(tool,)))
        await gateway.close()
    sent = server.asked[0].body
    assert [item["name"] for item in sent["tools"]] == ["look", "give_structured_answer"]
    assert sent["tool_choice"] == {"type": "any"}
    assert reply.message.text == '{"good": true}'
    assert reply.message.tool_calls == ()
    assert reply.stop == "end"
