"""`watch`: a run as its journal tells of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from callsheet.cli import watching
from callsheet.core.canonical import to_json
from callsheet.core.errors import CallsheetError, ClusterError
from callsheet.core.events import EndRun
from callsheet.core.ids import reply_envelope_id, root_envelope_id
from callsheet.core.limits import RunUsage
from callsheet.core.records import PERSON, Envelope, RunRecord, RunResumed, Step
from callsheet.crews.watching import can_be_live
from callsheet.runtime.client import News
from callsheet.runtime.protocol import Spoken
from callsheet.settings import load_settings
from tests.unit.cli.conftest import Callsheet
from tests.unit.cli.past import ASKING, FAILING, journal_of, left_run

OWNER = "inline-1-x"


def test_a_run_that_is_over_is_shown_whole_with_its_answer_and_status(callsheet: Callsheet) -> None:
    Path("mended").touch()
    Path("crew.py").write_text(FAILING)
    run = callsheet("run", "crew.py", "--inline", "--json", "hello").data["run_id"]
    ended = callsheet("watch", run[:15])
    assert ended.status == 0
    assert ended.out == "printed\n"
    for part in ("you → failing: hello", "clerk thought with offline", "clerk → failing", "done · offline"):
        assert part in ended.err


def test_a_run_that_waits_is_status_4_and_says_what_it_asks(callsheet: Callsheet) -> None:
    Path("crew.py").write_text(ASKING)
    run = callsheet("run", "crew.py", "--inline", "--json", "hello").data["run_id"]
    ended = callsheet("watch", run)
    assert ended.status == 4
    assert f"`callsheet reply {run} CHOICE`" in ended.err


def test_each_event_is_a_line_of_json_and_the_last_is_the_end(callsheet: Callsheet) -> None:
    Path("crew.py").write_text(FAILING)
    run = callsheet("run", "crew.py", "--inline", "--json", "hello").data
    ended = callsheet("watch", run["run_id"], "--json-lines")
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.status == 1
    assert [line["kind"] for line in lines] == ["message", "message", "llm", "message", "message", "end"]
    assert lines[2]["sender"] == "clerk"
    assert lines[2]["usage"]["llm_calls"] == 1
    assert lines[-1]["result"]["status"] == "failed"
    assert lines[-1]["result"]["usage"] == run["usage"]


def test_a_run_that_nobody_works_on_is_told_to_be_cut_off(
    callsheet: Callsheet, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LEFT_AFTER_S", 0.0)
    record = left_run(home)
    ended = callsheet("watch", record.run_id)
    assert ended.status == 1
    assert "you → failing: hello" in ended.err
    assert f"`callsheet resume {record.run_id}`" in ended.err


def _reply(record: RunRecord, kind: str, body: object, at: float) -> Envelope:
    root = root_envelope_id(record.run_id)
    return Envelope(
        id=reply_envelope_id(root), run_id=record.run_id, kind=kind, sender="flow", receiver=PERSON,
        body=to_json(body), cause=root, reply_to=root, at=at,
    )  # type: ignore[arg-type]  # fmt: skip


def test_what_comes_later_is_told_once_it_is_there_and_only_once(home: Path) -> None:
    record = left_run(home, owner=OWNER)
    root = root_envelope_id(record.run_id)
    step = Step(
        run_id=record.run_id, turn_id=root, key="now-1", nth=0, kind="now", name="", ended=record.started + 1
    )
    with journal_of(home, owner=OWNER) as theirs, journal_of(home) as ours:
        follower = watching.Follower(ours, record)
        news = follower.news()
        assert getattr(next(news), "id", "") == root
        theirs.write([step])
        assert next(news) == step
        answer = _reply(record, "reply", {"output": "hi"}, record.started + 2)
        theirs.write(
            [
                answer,
                EndRun(
                    run_id=record.run_id, status="done", output=answer.body, error=None, usage=RunUsage(),
                    at=record.started + 2,
                ),
            ]
        )  # fmt: skip
        assert list(news) == [answer]
        assert follower.record.status == "done"


def test_an_answer_that_a_resumed_run_has_retired_is_not_told_again(home: Path) -> None:
    record = left_run(home, owner=OWNER)
    failed = _reply(record, "error", {"type": "RunError", "message": "no"}, record.started + 1)
    answer = _reply(record, "reply", {"output": "hi"}, record.started + 3)
    with journal_of(home, owner=OWNER) as theirs, journal_of(home) as ours:
        theirs.write([failed])
        news = watching.Follower(ours, record).news()
        assert [next(news), next(news)][1] == failed
        theirs.write(
            [
                RunResumed(
                    run_id=record.run_id, launch="", limits="{}", options="{}", owner=OWNER,
                    at=record.started + 2, retired=(failed.id,),
                ),
                answer,
            ]
        )  # fmt: skip
        assert next(news) == answer


class Cluster:
    """Tells a run's news as `crews.watching.Live` does; None: a moment without any."""

    def __init__(self, *news: News | None, joined: bool = True, error: CallsheetError | None = None) -> None:
        self._news = list(news)
        self.joined, self.over, self.error = joined, False, error

    def get(self, timeout_s: float) -> News | None:
        if self._news:
            return self._news.pop(0)
        self.joined, self.over = False, True
        return None

    def close(self) -> None:
        self.joined = False


def test_what_the_cluster_tells_is_told_once_with_what_models_say(home: Path) -> None:
    record = left_run(home, owner=OWNER)
    root = root_envelope_id(record.run_id)
    step = Step(
        run_id=record.run_id, turn_id=root, key="llm-1", nth=0, kind="llm", name="m", ended=record.started
    )
    spoken = Spoken(run_id=record.run_id, turn_id=root, name="flow", text="hi", anew=False, at=record.started)
    answer = _reply(record, "reply", {"output": "hi"}, record.started + 2)
    end = EndRun(
        run_id=record.run_id, status="done", output=answer.body, error=None, usage=RunUsage(), at=answer.at
    )
    with journal_of(home, owner=OWNER) as theirs, journal_of(home) as ours:
        first = ours.envelopes(record.run_id)[0]
        cluster = Cluster(None, first, spoken, step, step, answer, end)
        follower = watching.Follower(ours, record, cluster)  # type: ignore[arg-type]
        news = follower.news()
        assert [next(news) for _ in range(3)] == [first, spoken, step]
        theirs.write([step, answer, end])
        assert list(news) == [answer]
        assert follower.record.status == "done"


def test_a_cluster_that_cannot_be_reached_is_named_and_the_journal_tells_the_rest(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = left_run(home, owner=OWNER)
    answer = _reply(record, "reply", {"output": "hi"}, record.started + 2)
    end = EndRun(
        run_id=record.run_id, status="done", output=answer.body, error=None, usage=RunUsage(), at=answer.at
    )
    with journal_of(home, owner=OWNER) as theirs, journal_of(home) as ours:
        cluster = Cluster(joined=False, error=ClusterError("no Ray answers"))
        news = watching.Follower(ours, record, cluster).news()  # type: ignore[arg-type]
        next(news)
        theirs.write([answer, end])
        assert list(news) == [answer]
    assert "no Ray answers" in capsys.readouterr().err


@pytest.mark.parametrize("address", [None, "127.0.0.1:6379"])
@pytest.mark.parametrize("owner", ["ray-1", "inline-1-x", ""])
def test_only_a_run_of_a_ray_is_looked_for_on_a_cluster_and_only_where_one_is_known(
    address: str | None, owner: str
) -> None:
    found = can_be_live(load_settings(address=address), owner)
    assert found == (address is not None and owner == "ray-1")
