"""Everything that travels or is kept: frozen, equal by value, and whole after pickle, JSON and another process."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import typing
from typing import Any

import pytest

from callsheet.core import events, limits, records, state
from callsheet.core.canonical import digest, from_json, to_json
from callsheet.core.errors import DefinitionError
from callsheet.core.frozen import frozen, names_of
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import (
    Envelope,
    Step,
    ask_step,
    body_text,
    envelope_from_dict,
    record_to_dict,
    step_from_dict,
)
from callsheet.runtime import protocol

ENVELOPE = Envelope(
    id="e", run_id="r", kind="ask", sender="flow", receiver="a", body='{"input":"\u00fc"}', cause="t",
    step_key="ask-1", step_nth=2, at=1.5,
)  # fmt: skip
USAGE = RunUsage(llm_calls=1, input_tokens=2, output_tokens=3, cost_usd=0.25, unpriced_calls=1, tool_calls=4)
STEP = Step(
    run_id="r", turn_id="t", key="llm-1", nth=1, kind="llm", name="m", input="1", result='"r"', usage=USAGE,
    started=1.0, ended=2.0,
)  # fmt: skip
RECORD = records.RunRecord(
    run_id="r", crew="c", status="done", input="{}", output='"o"', ended=3.0, owner="o", since=2.0, spent_s=1.0,
    source="{}",
)  # fmt: skip
END = events.EndRun(run_id="r", status="done", output='"o"', error={"type": "RunError"}, usage=USAGE, at=9.0)
INFO = protocol.RunInfo(
    run_id="r", crew="c", launch="l", session_id="s", options="{}", limits=Limits(turns=3), deadline=9.0
)

CARD = protocol.LaunchCard(name="l", id="1", participants=("flow", "a"), description="{}")

RESERVATION = state.Reservation(turn_id="t", key="k", nth=1, usd=0.5, tokens=7)

EXAMPLES: list[Any] = [
    ENVELOPE, STEP, RECORD, USAGE, END, INFO, Limits(), Limits(budget_usd=1.0, deadline_s=None),
    events.RunStarted(envelope=ENVELOPE, limits=Limits()), events.MessageSent(envelope=ENVELOPE),
    events.StepRecorded(step=STEP),
    events.StepReserved(step=dataclasses.replace(STEP, state="intent")),
    events.TurnTaken(run_id="r", turn_id="t", at=1.0, reserving=(STEP,)),
    events.TurnParked(run_id="r", turn_id="t", pending=(("ask-1", 0), ("ask-2", 1))),
    events.TurnFinished(run_id="r", turn_id="t", kind="reply", body="{}", at=1.0),
    events.DeadlinePassed(run_id="r", at=1.0), events.CancelRequested(run_id="r", reason="enough", at=1.0),
    events.KeepEnvelope(envelope=ENVELOPE), events.KeepStep(step=STEP), events.Deliver(envelope=ENVELOPE),
    events.Resolve(turn_id="t", receiver="a", key="k", nth=1, kind="error", body="{}"),
    events.DeliverAgain(turn_id="t"), events.Park(turn_id="t", receiver="a"), events.Wait(usage=USAGE),
    events.Grant(turn_id="t", receiver="a", key="k", nth=1),
    events.Recall(turn_id="t", key="k", nth=1), events.CancelTurn(turn_id="t", receiver="a", reason="enough"),
    records.RunResumed(
        run_id="r", launch="l", limits="{}", options="{}", owner="o", at=1.0, source="{}", retired=("e-reply",)
    ),
    records.RunWaits(run_id="r", usage=USAGE, at=1.0), records.RunWoken(run_id="r", launch="l", owner="o", at=1.0),
    CARD, protocol.Join(card=CARD, name="a", replica=0, replicas=2, pid=7, turns=(("r", "t", 1.0),), reserving=(STEP,)),
    protocol.Spoken(run_id="r", turn_id="t", name="a", text="hm", anew=False, at=1.0),
    protocol.Leaving(card=CARD), protocol.Ping(), protocol.Dismissed(), protocol.ParkTurn(turn_id="t"),
    protocol.StepGranted(turn_id="t", key="k", nth=1), protocol.Listening(run_id="r", on=True),
    protocol.WatchRun(run_id="r", tokens=False), protocol.UnwatchRun(run_id="r"),
    protocol.ResumeRun(run_id="r", launch="l", limits="{}", reply=("e", "{}"), watch="all", again=True),
    protocol.StartRun(record=RECORD, envelope=ENVELOPE, limits=Limits(), watch="all"),
    protocol.CancelRun(run_id="r", reason="enough"), protocol.Query(id=1, verb="runs", args={"limit": 3}),
    protocol.TurnGiven(envelope=ENVELOPE, info=INFO, steps=(STEP,)),
    protocol.StepAnswered(turn_id="t", key="k", nth=0, kind="reply", body="{}"),
    protocol.TurnStopped(turn_id="t", reason="enough"), protocol.RunNews(run_id="r", record=END),
    protocol.Spoken(run_id="r", turn_id="t", name="clerk", text="it is", anew=False, at=1.0),
    protocol.Refused(run_id="r", error={"type": "RunError"}), protocol.Answer(id=1, value=[1], error=None),
    protocol.JournalBroken(error={"type": "JournalError", "message": "full"}),
    state.OpenTurn(envelope=ENVELOPE, done=frozenset({("k", 1)}), model_calls=2, parked=True),
    RESERVATION,
    state.RunState(
        run_id="r", status="running", root=ENVELOPE, limits=Limits(), open={}, turns=1, reserved=(RESERVATION,),
        waiting_calls=((RESERVATION, STEP),),
    ),
]  # fmt: skip

GOLDEN = {"envelope": "d313ec7e0ce98004dcc90d446d324d71", "step": "ed9d0d4efd3af349d4f0acc32dbc2d6e"}


def each(example: Any) -> str:
    return type(example).__name__


def test_every_class_that_travels_has_an_example() -> None:
    there = {
        cls
        for module in (events, limits, records, state, protocol)
        for cls in vars(module).values()
        if inspect.isclass(cls) and dataclasses.is_dataclass(cls) and cls.__module__ == module.__name__
    }
    assert there == {type(example) for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=each)
@pytest.mark.parametrize("version", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_it_survives_pickle(example: Any, version: int) -> None:
    again = pickle.loads(pickle.dumps(example, version))
    assert type(again) is type(example)
    assert again == example
    assert repr(again) == repr(example)


@pytest.mark.parametrize("example", EXAMPLES, ids=each)
def test_it_cannot_be_changed(example: Any) -> None:
    for name in names_of(type(example)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(example, name, None)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(example, name)
    with pytest.raises((AttributeError, TypeError)):
        example.another = 1
    assert not hasattr(example, "__dict__")


@pytest.mark.parametrize("example", EXAMPLES, ids=each)
def test_it_is_equal_by_value_and_copied_whole(example: Any) -> None:
    for again in (copy.copy(example), copy.deepcopy(example), dataclasses.replace(example)):
        assert again == example
        assert again is not example
    for first in names_of(type(example))[:1]:
        assert dataclasses.replace(example, **{first: 77}) != example
    assert example != tuple(getattr(example, name) for name in names_of(type(example)))


@pytest.mark.parametrize("example", EXAMPLES, ids=each)
def test_its_fields_are_given_by_name_and_none_is_left_out(example: Any) -> None:
    cls: Any = type(example)
    values = {f.name: getattr(example, f.name) for f in dataclasses.fields(cls)}
    assert tuple(values) == names_of(cls)
    assert cls(**values) == example
    if values:
        with pytest.raises(TypeError):
            cls(*values.values())
    with pytest.raises(TypeError):
        cls(**values, another=1)
    assert all(name in repr(example) for name in values)


@pytest.mark.parametrize("example", [ENVELOPE, STEP, USAGE, Limits(), RECORD], ids=each)
def test_plain_records_hash_by_value(example: Any) -> None:
    assert len({example, copy.deepcopy(example), pickle.loads(pickle.dumps(example))}) == 1


def test_one_field_and_an_odd_value_in_it_survive_too() -> None:
    for value in (None, (), (1,), [], False, 0):
        example = OneField(it=value)
        again = pickle.loads(pickle.dumps(example))
        assert again == example
        assert copy.deepcopy(example).it == value


@frozen
class OneField:
    """As small as it gets."""

    it: Any


@pytest.mark.parametrize("union", [events.Event, events.Command])
def test_the_unions_are_complete_enough_to_match_on(union: Any) -> None:
    assert {each(e) for e in EXAMPLES} >= {cls.__name__ for cls in typing.get_args(union)}


# --- their stored form ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "envelope", [ENVELOPE, dataclasses.replace(ENVELOPE, kind="error", reply_to="x", at=0.0)]
)
def test_an_envelope_survives_its_dictionary_and_json(envelope: Envelope) -> None:
    assert envelope_from_dict(from_json(to_json(record_to_dict(envelope)))) == envelope


@pytest.mark.parametrize("step", [STEP, dataclasses.replace(STEP, usage=None, state="intent", kind="tool")])
def test_a_step_survives_its_dictionary_and_json(step: Step) -> None:
    assert step_from_dict(from_json(to_json(record_to_dict(step)))) == step


@pytest.mark.parametrize("read", [envelope_from_dict, step_from_dict])
@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_record_of_another_version_is_refused_by_it(read: Any, version: Any) -> None:
    data = record_to_dict(ENVELOPE if read is envelope_from_dict else STEP)
    with pytest.raises(ValueError, match=f"version {version!r}; this callsheet reads version 1"):
        read({**data, "v": version})


def test_the_stored_form_of_version_one_never_changes() -> None:
    kept = {name: digest(to_json(record_to_dict(r))) for name, r in (("envelope", ENVELOPE), ("step", STEP))}
    assert kept == GOLDEN
    assert names_of(records.RunRecord) == (
        "run_id", "crew", "status", "input", "output", "error", "session_id", "limits", "usage", "launch",
        "options", "started", "ended", "owner", "since", "spent_s", "source", "v",
    )  # fmt: skip


def test_an_answered_ask_is_a_step_of_its_asker() -> None:
    reply = Envelope(
        id="e-reply", run_id="r", kind="error", sender="a", receiver="flow", body="{}", cause="e", reply_to="e", at=4.0
    )  # fmt: skip
    step = ask_step(ENVELOPE, reply)
    assert (step.turn_id, step.place, step.kind, step.name) == ("t", ("ask-1", 2), "ask", "a")
    assert (step.state, step.input, step.result, step.started, step.ended) == (
        "failed",
        ENVELOPE.body,
        "{}",
        1.5,
        4.0,
    )
    assert ask_step(ENVELOPE, dataclasses.replace(reply, kind="reply")).state == "done"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"input":"hello"}', "hello"),
        ('{"output":"bye","x":1}', "bye"),
        ('{"type":"RunError","message":"broke","fields":{}}', "broke"),
        ('"just text"', "just text"),
        ("17", "17"),
        ("null", "null"),
        ('{"input":{"output":"\u00fc"}}', '{\n "output": "\u00fc"\n}'),
        ('{"other":[1]}', '{\n "other": [\n  1\n ]\n}'),
    ],
)
def test_a_body_reads_as_what_it_says(body: str, text: str) -> None:
    assert body_text(body) == text


# --- limits and usage ----------------------------------------------------------------------------------


def test_limits_survive_json_and_leave_out_what_a_newer_version_knows() -> None:
    own = Limits(turns=3, deadline_s=None, budget_usd=0.5, parallel_tool_calls=2)
    assert Limits.from_dict(from_json(to_json(own.to_dict()))) == own
    assert Limits.from_dict({**own.to_dict(), "new": 1}) == own
    assert Limits.from_dict({}) == Limits()


COUNTS = ["model_calls_per_turn", "turns", "messages", "parallel_tool_calls", "repeated_tool_calls"]


@pytest.mark.parametrize("name", [*COUNTS, "budget_tokens"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, None])
def test_a_limit_that_counts_is_a_whole_number_above_zero(name: str, value: Any) -> None:
    if (name, value) == ("budget_tokens", None):
        assert Limits(budget_tokens=None).budget_tokens is None
        return
    with pytest.raises(DefinitionError, match=f"{name} is") as caught:
        Limits(**{name: value})
    assert caught.value.hint


@pytest.mark.parametrize("name", ["deadline_s", "budget_usd"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), "3", True])
def test_a_limit_of_time_or_money_is_a_number_above_zero_or_none(name: str, value: Any) -> None:
    with pytest.raises(DefinitionError, match=f"{name} is"):
        Limits(**{name: value})
    Limits(**{name: None})
    Limits(**{name: 1})


def test_limits_of_old_runs_are_read_as_they_are() -> None:
    assert Limits.from_dict({"turns": 0, "deadline_s": -1}).to_dict()["turns"] == 0


def test_the_default_limits_are_the_designs() -> None:
    assert Limits().to_dict() == {
        "model_calls_per_turn": 25, "turns": 200, "messages": 1000, "deadline_s": 1800.0, "budget_usd": None,
        "parallel_tool_calls": 8, "budget_tokens": None, "repeated_tool_calls": 4,
    }  # fmt: skip


def test_usage_adds_up_field_by_field() -> None:
    assert USAGE.plus(RunUsage()) == USAGE
    twice = USAGE.plus(USAGE)
    assert all(getattr(twice, name) == 2 * getattr(USAGE, name) for name in names_of(RunUsage))


def test_a_sum_with_unknown_prices_is_not_shown_as_a_price() -> None:
    assert USAGE.to_dict()["cost_usd"] is None
    assert dataclasses.replace(USAGE, unpriced_calls=0).to_dict() == {
        "llm_calls": 1, "input_tokens": 2, "output_tokens": 3, "cost_usd": 0.25, "tool_calls": 4,
    }  # fmt: skip


def test_answers_from_the_cache_are_told_where_there_are_any_and_are_kept() -> None:
    cached = dataclasses.replace(USAGE, cached_calls=1)
    assert cached.to_dict()["cached_calls"] == 1
    assert RunUsage(**cached.stored()) == cached
    assert RunUsage(**USAGE.stored()) == USAGE
    assert "cached_calls" not in USAGE.stored()
