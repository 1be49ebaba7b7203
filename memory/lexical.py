"""Lexical vectors: hashed word stems and character n-grams, weighted without knowledge of a corpus.

The hashing trick with signs is Weinberger et al. 2009 ("Feature Hashing for Large Scale Multitask
Learning"), character n-grams of words as in Bojanowski et al. 2017 ("Enriching Word Vectors with Subword
Information"). Term counts enter as 1 + log(count).
"""

from __future__ import annotations

import functools
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from callsheet.memory.words import STOP_WORDS, stem

_WORD = re.compile(r"[^\W_]+")
# Scripts written without spaces: a run of them is no word, its pairs of characters are.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_GRAM_WEIGHT = 0.6
_GRAM_SIZES = (4, 5)
_MAX_WORD = 40


def lexical_vectors(texts: Sequence[str], dimension: int) -> NDArray[np.float32]:
    """Vectors of shape (len(texts), dimension), float32, of length 1, or 0 where a text has no words."""
    vectors = np.zeros((len(texts), dimension), dtype=np.float32)
    for row, text in enumerate(texts):
        counts = Counter(_WORD.findall(_plain(text)))
        features = [
            (_features(word, dimension), count) for word, count in counts.items() if word not in STOP_WORDS
        ]
        if not features:  # a text of stop words alone is still a text
            features = [(_features(word, dimension), count) for word, count in counts.items()]
        if not features:
            continue
        places = np.concatenate([places for (places, _), _ in features])
        lengths = [len(places) for (places, _), _ in features]
        tf = 1.0 + np.log(np.array([count for _, count in features], dtype=np.float64))
        values = np.concatenate([values for (_, values), _ in features]) * np.repeat(tf, lengths)
        vector = np.bincount(places, values, dimension)
        length = np.sqrt(vector @ vector)
        if length > 0:
            vectors[row] = vector / length
    return vectors


def _plain(text: str) -> str:
    text = text.lower()
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char))


@functools.lru_cache(maxsize=32768)
def _features(word: str, dimension: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where in the vector a word counts, and how much there."""
    word = word[:_MAX_WORD]
    if _UNSPACED.search(word):
        grams = [word[i : i + 2] for i in range(max(1, len(word) - 1))]
        weighted = [("u" + gram, 1.0) for gram in grams]
    else:
        root = stem(word)
        marked = f"<{root}>"
        grams = [marked[i : i + n] for n in _GRAM_SIZES for i in range(len(marked) - n + 1)]
        share = _GRAM_WEIGHT if len(grams) < 2 else _GRAM_WEIGHT * (2.0 / len(grams)) ** 0.5
        weighted = [("w" + root, 1.0), *(("g" + gram, share) for gram in grams)]
    hashes = [zlib.crc32(feature.encode("utf-8", "surrogatepass")) for feature, _ in weighted]
    places = np.array([h % dimension for h in hashes], dtype=np.int64)
    signs = np.array([1.0 if (h >> 31) & 1 else -1.0 for h in hashes])
    return places, signs * np.array([value for _, value in weighted])
