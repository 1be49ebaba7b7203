"""What the wire forms share: the extra fields of a request, images, and reading the numbers of a reply."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from callsheet.core.errors import ModelReplyError, ModelRequestError
from callsheet.models.messages import Image, ModelReply, ModelRequest

# Ours to decide: the model that was routed to, what is said to it, and whether the reply comes in parts.
_RESERVED = frozenset({"model", "messages", "input", "stream", "stream_options"})

MAX_COUNT = 10**12
"""No reply has so many tokens; a broken server's number must not end up in sums, prices and spans."""

_MEDIA_TYPE = re.compile(r"image/[a-z0-9.+-]{1,40}")
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
            hint="Remove it: an agent names its model by `model`, and a reply is streamed where somebody reads along.",
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


def image_url(image: Image, model: str) -> str:
    """The address of an image, a `data:` one where it is given as data. Raises ModelRequestError for none."""
    if image.data:
        if not _MEDIA_TYPE.fullmatch(image.media_type):
            raise ModelRequestError(
                f"an image's media type is {image.media_type[:40]!r}",
                model=model,
                hint="Give the kind of image that the data is, such as image/png.",
            )
        return f"data:{image.media_type};base64,{image.data}"
    if not image.url.startswith(("https://", "http://", "data:image/")):
        raise ModelRequestError(
            "an image has neither data nor an http or https address",
            model=model,
            hint="Give `data` in base64 with its media_type, or a `url` that the provider can reach.",
        )
    return image.url


class Spoken:
    """Hands the text of a reply on as it comes, and afterwards what of it did not come as text."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._said: list[str] = []

    def __call__(self, text: str) -> None:
        self._said.append(text)
        self._emit(text)

    def finish(self, reply: ModelReply) -> ModelReply:
        """The reply, whose text has then been emitted in full (an answer given by a tool call is no text at first)."""
        said, text = "".join(self._said), reply.message.text
        if len(text) > len(said) and text.startswith(said):
            self._emit(text[len(said) :])
        return reply


def broken_stream(provider: str, model: str) -> ModelReplyError:
    """The error for a stream that ended before the reply was whole."""
    return bad_reply(provider, model, "ended before it was whole")


def bad_reply(provider: str, model: str, what: str) -> ModelReplyError:
    """The error for a reply that is not what the protocol promises."""
    return ModelReplyError(
        f"the reply of {provider}/{model} {what}",
        model=f"{provider}/{model}",
        provider=provider,
        status=200,
        hint="Another attempt may help; if not, check that the address speaks this provider's API.",
    )
