"""What a span says on the wire, read back from the encoded request."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from callsheet.core import ids
from callsheet.tracing import (
    EmbeddingSpan,
    LlmSpan,
    MessageSpan,
    RetrieverSpan,
    RunSpan,
    Span,
    ToolSpan,
    TracingConfig,
    TurnSpan,
    WaitSpan,
)
from callsheet.tracing.encoding import Encoder

RUN = "run-0123456789"
ENVELOPE = "envelope-1"


class Sent:
    """One encoded span with its attributes as a dict."""

    def __init__(self, span: Any) -> None:
        self.name = span.name
        self.trace_id = span.trace_id.hex()
        self.span_id = span.span_id.hex()
        self.parent_id = span.parent_span_id.hex()
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.status, self.message = span.status.code, span.status.message
        self.events = [event.name for event in span.events]
        self.attributes = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}

    def metadata(self) -> dict[str, Any]:
        return dict(json.loads(self.attributes["metadata"]))


def send(*spans: Span, content: bool = True) -> list[Sent]:
    config = TracingConfig(spool_dir=Path("unused"), project="shop", service_name="agent", content=content)
    requests = [ExportTraceServiceRequest.FromString(body) for body in Encoder(config).encode(spans)]
    return [
        Sent(span)
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def run_span(**changes: Any) -> RunSpan:
    return RunSpan(**{"run_id": RUN, "crew": "helpdesk", "started": 10.0, "ended": 12.5, **changes})


def llm_span(**changes: Any) -> LlmSpan:
    return LlmSpan(**{"run_id": RUN, "model": "openai/gpt-4o-mini", "started": 1.0, "ended": 2.0, **changes})


EVERY_KIND: list[tuple[Callable[..., Span], str]] = [
    (run_span, "AGENT"),
    (
        lambda **c: MessageSpan(run_id=RUN, envelope_id=ENVELOPE, sender="a", receiver="b", at=1.0, **c),
        "CHAIN",
    ),
    (lambda **c: TurnSpan(run_id=RUN, envelope_id=ENVELOPE, agent="a", started=1.0, ended=2.0, **c), "AGENT"),
    (llm_span, "LLM"),
    (lambda **c: WaitSpan(run_id=RUN, name="m", reason="r", started=1.0, ended=2.0, **c), "CHAIN"),
    (lambda **c: ToolSpan(run_id=RUN, name="t", started=1.0, ended=2.0, **c), "TOOL"),
    (lambda **c: RetrieverSpan(run_id=RUN, started=1.0, ended=2.0, **c), "RETRIEVER"),
    (lambda **c: EmbeddingSpan(run_id=RUN, model="openai/m", started=1.0, ended=2.0, **c), "EMBEDDING"),
]


@pytest.mark.parametrize(("make", "kind"), EVERY_KIND)
def test_every_span_has_its_kind_in_upper_case_the_session_and_an_ok_status(
    make: Callable[..., Span], kind: str
) -> None:
    (sent,) = send(make(session_id="s-1"))
    assert sent.attributes["openinference.span.kind"] == kind
    assert sent.attributes["session.id"] == "s-1"
    assert sent.status == 1
    assert sent.trace_id == ids.trace_id(RUN)
    assert sent.metadata()["run_id"] == RUN


@pytest.mark.parametrize(("make", "kind"), [row for row in EVERY_KIND if row[1] != "CHAIN"])
def test_an_error_sets_the_status_and_leaves_an_exception_event(make: Callable[..., Span], kind: str) -> None:
    (sent,) = send(make(error="ToolError: no such page"))
    assert (sent.status, sent.message) == (2, "ToolError: no such page")
    assert sent.events == ["exception"]


def test_the_request_names_project_and_service() -> None:
    config = TracingConfig(spool_dir=Path("unused"), project="shop", service_name="agent")
    (body,) = Encoder(config).encode([run_span()])
    resource = ExportTraceServiceRequest.FromString(body).resource_spans[0].resource
    assert {a.key: a.value.string_value for a in resource.attributes} == {
        "service.name": "agent",
        "openinference.project.name": "shop",
    }


def test_the_root_has_no_parent_and_carries_input_output_and_user() -> None:
    (sent,) = send(run_span(input="where is it?", output="here", user_id="ada", metadata={"host": "ray"}))
    assert (sent.parent_id, sent.span_id) == ("", ids.root_span_id(RUN))
    assert sent.attributes["input.value"] == "where is it?"
    assert sent.attributes["input.mime_type"] == "text/plain"
    assert sent.attributes["output.value"] == "here"
    assert sent.attributes["user.id"] == "ada"
    assert sent.metadata() == {"host": "ray", "run_id": RUN, "crew": "helpdesk", "status": "done"}
    assert (sent.start, sent.end) == (10_000_000_000, 12_500_000_000)


def test_a_message_is_a_moment_below_the_root_and_its_turn_hangs_below_it() -> None:
    message, turn = send(
        MessageSpan(
            run_id=RUN, envelope_id=ENVELOPE, sender="planner", receiver="clerk", at=3.0,
            text="find it", seq=4, reply_to="envelope-0",
        ),
        TurnSpan(run_id=RUN, envelope_id=ENVELOPE, agent="clerk", started=3.1, ended=4.0),
    )  # fmt: skip
    assert message.name == "planner → clerk"
    assert message.start == message.end
    assert message.parent_id == ids.root_span_id(RUN)
    assert message.span_id == ids.message_span_id(ENVELOPE) == turn.parent_id
    assert turn.span_id == ids.turn_span_id(ENVELOPE)
    assert turn.attributes["agent.name"] == "clerk"
    assert message.metadata() == {
        "run_id": RUN, "seq": 4, "from": "planner", "to": "clerk", "kind": "ask",
        "envelope_id": ENVELOPE, "reply_to": "envelope-0",
    }  # fmt: skip


def test_derived_ids_repeat_and_random_ones_do_not() -> None:
    first, second = send(run_span(), run_span())
    assert first.span_id == second.span_id
    first, second = send(llm_span(), llm_span())
    assert first.span_id != second.span_id


def test_what_has_no_parent_named_hangs_below_the_root() -> None:
    alone, placed = send(llm_span(), llm_span(parent_span_id="00000000000000ab"))
    assert alone.parent_id == ids.root_span_id(RUN)
    assert placed.parent_id == "00000000000000ab"


def test_a_wait_says_for_what_and_how_long_also_without_content() -> None:
    wait = WaitSpan(
        run_id=RUN, name="openai/m", reason="requests_per_minute of openai/m", started=1.0, ended=3.5,
        parent_span_id="00000000000000ab",
    )  # fmt: skip
    (sent,) = send(wait, content=False)
    assert sent.parent_id == "00000000000000ab"
    assert sent.attributes["input.value"] == "openai/m"
    assert sent.attributes["output.value"] == "waited 2.500 s for requests_per_minute of openai/m"


def test_what_happened_on_a_calls_way_is_in_its_metadata() -> None:
    (sent,) = send(llm_span(notes={"policy": "fast model", "attempts": 99}))
    told = sent.metadata()
    assert (told["policy"], told["attempts"]) == ("fast model", 1)


def test_spans_can_hang_below_a_tool_call() -> None:
    tool, search = send(
        ToolSpan(run_id=RUN, name="t", started=1.0, ended=2.0, span_id="00000000000000cd"),
        RetrieverSpan(run_id=RUN, started=1.0, ended=2.0, parent_span_id="00000000000000cd"),
    )
    assert search.parent_id == tool.span_id


def test_what_an_embedding_model_was_asked_hangs_below_the_search_with_tokens_and_cost() -> None:
    search, embedding = send(
        RetrieverSpan(run_id=RUN, started=1.0, ended=2.0, span_id="00000000000000ef"),
        EmbeddingSpan(
            run_id=RUN, model="openai/text-embedding-3-small", started=1.0, ended=2.0, text="order 17",
            parent_span_id="00000000000000ef", input_tokens=3, cost_usd=6e-8, texts=2,
        ),
    )  # fmt: skip
    assert embedding.parent_id == search.span_id == "00000000000000ef"
    assert embedding.attributes["embedding.model_name"] == "text-embedding-3-small"
    assert embedding.attributes["embedding.embeddings.0.embedding.text"] == "order 17"
    assert embedding.attributes["llm.token_count.prompt"] == 3
    told = embedding.metadata()
    assert (told["tokens"], told["cost_usd"], told["texts"]) == (3, 6e-8, 2)


def test_a_model_call_shows_its_messages_calls_tools_and_parameters() -> None:
    call = {"id": "call_1", "name": "search", "arguments": '{"q": "x"}'}
    (sent,) = send(
        llm_span(
            input_messages=(
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "go", "name": "planner"},
                {"role": "tool", "content": "found", "name": "search", "tool_call_id": "call_0"},
            ),
            output_message={"role": "assistant", "content": "", "tool_calls": [call]},
            tools=({"name": "search", "description": "Finds.", "parameters": '{"type": "object"}'},),
            invocation={"temperature": 0.5},
            stop="tool_calls",
            agent="clerk",
        )
    )
    a = sent.attributes
    assert a["llm.input_messages.0.message.role"] == "system"
    assert a["llm.input_messages.1.message.name"] == "planner"
    assert a["llm.input_messages.2.message.tool_call_id"] == "call_0"
    assert a["llm.output_messages.0.message.tool_calls.0.tool_call.id"] == "call_1"
    assert a["llm.output_messages.0.message.tool_calls.0.tool_call.function.name"] == "search"
    assert a["llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments"] == '{"q": "x"}'
    assert a["input.value"] == "found"
    assert a["output.value"] == 'search({"q": "x"})'
    assert json.loads(a["llm.invocation_parameters"]) == {"temperature": 0.5}
    assert json.loads(a["llm.tools.0.tool.json_schema"])["function"] == {
        "name": "search", "description": "Finds.", "parameters": {"type": "object"},
    }  # fmt: skip
    assert a["llm.finish_reason"] == "tool_calls"
    assert a["agent.name"] == "clerk"


def test_arguments_are_json_text_also_when_they_come_as_a_dict() -> None:
    calls = [{"id": "1", "name": "f", "arguments": {"q": [1, None]}}]
    (sent,) = send(llm_span(output_message={"role": "assistant", "tool_calls": calls}))
    text = sent.attributes["llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments"]
    assert json.loads(text) == {"q": [1, None]}


@pytest.mark.parametrize(
    ("model", "provider", "shown", "shown_provider"),
    [
        ("openai/gpt-4o-mini", "", "gpt-4o-mini", "openai"),
        ("openai/gpt-4o-mini", "openai", "gpt-4o-mini", "openai"),
        ("meta/llama-3", "vllm", "meta/llama-3", "vllm"),
        ("offline", "", "offline", None),
    ],
)
def test_a_model_is_named_as_its_provider_names_it(
    model: str, provider: str, shown: str, shown_provider: str | None
) -> None:
    (sent,) = send(llm_span(model=model, provider=provider))
    assert sent.attributes["llm.model_name"] == shown
    assert sent.attributes.get("llm.provider") == shown_provider


def test_tokens_are_counted_on_model_calls_with_the_cached_ones_inside_the_prompt() -> None:
    (sent,) = send(
        llm_span(
            input_tokens=100, output_tokens=20, cache_read_tokens=80, cache_write_tokens=10,
            reasoning_tokens=5, cost_usd=0.25,
        )
    )  # fmt: skip
    a = sent.attributes
    assert a["llm.token_count.prompt"] == 100
    assert a["llm.token_count.completion"] == 20
    assert a["llm.token_count.total"] == 120
    assert a["llm.token_count.prompt_details.cache_read"] == 80
    assert a["llm.token_count.prompt_details.cache_write"] == 10
    assert a["llm.token_count.completion_details.reasoning"] == 5
    assert a["llm.cost.total"] == 0.25


@pytest.mark.parametrize(("cost", "told"), [(None, None), (math.inf, "inf"), (math.nan, "nan")])
def test_an_unknown_price_is_not_a_price_of_nothing(cost: float | None, told: str | None) -> None:
    (sent,) = send(llm_span(input_tokens=1, output_tokens=1, cost_usd=cost))
    assert "llm.cost.total" not in sent.attributes
    assert sent.metadata()["cost_usd"] == told


def test_a_long_conversation_keeps_its_first_message_and_its_kind() -> None:
    messages = tuple({"role": "user", "content": f"message {i}"} for i in range(500))
    (sent,) = send(llm_span(input_messages=messages))
    assert sent.attributes["openinference.span.kind"] == "LLM"
    assert sent.attributes["llm.input_messages.0.message.content"] == "message 0"
    assert sent.attributes["llm.input_messages.499.message.content"] == "message 499"


def test_a_tool_call_shows_name_description_arguments_and_output() -> None:
    (sent,) = send(
        ToolSpan(
            run_id=RUN, name="search", description="Finds.", arguments='{"q": 1}', output="two",
            call_id="call_1", started=1.0, ended=2.0,
        )
    )  # fmt: skip
    a = sent.attributes
    assert (a["tool.name"], a["tool.description"], a["tool.id"]) == ("search", "Finds.", "call_1")
    assert (a["input.value"], a["input.mime_type"]) == ('{"q": 1}', "application/json")
    assert (a["output.value"], a["output.mime_type"]) == ("two", "text/plain")


def test_a_search_shows_query_and_documents_with_scores() -> None:
    documents = (
        {"id": "d1", "score": 0.5, "content": "text", "metadata": {"path": "a.md"}},
        {"content": "bare", "score": float("nan")},
    )
    (sent,) = send(RetrieverSpan(run_id=RUN, query="q", documents=documents, started=1.0, ended=2.0))
    a = sent.attributes
    assert a["input.value"] == "q"
    assert a["retrieval.documents.0.document.id"] == "d1"
    assert a["retrieval.documents.0.document.score"] == 0.5
    assert a["retrieval.documents.0.document.content"] == "text"
    assert json.loads(a["retrieval.documents.0.document.metadata"]) == {"path": "a.md"}
    assert a["retrieval.documents.1.document.content"] == "bare"
    assert "retrieval.documents.1.document.score" not in a
    assert a["output.value"] == "2 documents"


def test_texts_that_no_viewer_can_take_are_mended_and_the_rest_is_kept() -> None:
    joined, lone = "\ud83d\ude00", "\ud800"
    (sent,) = send(run_span(input=f"a\0b{lone}c{joined}é", crew="crew\0", error=f"bad {lone}"))
    assert sent.attributes["input.value"] == "ab�c😀é"
    assert sent.name == "crew"
    assert sent.message == "bad �"
    (other,) = send(run_span(output="a\0b"))
    assert other.attributes["output.value"] == "ab"


def test_metadata_is_json_that_a_strict_parser_reads() -> None:
    odd = {"nan": float("nan"), "big": 2**70, "lone": "\ud800", "nul": "a\0b", "path": Path("x"), 1: (1, 2)}
    (sent,) = send(run_span(metadata=odd))

    def refuse(name: str) -> None:
        raise AssertionError(name)

    read = json.loads(sent.attributes["metadata"], parse_constant=refuse)
    assert read["big"] == str(2**70)
    assert read["lone"] == "�"
    assert read["nul"] == "ab"
    assert read["path"] == "x"
    assert read["1"] == [1, 2]


def test_metadata_nested_without_end_does_not_lose_the_span() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    (sent,) = send(run_span(metadata=loop))
    assert sent.metadata()["run_id"] == RUN


def test_an_end_before_the_start_becomes_no_time_at_all() -> None:
    (sent,) = send(run_span(started=5.0, ended=4.0))
    assert sent.start == sent.end


def test_one_span_that_cannot_be_encoded_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    bad = llm_span(parent_span_id="not hex")
    sent = send(run_span(), bad, bad, llm_span())
    assert len(sent) == 2
    assert len(caplog.records) == 1


def test_large_batches_become_several_requests_that_lose_nothing() -> None:
    config = TracingConfig(spool_dir=Path("unused"))
    many = [llm_span(agent=str(i)) for i in range(1200)]
    bodies = list(Encoder(config).encode(many))
    assert len(bodies) == 3
    heavy = [run_span(input="x" * 3_000_000) for _ in range(4)]
    assert len(list(Encoder(config).encode(heavy))) == 2
    assert [s.attributes["agent.name"] for s in send(*many)] == [str(i) for i in range(1200)]


def test_with_content_off_no_text_of_the_conversation_leaves_the_process() -> None:
    secret = "the secret text"
    calls = [{"id": "1", "name": "f", "arguments": json.dumps({"q": secret})}]
    message = {"role": "user", "content": secret, "tool_calls": calls}
    spans: list[Span] = [
        run_span(input=secret, output=secret, error=f"ToolError: {secret}"),
        MessageSpan(run_id=RUN, envelope_id=ENVELOPE, sender="a", receiver="b", at=1.0, text=secret),
        TurnSpan(run_id=RUN, envelope_id="e", agent="a", started=1.0, ended=2.0, input=secret, output=secret),
        llm_span(
            input_messages=(message,), output_message=message,
            tools=({"name": "f", "description": secret, "parameters": {}},), input_tokens=7,
        ),
        ToolSpan(
            run_id=RUN, name="t", started=1.0, ended=2.0, description=secret,
            arguments=json.dumps({"q": secret}), output=secret, error=secret,
        ),
        RetrieverSpan(
            run_id=RUN, started=1.0, ended=2.0, query=secret,
            documents=({"id": "d", "content": secret, "metadata": {"q": secret}},),
        ),
    ]  # fmt: skip
    config = TracingConfig(spool_dir=Path("unused"), content=False)
    assert all(secret.encode() not in body for body in Encoder(config).encode(spans))
    sent = send(*spans, content=False)
    assert sent[0].attributes["input.value"] == "(15 characters)"
    assert sent[0].message == "ToolError: (26 characters)"
    assert sent[3].attributes["llm.token_count.prompt"] == 7
