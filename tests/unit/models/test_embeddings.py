"""Vectors out of answers, and the spans of the texts that were embedded."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import ModelRateLimitError
from callsheet.models.catalogue import parse_model
from callsheet.models.embeddings import EmbedRequest, embedding_spans, from_embeddings
from callsheet.models.messages import Usage
from callsheet.tracing import SpanPlace

MODEL = "openai/text-embedding-3-small"
TEXTS = st.lists(st.text(), min_size=1, max_size=20)


def asked(*texts: str, runs: list[str] | None = None) -> EmbedRequest:
    named = [f"run-{i}" for i in range(len(texts))] if runs is None else runs
    places = tuple(SpanPlace(run_id=run, parent_span_id="ab", session_id="s") for run in named)
    return EmbedRequest(model=MODEL, texts=texts, places=places)


@given(texts=TEXTS, tokens=st.integers(0, 10**9), cost=st.none() | st.floats(0, 100))
def test_the_shares_of_a_calls_texts_sum_up_to_the_call(
    texts: list[str], tokens: int, cost: float | None
) -> None:
    usage = Usage(input_tokens=tokens)
    spans = embedding_spans(asked(*texts), usage, cost, None, 1.0, 2.0)
    assert [span.text for span in spans] == texts
    assert all(span.input_tokens >= 0 and span.texts == len(texts) for span in spans)
    if not any(texts):
        return
    assert sum(span.input_tokens for span in spans) == tokens
    costs = [span.cost_usd for span in spans]
    if cost is None:
        assert set(costs) == {None}
    else:
        assert math.isclose(math.fsum(c or 0.0 for c in costs), cost, rel_tol=1e-9, abs_tol=1e-12)


def test_longer_texts_have_more_of_the_tokens() -> None:
    long, short = embedding_spans(asked("x" * 90, "y" * 10), Usage(input_tokens=50), 0.01, None, 1.0, 2.0)
    assert (long.input_tokens, short.input_tokens) == (45, 5)
    assert short.cost_usd is not None
    assert math.isclose(short.cost_usd, 0.001)


def test_texts_of_no_run_leave_no_span_and_others_their_own() -> None:
    request = asked("a", "b", "c", runs=["run-1", "", "run-2"])
    spans = embedding_spans(request, Usage(), None, None, 1.0, 2.0)
    assert [(span.run_id, span.text, span.parent_span_id, span.session_id) for span in spans] == [
        ("run-1", "a", "ab", "s"),
        ("run-2", "c", "ab", "s"),
    ]
    bare = EmbedRequest(model=MODEL, texts=("a",))
    assert embedding_spans(bare, Usage(), None, None, 1.0, 2.0) == []


def test_a_failed_call_is_told_in_each_of_its_spans() -> None:
    error = ModelRateLimitError("too many requests")
    spans = embedding_spans(asked("a", "b"), Usage(), None, error, 1.0, 2.0)
    assert {span.error for span in spans} == {"ModelRateLimitError: too many requests"}


def test_what_the_call_took_is_read_where_it_is_told() -> None:
    rows = [{"index": 0, "embedding": [1.0]}]
    name = parse_model(MODEL)
    found = from_embeddings(
        {"data": rows, "model": "m-2", "usage": {"prompt_tokens": 7, "total_tokens": 7}}, asked("a"), name
    )
    assert (found.vectors, found.usage, found.model) == ([[1.0]], Usage(input_tokens=7), "m-2")
    for usage in ({}, None, {"prompt_tokens": "many"}, {"prompt_tokens": -3}, [1]):
        silent = from_embeddings({"data": rows, "usage": usage, "model": None}, asked("a"), name)
        assert (silent.usage, silent.model) == (Usage(), "")
