"""What every journal must do about runs that wait, are resumed, claimed, and stopped from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from callsheet.core.canonical import to_json
from callsheet.core.errors import JournalError, RunTakenError, UnknownNameError, UsageError
from callsheet.core.limits import RunUsage
from callsheet.core.records import RunRecord, RunResumed, RunWaits, RunWoken
from callsheet.runtime.journal import BLOB_BYTES, Journal, Order
from tests.journal_contract import end, envelope, run_record

RUN = "run-000001"
USAGE = RunUsage(llm_calls=3, input_tokens=5)


def working(run_id: str = RUN, **changes: Any) -> RunRecord:
    return replace(
        run_record(run_id, started=10.0, since=10.0, owner="me", source='{"ready":"x"}'), **changes
    )


def resumed(run_id: str = RUN, **changes: Any) -> RunResumed:
    made = RunResumed(
        run_id=run_id, launch="c-2", limits='{"turns":9}', options='{"a":1}', owner="you", at=100.0
    )
    return replace(made, **changes)


def error_reply(to: str, **changes: Any) -> Any:
    return envelope(
        f"{to}-reply",
        kind="error",
        sender="a",
        receiver="flow",
        reply_to=to,
        cause=to,
        body='{"no":1}',
        **changes,
    )


class RunsContract:
    """The suite; a subclass gives the fixture `url`, a new and empty journal's address."""

    @pytest.fixture
    def open_(self, url: str) -> Iterator[Callable[..., Journal]]:
        """Opens journals of that address, and closes them at the end."""
        opened: list[Journal] = []

        def one(**options: Any) -> Journal:
            opened.append(Journal(url, **options))
            return opened[-1]

        yield one
        for journal in opened:
            journal.close()

    @pytest.fixture
    def journal(self, open_: Callable[..., Journal]) -> Journal:
        return open_()

    # --- what becomes of a run -----------------------------------------------------------------------

    def test_a_waiting_run_belongs_to_nobody_and_its_work_so_far_is_counted(self, journal: Journal) -> None:
        waits = RunWaits(run_id=RUN, usage=USAGE, at=14.5)
        journal.write([working(), waits])
        kept = working(status="waiting", owner="", usage=to_json(USAGE.to_dict()), spent_s=4.5)
        assert journal.run(RUN) == kept
        journal.write([waits])
        assert journal.run(RUN) == kept
        journal.write([RunWoken(run_id=RUN, launch="c-2", owner="you", at=1000.0)])
        woken = replace(kept, status="running", owner="you", launch="c-2", since=1000.0)
        assert journal.run(RUN) == woken
        journal.write([end(at=1001.0)])
        ended = journal.run(RUN)
        assert ended is not None
        assert (ended.status, ended.owner, ended.spent_s, ended.ended) == ("done", "", 5.5, 1001.0)

    def test_a_run_that_waits_spends_no_time_when_it_is_cancelled(self, journal: Journal) -> None:
        journal.write([working(), RunWaits(run_id=RUN, usage=USAGE, at=12.0)])
        journal.write([end(status="cancelled", output=None, at=5000.0)])
        assert journal.run(RUN).spent_s == 2.0  # type: ignore[union-attr]

    @pytest.mark.parametrize(("since", "at"), [(10.0, 9.0), (0.0, 9.0)])
    def test_no_clock_makes_a_run_spend_what_it_did_not(
        self, journal: Journal, since: float, at: float
    ) -> None:
        journal.write([working(since=since), end(at=at)])
        assert journal.run(RUN).spent_s == 0.0  # type: ignore[union-attr]

    def test_a_resumed_run_goes_on_as_if_it_had_not_ended(self, journal: Journal) -> None:
        large = '"' + "e" * BLOB_BYTES + '"'
        journal.write([working(), end(status="failed", output=large, error={"type": "RunError"}, at=12.0)])
        journal.write([resumed()])
        usage = to_json(RunUsage(llm_calls=2).to_dict())
        assert journal.run(RUN) == working(
            usage=usage, launch="c-2", limits='{"turns":9}', options='{"a":1}', owner="you", since=100.0
        )
        journal.write([resumed(source='{"ready":"y"}')])
        assert journal.run(RUN).source == '{"ready":"y"}'  # type: ignore[union-attr]

    def test_what_is_written_in_one_go_happens_in_its_order(self, journal: Journal) -> None:
        failed = end(status="failed", output=None, error={}, at=12.0)
        journal.write([
            envelope("q", cause=""), working(), error_reply("q"), failed, resumed(retired=("q-reply",)),
            error_reply("q"), replace(failed, at=101.0), resumed(retired=("q-reply",), at=102.0),
            envelope("q-reply", kind="reply", reply_to="q", body='"at last"'),
            RunWaits(run_id=RUN, usage=USAGE, at=103.0), RunWoken(run_id=RUN, launch="c", owner="z", at=104.0),
        ])  # fmt: skip
        assert [(e.id, e.kind) for e in journal.envelopes(RUN)] == [
            ("q", "ask"), ("q-reply.1", "error"), ("q-reply.2", "error"), ("q-reply", "reply"),
        ]  # fmt: skip
        run = journal.run(RUN)
        assert run is not None
        assert (run.status, run.owner, run.spent_s, run.since, run.ended) == (
            "running",
            "z",
            1.0,
            104.0,
            None,
        )

    def test_a_retired_answer_answers_nothing_and_is_still_there(self, journal: Journal) -> None:
        asked = [envelope(f"q{i}", step_nth=i) for i in range(2)]
        journal.write([working(), *asked, error_reply("q0"), error_reply("q1")])
        journal.write([end(status="failed"), resumed(retired=("q0-reply",))])
        assert [s.nth for s in journal.turn_steps(RUN, "t1")] == [1]
        assert [e.id for e in journal.envelopes(RUN)] == ["q0", "q1", "q0-reply.1", "q1-reply"]
        other = error_reply("q0", run_id="run-000002")
        journal.write([other])
        assert journal.envelopes("run-000002") == [other]

    # --- who works on it -----------------------------------------------------------------------------

    def test_an_owner_lives_as_long_as_its_journal_is_open(self, open_: Callable[..., Journal]) -> None:
        mine, other = open_(owner="me"), open_()
        assert mine.owner_alive("me")
        assert other.owner_alive("me")
        assert not other.owner_alive("you")
        assert not other.owner_alive("")
        mine.close()
        assert not other.owner_alive("me")
        assert open_(owner="me").owner_alive("me")
        assert other.owner_alive("me")

    def test_an_owner_that_lives_is_not_owned_twice(
        self, open_: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("callsheet.runtime.journal_owners.PATIENCE_S", 0.2)
        first = open_(owner="me")
        with pytest.raises(JournalError, match="another process works on the journal as me"):
            open_(owner="me")
        first.write([envelope()])
        assert open_(owner="you").owner_alive("me")

    @pytest.mark.parametrize("name", ["../me", "a/b", ".", "me\0", "a" * 200, "-x", "ü"])
    def test_a_name_that_could_be_a_path_owns_nothing(self, open_: Callable[..., Journal], name: str) -> None:
        with pytest.raises(JournalError, match="cannot own runs"):
            open_(owner=name)
        assert not open_().owner_alive(name)

    def test_a_run_is_claimed_from_the_dead_from_nobody_and_from_oneself(
        self, open_: Callable[..., Journal]
    ) -> None:
        dead, mine = open_(owner="dead"), open_(owner="me")
        dead.write(
            [working(owner="dead"), working("run-000002", owner=""), working("run-000003", owner="me")]
        )
        dead.close()
        for run_id, before in (("run-000001", "dead"), ("run-000002", ""), ("run-000003", "me")):
            assert mine.claim(run_id, "me") == working(run_id, owner=before)
            assert mine.run(run_id) == working(run_id, owner="me")

    def test_a_run_that_is_being_worked_on_is_nobody_elses(self, open_: Callable[..., Journal]) -> None:
        mine, other = open_(owner="me"), open_(owner="you")
        mine.write([working()])
        with pytest.raises(RunTakenError, match="is being worked on by another process") as error:
            other.claim(RUN, "you")
        assert error.value.run_id == RUN
        assert f"callsheet watch {RUN}" in error.value.hint
        assert other.run(RUN) == working()
        mine.write([end(status="failed")])
        assert other.claim(RUN, "you").status == "failed"
        with pytest.raises(RunTakenError):
            mine.claim(RUN, "me")

    def test_what_cannot_be_claimed_is_said(self, journal: Journal) -> None:
        with pytest.raises(UnknownNameError, match="no run is called 'run-000009'"):
            journal.claim("run-000009", "me")
        journal.write([working(), end()])
        with pytest.raises(UsageError, match="is done"):
            journal.claim(RUN, "me")
        assert journal.run(RUN).owner == ""  # type: ignore[union-attr]
        journal.write([envelope()])

    def test_orphans_are_the_runs_that_go_on_without_anybody(self, open_: Callable[..., Journal]) -> None:
        dead, mine = open_(owner="dead"), open_(owner="me")
        dead.write([
            working("run-000001", owner="dead", started=3.0), working("run-000002", owner="me"),
            working("run-000003", owner="", started=2.0), working("run-000004", owner="dead"),
            working("run-000005", owner="dead"), end("run-000005"), RunWaits(run_id="run-000004", usage=USAGE, at=11.0),
        ])  # fmt: skip
        assert [run.run_id for run in mine.orphans()] == ["run-000003"]
        dead.close()
        assert [run.run_id for run in mine.orphans()] == ["run-000003", "run-000001"]
        mine.claim("run-000003", "me")
        assert [run.run_id for run in mine.orphans()] == ["run-000001"]

    # --- orders --------------------------------------------------------------------------------------

    def test_an_order_reaches_the_one_who_works_and_is_gone_when_the_run_has_ended(
        self, open_: Callable[..., Journal]
    ) -> None:
        mine, other = open_(owner="me"), open_()
        mine.write([working(), working("run-000002")])
        mine.changed()
        assert other.order_cancel(RUN, "enough", 20.0)
        assert other.order_cancel("run-000002", "too", 19.0)
        assert other.order_cancel(RUN, "enough, I said; 'now'", 21.0)
        assert mine.changed()
        second = Order(run_id="run-000002", reason="too", at=19.0)
        assert mine.orders() == [second, Order(run_id=RUN, reason="enough, I said; 'now'", at=21.0)]
        mine.write([end(status="cancelled", output=None)])
        assert mine.orders() == [second]
        mine.write([resumed("run-000002")])
        assert other.orders() == []

    def test_there_is_no_order_for_what_has_ended_or_never_was(self, journal: Journal) -> None:
        journal.write([working(), end(status="failed")])
        assert not journal.order_cancel(RUN, "", 20.0)
        assert not journal.order_cancel("run-000009", "", 20.0)
        assert journal.orders() == []
