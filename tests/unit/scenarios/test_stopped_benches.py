"""Benches that are stopped from beneath, that meet others at work, or whose crews wait for people."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import JournalError, ModelRequestError, RunError
from callsheet.crews import Crew
from callsheet.scenarios import Case, Suite
from callsheet.scenarios.benching import Bench
from callsheet.scenarios.progress import BenchProgress
from callsheet.scenarios.running import abench, bench
from callsheet.scenarios.trial_runner import Place
from callsheet.testing import call, reply, scripted


def crew(**fields: Any) -> Crew:
    return Crew("solver", agents=[Agent("clerk", role="You answer.", **fields)])


def suite(count: int = 4) -> Suite:
    return Suite("small", [Case(id=f"c{i}", input=f"What is {i}?", expected="yes") for i in range(count)])


def test_a_disk_that_is_full_stops_the_bench_at_once_and_costs_no_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = True
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        if full and "trials.jsonl" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(28, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with scripted(lambda request: "yes") as script:
        crew_, suite_ = crew(), suite(6)
        begun = Bench.begin(suite_, [crew_], host="inline", at_once=2)
        with pytest.raises(JournalError, match="No space left on device") as caught:
            begun.run()
        assert f"`callsheet bench --resume {begun.bench_id}` goes on" in caught.value.hint
        full = False
        before = len(script.requests)
        assert before < 6
        result = bench(suite_, crew_, resume=begun.bench_id)
        assert len(script.requests) <= 6 + 2
    assert result.complete
    assert {trial.scores["exact"].value for trial in result.trials} == {1.0}


async def test_a_run_that_another_works_on_is_waited_for_and_not_begun_again() -> None:
    calls = 0
    go = threading.Event()

    async def reply_late(request: Any) -> str:
        nonlocal calls
        calls += 1
        await asyncio.to_thread(go.wait, 60.0)
        return "yes"

    told: list[str] = []
    with scripted(reply_late):
        crew_, suite_ = crew(), suite(1)
        begun = Bench.begin(suite_, [crew_], host="inline")
        with begun._folder.held():
            pass
        await crew_.astart("What is 0?", host="inline", run_id=f"{begun.bench_id}-00001")

        def progress(text: str) -> None:
            told.append(text)
            if "another process works on run" in text:
                go.set()

        result = await abench(suite_, crew_, resume=begun.bench_id, progress=progress)
    assert any("another process works on run" in text for text in told)
    assert calls == 1
    assert result.trials[0].scores["exact"].value == 1.0


def test_a_bench_that_is_complete_is_read_without_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(lambda request: "yes"):
        crew_, suite_ = crew(), suite(3)
        first = bench(suite_, crew_, host="inline")

        async def opened(place: Place) -> None:
            raise AssertionError("nothing is to be opened")

        monkeypatch.setattr(Place, "system", opened)
        assert bench(suite_, crew_, resume=first.info.bench_id) == first


def test_a_run_that_waits_for_a_person_is_a_trial_that_waits_and_says_for_what() -> None:
    def reply_now(request: Any) -> Any:
        asks = "What is 1?" in str(request.messages)
        return call("ask_person", question="May I?") if asks else "yes"

    with scripted(reply_now):
        result = bench(suite(2), crew(tools=["ask_person"]), host="inline")
    assert [trial.status for trial in result.trials] == ["done", "waiting"]
    assert "waits for a person: May I?" in result.trials[1].error


def test_a_reply_to_a_waiting_run_is_scored_when_it_is_tried_again() -> None:
    def reply_now(request: Any) -> Any:
        results = [
            part for message in request.messages for part in message.parts if hasattr(part, "is_error")
        ]
        return results[-1].content if results else call("ask_person", question="May I?")

    with scripted(reply_now):
        crew_, suite_ = crew(tools=["ask_person"]), suite(1)
        first = bench(suite_, crew_, host="inline")
        crew_.resume(first.trials[0].run_id, host="inline", reply="yes")
        again = bench(suite_, crew_, resume=first.info.bench_id, retry_failed=True)
    assert first.trials[0].status == "waiting"
    assert (again.trials[0].status, again.trials[0].scores["exact"].value) == ("done", 1.0)


def test_one_candidate_that_only_fails_is_named_and_the_other_is_resumable() -> None:
    def reply_now(request: Any) -> Any:
        return "yes" if request.agent == "good" else ModelRequestError("broken")

    good = Crew("good", agents=[Agent("good", role="You answer.")])
    bad = Crew("bad", agents=[Agent("bad", role="You answer.")])
    with scripted(reply_now), pytest.raises(RunError, match="every run of bad failed") as caught:
        bench(suite(30), good, bad, host="inline", at_once=1)
    trials = caught.value.partial.trials
    assert [trial.status for trial in trials if trial.candidate.crew == "bad"] == ["failed"] * 10
    assert all(trial.status == "done" for trial in trials if trial.candidate.crew == "good")


def test_a_model_without_a_price_is_told_of_once_where_there_is_a_budget() -> None:
    told: list[str] = []
    stands: list[BenchProgress] = []
    with scripted(lambda request: reply("yes", cost_usd=None)):
        result = bench(
            suite(4), crew(), host="inline", budget_usd=1.0, progress=told.append, on_trial=stands.append
        )
    assert result.complete
    assert [trial.cost_usd for trial in result.trials] == [None] * 4
    assert len([text for text in told if "no price is known" in text]) == 1
    assert stands[-1].unpriced
