"""What a call costs, from the price list of `genai-prices`, or None where no price is known.

Measured with genai-prices 0.2.3: 0.3 s to import, 0.16 s for the first look-up, so `preload` belongs in a thread;
66 µs for each further one, a fifth of what a call through the gateway took. So where a model's prices know neither
dates nor tiers, the list is asked once what a million tokens of each kind cost, and the rest is multiplication.
Names without a price are remembered, since a look-up that fails is slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from callsheet.models.catalogue import LOCAL_PROVIDERS, OFFLINE, ModelName
from callsheet.models.messages import Usage

_MILLION = 1_000_000
_REMEMBERED = 10_000
"""Names that are remembered at most: they come from replies, so their number is not ours to choose."""


@dataclass(frozen=True, slots=True)
class _Rates:
    """What a request and a million tokens of each kind cost, in USD, of a model whose price for a token is one."""

    request: float
    input: float
    output: float
    cache_read: float
    cache_write: float

    def cost(self, usage: Usage) -> float | None:
        plain = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
        counts = (plain, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)
        if min(counts) < 0:
            return None  # more cached tokens than tokens: a broken server's usage
        rates = (self.input, self.output, self.cache_read, self.cache_write)
        tokens = sum(count * rate for count, rate in zip(counts, rates, strict=True)) / _MILLION
        return self.request + tokens


_unknown: set[tuple[str, str]] = set()
_rates: dict[tuple[str, str], _Rates | None] = {}
"""None: the price list has to be asked each time."""


def preload() -> None:
    """Import the price list and make its first look-up (0.5 s; call it in a thread)."""
    cost_usd(ModelName(provider="openai", model="gpt-4o"), Usage(input_tokens=1))


def cost_usd(name: ModelName, usage: Usage, *, answered: str = "", api_url: str = "") -> float | None:
    """What the tokens cost, in USD; None where the model's price is not known.

    `answered` is the model's name in the reply (often a dated one), tried before the name asked for.
    `api_url` finds the price list of a provider behind an OpenAI-compatible address.
    """
    if name.provider == OFFLINE:
        return 0.0
    if name.provider in LOCAL_PROVIDERS:
        return None
    for model in dict.fromkeys((answered, name.model)):
        if model and (price := _price(name.provider, model, usage, api_url)) is not None:
            return price
    return None


def _price(provider: str, model: str, usage: Usage, api_url: str) -> float | None:
    by_url = provider == "openai-compatible"
    if by_url and not api_url:
        return None
    key = (api_url if by_url else provider, model)
    if key in _unknown:
        return None
    rates = _rates.get(key)
    if rates is not None:
        return rates.cost(usage)
    where = {"provider_api_url": api_url} if by_url else {"provider_id": provider}
    try:
        if key not in _rates and len(_rates) < _REMEMBERED:
            _rates[key] = _rates_of(model, where)
        return float(_look_up(model, where, usage).total_price)
    except LookupError:
        if len(_unknown) < _REMEMBERED:
            _unknown.add(key)
        return None
    except (ValueError, ArithmeticError):
        # Counts the price list refuses (more cached tokens than tokens): a broken server's usage.
        return None


def _look_up(model: str, where: dict[str, str], usage: Usage) -> Any:
    import genai_prices

    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
    )
    return genai_prices.calc_price(tokens, model, **where)


def _rates_of(model: str, where: dict[str, str]) -> _Rates | None:
    from genai_prices.types import ModelPrice, TieredPrices

    found = _look_up(model, where, Usage())
    prices = found.model.prices
    if not isinstance(prices, ModelPrice):  # they change with the date
        return None
    if any(isinstance(price, TieredPrices) for price in vars(prices).values()):
        return None
    request = float(found.total_price)

    def million(**counts: int) -> float:
        return float(_look_up(model, where, Usage(**counts)).total_price) - request

    return _Rates(
        request=request,
        input=million(input_tokens=_MILLION),
        output=million(output_tokens=_MILLION),
        cache_read=million(input_tokens=_MILLION, cache_read_tokens=_MILLION),
        cache_write=million(input_tokens=_MILLION, cache_write_tokens=_MILLION),
    )
