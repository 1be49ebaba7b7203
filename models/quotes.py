"""What a model call may use at most: what a run with a budget reserves before it makes the call.

Tokens are counted by an upper bound and not by the provider's tokenizer, which is not at hand for most
models: English text has about four characters a token, and hardly any text in ASCII less than two and a
half; of other scripts a character is at most two tokens, nearly always one or less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from callsheet.models.messages import Image, ModelRequest, Text, ToolCall, ToolResult

OUTPUT_TOKENS = 4096
"""What an answer may have at most in a run with a budget, where the agent's `max_tokens` does not say."""

CHARS_PER_TOKEN = 2.5
TOKENS_PER_OTHER_CHAR = 1.5

MESSAGE_TOKENS = 16
"""For a message's role, name and separators."""

TOOLS_TOKENS = 600
"""For what a provider adds to the prompt when tools are offered (Anthropic says up to 530)."""


IMAGE_TOKENS = 3000
"""For a picture: large ones are scaled down by the providers, to some 1,600 tokens and in tiles a little more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Asks the gateway what so many tokens of a model cost: USD, or None where no price is known.

    Of a policy (its text in place of a model), it is the most that any model it may come to would cost.
    """

    model: str
    input_tokens: int
    output_tokens: int
    abilities: frozenset[str] = frozenset()
    """What the step needs of its model, where a policy picks it."""
    replay: str = ""
    """The cassette that is to answer the call, if any: it costs what was recorded, which nobody knows before."""


def most_input_tokens(request: ModelRequest) -> int:
    """The tokens that the request's input can have at most."""
    tokens = float(MESSAGE_TOKENS)
    for tool in request.tools:
        tokens += _most(tool.name) + _most(tool.description) + _most(tool.schema) + MESSAGE_TOKENS
    if request.tools:
        tokens += TOOLS_TOKENS
    if request.output is not None:
        tokens += _most(request.output.schema) + _most(request.output.description)
    for message in request.messages:
        tokens += MESSAGE_TOKENS
        for part in message.parts:
            if isinstance(part, Text):
                tokens += _most(part.text)
            elif isinstance(part, ToolResult):
                tokens += _most(part.content)
            elif isinstance(part, ToolCall):
                tokens += _most(part.arguments) + _most(part.name)
            elif isinstance(part, Image):
                tokens += IMAGE_TOKENS
            else:
                tokens += _most(repr(part))
    return math.ceil(tokens)


def _most(text: str) -> float:
    plain = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return plain / CHARS_PER_TOKEN + (len(text) - plain) * TOKENS_PER_OTHER_CHAR
