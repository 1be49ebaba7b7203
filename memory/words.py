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

# Longest first; each with what replaces it.
_ENDINGS = (
    ("ations", "ate"), ("ation", "ate"), ("ities", "ity"), ("nesses", ""), ("ments", "ment"), ("ingly", ""),
    ("edly", ""), ("ness", ""), ("ies", "y"), ("ing", ""), ("ely", "e"), ("ied", "y"), ("sses", "ss"),
    ("ly", ""), ("ed", ""), ("es", "e"), ("s", ""),
)  # fmt: skip


def stem(word: str) -> str:
    """A lower-case word without its commonest English ending; light, so that few words fall together."""
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    for ending, replacement in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) + len(replacement) >= 3:
            if ending == "s" and word[-2] in "su":
                return word
            word = word[: len(word) - len(ending)] + replacement
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]  # stopp(ed) → stop
    return word[:-1] if len(word) > 3 and word.endswith("e") else word
