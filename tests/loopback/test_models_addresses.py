"""Where requests go and with which headers: as the official SDKs have it, without what is not theirs to send."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.core.errors import SettingsError
from callsheet.models.catalogue import PROVIDERS
from callsheet.models.config import GatewayConfig
from callsheet.models.messages import ModelRequest, user
from callsheet.models.sdk_address import Address, SdkAddresses
from callsheet.models.sdk_client import SdkClient
from tests.loopback.models_server import Answer, serving
from tests.loopback.models_streams import provider_at

KEY = "key-of-test-9f3"
CHAT = {"choices": [{"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}]}


async def asked(provider: str, url: str, path: str = "/chat/completions", key: str = KEY) -> Address:
    addresses = SdkAddresses(PROVIDERS[provider], url, key)
    addresses.load()
    return await addresses.ask(path)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
        ("http://127.0.0.1:4000", "http://127.0.0.1:4000/chat/completions"),
        (
            "https://ours.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
            "https://ours.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
    ],
)
async def test_the_address_is_below_the_base_url_and_keeps_its_query(url: str, wanted: str) -> None:
    address = await asked("openai", url)
    assert address.url == wanted
    assert (address.tls is not None) is url.startswith("https")


async def test_the_key_is_where_the_sdk_puts_it() -> None:
    openai = {k.lower(): v for k, v in (await asked("openai", "http://x/v1")).headers.items()}
    assert openai["authorization"] == f"Bearer {KEY}"
    anthropic = {
        k.lower(): v for k, v in (await asked("anthropic", "http://x", "/v1/messages")).headers.items()
    }
    assert KEY in {anthropic.get("x-api-key"), anthropic.get("authorization", "").removeprefix("Bearer ")}
    assert anthropic["anthropic-version"]


@pytest.mark.parametrize(
    "host", ["r.openai.azure.com", "r.services.ai.azure.com", "r.cognitiveservices.azure.com"]
)
async def test_azure_gets_its_own_key_header(host: str) -> None:
    address = await asked("openai-compatible", f"https://{host}/openai/v1")
    assert address.headers["api-key"] == KEY
    other = await asked("openai-compatible", f"https://{host}.example.org/openai/v1")
    assert "api-key" not in other.headers
    in_front = await asked("azure", "https://gateway.example.org/ai/v1")
    assert in_front.headers["api-key"] == KEY


async def test_what_the_environment_holds_for_another_server_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-ours")
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "a-token")
    shown = str((await asked("vllm", "http://x/v1")).headers)
    assert "org-of-ours" not in shown
    assert "another-key" not in shown
    assert "a-token" not in str((await asked("anthropic", "http://x", "/v1/messages")).headers)


async def test_a_proxy_is_used_where_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert (await asked("openai", "https://api.example.org/v1")).proxy is None
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example.org:1080")
    with pytest.raises(SettingsError, match="no HTTP proxy"):
        await asked("openai", "https://api.example.org/v1")
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.org:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example.org")
    assert (await asked("openai", "https://api.example.org/v1")).proxy == "http://proxy.example.org:3128"
    assert (await asked("openai", "https://inside.example.org/v1")).proxy is None


async def test_an_address_shows_no_key() -> None:
    assert KEY not in repr(await asked("openai", "http://x/v1"))


async def test_the_headers_of_every_response_are_told_failed_ones_too() -> None:
    told: list[tuple[str, int, str | None]] = []

    def note(model: str, status: int, headers: Any) -> None:
        told.append((model, status, headers.get("x-ratelimit-remaining-requests")))

    answers = (
        Answer(429, {}, headers={"X-RateLimit-Remaining-Requests": "0"}),
        Answer(200, CHAT, headers={"x-ratelimit-remaining-requests": "7"}),
    )
    async with serving(*answers) as server:
        config = GatewayConfig(base_urls={"openai": server.url})
        client = SdkClient(PROVIDERS["openai"], server.url, KEY, config, on_headers=note)
        with pytest.raises(Exception, match="rate"):
            await client.post("/chat/completions", {}, model="m", deadline=None)
        await client.post("/chat/completions", {}, model="m", deadline=None)
        await client.close()
    assert told == [("openai/m", 429, "0"), ("openai/m", 200, "7")]


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    async with serving(Answer(200, CHAT)) as elsewhere:
        moved = Answer(307, {}, headers={"location": f"{elsewhere.url}/v1/chat/completions"})
        async with serving(moved) as server, provider_at(server.url, "openai") as provider:
            with pytest.raises(Exception, match="redirects elsewhere"):
                await provider.complete(request("openai/m"), None)
    assert not elsewhere.asked


def paused(text: str, reason: str, tokens: int) -> Answer:
    block = {"type": "text", "text": text}
    usage = {"input_tokens": tokens, "output_tokens": tokens, "cache_read_input_tokens": None}
    return Answer(200, {"id": "m", "model": "c", "content": [block], "stop_reason": reason, "usage": usage})


async def test_a_turn_that_the_server_paused_is_taken_up_again() -> None:
    async with (
        serving(paused("I search. ", "pause_turn", 3), paused("Found.", "end_turn", 5)) as server,
        provider_at(server.url, "anthropic") as provider,
    ):
        reply = await provider.complete(request("anthropic/c"), None)
    assert (reply.message.text, reply.stop) == ("I search. Found.", "end")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (8, 8)
    assert server.asked[1].body["messages"][1:] == [
        {"role": "assistant", "content": [{"type": "text", "text": "I search. "}]}
    ]


async def test_a_turn_that_never_ends_is_given_up_with_what_there_is() -> None:
    async with (
        serving(paused("Hm. ", "pause_turn", 1)) as server,
        provider_at(server.url, "anthropic") as provider,
    ):
        reply = await provider.complete(request("anthropic/c"), None)
    assert reply.stop == "other"
    assert len(server.asked) < 20


async def test_a_reply_beyond_all_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callsheet.models.http_body.MAX_REPLY", 1000)
    async with (
        serving(Answer(200, None, " " * 2000)) as server,
        provider_at(server.url, "openai") as provider,
    ):
        with pytest.raises(Exception, match="longer than any reply"):
            await provider.complete(request("openai/m"), None)


def request(model: str) -> ModelRequest:
    return ModelRequest(id="r", model=model, messages=(user("hello"),))
