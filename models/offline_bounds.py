"""How an offline answer keeps to what the request allows: its length, and where to stop."""

from __future__ import annotations

from collections.abc import Sequence

from callsheet.models.messages import Stop
from callsheet.models.offline_text import count_tokens, first_tokens


def within(text: str, *, most: int | None, stops: Sequence[str]) -> tuple[str, Stop]:
    """The text up to the first stop sequence and to `most` tokens, and why it ends there: as a model's would."""
    ends = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    stop: Stop = "end"
    if ends:
        text, stop = text[: min(ends)], "stop_sequence"
    if most is None or count_tokens(text) <= most:
        return text, stop
    return first_tokens(text, most), "length"
