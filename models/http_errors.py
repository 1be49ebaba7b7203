"""From an HTTP failure to the one error that says what happened, what to do, and whether to try again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from callsheet.core.errors import (
    ModelAuthError,
    ModelError,
    ModelRateLimitError,
    ModelReplyError,
    ModelRequestError,
    ModelUnavailableError,
)
from callsheet.models.catalogue import KEYS_ARE_READ_AT_START, ProviderInfo, shown_url

MAX_DETAIL = 500

_KEY_LIKE = re.compile(r"\b(?:sk|pk|gsk|key|xai)[-_][\w*.-]{4,}|\bBearer\s+\S+")
_TRY_AGAIN = re.compile(r"try again in\s+(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)(ms|s))?", re.IGNORECASE)
# Codes by which a provider says that the money, not the minute, is used up.
_QUOTA = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "credit_balance_too_low"}
)
# What an error inside of a reply or a stream means, by its code or type, where it has no status.
_STATUS_OF = {
    "overloaded_error": 529, "api_error": 500, "server_error": 500, "timeout_error": 504,
    "rate_limit_error": 429, "rate_limit_exceeded": 429, "insufficient_quota": 429,
    "billing_error": 402, "authentication_error": 401, "invalid_api_key": 401, "permission_error": 403,
    "not_found_error": 404, "model_not_found": 404, "request_too_large": 413, "invalid_prompt": 400,
}  # fmt: skip
# The model wrote something that its own server could not read: another attempt writes something else.
_BAD_GENERATION = frozenset({"tool_use_failed", "json_validate_failed", "output_parse_failed"})


def error_detail(body: Any) -> tuple[str, str]:
    """The provider's own (code, message) in an error's body, whatever its shape; ("", "") without one."""
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, str):
        return "", body.strip()
    if not isinstance(body, Mapping):
        return "", ""
    inner = body.get("error")
    if isinstance(inner, str):
        return str(body.get("code") or body.get("type") or ""), inner
    if isinstance(inner, Mapping):
        body = inner
    code = body.get("code")
    if code is None or isinstance(code, int):  # OpenRouter and Gemini put the status there
        code = body.get("type")
    message = body.get("message") or body.get("detail") or ""
    return str(code or ""), message if isinstance(message, str) else str(message)


def retry_after(headers: Mapping[str, str], message: str, now: float) -> float | None:
    """How long the provider asks to wait, in seconds: by header, by its message, or by a limit's reset."""
    millis = _number(headers.get("retry-after-ms"))
    if millis:
        return millis / 1000
    text = headers.get("retry-after")
    if text is not None:
        seconds = _number(text)
        if seconds is None:
            moment = _moment(text)
            seconds = None if moment is None else max(0.0, moment - now)
        if seconds is not None:
            return seconds
    found = _TRY_AGAIN.search(message)
    if found and any(found.groups()):
        hours, minutes, amount, unit = found.groups()
        value = _number(amount) or 0.0
        return int(hours or 0) * 3600 + int(minutes or 0) * 60 + (value / 1000 if unit == "ms" else value)
    if millis is not None:
        return 0.0
    return _limit_reset(headers, now)


def _limit_reset(headers: Mapping[str, str], now: float) -> float | None:
    # Anthropic without retry-after: the wait is until the reset of the limit with nothing remaining.
    waits = []
    for name, value in headers.items():
        lower = name.lower()
        if lower.startswith("anthropic-ratelimit-") and lower.endswith("-remaining") and value.strip() == "0":
            reset = _moment(headers.get(lower.removesuffix("remaining") + "reset", ""))
            if reset is not None:
                waits.append(max(0.0, reset - now))
    return max(waits) if waits else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None


def _moment(text: str) -> float | None:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            when = parse(text)
        except (ValueError, TypeError):
            continue
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return None


def redact(text: str, secret: str = "") -> str:
    """The text without the key, nor anything that looks like one (providers quote keys in errors)."""
    if secret:
        text = text.replace(secret, "[key]")
    text = _KEY_LIKE.sub("[key]", text)
    text = "".join(char if char.isprintable() else " " for char in text)  # for terminals, too
    return text if len(text) <= MAX_DETAIL else text[:MAX_DETAIL] + "…"


def status_error(
    info: ProviderInfo,
    model: str,
    status: int,
    headers: Mapping[str, str],
    body: Any,
    *,
    url: str,
    now: float,
    secret: str = "",
) -> ModelError:
    """The error for a response that says it failed; `model` is the provider's own name for it."""
    code, raw = error_detail(body)
    detail = redact(raw, secret) or f"HTTP status {status}"
    name = f"{info.name}/{model}"
    fields: dict[str, Any] = {"model": name, "provider": info.name, "status": status, "retryable": False}
    forced = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())

    if status in (401, 403):
        where = f"Set {info.key_env} to a valid key" if info.key_env else "Set a valid key"
        asked = "refuses the key" if status == 401 else "does not allow this key to do that"
        return ModelAuthError(
            f"{info.name} {asked}: {detail}",
            hint=f"{where} where the model gateway runs (status {status} from {shown_url(url)}). "
            f"{KEYS_ARE_READ_AT_START}",
            **fields,
        )
    quota_used_up = (
        code in _QUOTA or "credit balance" in raw.lower() or "exceeded your current quota" in raw.lower()
    )
    if status == 402 or (quota_used_up and status in (400, 429)):
        return ModelRateLimitError(
            f"{info.name} says that the account's quota is used up: {detail}",
            hint="Check the plan and the billing of the account; waiting does not help.",
            **fields,
        )
    if status == 429:
        fields["retryable"] = True if forced is None else forced
        wait = retry_after(headers, raw, now)
        advice = "Lower the concurrency, or use a model with a higher limit."
        if wait is not None:
            advice = f"It asks to wait {wait:g} s. {advice}"
        return ModelRateLimitError(
            f"{info.name} limits the rate of {name}: {detail}", retry_after_s=wait, hint=advice, **fields
        )
    if code in _BAD_GENERATION:
        fields["retryable"] = True if forced is None else forced
        return ModelReplyError(
            f"{name} generated what its server could not read: {detail}",
            hint="It may do better on another attempt; if not, use a model that is better at calling tools.",
            **fields,
        )
    if status in (408, 409, 425) or status >= 500 or code == "overloaded_error":
        fields["retryable"] = status != 501 if forced is None else forced
        return ModelUnavailableError(
            f"{info.name} is not able to answer now (status {status}): {detail}",
            retry_after_s=retry_after(headers, raw, now),
            hint=f"Try again later; {shown_url(url)} answered, but with an error of its own.",
            **fields,
        )
    fields["retryable"] = False if forced is None else forced
    if status == 404:
        hint = f"Check the name {model!r} in {name!r}"
        if info.name == "ollama":
            hint += f" (`ollama pull {model}` fetches a model)"
        return ModelRequestError(
            f"{info.name} has no model {model!r} at {shown_url(url)}: {detail}",
            hint=f"{hint}, and the address, which {info.url_env} can set." if info.url_env else f"{hint}.",
            **fields,
        )
    if 300 <= status < 400:
        return ModelRequestError(
            f"{shown_url(url)} redirects elsewhere (status {status}); keys are not sent after redirects",
            hint=f"Set {info.url_env} to the server's final address.",
            **fields,
        )
    if code == "content_filter":
        return ModelRequestError(
            f"{info.name} refuses the content of the request: {detail}",
            hint="Its content filter was triggered: change the prompt.",
            **fields,
        )
    return ModelRequestError(
        f"{info.name} refuses the request for {name} (status {status}): {detail}",
        hint="Sending it again will not help; the provider's message says what to change.",
        **fields,
    )


def error_in_reply(
    info: ProviderInfo, model: str, data: Mapping[str, Any], *, url: str, now: float, secret: str = ""
) -> ModelError | None:
    """The error for a body that came with status 200 and yet reports a failure; None for a good one."""
    error = data.get("error")
    if not error and data.get("type") != "error":
        return None
    inner = error if isinstance(error, Mapping) else {}
    for candidate in (inner.get("status"), inner.get("code"), inner.get("status_code")):
        status = int(candidate) if isinstance(candidate, str) and candidate.isdecimal() else candidate
        if isinstance(status, int) and not isinstance(status, bool) and 400 <= status < 600:
            return status_error(info, model, status, {}, data, url=url, now=now, secret=secret)
    code, raw = error_detail(data)
    if code in _STATUS_OF:
        return status_error(info, model, _STATUS_OF[code], {}, data, url=url, now=now, secret=secret)
    detail = redact(raw, secret) or redact(code, secret) or "no message"
    return ModelReplyError(
        f"{info.name} answered with an error in place of a reply: {detail}",
        model=f"{info.name}/{model}",
        provider=info.name,
        status=200,
        hint="Another attempt may help.",
    )
