"""The offline model: no language model, but a deterministic engine that does honest work without a key.

It picks tools by the words that task and tool share, fills their arguments from the task by schema, and
answers in sentences quoted from what the tools and earlier agents said, each with its source. It knows
nothing by itself and says so. The same request always gives the same reply.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

from callsheet.core.canonical import digest
from callsheet.models.embeddings import Embeddings, EmbedRequest, no_embeddings
from callsheet.models.messages import Message, ModelReply, ModelRequest, Stop, Text, ToolCall, Usage
from callsheet.models.offline_answer import Answer, choose
from callsheet.models.offline_bounds import within
from callsheet.models.offline_material import Material, read_material, texts_of
from callsheet.models.offline_output import structured
from callsheet.models.offline_text import count_tokens, keywords
from callsheet.models.offline_tools import forced, plan
from callsheet.models.structured import parse_schema

_NOTICE = "callsheet's offline engine, which is no language model"
_JUDGES = re.compile(r"\b(?:critic|judge|reviewer)\b", re.IGNORECASE)


class OfflineModel:
    """Answers model requests without a model; see the module's text."""

    async def complete(self, request: ModelRequest, deadline: float | None = None) -> ModelReply:
        """Answer a request. Takes milliseconds, costs nothing and raises nothing."""
        return answer_offline(request)

    async def embed(self, request: EmbedRequest, deadline: float | None = None) -> Embeddings:
        """Raises ModelRequestError: the built-in embedder is the memory's own, `lexical`."""
        raise no_embeddings("offline", request.model)

    async def close(self) -> None:
        """Nothing is open."""


def answer_offline(request: ModelRequest) -> ModelReply:
    """The reply to a request: tool calls where tools fit and nothing has been found yet, else an answer."""
    material = read_material(request)
    answer = choose(material.task, material.statements)
    calls = _calls(request, material, answer)
    stop: Stop = "tool_calls"
    if calls:
        message = Message(role="assistant", parts=calls)
    else:
        text = _prose(material, _fitting(answer, request.max_tokens))
        if request.output is not None:
            value = structured(parse_schema(request.output.schema), answer, text)
            text = json.dumps(value, ensure_ascii=False)
        text, stop = within(text, most=request.max_tokens, stops=request.stop)
        message = Message(role="assistant", parts=(Text(text=text),) if text else ())
    declared = "\n".join(f"{tool.name} {tool.description} {tool.schema}" for tool in request.tools)
    usage = Usage(
        input_tokens=sum(count_tokens(texts_of(item)) for item in request.messages) + count_tokens(declared),
        output_tokens=max(1, count_tokens(texts_of(message))),
    )
    return ModelReply(
        request_id=request.id,
        message=message,
        stop=stop,
        model="offline",
        usage=usage,
        cost_usd=0.0,
    )


def _fitting(answer: Answer, most: int | None) -> Answer:
    """As many of its sentences, the best first, as there is room for; one at least, which may be cut."""
    statements = answer.statements
    while most is not None and len(statements) > 1 and count_tokens(answer.text) > most:
        statements = statements[:-1]
        answer = replace(answer, statements=statements)
    return answer


def _calls(request: ModelRequest, material: Material, answer: Answer) -> tuple[ToolCall, ...]:
    if not request.tools or request.tool_choice == "none":
        return ()
    rounds = _rounds(request)
    seed = digest(material.task, str(len(request.messages)))
    if request.tool_choice not in ("auto", "required"):
        named = [tool for tool in request.tools if tool.name == request.tool_choice]
        return forced(named[0], material.task, seed) if named and not rounds else ()
    if request.tool_choice == "auto":
        # One round, and one more where the first brought nothing: never a loop.
        barren = not answer.found or all(result.is_error for result in material.results)
        if rounds > 1 or (rounds == 1 and not barren):
            return ()
        if not rounds and material.agents and answer.found:
            return ()  # an earlier agent has found it already
    calls = plan(request.tools, material.task, material.calls, seed)
    if rounds:
        calls = calls[:1]
    if not calls and request.tool_choice == "required" and not rounds:
        return forced(request.tools[0], material.task, seed)
    return calls


def _rounds(request: ModelRequest) -> int:
    found = 0
    for message in reversed(request.messages):
        if message.role == "user":
            break
        found += bool(message.tool_calls)
    return found


def _prose(material: Material, answer: Answer) -> str:
    if answer.found:
        if _JUDGES.search(material.system.partition("\n")[0]) and material.agents:
            said = ", ".join(dict.fromkeys(material.agents))
            return f"What {said} wrote speaks of the question. Its best evidence: {answer.text}"
        return answer.text
    task = " ".join(material.task.split())
    task = task if len(task) <= 300 else task[:299] + "…"
    if material.statements or material.results:
        errors = [result.content for result in material.results if result.is_error]
        if errors and not material.statements:
            return f"Nothing was found, because the tools failed: {' '.join(errors[0].split())[:300]}"
        return f"Nothing was found on: {task}" if task else "Nothing was found."
    if material.pictures:
        return f"This is {_NOTICE}: it cannot see the pictures that it is given."
    about = ", ".join(list(dict.fromkeys(keywords(task)))[:8])
    if not about:
        return f"This is {_NOTICE}. It was given no task."
    return f"This is {_NOTICE}: it can only quote what it is given, and it was given nothing on: {task}"
