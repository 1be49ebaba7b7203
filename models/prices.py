"""What a call costs, from the price list of `genai-prices`, or None where no price is known.

Measured with genai-prices 0.2.3: 0.3 s to import, 0.16 s for the first look-up, 66 µs for each further
one, so `preload` belongs in a thread and a cache of the coefficients would save less than it risks
(tiers, prices by date). Names without a price are remembered, since a look-up that fails is slow.
"""

from __future__ import annotations

from callsheet.core.errors import LimitError
from callsheet.models.catalogue import LOCAL_PROVIDERS, OFFLINE, ModelName
from callsheet.models.messages import ModelRequest, Text, ToolCall, ToolResult, Usage

_unknown: set[tuple[str, str]] = set()

CHARS_PER_TOKEN = 4
"""A rule of thumb for text in ASCII; of any other script each character is taken for a token."""


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
    import genai_prices

    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
    )
    try:
        if by_url:
            found = genai_prices.calc_price(tokens, model, provider_api_url=api_url)
        else:
            found = genai_prices.calc_price(tokens, model, provider_id=provider)
    except LookupError:
        if len(_unknown) < 10_000:  # names come from replies, so their number is not ours to choose
            _unknown.add(key)
        return None
    except (ValueError, ArithmeticError):
        # Counts the price list refuses (more cached tokens than tokens): a broken server's usage.
        return None
    return float(found.total_price)


def check_budget(request: ModelRequest, name: ModelName, api_url: str = "") -> None:
    """Refuse a call whose worst case is above what its run may still spend.

    The worst case is its input by a rule of thumb, and `max_tokens` of output where that is given. Where
    no price is known nothing can be checked. Raises LimitError.
    """
    if request.budget_usd is None or name.provider == OFFLINE:
        return
    tokens = sum(_tokens(tool.schema) + _tokens(tool.description) for tool in request.tools)
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, Text):
                tokens += _tokens(part.text)
            elif isinstance(part, ToolResult):
                tokens += _tokens(part.content)
            elif isinstance(part, ToolCall):
                tokens += _tokens(part.arguments)
    worst = Usage(input_tokens=int(tokens) + 1, output_tokens=request.max_tokens or 0)
    cost = cost_usd(name, worst, api_url=api_url)
    if cost is not None and cost > request.budget_usd:
        raise LimitError(
            f"the budget has {request.budget_usd:.4f} USD left, and this call of {name} may cost {cost:.4f}",
            limit="budget_usd",
            allowed=request.budget_usd,
            used=cost,
            run_id=request.run_id,
            hint="Raise the budget (--budget), name a cheaper model, or lower max_tokens.",
        )


def _tokens(text: str) -> float:
    plain = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return plain / CHARS_PER_TOKEN + (len(text) - plain)
