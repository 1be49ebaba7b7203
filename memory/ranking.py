"""How BM25's ranking and the vectors' are made one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from callsheet.memory.words import STOP_WORDS

RRF_K = 60
"""The constant of reciprocal-rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009."""

MAX_QUERY_WORDS = 64
_WORD = re.compile(r"[^\W_]+")


def match_expression(query: str) -> str:
    """An FTS5 expression that finds any of the query's words; "" if it has none.

    The query is a stranger's text: its words are taken out and quoted, and nothing of FTS5's own syntax
    (quotes, operators, columns, NEAR, *) gets through.
    """
    words = list(dict.fromkeys(_WORD.findall(query.lower())))
    telling = [word for word in words if word not in STOP_WORDS] or words
    return " OR ".join(f'"{word}"' for word in telling[:MAX_QUERY_WORDS])


def fuse(rankings: Sequence[tuple[float, Sequence[int]]]) -> dict[int, float]:
    """Reciprocal-rank fusion of (weight, ids best first) rankings: id to score, best first.

    Score = Σ weight / (60 + rank), rank from 1. Ties are broken by id, so the order is always the same.
    """
    scores: dict[int, float] = {}
    for weight, ids in rankings:
        for rank, id_ in enumerate(ids, 1):
            scores[id_] = scores.get(id_, 0.0) + weight / (RRF_K + rank)
    return best_first(scores)


def best_first(scores: Mapping[int, float]) -> dict[int, float]:
    """The scores in descending order, equal ones by id."""
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))
