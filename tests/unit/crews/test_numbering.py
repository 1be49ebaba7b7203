"""The numbers of a run's messages and steps, for any tree of turns and any clocks."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.canonical import to_json
from callsheet.core.ids import reply_envelope_id
from callsheet.core.records import PERSON, Envelope, Step
from callsheet.crews.numbering import is_retired, numbered, replies


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Envelope], list[Step]]:
    """A run as a journal keeps it: turns that ask, take steps and reply, in any interleaving, by any clocks."""
    envelopes, steps, open_turns, count = [_ask("t0", "", draw)], [], ["t0"], 1
    for _ in range(draw(st.integers(0, 30))):
        if not open_turns:
            break
        turn = draw(st.sampled_from(open_turns))
        match draw(st.sampled_from(["ask", "step", "step", "reply", "retired"])):
            case "ask":
                envelopes.append(_ask(f"t{count}", turn, draw))
                open_turns.append(f"t{count}")
                count += 1
            case "step":
                steps.append(
                    Step(
                        run_id="r",
                        turn_id=turn,
                        key=f"k{len(steps)}",
                        nth=0,
                        kind="llm",
                        name="m",
                        ended=_time(draw),
                    )
                )
            case kind:
                id_ = reply_envelope_id(turn) + (f".{len(envelopes)}" if kind == "retired" else "")
                envelopes.append(
                    Envelope(
                        id=id_, run_id="r", kind="reply", sender=turn, receiver="x", body="{}", reply_to=turn,
                        cause=turn, at=_time(draw),
                    )
                )  # fmt: skip
                if kind == "reply":
                    open_turns.remove(turn)
    return envelopes, steps


def _time(draw: st.DrawFn) -> float:
    return draw(st.floats(1.0, 100.0))


def _ask(id_: str, cause: str, draw: st.DrawFn) -> Envelope:
    return Envelope(
        id=id_, run_id="r", kind="ask", sender="x", receiver=id_, body="{}", cause=cause, at=_time(draw)
    )


@given(runs())
def test_all_are_numbered_once_in_the_journals_order_and_within_their_turns(
    run: tuple[list[Envelope], list[Step]],
) -> None:
    envelopes, steps = run
    items = numbered(envelopes, steps)
    assert [item.number for item in items] == list(range(1, len(envelopes) + len(steps) + 1))
    assert [item.record for item in items if isinstance(item.record, Envelope)] == envelopes
    assert [item.record for item in items if isinstance(item.record, Step)] == steps
    assert items[0].record == envelopes[0]
    at = {item.record.id: item.number for item in items if isinstance(item.record, Envelope)}
    answered = replies(envelopes)
    for item in items:
        if isinstance(item.record, Step):
            assert item.agent == item.record.turn_id
            assert at[item.record.turn_id] < item.number
            reply = answered.get(item.record.turn_id)
            assert reply is None or item.number < at[reply.id]
    assert not any(is_retired(envelope) for envelope in answered.values())


@given(runs(), st.data())
def test_steps_of_turns_that_are_not_known_yet_are_left_out(
    run: tuple[list[Envelope], list[Step]], data: st.DataObject
) -> None:
    envelopes, steps = run
    read = envelopes[: data.draw(st.integers(1, len(envelopes)))]
    known = {envelope.id for envelope in read}
    items = numbered(read, steps)
    assert [i.record for i in items if isinstance(i.record, Step)] == [s for s in steps if s.turn_id in known]


def test_a_step_whose_intent_was_kept_stands_where_it_was_begun() -> None:
    root = Envelope(id="t0", run_id="r", kind="ask", sender="person", receiver="flow", body="{}", at=1.0)
    asks = [
        Envelope(
            id=f"t{at}", run_id="r", kind="ask", sender="flow", receiver="a", body="{}", cause="t0", at=at
        )
        for at in (2.0, 4.0)
    ]
    common = {"run_id": "r", "nth": 0, "kind": "tool"}
    paid = Step(turn_id="t2.0", key="pay", name="pay", started=3.0, ended=9.0, **common)
    other = Step(turn_id="t4.0", key="look", name="look", started=5.0, ended=6.0, **common)
    order = [getattr(item.record, "key", item.record.kind) for item in numbered([root, *asks], [paid, other])]
    assert order == ["ask", "ask", "pay", "ask", "look"]


def test_a_call_that_a_person_was_asked_about_keeps_the_place_of_its_intent() -> None:
    root = Envelope(id="t0", run_id="r", kind="ask", sender="person", receiver="clerk", body="{}", at=1.0)
    body = {"question": "?", "kind": "unknown", "tool": "pay", "arguments": "{}"}
    question = Envelope(
        id="q",
        run_id="r",
        kind="ask",
        sender="clerk",
        receiver=PERSON,
        body=to_json(body),
        cause="t0",
        at=4.0,
    )
    reply = Envelope(
        id=reply_envelope_id("q"), run_id="r", kind="reply", sender=PERSON, receiver="clerk", body="{}",
        cause="q", reply_to="q", at=5.0,
    )  # fmt: skip
    shown = {"tool": "pay", "arguments": "{}"}
    intent = Step(
        run_id="r", turn_id="t0", key="pay", nth=0, kind="tool", name="pay", state="intent",
        input=to_json(shown), started=3.0,
    )  # fmt: skip
    done = replace(intent, state="done", ended=6.0)
    other = replace(done, key="look", name="look", input=to_json({"tool": "look", "arguments": "{}"}))
    for envelopes, step in (
        ([root], intent),
        ([root, question], intent),
        ([root, question, reply], done),
    ):
        assert [item.record for item in numbered(envelopes, [step])] == [root, step, *envelopes[1:]]
    assert numbered([root, question, reply], [other])[-1].record == other


def test_a_once_call_stands_where_it_was_begun_also_while_others_speak() -> None:
    root = Envelope(id="t0", run_id="r", kind="ask", sender="person", receiver="clerk", body="{}", at=1.0)
    other = Envelope(
        id="t1", run_id="r", kind="ask", sender="clerk", receiver="a", body="{}", cause="t0", at=4.0
    )
    paid = Step(
        run_id="r", turn_id="t0", key="pay", nth=0, kind="tool", name="pay",
        input=to_json({"tool": "pay", "arguments": "{}", "once": True}), started=3.0, ended=6.0,
    )  # fmt: skip
    assert [item.record for item in numbered([root, other], [paid])] == [root, paid, other]
