"""English words: which say nothing about a text's subject, and what others are without their endings."""

from __future__ import annotations

STOP_WORDS = frozenset(
    """
    a about above after again all also am an and any are as at be because been before being below
    between both but by can could did do does doing done down during each either few for from further
    get had has have having he her here hers him his how however i if in into is it its itself just let
    may me might more most much must my no nor not now of off on once only or other our ours out over
    own per rather same shall she should so some such than that the their theirs them then there these
    they this those through thus to too under until up upon us very was we were what when where whether
    which while who whom whose why will with within without would you your yours
    """.split()  # noqa: SIM905 - a list would be a page long
)

# In the order tried: each ending, and what replaces it. A plural's goes first, then one other.
_PLURALS = (("sses", "ss"), ("ies", "y"), ("es", "e"), ("s", ""))
_ENDINGS = (
    ("ation", "ate"), ("ingly", ""), ("edly", ""), ("ness", ""), ("ing", ""), ("ied", "y"), ("ely", "e"),
    ("ly", ""), ("ed", ""),
)  # fmt: skip


def stem(word: str) -> str:
    """A lower-case word without its commonest English endings; light, so that few words fall together."""
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    if not word.endswith(("ss", "us", "is")):
        word = _without(word, _PLURALS)
    shorter = _without(word, _ENDINGS)
    if shorter != word and len(shorter) > 3 and shorter[-1] == shorter[-2] and shorter[-1] not in "lsz":
        shorter = shorter[:-1]  # stopped: stopp, stop
    return shorter[:-1] if len(shorter) > 3 and shorter.endswith("e") else shorter


def _without(word: str, endings: tuple[tuple[str, str], ...]) -> str:
    for ending, replacement in endings:
        if word.endswith(ending) and len(word) - len(ending) + len(replacement) >= 3:
            return word[: len(word) - len(ending)] + replacement
    return word
