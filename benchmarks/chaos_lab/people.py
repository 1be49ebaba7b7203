"""The operator of a campaign: decides on what is unknown as a careful person would, by looking at the world."""

from __future__ import annotations

import json
from typing import Any


def decide(question: dict[str, Any], ledger: list[dict[str, Any]]) -> tuple[Any, str]:
    """The reply to an open question, and what it came to in a word.

    A call of which nobody knows whether it happened: if its line is in the ledger, its result is told, else it
    is made.
    """
    body = question["body"]
    if body["kind"] != "unknown":
        return {"decision": "approve", "text": ""}, "approve"
    arguments = json.loads(body["arguments"] or "{}")
    for line in ledger:
        if (line["tool"], line["arguments"], line["run"]) == (body["tool"], arguments, question["run_id"]):
            return {"decision": "result", "text": f"receipt-{arguments['order']}"}, "result"
    return {"decision": "approve", "text": ""}, "approve"
