"""What a provider's headers say of its limits, in one form.

Read are OpenAI's and its imitators' `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` (a reset is a
duration such as `1m6.78s`; Mistral writes `-minute` after them), and Anthropic's
`anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}` (a reset is a
moment). What cannot be read is passed over: a header never fails a call that succeeded.

`retry-after` is not read here: a server may send it with an answer that succeeded (Anthropic does), where it
asks for nothing. It counts with failures alone, whose errors have it as `retry_after_s`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

Subject = Literal["requests", "tokens", "input_tokens", "output_tokens"]

_SUBJECTS: dict[str, Subject] = {
    "requests": "requests",
    "req-minute": "requests",
    "tokens": "tokens",
    "tokens-minute": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
_OPENAI = re.compile(r"x-ratelimit-(limit|remaining|reset)-(.+)\Z")
_ANTHROPIC = re.compile(r"anthropic-ratelimit-(.+)-(limit|remaining|reset)\Z")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?\Z")
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)

MOST_S = 7 * 86400.0
"""A reset further away than this is nobody's, and is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was said of one limit; None where nothing was. `reset_s` is from when the answer was made."""

    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None


def read_limits(headers: Mapping[str, str], now: float, minute_s: float = 60.0) -> dict[Subject, Said]:
    """What the headers say, by what is limited; empty for headers that say nothing.

    A limit that shows itself to be for less than a minute (of `minute_s`) is left out: ours are by the minute.
    `now` (Unix time, s) is used for resets that are moments where the answer has no date of its own: by the
    server's own clock the difference is right, whatever ours shows.
    """
    found: dict[Subject, dict[str, str]] = {}
    of_any_length: set[Subject] = set()
    date = ""
    for name, value in headers.items():
        lower = name.lower()
        if lower == "date":
            date = value
        elif "ratelimit" in lower:
            if match := _OPENAI.match(lower):
                kind, subject = match.groups()
            elif match := _ANTHROPIC.match(lower):
                subject, kind = match.groups()
            else:
                continue
            if subject in _SUBJECTS:
                found.setdefault(_SUBJECTS[subject], {})[kind] = value.strip()
                if lower.startswith("x-") and not lower.endswith("-minute"):
                    of_any_length.add(_SUBJECTS[subject])
    read: dict[Subject, Said] = {}
    for subject_, values in found.items():
        said = _said(values, date, now)
        if said is not None:
            shorter = subject_ in of_any_length and _period_s(said) < minute_s / 2
            read[subject_] = replace(said, limit=None) if shorter else said
    return read


def _period_s(said: Said) -> float:
    """What the limit is for, judged by how long it takes until what was used is there again; at most that."""
    if said.limit is None or said.remaining is None or said.reset_s is None:
        return math.inf
    used = said.limit - said.remaining
    return said.reset_s * said.limit / used if used > 0 else math.inf


def _said(values: Mapping[str, str], date: str, now: float) -> Said | None:
    limit, remaining = _count(values.get("limit")), _count(values.get("remaining"))
    if limit == 0:  # some say 0 for "none set"
        limit = None
    reset = _reset_s(values.get("reset", ""), date, now)
    if limit is None and remaining is None:
        return None
    return Said(limit=limit, remaining=remaining, reset_s=reset)


def _count(text: str | None) -> int | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return int(value) if 0 <= value < 1e15 else None


def _reset_s(text: str, date: str, now: float) -> float | None:
    seconds = _duration_s(text)
    if seconds is None:
        moment = _moment(text)
        if moment is None:
            return None
        made = _moment(date)
        seconds = moment - (now if made is None else made)
    return max(0.0, seconds) if seconds <= MOST_S else None


def _duration_s(text: str) -> float | None:
    match = _DURATION.match(text) if text else None
    if match:
        return sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS_S, strict=True) if part)
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _moment(text: str) -> float | None:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            when = parse(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return None
