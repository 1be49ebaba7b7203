"""The operator of a campaign: decides on what is unknown as a careful person would, by looking at the world."""

from __future__ import annotations

import json
from typing import Any


def decide(question: dict[str, Any], ledger: list[dict[str, Any]]) -> dict[str, Any]:
    """How to go on with a run that has this open question: the options of `Crew.resume`.

    A call of which nobody knows whether it happened: if its line is in the ledger, its result is told, else it
    is made.
    """
    body, options = question["body"], {"question": question["id"]}
    if body["kind"] == "unknown":
        arguments = json.loads(body["arguments"] or "{}")
        for line in ledger:
            if (line["tool"], line["arguments"], line["run"]) == (
                body["tool"],
                arguments,
                question["run_id"],
            ):
                return {**options, "reply": f"receipt-{arguments['order']}"}
    return {**options, "approve": True}
