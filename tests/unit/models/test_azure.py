"""Azure's OpenAI models: the address of a resource, what is missing, the prices, the body."""

from __future__ import annotations

import pytest

from callsheet.core.errors import SettingsError
from callsheet.models.catalogue import PROVIDERS, base_url, list_models, parse_model
from callsheet.models.messages import ModelRequest, Usage, user
from callsheet.models.openai_wire import to_openai
from callsheet.models.prices import cost_usd

TOKENS = Usage(input_tokens=1000, output_tokens=100)


@pytest.mark.parametrize(
    ("endpoint", "wanted"),
    [
        ("https://ours.openai.azure.com", "https://ours.openai.azure.com/openai/v1"),
        ("https://ours.openai.azure.com/", "https://ours.openai.azure.com/openai/v1"),
        ("https://gateway.example.org/ai/v1/", "https://gateway.example.org/ai/v1"),
        (
            "https://ours.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
            "https://ours.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
        ),
    ],
)
def test_azures_address_is_that_of_the_resource_or_a_whole_one(endpoint: str, wanted: str) -> None:
    assert base_url(PROVIDERS["azure"], {"AZURE_OPENAI_ENDPOINT": endpoint}, {}) == wanted


def test_azure_needs_an_address_and_a_key() -> None:
    with pytest.raises(SettingsError) as caught:
        base_url(PROVIDERS["azure"], {}, {})
    assert "AZURE_OPENAI_ENDPOINT" in caught.value.hint
    assert "openai.azure.com" in caught.value.hint
    key = {"AZURE_OPENAI_API_KEY": "k"}
    address = {"AZURE_OPENAI_ENDPOINT": "https://ours.openai.azure.com"}
    for environ in (key, address, {**key, **address}):
        (azure,) = [info for info in list_models(environ) if info.provider == "azure"]
        assert azure.available is (len(environ) == 2)
        assert not azure.default


def test_a_model_at_azure_has_azures_price_by_the_name_in_its_reply() -> None:
    ours = parse_model("azure/ours")
    assert cost_usd(ours, TOKENS) is None
    assert cost_usd(ours, TOKENS, answered="gpt-4o-2024-08-06") == cost_usd(
        parse_model("azure/gpt-4o"), TOKENS
    )
    assert cost_usd(parse_model("azure/gpt-4o"), TOKENS)


def test_azure_is_asked_in_openais_own_words() -> None:
    request = ModelRequest(
        id="r", model="azure/ours", max_tokens=7, messages=(user("What do you think?", name="ada"),)
    )
    body = to_openai(request, parse_model(request.model))
    assert (body["model"], body["max_completion_tokens"]) == ("ours", 7)
    assert body["messages"] == [{"role": "user", "content": "What do you think?", "name": "ada"}]
