"""The offline engine: which tools it calls with what, what it answers, and what it never does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from callsheet.models.messages import (
    Message,
    ModelReply,
    ModelRequest,
    OutputSpec,
    ToolCall,
    ToolResult,
    ToolSpec,
    assistant,
    system,
    tool_results,
    user,
)
from callsheet.models.offline import answer_offline

PASSAGES = """[source: docs/design.md#3] Durable turns
A step's result is in the journal before anything that depends on it happens. After a crash each
recorded step returns at once, so that no finished step is paid twice. Bananas are yellow.

[source: README.md]
callsheet runs crews of agents, e.g. on Ray. A crash costs no finished step.
"""


def tool(name: str, description: str, properties: dict[str, Any], *required: str) -> ToolSpec:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return ToolSpec(name=name, description=description, schema=json.dumps(schema))


STRING = {"type": "string"}
ORDER = tool("order_status", "Look up where an order is.", {"order_id": STRING}, "order_id")
DOCUMENTS = tool(
    "search_documents",
    "Search the documents for passages that answer a question.",
    {"query": STRING, "limit": {"type": "integer", "default": 5}},
    "query",
)
WEB = tool("web_search", "Search the web.", {"query": STRING, "max_results": {"type": "integer"}}, "query")
FETCH = tool("fetch_page", "Fetch a web page as text.", {"url": STRING}, "url")
READ = tool("read_file", "Read a text file.", {"path": STRING}, "path")
WEATHER = tool(
    "get_weather",
    "Get the current weather in a city.",
    {"city": STRING, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "city",
)
REFUND = tool(
    "refund_order",
    "Refund an order.",
    {"order_id": {"type": "integer"}, "amount": {"type": "number"}},
    "order_id",
    "amount",
)
DIRECTIONS = tool(
    "get_directions",
    "Get directions between two places.",
    {"start_location": STRING, "end_location": STRING, "route": {"enum": ["fastest", "scenic"]}},
    "start_location",
    "end_location",
)
MEAN = tool(
    "mean",
    "Compute the mean of values.",
    {"values": {"type": "array", "items": {"type": "number"}}},
    "values",
)
CALCULATE = tool("calculate", "Calculate an arithmetic expression.", {"expression": STRING}, "expression")


def ask(task: str, *tools: ToolSpec, after: tuple[Message, ...] = (), **fields: Any) -> ModelReply:
    messages = (system("You answer questions."), user(task), *after)
    return answer_offline(ModelRequest(id="r", model="offline", messages=messages, tools=tools, **fields))


def calls(reply: ModelReply) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, json.loads(call.arguments)) for call in reply.message.tool_calls]


def called(name: str, content: str, arguments: str = "{}", **fields: Any) -> tuple[Message, ...]:
    result = ToolResult(call_id="c", name=name, content=content, **fields)
    return assistant("", ToolCall(id="c", name=name, arguments=arguments)), tool_results(result)


@pytest.mark.parametrize(
    ("task", "tools", "expected"),
    [
        ("Where is order 17?", (ORDER,), [("order_status", {"order_id": "17"})]),
        ("Where is order 17?", (DOCUMENTS, WEB, ORDER), [("order_status", {"order_id": "17"})]),
        ("Where is my order #A-17?", (ORDER,), [("order_status", {"order_id": "A-17"})]),
        (
            "Where are orders 17 and 18?",
            (ORDER,),
            [("order_status", {"order_id": "17"}), ("order_status", {"order_id": "18"})],
        ),
        (
            "How does it survive a crash?",
            (WEB, FETCH, DOCUMENTS),
            [("search_documents", {"query": "How does it survive a crash?"})],
        ),
        (
            "What news of the web page?",
            (DOCUMENTS, WEB),
            [("web_search", {"query": "What news of the web page?"})],
        ),
        ("Search the web for Ray.", (DOCUMENTS, WEB), [("web_search", {"query": "Search the web for Ray."})]),
        (
            "Read https://example.org/a?b=c and sum it up",
            (DOCUMENTS, WEB, FETCH),
            [("fetch_page", {"url": "https://example.org/a?b=c"})],
        ),
        ("Read the file docs/a.md.", (READ, WEATHER), [("read_file", {"path": "docs/a.md"})]),
        (
            "What is the weather in Paris, in fahrenheit?",
            (ORDER, WEATHER),
            [("get_weather", {"city": "Paris", "unit": "fahrenheit"})],
        ),
        ("Calculate 12 * (3 + 4)", (CALCULATE,), [("calculate", {"expression": "12 * (3 + 4)"})]),
        (
            "Get directions from Sydney to Melbourne by the fastest route.",
            (DIRECTIONS,),
            [
                (
                    "get_directions",
                    {"start_location": "Sydney", "end_location": "Melbourne", "route": "fastest"},
                )
            ],
        ),
        ("Compute the mean of 3, 4.5 and 1,200.", (MEAN,), [("mean", {"values": [3.0, 4.5, 1200.0]})]),
        (
            "Refund order 17 with an amount of 9.5 euros.",
            (REFUND,),
            [("refund_order", {"order_id": 17, "amount": 9.5})],
        ),
    ],
)
def test_tools_are_called_with_what_the_task_says(
    task: str, tools: tuple[ToolSpec, ...], expected: list[tuple[str, dict[str, Any]]]
) -> None:
    reply = ask(task, *tools)
    assert calls(reply) == expected
    assert reply.stop == "tool_calls"


@pytest.mark.parametrize(
    ("task", "tools"),
    [
        ("Where is my order?", (ORDER,)),
        ("Refund order 17.", (REFUND,)),
        ("What is the weather like?", (WEATHER,)),
        ("Tell me of bananas.", (ORDER, WEATHER, CALCULATE)),
        ("Compute the mean of my values.", (MEAN,)),
        ("Get directions to Melbourne.", (DIRECTIONS,)),
        ("", (DOCUMENTS, ORDER)),
    ],
)
def test_a_tool_that_does_not_fit_or_cannot_be_filled_is_not_called(
    task: str, tools: tuple[ToolSpec, ...]
) -> None:
    assert calls(ask(task, *tools)) == []


def test_two_tools_that_both_apply_are_called_at_once() -> None:
    reply = ask("What is the weather in Paris, and where is order 17?", ORDER, WEATHER)
    assert sorted(name for name, _ in calls(reply)) == ["get_weather", "order_status"]
    assert len({call.id for call in reply.message.tool_calls}) == 2


def test_tool_choice_is_obeyed() -> None:
    task = "Where is order 17?"
    assert calls(ask(task, ORDER, tool_choice="none")) == []
    assert calls(ask("Bananas.", ORDER, tool_choice="required")) == [
        ("order_status", {"order_id": "Bananas."})
    ]
    assert calls(ask(task, ORDER, WEATHER, tool_choice="get_weather"))[0][0] == "get_weather"


def test_a_found_answer_ends_the_turn() -> None:
    reply = ask("Where is order 17?", ORDER, after=called("order_status", "It is in Hamburg."))
    assert (reply.message.text, reply.stop) == ("It is in Hamburg.", "end")


def test_a_result_in_json_is_read_out() -> None:
    after = called("order_status", '{"order_id": 17, "status": "on its way"}')
    assert ask("Where is order 17?", ORDER, after=after).message.text == "order id: 17; status: on its way."


def test_one_other_call_is_made_when_the_first_brings_nothing_and_no_third() -> None:
    task = "How deep is the Mariana Trench?"
    first = called("search_documents", "No passages found.", json.dumps({"query": task}))
    second = ask(task, DOCUMENTS, WEB, after=called("search_documents", "", json.dumps({"query": task})))
    assert [name for name, _ in calls(second)] == ["web_search"]
    failed = called("web_search", "timeout", json.dumps({"query": task}), is_error=True)
    assert calls(ask(task, DOCUMENTS, WEB, after=(*first, *failed))) == []


@pytest.mark.parametrize(
    "nothing",
    [
        "No passage fits 'crash'. Try other words, or say that nothing was found.",
        "Nothing was found.",
        "no results",
        "0 matches",
        "",
        "[]",
    ],
)
def test_a_tools_word_that_it_has_nothing_is_no_answer(nothing: str) -> None:
    task = "What does a crash cost?"
    after = called("search_documents", nothing, json.dumps({"query": task}))
    assert [name for name, _ in calls(ask(task, DOCUMENTS, WEB, after=after))] == ["web_search"]
    assert ask(task, DOCUMENTS, after=after).message.text == "Nothing was found on: What does a crash cost?"


def test_a_tools_short_answer_to_an_earlier_question_is_none_to_this_one() -> None:
    earlier = called("order_status", "It is in Hamburg.")
    messages = (user("Where is order 17?"), *earlier, assistant("It is in Hamburg."), user("Who are you?"))
    reply = answer_offline(ModelRequest(id="r", model="offline", messages=messages))
    assert "Hamburg" not in reply.message.text


def test_the_same_call_is_not_made_twice() -> None:
    task = "Where is order 17?"
    after = called("order_status", "no such order", '{"order_id": "17"}', is_error=True)
    reply = ask(task, ORDER, after=after)
    assert calls(reply) == []
    assert "no such order" in reply.message.text


def test_an_answer_quotes_the_best_sentences_each_with_its_source() -> None:
    reply = ask("What does a crash cost?", after=called("search_documents", PASSAGES))
    assert "A crash costs no finished step. [README.md]" in reply.message.text
    assert "no finished step is paid twice. [docs/design.md#3]" in reply.message.text
    assert "Bananas" not in reply.message.text


def test_citations_survive_the_next_agent() -> None:
    question = "What does a crash cost?"
    first = ask(question, after=called("search_documents", PASSAGES)).message.text
    second = ask(f'{question}\n\n<from agent="researcher">{first}</from>').message.text
    third = ask(f'{question}\n\n<from agent="analyst">{second}</from>').message.text
    assert second == first
    assert third == first


def test_an_agent_that_was_given_the_answer_does_not_search_again() -> None:
    task = 'What does a crash cost?\n<from agent="a">A crash costs no finished step. [README.md]</from>'
    assert calls(ask(task, DOCUMENTS)) == []


def test_work_handed_on_without_a_question_is_passed_on() -> None:
    text = "A crash costs no finished step. [README.md] It is cheap. [a.md]"
    assert ask(f'<from agent="a">{text}</from>').message.text == text


def test_a_critic_says_whose_work_it_judged() -> None:
    task = 'What does a crash cost?\n<from agent="researcher">A crash costs no finished step. [a]</from>'
    request = ModelRequest(
        id="r", model="offline", messages=(system("You are 'critic'.\nJudge."), user(task))
    )
    assert answer_offline(request).message.text == (
        "What researcher wrote speaks of the question. Its best evidence: A crash costs no finished step. [a]"
    )


def test_a_word_deep_in_the_role_makes_nobody_a_critic() -> None:
    task = 'What does a crash cost?\n<from agent="researcher">A crash costs no finished step. [a]</from>'
    messages = (system("You are 'writer'.\nThe critic will judge."), user(task))
    reply = answer_offline(ModelRequest(id="r", model="offline", messages=messages))
    assert reply.message.text == "A crash costs no finished step. [a]"


def test_a_sentence_said_twice_is_quoted_once_with_both_sources() -> None:
    text = "[source: a]\nA crash costs no finished step.\n[source: b]\nA crash costs no finished step.\n"
    reply = ask("What does a crash cost?", after=called("search_documents", text))
    assert reply.message.text == "A crash costs no finished step. [a] [b]"


def test_what_is_not_in_the_material_is_not_answered() -> None:
    reply = ask("Who painted the Mona Lisa?", after=called("search_documents", PASSAGES))
    assert reply.message.text == "Nothing was found on: Who painted the Mona Lisa?"


def test_without_material_it_says_what_it_is_and_claims_nothing() -> None:
    text = ask("What is the capital of France?").message.text
    assert "no language model" in text
    assert "Paris" not in text


def test_other_languages_are_searched_and_quoted() -> None:
    german = "[source: a.md]\nDie Elbe fließt durch Hamburg. Äpfel sind grün.\n"
    found = ask("Durch welche Stadt fließt die Elbe?", after=called("s", german)).message.text
    assert found == "Die Elbe fließt durch Hamburg. [a.md]"
    chinese = "[source: b.md]\n长江是中国最长的河流。苹果是绿色的。\n"
    found = ask("中国最长的河流是什么？", after=called("s", chinese)).message.text
    assert found.startswith("长江是中国最长的河流。 [b.md]")


def test_the_same_request_has_the_same_reply() -> None:
    assert ask("Where is order 17?", ORDER, WEB) == ask("Where is order 17?", ORDER, WEB)


def test_usage_grows_with_the_text_and_is_never_zero() -> None:
    short, long = ask("Hello there."), ask("Hello there. " * 100)
    assert 0 < short.usage.input_tokens < long.usage.input_tokens
    assert short.usage.output_tokens > 0
    assert short.cost_usd == 0.0
    assert short.model == "offline"


class Point(BaseModel):
    text: str
    source: str
    weight: float = Field(ge=0, le=1)


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Verdict(BaseModel):
    good: bool
    score: int = Field(ge=1, le=5)
    advice: str = Field(max_length=60)
    kind: str = Field(json_schema_extra={"enum": ["praise", "blame"]})
    points: list[Point] = Field(min_length=1, max_length=3)
    sources: list[str]
    reviewer: str | None = None
    extra: dict[str, int] = {}
    pair: tuple[int, str]
    tree: Node
    needs_work: bool


def structured(model: Any, task: str, *after: Message) -> Any:
    adapter = TypeAdapter(model)
    output = OutputSpec(name="x", schema=json.dumps(adapter.json_schema()))
    return adapter.validate_json(ask(task, after=after, output=output).message.text)


def test_structured_answers_fit_their_schema_and_hold_what_was_found() -> None:
    made = structured(Verdict, "What does a crash cost?", *called("s", PASSAGES))
    assert made.good
    assert not made.needs_work
    assert made.score == 5
    assert set(made.sources) == {"README.md", "docs/design.md#3"}
    assert made.points[0].source in made.sources
    assert structured(Verdict, "Who painted the Mona Lisa?", *called("s", PASSAGES)).good is False


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "string", "minLength": 3, "maxLength": 5},
            {"type": "integer", "minimum": 2, "exclusiveMaximum": 9, "multipleOf": 2},
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            {"type": "boolean"},
            {"type": "null"},
            {"enum": ["a", 1, None]},
            {"const": 7},
            {"type": ["string", "null"]},
            {"$ref": "#/$defs/leaf"},
            {},
        ]
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {
                "type": st.just("array"),
                "items": inner,
                "minItems": st.integers(0, 2),
                "maxItems": st.integers(2, 4),
            }
        ),
        st.dictionaries(st.sampled_from(["name", "sources", "order_id", "ok"]), inner, max_size=3).map(
            lambda fields: {"type": "object", "properties": fields, "required": sorted(fields)}
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda options: {"anyOf": options}),
    ),
    max_leaves=6,
)


@given(SCHEMAS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_common_schema_is_fitted(schema: dict[str, Any], found: bool) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = {**schema, "$defs": {"leaf": {"type": "string", "enum": ["x", "y"]}}}
    after = called("s", PASSAGES) if found else ()
    reply = ask(
        "What does a crash cost?", after=after, output=OutputSpec(name="x", schema=json.dumps(schema))
    )
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(json.loads(reply.message.text))) == []


def test_json_nested_without_end_is_no_result() -> None:
    for depth in (*range(900, 1000), 100_000):
        for text in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
            assert ask("What does a crash cost?", after=called("s", text)).message.text


PIECES = st.sampled_from(
    ['<from agent="a">', "</from>", "[source: x]\n", "[", "]", "```", "\n", ". ", "crash", "order 17", "\x00",
     "\ud800", "｡", "👩‍👩‍👧", "{", '{"a": [1]}', "https://", "1e999", "%s", "\u202e"]
)  # fmt: skip
HOSTILE = st.lists(PIECES | st.text(max_size=8), max_size=30).map("".join)


@given(HOSTILE, HOSTILE, HOSTILE)
@settings(max_examples=200, deadline=None)
def test_no_text_breaks_it(task: str, content: str, schema: str) -> None:
    odd = ToolSpec(name="odd crash", description=content, schema=schema)
    request = ModelRequest(
        id="r",
        model="offline",
        messages=(system(content), user(task), *called("s", content, content), user(task, name=content)),
        tools=(odd, DOCUMENTS, REFUND),
    )
    for choice in ("auto", "required", "odd crash", "none"):
        reply = answer_offline(
            ModelRequest(
                id="r", model="offline", messages=request.messages, tools=request.tools, tool_choice=choice
            )
        )
        assert bool(reply.message.tool_calls) == (reply.stop == "tool_calls")
        for call in reply.message.tool_calls:
            assert isinstance(json.loads(call.arguments), dict | str | list | int | float | None)
    ask(task, after=called("s", content), output=OutputSpec(name="x", schema=schema))
