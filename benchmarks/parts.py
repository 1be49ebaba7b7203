"""What single parts cost, each alone in one process: journal writes, recorded steps, memory, spans.

A journal write keeps one step with 1 KB of result; alone it is a transaction, and a batch is 100 of them in one.
A recorded step is `Turn.step` of an inline host: it returns once it is in the journal. The memory holds passages
of 1,000 made-up documents, with the `lexical` embedder, which needs no model. A span is that of a model call
with four messages, from the caller's view (`emit`) and with what the exporter does in its thread to put it on disk.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.figures import name
from benchmarks.machine import spread
from callsheet import tracing
from callsheet.core.canonical import digest, to_json
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import RunRecord, Step
from callsheet.memory.documents import Document
from callsheet.memory.embedders import make_embedder
from callsheet.memory.store import MemoryStore
from callsheet.runtime.host import HostConfig, ParticipantSpec
from callsheet.runtime.inline_host import InlineHost
from callsheet.runtime.journal import Journal
from callsheet.runtime.turns import Turn

RESULT = to_json({"text": "x" * 1000})
BATCH = 100
DOCUMENTS = 1000
WORDS = [
    f"{a}{b}"
    for a in ("or", "de", "par", "cel", "cus", "to", "mer", "ship")
    for b in ("al", "in", "os", "ud", "et")
]

Found = dict[str, list[float]]


class Taken:
    """Wall and CPU time of what was done within `timed`, s."""

    wall_s = 0.0
    cpu_s = 0.0


@contextmanager
def timed() -> Iterator[Taken]:
    """Take the time of the body, CPU of all threads of this process."""
    taken = Taken()
    wall, cpu = time.perf_counter(), time.process_time()
    yield taken
    taken.wall_s, taken.cpu_s = time.perf_counter() - wall, time.process_time() - cpu


def measure(rounds: int = 5, *, quick: bool = False) -> dict[str, Any]:
    """µs or ms of wall and CPU time for one of each."""
    found: Found = {}
    scale = 10 if quick else 1
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            _journal(found, place, 2000 // scale)
            asyncio.run(_steps(found, place / "steps.db", 2000 // scale))
            asyncio.run(_memory(found, place / "memory", DOCUMENTS // scale, 200 // scale))
            _spans(found, place / "spool", 5000 // scale)
    return {figure: spread(values) for figure, values in found.items()}


def _keep(found: Found, what: str, taken: Taken, count: int) -> None:
    for figure, seconds in (("wall µs", taken.wall_s), ("CPU µs", taken.cpu_s)):
        found.setdefault(name(what, figure), []).append(1e6 * seconds / count)


def _step(n: int) -> Step:
    return Step(
        run_id="bench-run-1", turn_id=f"turn-{n // 10}", key=f"llm-{digest(str(n))}", nth=0, kind="llm",
        name="any/model", input=to_json({"messages": 4}), result=RESULT,
        usage=RunUsage(llm_calls=1, input_tokens=100, output_tokens=60), started=1.0, ended=2.0,
    )  # fmt: skip


def _record(run_id: str, launch: str = "") -> RunRecord:
    return RunRecord(
        run_id=run_id,
        crew="bench",
        status="running",
        input=to_json({"input": "go"}),
        launch=launch,
        started=time.time(),
    )


def _journal(found: Found, place: Path, steps: int) -> None:
    for where, journal in (("disk", Journal(place / "journal.db")), ("memory", Journal("sqlite://"))):
        journal.write([_record("bench-run-1")])
        alone = [_step(n) for n in range(steps // 4)]
        batched = [replace(_step(n), turn_id=f"batched-{n // 10}") for n in range(steps)]
        with timed() as taken:
            for step in alone:
                journal.write([step])
        _keep(found, f"a journal write alone, {where}", taken, len(alone))
        with timed() as taken:
            for i in range(0, steps, BATCH):
                journal.write(batched[i : i + BATCH])
        _keep(found, f"a journal write of {BATCH} together, {where}", taken, steps)
        journal.close()


async def _recorded(_: int) -> tuple[Any, RunUsage | None]:
    return {"text": "x" * 1000}, None


def _make_flow(steps: int) -> Callable[[Turn], Awaitable[Any]]:
    async def flow(turn: Turn) -> dict[str, Any]:
        for n in range(steps):
            await turn.step("tool", "none", digest(str(n)), _recorded)
        return {"output": "done"}

    return flow


async def _steps(found: Found, journal: Path, steps: int) -> None:
    for where, kept in (("disk", journal), ("memory", "sqlite://")):
        host = InlineHost(HostConfig(journal=kept))
        await host.open([])
        flow = _make_flow(steps)
        await host.launch("bench", [ParticipantSpec(name="flow", factory=lambda flow=flow: flow)], {})  # type: ignore[misc]
        with timed() as taken:
            host.client.start(_record("bench-run-2", "bench"), Limits())
            end = await host.client.end("bench-run-2")
        assert end.status == "done", end
        await host.close()
        _keep(found, f"a recorded step, one after the other, {where}", taken, steps)


def _documents(count: int) -> list[Document]:
    dice = random.Random(17)
    return [
        Document(source=f"orders/{n}.md", title=f"Order {n}", text=" ".join(dice.choices(WORDS, k=300)))
        for n in range(count)
    ]


async def _memory(found: Found, folder: Path, documents: int, searches: int) -> None:
    store = MemoryStore(folder, make_embedder("lexical"))
    await store.search("warm")
    given = _documents(documents)
    with timed() as taken:
        added = await store.add(given)
    _keep(found, "memory: adding a document of 300 words", taken, added.documents)
    questions = [" ".join(random.Random(n).choices(WORDS, k=6)) for n in range(searches)]
    await store.search(questions[0])
    with timed() as taken:
        for question in questions:
            assert await store.search(question)
    _keep(found, f"memory: a search among {documents:,} documents, alone", taken, searches)
    with timed() as taken:
        await asyncio.gather(*(store.search(question) for question in questions))
    _keep(found, f"memory: a search among {documents:,} documents, many at once", taken, searches)
    await store.close()


def _spans(found: Found, spool: Path, spans: int) -> None:
    messages = tuple(
        {"role": role, "content": "word " * 60} for role in ("system", "user", "assistant", "tool")
    )
    span = tracing.LlmSpan(
        run_id="bench-run-1", model="any/model", started=1.0, ended=2.0, input_messages=messages,
        output_message={"role": "assistant", "content": "word " * 60}, input_tokens=100, output_tokens=60,
    )  # fmt: skip
    with timed() as taken:
        for _ in range(spans):
            tracing.emit(span)
    _keep(found, "a span, tracing off", taken, spans)
    tracing.configure(tracing.TracingConfig(spool_dir=spool))
    try:
        with timed() as taken:
            for _ in range(spans):
                tracing.emit(span)
        _keep(found, "a span, for who emits it", taken, spans)
        assert tracing.flush(60)
        with timed() as taken:
            for _ in range(spans):
                tracing.emit(span)
            assert tracing.flush(60)
        _keep(found, "a span, encoded and on disk", taken, spans)
    finally:
        tracing.shutdown(5)
