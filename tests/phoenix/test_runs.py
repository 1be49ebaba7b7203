"""A run's spans, emitted by two processes, read back from a real Phoenix server."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callsheet import tracing
from callsheet.core import ids
from callsheet.core.errors import TracingError
from callsheet.tracing import LlmSpan, MessageSpan, RetrieverSpan, RunSpan, ToolSpan, TracingConfig, TurnSpan
from callsheet.tracing.phoenix import PhoenixClient, run_links

pytestmark = pytest.mark.timeout(600)

PROJECT = "callsheet-tests"
Wait = Callable[[Callable[[], bool]], None]

AGENT_PROCESS = """
import sys
from pathlib import Path
from callsheet import tracing
from callsheet.core.ids import root_envelope_id, turn_span_id
from callsheet.tracing import LlmSpan, RetrieverSpan, ToolSpan, TracingConfig, TurnSpan
run, url, folder, project = sys.argv[1:]
tracing.configure(TracingConfig(spool_dir=Path(folder), endpoint=url, project=project, service_name="agent"))
envelope = root_envelope_id(run)
place = dict(run_id=run, session_id="session of " + run, parent_span_id=turn_span_id(envelope))
call = {"id": "call_1", "name": "search", "arguments": '{"q": "order 17"}'}
tracing.emit(LlmSpan(
    **place, model="openai/gpt-4o-mini", agent="clerk", started=100.2, ended=101.0,
    input_messages=({"role": "user", "content": "Where is order 17?", "name": "user"},),
    output_message={"role": "assistant", "content": "", "tool_calls": [call]},
    input_tokens=1_000_000, output_tokens=100_000, cache_read_tokens=500_000, cost_usd=0.17, stop="tool_calls"))
tool = tracing.new_span_id()
tracing.emit(RetrieverSpan(run_id=run, session_id="session of " + run, parent_span_id=tool, started=101.1,
    ended=101.2, query="order 17", documents=({"id": "d", "score": 0.5, "content": "It is here."},)))
tracing.emit(ToolSpan(**place, name="search", agent="clerk", arguments=call["arguments"], output="It is here.",
    call_id="call_1", span_id=tool, started=101.0, ended=101.3))
tracing.emit(TurnSpan(run_id=run, envelope_id=envelope, agent="clerk", started=100.1, ended=102.0,
    input="Where is order 17?", output="Here.", session_id="session of " + run))
"""


@pytest.fixture
def run_id(real_phoenix: Any, tmp_path: Path) -> Iterator[str]:
    run = f"run-{uuid.uuid4().hex[:12]}"
    config = TracingConfig(spool_dir=tmp_path / "spool", endpoint=real_phoenix.process.url, project=PROJECT)
    tracing.configure(config)
    yield run
    tracing.shutdown(5.0)


@pytest.fixture
def client(real_phoenix: Any) -> PhoenixClient:
    return PhoenixClient(real_phoenix.process.url, timeout_s=30.0)


def emit_whole_run(run: str, url: str, folder: Path) -> None:
    session = f"session of {run}"
    envelope, reply = ids.root_envelope_id(run), ids.reply_envelope_id(ids.root_envelope_id(run))
    tracing.emit(
        MessageSpan(
            run_id=run, envelope_id=envelope, sender="user", receiver="clerk", at=100.0,
            text="Where is order 17?", session_id=session,
        )
    )  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", AGENT_PROCESS, run, url, str(folder), PROJECT], check=True, timeout=60
    )
    tracing.emit(
        MessageSpan(
            run_id=run, envelope_id=reply, sender="clerk", receiver="user", at=102.0, text="Here.",
            kind="reply", seq=1, reply_to=envelope, session_id=session,
        )
    )  # fmt: skip
    tracing.emit(
        RunSpan(
            run_id=run, crew="helpdesk", started=100.0, ended=102.5, input="Where is order 17?",
            output="Here.", session_id=session, user_id="ada",
        )
    )  # fmt: skip
    assert tracing.flush(30.0)


def test_a_run_of_two_processes_is_one_trace_with_one_root(
    run_id: str, real_phoenix: Any, client: PhoenixClient, tmp_path: Path, wait_until: Wait
) -> None:
    emit_whole_run(run_id, real_phoenix.process.url, tmp_path / "spool")
    wait_until(lambda: len(client.spans(PROJECT, run_id)) == 7)
    spans = {span["name"]: span for span in client.spans(PROJECT, run_id)}
    assert {name: span["span_kind"] for name, span in spans.items()} == {
        "helpdesk": "AGENT",
        "user → clerk": "CHAIN",
        "clerk": "AGENT",
        "gpt-4o-mini": "LLM",
        "search": "TOOL",
        "memory search": "RETRIEVER",
        "clerk → user": "CHAIN",
    }
    assert {span["context"]["trace_id"] for span in spans.values()} == {ids.trace_id(run_id)}
    below = {name: span["parent_id"] for name, span in spans.items()}
    own = {name: span["context"]["span_id"] for name, span in spans.items()}
    assert below == {
        "helpdesk": None,
        "user → clerk": own["helpdesk"],
        "clerk → user": own["helpdesk"],
        "clerk": own["user → clerk"],
        "gpt-4o-mini": own["clerk"],
        "search": own["clerk"],
        "memory search": own["search"],
    }
    assert {span["status_code"] for span in spans.values()} == {"OK"}
    attributes = spans["gpt-4o-mini"]["attributes"]
    assert attributes["llm.token_count.prompt"] == 1_000_000
    assert attributes["llm.input_messages.0.message.content"] == "Where is order 17?"
    assert (
        attributes["llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments"]
        == '{"q": "order 17"}'
    )


TRACE = """query($project: ID!, $trace: ID!) { node(id: $project) { ... on Project { trace(traceId: $trace) {
    costSummary { total { cost tokens } } session { sessionId }
    rootSpan { name input { value } output { value } cumulativeTokenCountTotal } } } } }"""


def test_phoenix_computes_cost_and_tokens_and_knows_the_session(
    run_id: str, real_phoenix: Any, client: PhoenixClient, tmp_path: Path, wait_until: Wait
) -> None:
    emit_whole_run(run_id, real_phoenix.process.url, tmp_path / "spool")
    wait_until(lambda: len(client.spans(PROJECT, run_id)) == 7)
    variables = {"project": client.project_id(PROJECT), "trace": ids.trace_id(run_id)}

    def trace() -> dict[str, Any]:
        return dict(client.graphql(TRACE, variables)["node"]["trace"])

    wait_until(lambda: trace()["costSummary"]["total"]["cost"] is not None)
    found = trace()
    # gpt-4o-mini, USD a million: 0.15 fresh input, 0.075 cached, 0.60 output.
    assert found["costSummary"]["total"]["cost"] == pytest.approx(0.075 + 0.0375 + 0.06)
    assert found["rootSpan"]["cumulativeTokenCountTotal"] == 1_100_000
    assert found["rootSpan"]["input"]["value"] == "Where is order 17?"
    assert found["rootSpan"]["output"]["value"] == "Here."
    assert found["session"]["sessionId"] == f"session of {run_id}"


SESSIONS = """query($project: ID!) { node(id: $project) { ... on Project { sessions(first: 100) { edges { node {
    sessionId numTraces firstInput { value } lastOutput { value } } } } } } }"""


def test_runs_of_one_session_are_one_conversation(
    run_id: str, client: PhoenixClient, wait_until: Wait
) -> None:
    session = f"talk {run_id}"
    for i in range(2):
        tracing.emit(
            RunSpan(
                run_id=f"{run_id}-{i}", crew="c", started=200.0 + i, ended=200.5 + i, input=f"in {i}",
                output=f"out {i}", session_id=session,
            )
        )  # fmt: skip
    assert tracing.flush(30.0)
    wait_until(lambda: len(client.spans(PROJECT, f"{run_id}-1")) == 1)
    wait_until(lambda: len(client.spans(PROJECT, f"{run_id}-0")) == 1)
    edges = client.graphql(SESSIONS, {"project": client.project_id(PROJECT)})["node"]["sessions"]["edges"]
    (talk,) = [edge["node"] for edge in edges if edge["node"]["sessionId"] == session]
    assert talk["numTraces"] == 2
    assert talk["firstInput"]["value"] == "in 0"
    assert talk["lastOutput"]["value"] == "out 1"


def test_hostile_texts_are_stored_and_can_be_read(
    run_id: str, client: PhoenixClient, wait_until: Wait
) -> None:
    bad = "\0\ud800'; DROP TABLE spans; --<script>alert(1)</script>\u202e" + "x" * 200_000
    arguments = '{"a": "\\ud800\\u0000", "b": 123456789012345678901234567890, "c": NaN}'
    metadata = {"bad": bad[:100], "n": float("inf"), "big": 2**80}
    tracing.emit(RunSpan(run_id=run_id, crew=bad[:60], started=1.0, ended=2.0, input=bad, metadata=metadata))
    tracing.emit(ToolSpan(run_id=run_id, name="t", started=1.0, ended=2.0, arguments=arguments, error=bad))
    messages = tuple({"role": "user", "content": bad[:50]} for _ in range(200))
    call = {"id": bad[:30], "name": bad[:30], "arguments": arguments}
    tracing.emit(
        LlmSpan(
            run_id=run_id, model="m", started=1.0, ended=2.0, input_messages=messages,
            output_message={"role": "assistant", "tool_calls": [call]},
        )
    )  # fmt: skip
    documents = ({"id": bad[:20], "content": bad, "score": float("nan"), "metadata": metadata},)
    tracing.emit(RetrieverSpan(run_id=run_id, query=bad, documents=documents, started=1.0, ended=2.0))
    tracing.emit(TurnSpan(run_id=run_id, envelope_id=f"{run_id}-e", agent=bad[:40], started=1.0, ended=2.0))
    assert tracing.flush(30.0)
    wait_until(lambda: len(client.spans(PROJECT, run_id)) == 5)
    query = """query($project: ID!, $trace: ID!) { node(id: $project) { ... on Project {
        trace(traceId: $trace) { spans(first: 10) { edges { node { name attributes } } } } } } }"""
    variables = {"project": client.project_id(PROJECT), "trace": ids.trace_id(run_id)}
    trace = client.graphql(query, variables)["node"]["trace"]
    assert len(trace["spans"]["edges"]) == 5


def test_a_span_that_is_sent_twice_is_stored_once(
    run_id: str, client: PhoenixClient, wait_until: Wait
) -> None:
    for _ in range(2):
        tracing.emit(RunSpan(run_id=run_id, crew="c", started=1.0, ended=2.0))
        assert tracing.flush(30.0)
    tracing.emit(TurnSpan(run_id=run_id, envelope_id=f"{run_id}-e", agent="last", started=1.0, ended=2.0))
    wait_until(lambda: "last" in [span["name"] for span in client.spans(PROJECT, run_id)])
    assert len(client.spans(PROJECT, run_id)) == 2


def test_links_are_there_before_the_first_span(real_phoenix: Any) -> None:
    project = f"new {uuid.uuid4().hex}"
    first, second = (run_links(real_phoenix.process.url, project, "run-012345") for _ in range(2))
    assert first == second
    trace = ids.trace_id("run-012345")
    assert first.trace.startswith(real_phoenix.process.url + "/projects/")
    assert first.trace.endswith(f"/traces/{trace}")
    assert f"trace_id%20%3D%3D%20%27{trace}%27" in first.live


def test_a_server_that_is_away_is_one_clear_error() -> None:
    with pytest.raises(TracingError, match="cannot be reached"):
        run_links("http://127.0.0.1:9", "p", "run-012345")
    with pytest.raises(TracingError, match="no address"):
        PhoenixClient("localhost:6006")
    assert not PhoenixClient("http://127.0.0.1:9").healthy()
