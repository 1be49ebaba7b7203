"""Numbers as reports show them: a score with its interval, money, seconds, tokens."""

from __future__ import annotations

import re
from typing import Any

from callsheet.core.canonical import to_json
from callsheet.scenarios.statistics import Estimate

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

DASH = "–"


def plain(text: str) -> str:
    """Text without the control characters that could steer a terminal or turn its direction."""
    return _CONTROL.sub("�", text.replace("\r\n", "\n"))


def text_of(value: Any) -> str:
    """An input, an answer or an expected value as text: as it is, or as JSON."""
    if isinstance(value, str):
        return value
    try:
        return to_json(value)
    except (TypeError, ValueError):
        return repr(value)


def number(value: float | None, unit: str = "") -> str:
    """A value in its unit: shares with three decimals, USD with what matters, seconds short."""
    if value is None:
        return DASH
    if unit == "usd":
        return usd(value)
    if unit == "s":
        return seconds(value)
    shown = f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{shown} {unit}" if unit else shown


def signed(value: float | None, unit: str = "") -> str:
    """A difference, with its sign."""
    if value is None:
        return DASH
    shown = number(abs(value), unit)
    return f"+{shown}" if value > 0 else f"−{shown}" if value < 0 else shown


def interval(estimate: Estimate | None, unit: str = "", *, sign: bool = False) -> str:
    """An estimate's interval in square brackets; empty where there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    show = signed if sign else number
    return f"[{show(estimate.low, unit)}, {show(estimate.high, unit)}]"


def usd(value: float | None) -> str:
    """Money: cents where there are some, else the digits that count; never $0 for what is not 0."""
    if value is None:
        return DASH
    size = abs(value)
    if size == 0:
        return "$0"
    if size >= 0.1:
        return f"${value:,.2f}"
    if size >= 0.001:
        return f"${value:.4f}"
    return f"${value:.6f}" if size >= 1e-5 else f"${value:.1e}"


def spent(known_usd: float, judging_usd: float, unpriced: int) -> str:
    """What a bench has cost in all, judging included; runs whose price is not known are never told as $0."""
    if unpriced and not known_usd:
        return "what it cost is not known"
    shown = f"{usd(known_usd)} spent" + (f", {usd(judging_usd)} of it on judging" if judging_usd else "")
    return f"{shown}, and {plural(unpriced, 'run')} with calls of no known price" if unpriced else shown


def seconds(value: float | None) -> str:
    """Seconds: milliseconds below one, minutes from 120 on."""
    if value is None:
        return DASH
    size = abs(value)
    if size < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if size < 120 else f"{value / 60:.1f} min"


def count(value: float | None) -> str:
    """A whole number with thousands apart; from ten thousand on in k."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if abs(value) < 10_000 else f"{value / 1000:,.1f}k"


def p_value(p: float | None) -> str:
    """A p value: never 0."""
    return DASH if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def plural(n: int, what: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
