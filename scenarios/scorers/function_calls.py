"""`function_calls`: the right functions are called with the right arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from callsheet.scenarios.attempt import Attempt, Call
from callsheet.scenarios.case import Case
from callsheet.scenarios.scorers.answers import MISSING, AnswerScorer, found_at
from callsheet.scenarios.scorers.base import RunCrew, Score, right, wrong
from callsheet.scenarios.scorers.bfcl import Declared, call_fault
from callsheet.scenarios.scorers.reading import json_in, parsed


class FunctionCalls(AnswerScorer):
    """Calls match those that the case expects, by BFCL's rules: see `bfcl.py`.

    Expected: a list of `{function: {argument: [accepted values]}}`; an empty one says that no call may be made.
    Order does not matter. `of` says which calls: "output", those that the crew answers with (a list of
    `{"name", "arguments"}`, as data or as JSON in text), or "calls", the tool calls that were carried out.
    `functions_from` is where in the case the functions' declarations stand, for the check of types.
    """

    use = "function_calls"
    form = "a list of {function: {argument: [accepted values]}}"

    def __init__(
        self,
        *,
        of: Literal["output", "calls"] = "output",
        functions_from: str = "metadata.functions",
        **where: str,
    ) -> None:
        super().__init__(**where)
        if of not in ("output", "calls"):
            raise self.misuse(f"of is {of!r}", "It is output (what the crew answers) or calls (what it did).")
        root, _, self._path = (
            functions_from.partition(".") if isinstance(functions_from, str) else ("", "", "")
        )
        if root not in ("metadata", "input", "expected"):
            raise self.misuse(
                f"functions_from is {functions_from!r}", 'It is a path as "metadata.functions".'
            )
        self._of, self._root = of, root

    def check(self, case: Case) -> None:
        """Raises DefinitionError for expected calls, or declarations of functions, of another form."""
        super().check(case)
        self._declared(case)

    def check_expected(self, expected: Any) -> None:
        """Takes calls with lists of accepted values."""
        fits = isinstance(expected, list) and all(
            isinstance(call, Mapping)
            and len(call) == 1
            and all(
                isinstance(arguments, Mapping)
                and all(isinstance(values, list) for values in arguments.values())
                for arguments in call.values()
            )
            for call in expected
        )
        if not fits:
            raise self.misfit(expected)

    async def score(self, attempt: Attempt, run: RunCrew) -> Score:
        """Right if every expected call was made, and no other."""
        if self._of == "calls":
            calls: tuple[Call, ...] | str = attempt.calls
        else:
            answer = found_at(attempt.output, self._answer_from)
            calls = "the answer has no calls" if answer is MISSING else calls_in(answer)
        expected = self.expected_of(attempt.case)
        if isinstance(calls, str):
            return wrong(calls) if expected else right()
        return _matched(calls, expected, self._declared(attempt.case))

    def judge(self, answer: Any, expected: Any) -> Score:
        """Compare an answer alone, without the functions' declarations."""
        calls = calls_in(answer)
        if isinstance(calls, str):
            return wrong(calls) if expected else right()
        return _matched(calls, expected, {})

    def _declared(self, case: Case) -> dict[str, Declared]:
        found = found_at(getattr(case, self._root), self._path)
        if found is MISSING or found is None:
            return {}
        if not isinstance(found, list) or not all(
            isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in found
        ):
            raise self.misuse(
                f"{self._root}.{self._path} holds no functions", "It is a list of {name, parameters: {…}}."
            )
        return {item["name"]: item for item in found}


def calls_in(answer: Any) -> tuple[Call, ...] | str:
    """The calls that an answer consists of, or what is wrong with it.

    Each is `{"name", "arguments"}`, arguments as an object or its JSON text, perhaps below "function" as OpenAI
    writes it; or `{name: arguments}`. Text without JSON has no calls.
    """
    if isinstance(answer, str):
        answer = json_in(answer)
    if answer is MISSING:
        return "no calls found in the answer"
    if answer is None:
        return ()
    if isinstance(answer, Mapping) and isinstance(answer.get("calls"), list):
        answer = answer["calls"]
    found = []
    for item in answer if isinstance(answer, list) else [answer]:
        call = _call(item)
        if call is None:
            return f"not a call: {item!r:.200}"
        found.append(call)
    return tuple(found)


def _call(item: Any) -> Call | None:
    if not isinstance(item, Mapping):
        return None
    if isinstance(item.get("function"), Mapping):
        item = item["function"]
    name, arguments = item.get("name"), item.get("arguments")
    if arguments is None and "parameters" in item:
        arguments = item["parameters"]
    if not isinstance(name, str) and len(item) == 1:
        name, arguments = next(iter(item.items()))
    if isinstance(arguments, str):
        arguments = parsed(arguments)
    if arguments is None:
        arguments = {}
    if not isinstance(name, str) or not isinstance(arguments, Mapping):
        return None
    return Call(name=name, arguments=arguments)


def _matched(calls: tuple[Call, ...], expected: list[Any], declared: Mapping[str, Declared]) -> Score:
    if not expected:
        return wrong(f"{calls[0].name} is called, and no call may be made") if calls else right()
    if len(calls) != len(expected):
        return wrong(f"calls made: {len(calls)}, expected: {len(expected)}")
    faults = [[_fault(call, wanted, declared) for call in calls] for wanted in expected]
    taken: dict[int, int] = {}
    for number in range(len(expected)):
        if not _assign(number, faults, taken, set()):
            return wrong(faults[number][0] if len(calls) == 1 else f"no call is {expected[number]!r:.300}")
    return right()


def _assign(number: int, faults: list[list[str]], taken: dict[int, int], tried: set[int]) -> bool:
    """Give an expected call one that matches it, moving others to their alternatives (Kuhn's algorithm)."""
    for index, fault in enumerate(faults[number]):
        if fault or index in tried:
            continue
        tried.add(index)
        if index not in taken or _assign(taken[index], faults, taken, tried):
            taken[index] = number
            return True
    return False


def _fault(call: Call, wanted: Mapping[str, Any], declared: Mapping[str, Declared]) -> str:
    name, accepted = next(iter(wanted.items()))
    return call_fault(call.name, call.arguments, name, accepted, declared.get(name))
