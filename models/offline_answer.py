"""Extractive answers: the sentences of the material that fit the question best, each with its source."""

from __future__ import annotations

from dataclasses import dataclass

from callsheet.models.offline_material import Statement
from callsheet.models.offline_text import Index, keywords

MOST = 5
"""Sentences in an answer, at most."""
LONGEST = 400
"""Characters of a sentence, beyond which it is cut at a word."""
_AROUND = 0.4
"""What the score of the passage around a sentence adds to the sentence's own."""
_FIRST = 0.5
"""What standing in the search's first passage adds; half of it in the second, a third in the third."""
_FLOOR = 0.45
"""A sentence is quoted from this share of the best one's score upwards."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Chosen sentences in order of merit; none where the material does not speak of the question."""

    statements: tuple[Statement, ...]
    question: str

    @property
    def found(self) -> bool:
        """Whether the material has anything for the question."""
        return bool(self.statements)

    @property
    def text(self) -> str:
        """The answer as text: each sentence followed by its citations."""
        return " ".join(quoted(statement) for statement in self.statements)

    @property
    def sources(self) -> tuple[str, ...]:
        """The cited sources, each once, in order of merit."""
        return tuple(dict.fromkeys(source for item in self.statements for source in item.sources))


def quoted(statement: Statement) -> str:
    """A sentence with its citations, `[SOURCE]`, right after it."""
    text = statement.text
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition(" ")[0] or text[:LONGEST]
        text += " …"
    if text[-1:] not in ".!?…。！？:;":
        text += "."
    return " ".join((text, *(f"[{source}]" for source in statement.sources)))


def choose(question: str, statements: list[Statement]) -> Answer:
    """The best two to five sentences for the question.

    A sentence counts by BM25 on its own words, by the words of its passage and title (a passage that is
    all about the question beats a chance mention), and a little by the order in which the search gave the
    passages. Ties go to what came first, so the same input always gives the same answer.
    """
    query = set(keywords(question))
    direct = [item for item in statements if item.direct]
    if not question.strip() and statements:
        return Answer(tuple(statements[:MOST]), question)  # nothing is asked: what was said, in its order
    if not statements or (not query and not direct):
        return Answer((), question)
    own = [keywords(item.text) for item in statements]
    passages: dict[int, list[str]] = {}
    for item, item_words in zip(statements, own, strict=True):
        if item.passage not in passages:
            passages[item.passage] = keywords(item.title)
        passages[item.passage].extend(item_words)
    numbers = {passage: position for position, passage in enumerate(passages)}
    by_sentence, by_passage = Index(own), Index(list(passages.values()))
    around = [by_passage.score(position, query) for position in range(len(numbers))]

    scored: list[tuple[float, int]] = []
    for position, item in enumerate(statements):
        score = by_sentence.score(position, query)
        if score <= 0 and not item.direct:
            continue
        place = numbers[item.passage]
        score = _fullness(item.text, own[position]) * (score + _AROUND * around[place] + _FIRST / (1 + place))
        scored.append((score + (1.0 if item.direct else 0.0), position))
    scored.sort(key=lambda entry: (-entry[0], entry[1]))

    chosen: list[Statement] = []
    kept_words: list[set[str]] = []
    for score, position in scored:
        if len(chosen) == MOST or (len(chosen) >= 2 and score < _FLOOR * scored[0][0]):
            break
        its_words = set(own[position])
        twin = next((i for i, kept in enumerate(kept_words) if _same(kept, its_words)), None)
        if twin is None:
            chosen.append(statements[position])
            kept_words.append(its_words)
        elif not set(statements[position].sources) <= set(chosen[twin].sources):
            first = chosen[twin]  # said twice: one sentence, both sources
            sources = tuple(dict.fromkeys((*first.sources, *statements[position].sources)))
            chosen[twin] = Statement(first.text, sources, first.passage, first.title, first.direct)
    return Answer(tuple(chosen), question)


def _fullness(text: str, own: list[str]) -> float:
    # "See also" says nothing, whatever its words; a heading little; "as follows:" leaves the rest unsaid.
    share = min(1.0, len(own) / 5)
    if text.endswith(":"):
        return 0.6 * share
    return share if text[-1] in ".!?…。！？\"”'’)" else 0.8 * share


def _same(a: set[str], b: set[str]) -> bool:
    return a == b or (bool(a and b) and len(a & b) / len(a | b) > 0.8)
