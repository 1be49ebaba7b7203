"""Limits of a run as they are written on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from callsheet.core.errors import UsageError, unknown_name

_FRACTIONS = ("budget_usd", "deadline_s")


def above_zero(option: str, value: float | None) -> None:
    """Raises UsageError for what an option gives that is no number above 0."""
    if value is not None and not (0 < value < float("inf")):
        raise UsageError(f"{option} is {value:g}", hint="Give a number above 0, or leave it out.")


def limits_of(pairs: Sequence[str], **flags: tuple[str, float | None]) -> dict[str, float | None]:
    """The limits that are given: by an option of their own (its name, its value), or as NAME=VALUE.

    `none` is no limit, which `None` stands for. Raises UsageError for what can be none.
    """
    from callsheet.core.limits import Limits

    found: dict[str, float | None] = {}
    for name, (option, value) in flags.items():
        above_zero(option, value)
        if value is not None:
            found[name] = value
    known = list(Limits().to_dict())
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"--limit is {pair!r}", hint=f"Write NAME=VALUE; there is: {', '.join(known)}.")
        if name not in known:
            raise unknown_name("limit", name, known)
        found[name] = None if text.lower() == "none" else _number(name, text)
    return found


def _number(name: str, text: str) -> float:
    try:
        return float(text) if name in _FRACTIONS else int(text)
    except ValueError:
        raise UsageError(
            f"--limit {name} is {text!r}", hint="Give a number, or `none` where a limit may be left out."
        ) from None
