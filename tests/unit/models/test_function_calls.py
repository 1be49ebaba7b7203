"""Function calling on BFCL's cases: what a model is told of a tool, and what its calls come to, in every API."""

from __future__ import annotations

import inspect
import json
import keyword
import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NotRequired, Required

import pytest
from pydantic import Field
from typing_extensions import TypedDict

from callsheet.models.anthropic_stream import MessageStream
from callsheet.models.anthropic_wire import anthropic_tools, from_anthropic
from callsheet.models.catalogue import ModelName
from callsheet.models.messages import ModelReply, ModelRequest, ToolSpec, user
from callsheet.models.openai_stream import ChatStream
from callsheet.models.openai_wire import from_openai, openai_tools
from callsheet.models.responses_wire import from_responses, responses_tools
from callsheet.tools.failures import ToolInputError
from callsheet.tools.tool import Tool
from tests.data_sets import data_file

FILES = ("simple_python", "multiple", "parallel", "parallel_multiple", "live_simple")
KINDS = {"dict": "object", "float": "number", "tuple": "array"}
PLAIN = {"string": str, "integer": int, "float": float, "number": float, "boolean": bool, "any": Any}
NAME = ModelName(provider="openai", model="m")
REQUEST = ModelRequest(id="r", model="openai/m", messages=(user("hello"),))


def cases() -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in FILES
        for line in data_file(f"bfcl/{file}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def type_of(schema: dict[str, Any]) -> Any:
    """The Python type that an author would write for BFCL's schema."""
    kind = schema.get("type", "any")
    if schema.get("enum"):
        return Literal[tuple(schema["enum"])]
    if kind in ("array", "tuple"):
        return list[type_of(schema["items"])] if isinstance(schema.get("items"), dict) else list[Any]  # type: ignore[misc]
    if kind in ("dict", "object"):
        if not schema.get("properties"):
            return dict[str, Any]
        needed = schema.get("required", ())
        make: Any = TypedDict
        return make(
            "Shape",
            {
                name: Required[type_of(part)] if name in needed else NotRequired[type_of(part)]
                for name, part in schema["properties"].items()
            },
        )
    return PLAIN[kind]


def tool_of(function: dict[str, Any]) -> Tool:
    """The tool whose author had BFCL's function in mind."""
    needed = function["parameters"].get("required", ())
    parameters, hints = [], {}
    for name, schema in function["parameters"]["properties"].items():
        about = Field(description=schema.get("description"))
        hints[name] = Annotated[type_of(schema), about]
        default = inspect.Parameter.empty if name in needed else schema.get("default")
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default))

    def body(**given: Any) -> str:
        return json.dumps(given)

    shown: Any = body
    shown.__signature__ = inspect.Signature(parameters)
    shown.__annotations__ = hints
    return Tool(body, name=plain(function["name"]), description=function["description"] or "A function.")


def plain(name: str) -> str:
    """A name that every provider takes: BFCL's have dots."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64]


def check_schema(shown: dict[str, Any], wanted: dict[str, Any], defs: dict[str, Any], where: str) -> None:
    while "$ref" in shown:
        shown = {**defs[shown["$ref"].rpartition("/")[2]], **{k: v for k, v in shown.items() if k != "$ref"}}
    if wanted.get("description"):
        assert shown.get("description") == wanted["description"], where
    if wanted.get("enum"):
        assert shown.get("enum", [shown.get("const")]) == wanted["enum"], where
        return
    kind = wanted.get("type", "any")
    if kind != "any":
        assert shown.get("type") == KINDS.get(kind, kind), where
    if isinstance(wanted.get("items"), dict):
        check_schema(shown["items"], {**wanted["items"], "description": None}, defs, f"{where}[]")
    if wanted.get("properties"):
        assert set(shown["properties"]) == set(wanted["properties"]), where
        assert set(shown.get("required", ())) == set(wanted.get("required", ())) & set(
            wanted["properties"]
        ), where
        for name, part in wanted["properties"].items():
            if where or name not in wanted.get(
                "required", ()
            ):  # not told: see below for those with a default
                part = {**part, "description": None}
            check_schema(shown["properties"][name], part, defs, f"{where}.{name}")


def test_what_a_model_is_told_of_a_tool_says_what_the_function_does() -> None:
    done = 0
    for case in cases():
        for function in case["function"]:
            tool = tool_of(function)
            spec = (ToolSpec(name=tool.name, description=tool.description, schema=tool.schema),)
            told = [
                openai_tools(spec)[0]["function"]["parameters"],
                responses_tools(spec)[0]["parameters"],
                anthropic_tools(spec)[0]["input_schema"],
            ]
            for schema in told:
                wanted = {**function["parameters"], "description": None}
                check_schema(schema, wanted, schema.get("$defs", {}), "")
            done += 1
    assert done > 600


def test_a_description_of_the_authors_is_told_beside_a_default() -> None:
    def look(count: Annotated[int, Field(description="How many.")] = 3) -> str:
        """Look."""
        return str(count)

    assert json.loads(Tool(look).schema)["properties"]["count"]["description"] == "How many."


LEFT_OUT = object()

# BFCL's answer is not of the type that its own function declares: words for whole numbers, "N/A" for one of two
# values, nothing for what is required. Such a call is refused, and the model is told why.
CONTRADICTIONS = frozenset(
    {
        "parallel_multiple_94", "live_simple_106-63-0", "live_simple_145-95-2", "live_simple_147-95-4",
        "live_simple_148-95-5", "live_simple_156-95-13",
    }
)  # fmt: skip


def first(accepted: list[Any]) -> Any:
    """The first of the values that BFCL accepts; an empty text and null say that none need be given."""
    return plain_value(next((value for value in accepted if value not in ("", None)), LEFT_OUT))


def plain_value(value: Any) -> Any:
    if isinstance(value, dict):
        found = {key: first(part) if isinstance(part, list) else part for key, part in value.items()}
        return {key: part for key, part in found.items() if part is not LEFT_OUT}
    return [plain_value(part) for part in value] if isinstance(value, list) else value


def answers(case: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for call in case["ground_truth"]:
        for name, arguments in call.items():
            values = {key: first(accepted) for key, accepted in arguments.items()}
            found.append((name, {key: value for key, value in values.items() if value is not LEFT_OUT}))
    return found


def replies(calls: list[tuple[str, str]]) -> Iterator[tuple[str, ModelReply]]:
    """These calls (name, JSON of the arguments) as each API brings them, whole and in pieces."""
    listed = [
        {"id": f"c{n}", "function": {"name": name, "arguments": a}} for n, (name, a) in enumerate(calls)
    ]
    chat = {"choices": [{"message": {"tool_calls": listed}, "finish_reason": "tool_calls"}]}
    yield "chat", from_openai(chat, REQUEST, NAME)
    blocks = [
        {"type": "tool_use", "id": f"c{n}", "name": name, "input": json.loads(a)}
        for n, (name, a) in enumerate(calls)
    ]
    yield "messages", from_anthropic({"content": blocks, "stop_reason": "tool_use"}, REQUEST, NAME)
    items = [
        {"type": "function_call", "call_id": f"c{n}", "name": name, "arguments": a}
        for n, (name, a) in enumerate(calls)
    ]
    yield "responses", from_responses({"output": items, "status": "completed"}, REQUEST, NAME)
    chunks, events = ChatStream(NAME, lambda _: None), MessageStream(NAME, lambda _: None)
    events.take({"type": "message_start", "message": {"content": []}})
    for n, (name, text) in enumerate(calls):
        start = {"index": n, "id": f"c{n}", "function": {"name": name, "arguments": ""}}
        chunks.take({"choices": [{"index": 0, "delta": {"tool_calls": [start]}}]})
        events.take({"type": "content_block_start", "index": n, "content_block": {**blocks[n], "input": {}}})
        for piece in re.findall(r"(?s).{1,5}", text):
            more = {"index": n, "function": {"arguments": piece}}
            chunks.take({"choices": [{"index": 0, "delta": {"tool_calls": [more]}}]})
            delta = {"type": "input_json_delta", "partial_json": piece}
            events.take({"type": "content_block_delta", "index": n, "delta": delta})
        events.take({"type": "content_block_stop", "index": n})
    chunks.take({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    chunks.take(None)
    yield "chat, streamed", from_openai(chunks.body(), REQUEST, NAME)
    events.take({"type": "message_delta", "delta": {"stop_reason": "tool_use"}})
    events.take({"type": "message_stop"})
    yield "messages, streamed", from_anthropic(events.body(), REQUEST, NAME)


def test_every_known_answer_reaches_its_tool_through_every_api(capsys: pytest.CaptureFixture[str]) -> None:
    done, failures = Counter[str](), []
    for case in cases():
        tools = {function["name"]: tool_of(function) for function in case["function"]}
        wanted = answers(case)
        calls = [(tools[name].name, json.dumps(values)) for name, values in wanted]
        for api, reply in replies(calls):
            made = [(call.name, call.arguments) for call in reply.message.tool_calls]
            try:
                assert reply.stop == "tool_calls"
                assert [name for name, _ in made] == [name for name, _ in calls]
                for (name, values), (_, text) in zip(wanted, made, strict=True):
                    got = tools[name].read(text)
                    assert {key: got[key] for key in values} == values
            except (AssertionError, ToolInputError) as error:
                if not (case["id"] in CONTRADICTIONS and isinstance(error, ToolInputError)):
                    failures.append(f"{case['id']} by {api}: {error}")
            else:
                done[api] += 1
    with capsys.disabled():
        print(f"\nBFCL: known answers that reach their tools, of {len(cases())}: {dict(done)}")
    assert not failures, "\n".join(failures[:20])
    assert set(done.values()) == {len(cases()) - len(CONTRADICTIONS)}


def test_no_argument_is_named_by_a_word_that_python_keeps() -> None:
    # If this fails, the cases above need tools with aliases.
    names = {name for case in cases() for f in case["function"] for name in f["parameters"]["properties"]}
    assert not [name for name in names if keyword.iskeyword(name)]
