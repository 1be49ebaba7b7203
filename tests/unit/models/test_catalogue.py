"""Names, addresses, defaults and prices of models."""

from __future__ import annotations

import pickle

import pytest

from callsheet.core.errors import SettingsError, UnknownNameError
from callsheet.models.catalogue import (
    OFFLINE,
    PROVIDERS,
    base_url,
    default_model,
    expected_provider,
    list_models,
    parse_model,
    shown_url,
)
from callsheet.models.config import GatewayConfig
from callsheet.models.messages import Usage
from callsheet.models.prices import cost_usd

TOKENS = Usage(input_tokens=1000, output_tokens=100, cache_read_tokens=200)


def test_the_first_slash_divides_provider_and_model() -> None:
    name = parse_model("vllm/Qwen/Qwen3-8B")
    assert (name.provider, name.model, str(name)) == ("vllm", "Qwen/Qwen3-8B", "vllm/Qwen/Qwen3-8B")
    assert str(parse_model("offline")) == "offline"


@pytest.mark.parametrize("info", PROVIDERS.values(), ids=lambda info: info.name)
def test_every_example_is_a_name(info: object) -> None:
    assert parse_model(info.example).provider == info.name  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("antropic/claude", "anthropic"),
        ("gpt-4o", "openai/gpt-4o"),
        ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("openai", "openai/NAME"),
        ("openai/", "openai/NAME"),
        ("offline/big", "just `offline`"),
        ("", "provider/name"),
        ("nonsense", "provider/name"),
    ],
)
def test_a_wrong_name_says_how_to_write_it(name: str, hint: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        parse_model(name)
    assert hint in caught.value.hint
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434/v1"),
        ("box", "http://box:11434/v1"),
        ("box:9", "http://box:9/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("[::1]:9", "http://[::1]:9/v1"),
        ("https://box", "https://box:443/v1"),
        ("http://box:9/", "http://box:9/v1"),
        ("http://box:9/api/v1", "http://box:9/api/v1"),
    ],
)
def test_ollamas_own_forms_of_its_address_are_read(host: str, url: str) -> None:
    assert base_url(PROVIDERS["ollama"], {"OLLAMA_HOST": host}, {}) == url


def test_the_configured_address_comes_before_the_environment() -> None:
    environ = {"VLLM_BASE_URL": "http://b/v1"}
    assert base_url(PROVIDERS["vllm"], environ, {"vllm": "http://a/v1/"}) == "http://a/v1"
    assert base_url(PROVIDERS["vllm"], environ, {}) == "http://b/v1"


@pytest.mark.parametrize(
    "url", ["ftp://x", "x", "http://", "http://u:secret@x/v1", "http://[x", "http://x:99999"]
)
def test_an_address_that_cannot_be_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        base_url(PROVIDERS["vllm"], {"VLLM_BASE_URL": url}, {})
    assert "VLLM_BASE_URL" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_compatible_server_needs_an_address() -> None:
    with pytest.raises(SettingsError, match="OPENAI_COMPATIBLE_BASE_URL"):
        base_url(PROVIDERS["openai-compatible"], {}, {})


def test_an_address_is_shown_without_secrets() -> None:
    assert shown_url("https://u:p@host:1/v1?key=s#f") == "https://host:1/v1"


@pytest.mark.parametrize(
    ("environ", "provider"),
    [
        ({}, "offline"),
        ({"OPENAI_API_KEY": " "}, "offline"),
        ({"OPENAI_API_KEY": "k"}, "openai"),
        ({"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}, "anthropic"),
    ],
)
def test_the_default_follows_the_keys_that_are_there(environ: dict[str, str], provider: str) -> None:
    assert parse_model(default_model(environ)).provider == provider
    assert [info.provider for info in list_models(environ) if info.default] == [provider]


def test_the_list_says_what_is_missing_and_never_a_keys_value() -> None:
    found = {info.provider: info for info in list_models({"OPENAI_API_KEY": "sk-very-secret"})}
    assert set(found) == set(PROVIDERS)
    assert found["openai"].available
    assert found["openai"].key_present
    assert not found["anthropic"].available
    assert "ANTHROPIC_API_KEY" in found["anthropic"].note
    assert not found["openai-compatible"].available
    assert "OPENAI_COMPATIBLE_BASE_URL" in found["openai-compatible"].note
    assert found[OFFLINE].available
    assert "sk-very-secret" not in repr(found)


def test_prices_are_those_of_the_list_with_cached_tokens_cheaper() -> None:
    cost = cost_usd(parse_model("openai/gpt-4o"), TOKENS)
    assert cost == pytest.approx(800 * 2.5e-6 + 200 * 1.25e-6 + 100 * 10e-6)


def test_a_dated_answer_has_the_price_of_its_model_and_an_unknown_one_of_the_name_asked_for() -> None:
    name = parse_model("openai/gpt-4o")
    assert cost_usd(name, TOKENS, answered="gpt-4o-2024-08-06") == cost_usd(name, TOKENS)
    assert cost_usd(name, TOKENS, answered="made-up") == cost_usd(name, TOKENS)


@pytest.mark.parametrize("model", ["openai/made-up", "anthropic/made-up", "ollama/llama3", "vllm/gpt-4o"])
def test_an_unknown_price_is_unknown_and_not_zero(model: str) -> None:
    assert cost_usd(parse_model(model), TOKENS) is None


def test_offline_is_free_and_a_known_address_has_its_prices() -> None:
    assert cost_usd(parse_model("offline"), TOKENS) == 0.0
    name = parse_model("openai-compatible/llama-3.1-8b-instant")
    assert cost_usd(name, TOKENS, api_url="https://api.groq.com/openai/v1")
    assert cost_usd(name, TOKENS, api_url="http://127.0.0.1:8000/v1") is None


def test_counts_that_cannot_be_have_no_price() -> None:
    assert cost_usd(parse_model("openai/gpt-4o"), Usage(input_tokens=1, cache_read_tokens=9)) is None


def test_a_config_is_checked_when_it_is_made_and_survives_pickle() -> None:
    config = GatewayConfig(base_urls={"vllm": "http://x/v1"}, max_attempts=2)
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(UnknownNameError):
        GatewayConfig(base_urls={"vlm": "http://x/v1"})
    with pytest.raises(SettingsError):
        GatewayConfig(base_urls={"vllm": "http://user:secret@x/v1"})
    with pytest.raises(SettingsError):
        GatewayConfig(max_attempts=0)
    with pytest.raises(SettingsError):
        GatewayConfig(first_backoff_s=-1)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "offline"),
        ({"OPENAI_API_KEY": "k", "OLLAMA_HOST": "gpu"}, "openai"),
        ({"OPENAI_COMPATIBLE_BASE_URL": "http://127.0.0.1:1/v1"}, "openai-compatible"),
        ({"OPENAI_COMPATIBLE_BASE_URL": "  "}, "offline"),
    ],
)
def test_the_provider_that_is_expected_has_a_key_or_else_an_address(
    environ: dict[str, str], expected: str
) -> None:
    assert expected_provider(environ) == expected
