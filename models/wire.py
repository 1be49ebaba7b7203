"""What both wire forms share: the extra fields of a request, and reading the numbers of a reply."""

from __future__ import annotations

import json
import re
from typing import Any

from callsheet.core.errors import ModelReplyError, ModelRequestError
from callsheet.models.messages import ModelRequest

# Ours to decide: the model that was routed to, and that the reply comes in one piece.
_RESERVED = frozenset({"model", "messages", "stream", "stream_options"})

MAX_COUNT = 10**12
"""No reply has so many tokens; a broken server's number must not end up in sums, prices and spans."""

_NOT_ID = re.compile(r"[^a-zA-Z0-9_-]")


def extra_fields(request: ModelRequest) -> dict[str, Any]:
    """The fields of `request.extra`. Raises ModelRequestError for what is no JSON object, or reserved."""
    if request.extra in ("", "{}"):
        return {}
    try:
        extra = json.loads(request.extra, parse_constant=_refused)
    except (ValueError, RecursionError):
        extra = None
    if not isinstance(extra, dict):
        raise ModelRequestError(
            "the extra fields of a model request are not a JSON object",
            model=request.model,
            hint='Give a JSON object, such as {"reasoning_effort": "low"}.',
        )
    if reserved := sorted(_RESERVED & extra.keys()):
        raise ModelRequestError(
            f"the extra fields of a model request may not set {', '.join(reserved)}",
            model=request.model,
            hint="Remove it: the model is named by `model`, and replies are not streamed here.",
        )
    return extra


def arguments_object(text: str) -> dict[str, Any]:
    """A call's arguments as an object that can be sent; text that is none stays visible under `arguments`.

    Models write anything: NaN, which JSON lacks, nesting without end, halves of surrogate pairs.
    """
    try:
        value = json.loads(text, parse_constant=_refused) if text.strip() else {}
        if "\\u" in text:
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        value = text
    return value if isinstance(value, dict) else {"arguments": value}


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def call_id(text: str, limit: int = 64) -> str:
    """A call's id in characters that every provider takes; the same text always gives the same id."""
    return _NOT_ID.sub("_", text)[:limit] or "call"


def unique_call_id(wanted: str, taken: set[str]) -> str:
    """The id a server gave a call, or a like one where it gave it to another call of the reply already.

    Results are told apart by their calls' ids, and providers refuse two of one id. What makes the
    difference stands in front, since `call_id` cuts the end.
    """
    if wanted not in taken:
        return wanted
    return next(name for n in range(2, len(taken) + 3) if (name := f"{n}_{wanted}") not in taken)


def count(data: Any, *path: str) -> int:
    """A token count somewhere in a reply; 0 where it is missing or can be no count."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, int) and not isinstance(data, bool) and 0 < data < MAX_COUNT else 0


def bad_reply(provider: str, model: str, what: str) -> ModelReplyError:
    """The error for a reply that is not what the protocol promises."""
    return ModelReplyError(
        f"the reply of {provider}/{model} {what}",
        model=f"{provider}/{model}",
        provider=provider,
        status=200,
        hint="Another attempt may help; if not, check that the address speaks this provider's API.",
    )
