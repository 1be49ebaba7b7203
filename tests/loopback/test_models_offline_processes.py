"""The offline engine gives the same replies in every process, whatever the order of its sets."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import json
from callsheet.models.messages import *
from callsheet.models.offline import answer_offline
from callsheet.models.offline_text import Index
from callsheet.tools import builtin_tools

tools = tuple(
    ToolSpec(name=tool.name, description=tool.description, schema=tool.schema) for tool in builtin_tools().values()
)
passages = "\\n\\n".join(
    f"[source: {i}.md] Harbours and ships\\nShip {i} lies in harbour {i % 3} of the north. The harbour is deep."
    for i in range(20)
)
schema = '{"type": "object", "properties": {"kind": {"enum": ["ship", "harbour", "north"]}, "ids": {"type": '
schema += '"array", "items": {"type": "integer"}}, "good": {"type": "boolean"}}, "required": ["kind", "ids"]}'
for task in (
    "Which ship lies in the harbour of the north, 17 or 18, and what does the web say of harbours?",
    "Read docs/guide.md and https://example.org/ships about order 17",
    "search the documents on ships, harbours, depth, the north",
):
    for choice in ("auto", "required", "none"):
        request = ModelRequest(id="r", model="offline", messages=(user(task),), tools=tools, tool_choice=choice)
        print(reply_to_data(answer_offline(request)))
    call = ToolCall(id="1", name="search_documents", arguments='{"query": "ships"}')
    result = tool_results(ToolResult(call_id="1", name="search_documents", content=passages))
    for output in (None, OutputSpec(name="x", schema=schema)):
        messages = (user(task), assistant("", call), result)
        print(reply_to_data(answer_offline(ModelRequest(id="r", model="offline", messages=messages, output=output))))

# Sums of floats depend on their order, which for a set is another in each process.
texts = [[f"word{i}" for i in range(n)] for n in range(1, 60)]
print([Index(texts).score(n, {f"word{i}" for i in range(60)}) for n in range(59)])
"""


def test_replies_are_the_same_in_every_process() -> None:
    said = set()
    for seed in ("0", "1", "2", "12345"):
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        said.add(done.stdout)
    assert len(said) == 1
    assert "harbour" in said.pop()
