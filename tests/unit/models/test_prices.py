"""What calls cost: the same as the price list says, asked each time."""

from __future__ import annotations

import genai_prices
import pytest
from genai_prices.data import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.models.catalogue import ModelName
from callsheet.models.messages import Usage
from callsheet.models.prices import cost_usd

MODELS = [(provider.id, model.id) for provider in providers for model in provider.models]


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    tokens = draw(st.integers(0, 2_000_000))
    read = draw(st.integers(0, tokens) | st.just(0))
    return Usage(
        input_tokens=tokens, output_tokens=draw(st.integers(0, 100_000)), cache_read_tokens=read,
        cache_write_tokens=draw(st.integers(0, tokens - read) | st.just(0)),
    )  # fmt: skip


def of_the_list(provider: str, model: str, usage: Usage) -> float | None:
    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or None, cache_write_tokens=usage.cache_write_tokens or None,
    )  # fmt: skip
    try:
        return float(genai_prices.calc_price(tokens, model, provider_id=provider).total_price)
    except (LookupError, ValueError):
        return None


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(MODELS), usages(), usages())
def test_the_price_is_that_of_the_list_at_first_and_ever_after(
    model: tuple[str, str], first: Usage, then: Usage
) -> None:
    for usage in (first, then, first):
        wanted = of_the_list(*model, usage)
        found = cost_usd(ModelName(provider=model[0], model=model[1]), usage)
        if model[0] in ("ollama", "vllm", "lmstudio"):
            continue
        assert found == (None if wanted is None else pytest.approx(wanted, rel=1e-9, abs=1e-12))


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5"])
def test_more_cached_tokens_than_tokens_have_no_price(model: str) -> None:
    for _ in range(2):
        name = ModelName(provider="openai", model=model)
        assert cost_usd(name, Usage(input_tokens=10, cache_read_tokens=11)) is None
        assert cost_usd(name, Usage(input_tokens=10, output_tokens=1)) is not None


def test_a_model_that_the_list_lacks_has_no_price() -> None:
    for _ in range(2):
        assert (
            cost_usd(ModelName(provider="openai", model="no-such-model-at-all"), Usage(input_tokens=1))
            is None
        )
