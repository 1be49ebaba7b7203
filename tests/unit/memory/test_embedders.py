"""Embedders: lexical vectors are alike for like words; remote ones are checked."""

from __future__ import annotations

import numpy as np
import pytest

from callsheet.core.errors import ServiceError, SettingsError, UnknownNameError
from callsheet.memory import LexicalEmbedder, RemoteEmbedder, make_embedder
from callsheet.memory.words import stem


async def _alike(a: str, b: str) -> float:
    one, two = await LexicalEmbedder().embed([a, b])
    return float(one @ two)


async def test_vectors_have_the_stated_shape_and_length_one() -> None:
    vectors = await LexicalEmbedder(512).embed(["some words", "", "!!", "the", "日本語のテキスト"])
    assert (vectors.shape, vectors.dtype) == ((5, 512), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 0, 1, 1], abs=1e-5)


async def test_inflected_and_misspelt_words_are_alike_and_others_are_not() -> None:
    assert await _alike("journals are replayed", "replaying the journal") > 0.8
    assert await _alike("anthropic embeddings", "antropic embedding") > 0.5
    assert abs(await _alike("coordinator crash", "banana pancake")) < 0.15
    assert await _alike("Zürich", "zurich") == pytest.approx(1, abs=1e-5)
    assert await _alike("日本語のテキスト", "日本語") > 0.3


async def test_many_texts_give_the_same_vectors_as_one_by_one() -> None:
    texts = [f"text number {i} about subject {i % 3}" for i in range(20)]
    together = await LexicalEmbedder().embed(texts)
    alone = np.concatenate([await LexicalEmbedder().embed([text]) for text in texts])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize(
    "family",
    [
        ["agent", "agents"],
        ["run", "runs", "running"],
        ["policy", "policies"],
        ["create", "created", "creates"],
    ],
)
def test_forms_of_a_word_share_their_stem(family: list[str]) -> None:
    assert len({stem(word) for word in family}) == 1


@pytest.mark.parametrize("word", ["", "is", "bus", "class", "x1s", "naïves", "gas"])
def test_short_and_foreign_words_stay(word: str) -> None:
    assert stem(word) == word


async def test_a_remote_embedder_sends_batches_and_normalises() -> None:
    sizes: list[int] = []

    async def call(texts: list[str], _places: object) -> list[list[float]]:
        sizes.append(len(texts))
        assert all(text.strip() for text in texts), "providers refuse empty texts"
        return [[3.0, 4.0] for _ in texts]

    vectors = await make_embedder("openai/text-embedding-3-small", call).embed(["x"] * 200 + [""])
    assert sizes == [128, 73]
    assert vectors.shape == (201, 2)
    assert vectors.dtype == np.float32
    assert vectors[0] == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("reply", [[], [[1.0]], [[1.0], [1.0, 2.0]], [[float("nan")], [1.0]], [[], []]])
async def test_a_remote_embedder_that_returns_something_else_is_an_error(reply: list[list[float]]) -> None:
    async def call(_texts: list[str], _places: object) -> list[list[float]]:
        return reply

    with pytest.raises(ServiceError, match="one vector for each"):
        await RemoteEmbedder("openai/x", call).embed(["a", "b"])


def test_unknown_and_unconnected_embedders_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean lexical"):
        make_embedder("lexicl")
    with pytest.raises(SettingsError, match="gateway"):
        make_embedder("openai/text-embedding-3-small")
