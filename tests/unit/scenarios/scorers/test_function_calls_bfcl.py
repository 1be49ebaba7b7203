"""`function_calls` on BFCL's single-turn files: every accepted answer is right, and every mutation of one wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from callsheet.scenarios import Attempt, Call, Case
from callsheet.scenarios.scorers.function_calls import FunctionCalls
from tests.data_sets import data_file

FILES = ("simple_python", "multiple", "parallel", "parallel_multiple", "live_simple")
Given = list[dict[str, Any]]


@pytest.mark.parametrize("name", FILES)
async def test_every_accepted_value_is_right_declared_or_not(name: str) -> None:
    judged = 0
    for row in rows(name):
        for calls in answers(row["ground_truth"]):
            assert await value(row, calls) == 1, (row["id"], calls)
            assert await value(row, calls, declared=False) == 1, (row["id"], calls)
            assert await value(row, list(reversed(calls))) == 1, (row["id"], calls)
            judged += 1
    assert judged >= 60


@pytest.mark.parametrize("name", FILES)
async def test_every_mutation_is_wrong(name: str) -> None:
    judged = 0
    for row in rows(name):
        first = next(answers(row["ground_truth"]))
        for what, calls in mutations(first, row):
            assert await value(row, calls) == 0, (row["id"], what, calls)
            assert await value(row, calls, declared=False) == 0, (row["id"], what, calls)
            judged += 1
    assert judged >= 500


async def test_what_was_carried_out_is_judged_alike() -> None:
    for row in rows("parallel_multiple"):
        calls = next(answers(row["ground_truth"]))
        done = tuple(Call(name=call["name"], arguments=call["arguments"]) for call in calls)
        scorer = FunctionCalls(of="calls")
        attempt = Attempt(case=case_of(row), output="I made the calls.", calls=done)
        assert (await scorer.score(attempt, never)).value == 1
        fewer = Attempt(case=case_of(row), output="I made the calls.", calls=done[1:])
        assert (await scorer.score(fewer, never)).value == 0


async def test_where_no_function_fits_no_call_may_be_made() -> None:
    for row in rows("irrelevance"):
        offered = row["function"][0]
        call = {"name": offered["name"], "arguments": {}}
        for quiet in ([], None, "[]", "None of the functions fits.", {"calls": []}):
            assert await value(row, quiet) == 1, row["id"]
        assert await value(row, [call]) == 0
        assert await value(row, json.dumps(call)) == 0
        attempt = Attempt(case=case_of(row), output="…", calls=(Call(name=offered["name"], arguments={}),))
        assert (await FunctionCalls(of="calls").score(attempt, never)).value == 0


def rows(name: str) -> list[dict[str, Any]]:
    text = data_file(f"bfcl/{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def case_of(row: dict[str, Any], declared: bool = True) -> Case:
    metadata = {"functions": row["function"]} if declared else {}
    return Case(id=row["id"], input="?", expected=row["ground_truth"], metadata=metadata)


async def value(row: dict[str, Any], calls: Any, declared: bool = True) -> float:
    scorer, case = FunctionCalls(), case_of(row, declared)
    scorer.check(case)
    return (await scorer.score(Attempt(case=case, output=calls), never)).value


async def never(crew: Any, given: Any) -> Any:
    raise AssertionError("no crew is run")


def answers(truth: list[dict[str, Any]]) -> Iterator[Given]:
    """Answers in which each accepted value of each argument stands at least once; some are left out that may be."""
    most = max((len(v) for call in truth for a in call.values() for v in a.values()), default=1)
    for nth in range(max(most, 2)):
        yield [
            {"name": name, "arguments": dict(filled(arguments, nth))}
            for call in truth
            for name, arguments in call.items()
        ]


def filled(arguments: dict[str, list[Any]], nth: int) -> Iterator[tuple[str, Any]]:
    for argument, accepted in arguments.items():
        chosen = accepted[nth % len(accepted)] if accepted else []
        if chosen != "":
            yield argument, plain(chosen, nth)


def plain(accepted: Any, nth: int) -> Any:
    """A value that an accepted one stands for: in dictionaries each key has a list of its own."""
    if isinstance(accepted, dict):
        return dict(filled({k: v if isinstance(v, list) else [v] for k, v in accepted.items()}, nth))
    if isinstance(accepted, list):
        return [plain(item, nth) for item in accepted]
    return accepted


def mutations(calls: Given, row: dict[str, Any]) -> Iterator[tuple[str, Given]]:
    declared = {function["name"]: function for function in row["function"]}
    for index, call in enumerate(calls):
        required = declared[call["name"]]["parameters"].get("required", [])
        for argument, given in call["arguments"].items():
            accepted = row["ground_truth"][index][call["name"]][argument]
            if changed(given) not in accepted:  # a few take True as well as False
                yield f"wrong value of {argument}", edited(calls, index, argument, changed(given))
            yield f"another kind of {argument}", edited(calls, index, argument, {"no": "such"})
            if isinstance(given, int) and not isinstance(given, bool):
                yield f"type of {argument}", edited(calls, index, argument, str(given))
            if argument in required:
                without = copy.deepcopy(calls)
                del without[index]["arguments"][argument]
                yield f"missing {argument}", without
        yield "extra argument", edited(calls, index, "surely_not_an_argument", 1)
        renamed = copy.deepcopy(calls)
        renamed[index]["name"] += "_2"
        yield "wrong function", renamed
        yield "missing call", calls[:index] + calls[index + 1 :]
        yield "extra call", [*calls, call]


def edited(calls: Given, index: int, argument: str, value: Any) -> Given:
    found = copy.deepcopy(calls)
    found[index]["arguments"][argument] = value
    return found


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1234567
    if isinstance(value, str):
        return f"{value} and more"
    if isinstance(value, list):
        return [*value, value[-1] if value else "more"]
    if isinstance(value, dict):
        return {**value, "surely_not_a_key": 1}
    return "something"
