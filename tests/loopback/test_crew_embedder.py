"""A crew's memory with an embedding model of a provider: its key and its calls stay with the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from callsheet import Agent, Crew, tracing
from callsheet.settings import load_settings

KEY = "planted-key-5f1d"
TOPICS = ("whale", "violin", "volcano")


def vector(text: str) -> list[float]:
    """One dimension a topic, and one for none: what an embedding model would know."""
    found = [float(text.lower().count(topic)) for topic in TOPICS]
    return [*found, 0.0 if any(found) else 1.0]


async def test_documents_and_questions_are_embedded_by_the_provider_through_the_gateway(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Any]] = []

    async def embeddings(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append((request.headers["authorization"], body))
        rows = [
            {"object": "embedding", "index": i, "embedding": vector(t)} for i, t in enumerate(body["input"])
        ]
        return web.json_response(
            {"object": "list", "data": rows, "model": body["model"], "usage": {"prompt_tokens": 12}}
        )

    app = web.Application()
    app.router.add_post("/v1/embeddings", embeddings)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", f"http://127.0.0.1:{port}/v1")
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", KEY)
    emitted: list[Any] = []
    monkeypatch.setattr(tracing, "is_enabled", lambda: True)
    monkeypatch.setattr(tracing, "emit", emitted.append)
    for topic in TOPICS:
        (tmp_path / f"{topic}.md").write_text(
            f"# {topic}\n\nAll that is known of the {topic} is kept here.\n"
        )
    crew = Crew("readers", agents=[Agent("reader", role="researcher", tools=["search_documents"])])
    priced = {"openai-compatible/topics": {"input_usd": 2.0, "output_usd": 0.0}}
    settings = load_settings(embedder="openai-compatible/topics", phoenix="off", models=priced)
    try:
        result = await crew.arun(
            "What is known of the volcano?",
            host="inline",
            model="offline",
            docs=[tmp_path],
            settings=settings,
        )
    finally:
        await runner.cleanup()
    assert "volcano.md" in result.output
    assert {key for key, _ in asked} == {f"Bearer {KEY}"}
    assert {body["model"] for _, body in asked} == {"topics"}
    assert "What is known of the volcano?" in [text for _, body in asked for text in body["input"]]
    (search,) = [span for span in emitted if isinstance(span, tracing.RetrieverSpan)]
    # The documents are of no run; the question is, and its span hangs below the search.
    (embedding,) = [span for span in emitted if isinstance(span, tracing.EmbeddingSpan)]
    assert (embedding.run_id, embedding.parent_span_id) == (result.run_id, search.span_id)
    assert (embedding.model, embedding.text) == ("openai-compatible/topics", search.query)
    assert (embedding.input_tokens, embedding.cost_usd) == (12, pytest.approx(12 * 2.0 / 1_000_000))
    stored = [path for path in home.rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if KEY.encode() in path.read_bytes()]
