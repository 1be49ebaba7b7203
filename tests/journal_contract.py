"""What every journal must do, whatever database it is kept in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import JournalError, RunError
from callsheet.core.events import EndRun
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import Envelope, RunRecord, Step
from callsheet.runtime.journal import BLOB_BYTES, Journal

HOSTILE = (
    "plain", "", "ü ñ 漢字 🙂", "a\nb\r\n\tc", "'; DROP TABLE runs; --", "%s %(x)s {y} :z ?", "\\", "@blob:0", "\0",
    "before\0after", "\ud83d", "x\udfffy", "\x7f\x1b[31m", "‮right to left", "x" * (BLOB_BYTES + 1), "ü" * BLOB_BYTES,
    "\0\ud800" * BLOB_BYTES,
)  # fmt: skip


def run_record(run_id: str = "run-000001", **changes: Any) -> RunRecord:
    record = RunRecord(
        run_id=run_id, crew="c", status="running", input='{"input":"q"}', session_id="s",
        limits=to_json(Limits().to_dict()), launch="c-1", options='{"model":null}', started=1700000000.25,
    )  # fmt: skip
    return replace(record, **changes)


def envelope(id_: str = "e1", run_id: str = "run-000001", **changes: Any) -> Envelope:
    made = Envelope(
        id=id_, run_id=run_id, kind="ask", sender="flow", receiver="a", body='{"input":"x"}', cause="t1",
        reply_to="", step_key="ask-1", step_nth=2, at=1700000001.5,
    )  # fmt: skip
    return replace(made, **changes)


def step(key: str = "k", run_id: str = "run-000001", **changes: Any) -> Step:
    made = Step(
        run_id=run_id, turn_id="t1", key=key, nth=0, kind="llm", name="m", input='{"a":1}', result='"r"',
        usage=RunUsage(llm_calls=1, input_tokens=7, output_tokens=3, cost_usd=0.000123, unpriced_calls=1),
        started=1.25, ended=2.5,
    )  # fmt: skip
    return replace(made, **changes)


def end(run_id: str = "run-000001", **changes: Any) -> EndRun:
    made = EndRun(
        run_id=run_id, status="done", output='{"output":"a"}', error=None, usage=RunUsage(llm_calls=2), at=9.0
    )
    return replace(made, **changes)


class JournalContract:
    """The suite; a subclass gives the fixture `url`, a new and empty journal's address."""

    @pytest.fixture
    def journal(self, url: str) -> Iterator[Journal]:
        journal = Journal(url)
        yield journal
        journal.close()

    def test_what_was_written_is_read_back_equal(self, journal: Journal) -> None:
        kept = [envelope("a"), envelope("b", kind="reply", reply_to="a"), envelope("c", cause="")]
        done = [step("k1"), step("k2", usage=None), step("k3", state="failed", kind="tool", nth=7)]
        journal.write([run_record(), *kept, *done])
        assert journal.run("run-000001") == run_record()
        assert journal.envelopes("run-000001") == kept
        assert journal.steps("run-000001") == done
        journal.write([end()])
        usage = to_json(RunUsage(llm_calls=2).to_dict())
        assert journal.run("run-000001") == run_record(
            status="done", output='{"output":"a"}', usage=usage, ended=9.0
        )

    def test_it_is_all_there_after_opening_again(self, journal: Journal, url: str) -> None:
        journal.write([run_record(), envelope(), step()])
        journal.close()
        again = Journal(url)
        assert (again.run("run-000001"), again.envelopes("run-000001"), again.steps("run-000001")) == (
            run_record(), [envelope()], [step()],
        )  # fmt: skip
        again.close()

    @pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
    def test_any_text_in_a_body_comes_back_as_it_was(self, journal: Journal, text: str) -> None:
        body = to_json({"input": text, text: 1})
        kept = envelope(body=body)
        done = step(input=body, result=body)
        error = RunError(text, partial=text).to_dict()
        journal.write([run_record(input=body), kept, done, end(output=body, error=error)])
        run = journal.run("run-000001")
        assert run is not None
        assert (run.input, run.output) == (body, body)
        assert from_json(run.error or "") == error
        assert journal.envelopes("run-000001") == [kept]
        assert journal.steps("run-000001") == [done]
        assert from_json(journal.envelopes("run-000001")[0].body) == {"input": text, text: 1}

    @pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "\udcff"], ids=ascii)
    def test_a_name_that_no_database_takes_is_kept_escaped_and_costs_nothing_else(
        self, journal: Journal, text: str
    ) -> None:
        other = envelope("other")
        journal.write([run_record(session_id=text), other, step(name=text), envelope("odd", sender=text)])
        escape = text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()
        run = journal.run("run-000001")
        assert run is not None
        assert run.session_id in (text, escape)
        assert journal.steps("run-000001")[0].name in (text, escape)
        assert journal.envelopes("run-000001")[0] == other
        assert journal.envelopes("run-000001")[1].sender in (text, escape)

    def test_keeping_the_same_again_changes_nothing(self, journal: Journal) -> None:
        records = [run_record(), envelope("a"), step("k1"), envelope("b"), step("k2"), end()]
        journal.write(records)
        before = (journal.run("run-000001"), journal.envelopes("run-000001"), journal.steps("run-000001"))
        journal.write(records)
        journal.write([run_record(status="running", input="null"), envelope("a", body='"other"')])
        journal.write([step("k1", result='"other"'), step("k2", state="intent", result="null")])
        again = (journal.run("run-000001"), journal.envelopes("run-000001"), journal.steps("run-000001"))
        assert again == before

    def test_the_same_ids_in_two_runs_are_two_records(self, journal: Journal) -> None:
        journal.write([envelope("a"), step("k"), envelope("a", "run-000002"), step("k", "run-000002")])
        assert journal.envelopes("run-000002") == [envelope("a", "run-000002")]
        assert journal.steps("run-000002") == [step("k", "run-000002")]

    def test_an_intent_becomes_what_was_done_and_stays_it(self, journal: Journal) -> None:
        begun = step(state="intent", result="null", usage=None, ended=0.0)
        journal.write([begun])
        assert journal.steps("run-000001") == [begun]
        journal.write([step()])
        assert journal.steps("run-000001") == [step()]
        journal.write([begun])
        assert journal.steps("run-000001") == [step()]

    def test_a_large_text_is_stored_once_however_often_it_comes(self, journal: Journal) -> None:
        large = to_json({"input": "y" * BLOB_BYTES})
        kept = [envelope(f"e{i}", body=large) for i in range(5)]
        done = [step(f"k{i}", input=large, result=large) for i in range(5)]
        journal.write([run_record(input=large), *kept[:3], *done])
        journal.write([*kept[3:], end(output=large)])
        assert journal.envelopes("run-000001") == kept
        assert journal.steps("run-000001") == done
        assert journal.run("run-000001").output == large  # type: ignore[union-attr]
        stored = journal._db.exec_driver_sql(
            "SELECT (SELECT count(*) FROM blobs), (SELECT max(length(body)) FROM envelopes)"
        ).one()
        journal._db.rollback()
        assert stored[0] == 1
        assert stored[1] < 100

    def test_everything_comes_in_the_order_it_was_kept_in(self, journal: Journal) -> None:
        ids = [f"{i * 7919 % 100:02}" for i in range(100)]
        for start in range(0, 100, 9):
            journal.write([e for i in ids[start : start + 9] for e in (envelope(i), step(i))])
        assert [e.id for e in journal.envelopes("run-000001")] == ids
        assert [s.key for s in journal.steps("run-000001")] == ids

    def test_runs_are_listed_newest_first_and_by_what_is_asked(self, journal: Journal) -> None:
        journal.write([run_record(f"run-{i:06}", started=float(i), crew=f"c{i % 2}") for i in range(6)])
        journal.write([end("run-000004")])
        assert [r.run_id[-1] for r in journal.runs(limit=3)] == ["5", "4", "3"]
        assert [r.run_id[-1] for r in journal.runs(status="done")] == ["4"]
        assert [r.run_id[-1] for r in journal.runs(crew="c1")] == ["5", "3", "1"]
        assert [r.run_id for r in journal.runs(prefix="run-000002")] == ["run-000002"]
        assert journal.runs(prefix="run_%") == []
        assert journal.run("nobody") is None
        assert (journal.envelopes("nobody"), journal.steps("nobody")) == ([], [])

    def test_a_turn_is_found_with_its_steps_and_its_answered_asks(self, journal: Journal) -> None:
        asked = [envelope(f"q{i}", step_nth=i) for i in range(3)]
        journal.write([*asked, envelope("other", cause="t2"), step("k"), step("k", turn_id="t2")])
        journal.write([
            envelope("q0-reply", kind="reply", sender="a", receiver="flow", reply_to="q0", cause="q0", body='"yes"'),
            envelope("q2-reply", kind="error", sender="a", receiver="flow", reply_to="q2", cause="q2", body="{}"),
        ])  # fmt: skip
        found = journal.turn_steps("run-000001", "t1")
        assert [(s.kind, s.key, s.nth, s.state, s.result) for s in found] == [
            ("llm", "k", 0, "done", '"r"'), ("ask", "ask-1", 0, "done", '"yes"'), ("ask", "ask-1", 2, "failed", "{}"),
        ]  # fmt: skip

    def test_a_write_is_kept_whole_or_not_at_all(self, journal: Journal) -> None:
        bad = envelope("bad", sender=None)
        with pytest.raises(JournalError):
            journal.write([run_record(), envelope("good"), step(), bad])
        assert journal.run("run-000001") is None
        assert (journal.envelopes("run-000001"), journal.steps("run-000001")) == ([], [])
        journal.write([envelope("good")])
        assert journal.envelopes("run-000001") == [envelope("good")]

    def test_a_reader_sees_what_a_writer_has_written_and_no_more(self, journal: Journal, url: str) -> None:
        reader = Journal(url)
        for i in range(5):
            journal.write([envelope(str(i))])
            assert len(reader.envelopes("run-000001")) == i + 1
        reader.close()

    def test_several_writers_share_it(self, journal: Journal, url: str) -> None:
        others = [journal, Journal(url), Journal(url)]
        for i in range(30):
            others[i % 3].write([envelope(f"{i:02}"), step(f"{i:02}"), run_record()])
        assert [e.id for e in journal.envelopes("run-000001")] == [f"{i:02}" for i in range(30)]
        for other in others[1:]:
            other.close()

    def test_another_schema_is_refused_by_its_version(self, journal: Journal, url: str) -> None:
        journal._db.exec_driver_sql("UPDATE callsheet_meta SET value = '99'")
        journal._db.commit()
        journal.close()
        with pytest.raises(JournalError, match=r"version 99; this callsheet reads versions 1 to 2") as error:
            Journal(url)
        assert "newer callsheet wrote it" in error.value.hint

    # One suite for each database is meant.
    @settings(max_examples=25, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data())
    def test_what_is_kept_is_what_was_sent_in_any_mixture(self, data: st.DataObject, any_url: Any) -> None:
        journal = Journal(any_url())
        wanted_envelopes: dict[str, Envelope] = {}
        wanted_steps: dict[tuple[str, int], Step] = {}
        body = st.text(max_size=20).map(to_json)
        for _ in range(data.draw(st.integers(1, 6))):
            batch: list[Any] = []
            for _ in range(data.draw(st.integers(0, 6))):
                if data.draw(st.booleans()):
                    sent = envelope(data.draw(st.sampled_from("abcde")), body=data.draw(body))
                    wanted_envelopes.setdefault(sent.id, sent)
                    batch.append(sent)
                else:
                    state = data.draw(st.sampled_from(["intent", "done"]))
                    done = step(data.draw(st.sampled_from("kl")), state=state, result=data.draw(body))
                    if wanted_steps.get(done.place, done).state == "intent":
                        wanted_steps[done.place] = done
                    else:
                        wanted_steps.setdefault(done.place, done)
                    batch.append(done)
            journal.write(batch)
        assert journal.envelopes("run-000001") == list(wanted_envelopes.values())
        assert {s.place: s for s in journal.steps("run-000001")} == wanted_steps
        journal.close()
