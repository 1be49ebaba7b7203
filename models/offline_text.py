"""Words, sentences and similarity for the offline engine: language-neutral where that is cheap.

Everything here takes time linear in the text's length and raises on no text.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

# Han, kana and Thai are written without spaces: there, pairs of characters stand for words.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+", re.UNICODE)


def word_set(text: str) -> frozenset[str]:
    """The words of a list written as a text."""
    return frozenset(text.split())


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BREAK = re.compile(r"([.!?…]['\")\]»”’]*)(\s+)|([。！？]['\")」』]*)")
_ABBREVIATIONS = word_set(
    """
    e.g i.e etc vs cf dr mr mrs ms prof st no nr fig eq approx resp al inc ltd co u.s p pp vol
    """
)
_PIECE = re.compile(r"\w{1,6}|[^\w\s]")

STOP_WORDS = word_set(
    """
    a about above after again all also am an and any are as at be because been before being below
    between both but by can could did do does doing down during each few for from further get give
    had has have having he her here hers him his how i if in into is it its itself just let me more
    most my no nor not now of off on once only or other our out over own please same she should so
    some such tell than that the their them then there these they this those through to too under
    until up us very was we were what when where which while who whom whose why will with would you
    your yours der die das ein eine einen und oder ist sind war wie was wer wo wann warum mit von zu
    auf für im den dem le la les un une des et ou est sont que qui dans pour avec sur du de el los
    las una y es son en por con
    """
)


def stem(word: str) -> str:
    """The word without its most common English endings: `cities` and `city` meet, so do `uses`, `used`."""
    if len(word) <= 3 or not word.isascii():
        return word
    for ending, put, least in (
        ("ies", "y", 2),
        ("sses", "ss", 2),
        ("ing", "", 3),
        ("edly", "", 3),
        ("ed", "", 3),
        ("ly", "", 4),
        ("es", "", 3),
        ("s", "", 3),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= least:
            if ending == "s" and word.endswith(("ss", "us", "is")):
                return word
            word = word[: -len(ending)] + put
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]  # running -> run
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def stem_set(text: str) -> frozenset[str]:
    """The stems of a list written as a text, to be compared with stems."""
    return frozenset(stem(word) for word in text.split())


def words(text: str) -> list[str]:
    """All stems in the text, in order, stop words included."""
    found: list[str] = []
    for match in _WORD.finditer(text):
        word = match.group()
        if len(word) > 1 and _unspaced(word[0]):
            found.extend(word[i : i + 2] for i in range(len(word) - 1))
        else:
            found.append(stem(word.casefold()[:64]))
    return found


def keywords(text: str) -> list[str]:
    """The stems that carry meaning: without stop words and lone letters (digits stay)."""
    found: list[str] = []
    for match in _WORD.finditer(text):
        word = match.group().casefold()[:64]
        if len(word) > 1 and _unspaced(word[0]):
            found.extend(word[i : i + 2] for i in range(len(word) - 1))
        elif word not in STOP_WORDS and (len(word) > 1 or word.isdigit() or not word.isascii()):
            found.append(stem(word))
    return found


def name_words(name: str) -> list[str]:
    """The stems in an identifier: `orderId`, `order_id` and `order-id` give the same."""
    return words(_CAMEL.sub(" ", name).replace("_", " "))


def _unspaced(char: str) -> bool:
    return "\u3040" <= char <= "\u9fff" or "\u0e00" <= char <= "\u0e7f" or "\uf900" <= char <= "\ufaff"


def sentences(text: str) -> list[str]:
    """The sentences of one paragraph, whitespace made single. A citation `[…]` after one belongs to it."""
    text = " ".join(text.split())
    found: list[str] = []
    start = 0
    for match in _BREAK.finditer(text):
        end = match.end(1) if match.group(1) is not None else match.end(3)
        if match.group(1) is not None and not _ends_sentence(text, start, match.start(1), match.end()):
            continue
        end = max(end, _after_citations(text, end))
        if end > start:
            found.append(text[start:end].strip())
            start = end
    found.append(text[start:].strip())
    return [sentence for sentence in found if sentence]


def _ends_sentence(text: str, start: int, stop: int, following: int) -> bool:
    if text[stop] != ".":
        return True
    if following < len(text) and text[following].islower():
        return False
    last = text[max(start, stop - 12) : stop].rpartition(" ")[2].lstrip("([\"'").casefold()
    return last not in _ABBREVIATIONS and not (len(last) == 1 and last.isalpha())


def _after_citations(text: str, position: int) -> int:
    # Step over ` [a.md] [b.md]`, but not over the text of a link, `[text](address)`.
    while True:
        begin = position
        while begin < len(text) and text[begin] == " ":
            begin += 1
        if begin >= len(text) or text[begin] != "[":
            return position
        close = text.find("]", begin, begin + 400)
        if close < 0 or text[close + 1 : close + 2] == "(":
            return position
        position = close + 1


def count_tokens(text: str) -> int:
    """About how many tokens a model would see: one for each started six letters of a word, and each sign."""
    return len(_PIECE.findall(text))


def first_tokens(text: str, most: int) -> str:
    """The beginning of the text, up to that many of such tokens."""
    end = 0
    for number, piece in enumerate(_PIECE.finditer(text)):
        if number == most:
            break
        end = piece.end()
    return text[:end]


class Index:
    """BM25 scores of texts against a query (Robertson and Zaragoza, 2009), k1 = 1.2, b = 0.75."""

    def __init__(self, documents: Sequence[Sequence[str]]) -> None:
        self._counts = [Counter(document) for document in documents]
        self._lengths = [len(document) for document in documents]
        self._mean = (sum(self._lengths) / len(self._lengths) if self._lengths else 0) or 1.0
        self._frequency: Counter[str] = Counter(word for counts in self._counts for word in counts)

    def weight(self, word: str) -> float:
        """How telling a word is: its inverse document frequency, never negative."""
        seen = self._frequency[word]
        return math.log(1 + (len(self._counts) - seen + 0.5) / (seen + 0.5))

    def score(self, position: int, query: set[str]) -> float:
        """The score of the text at `position`; 0 where it shares no word with the query."""
        counts = self._counts[position]
        norm = 1.2 * (0.25 + 0.75 * self._lengths[position] / self._mean)
        total = 0.0
        for word in sorted(query):  # in a fixed order: float sums depend on it
            if seen := counts.get(word, 0):
                total += self.weight(word) * seen * 2.2 / (seen + norm)
        return total
