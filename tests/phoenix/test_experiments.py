"""A bench published to a real Phoenix, and read back over its API: cases, runs, scores, traces."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from callsheet.agents import Agent
from callsheet.core import ids
from callsheet.crews import Crew
from callsheet.crews.portal import close_portal
from callsheet.scenarios import Case, Suite, scorer
from callsheet.scenarios.experiments import Published, publish
from callsheet.scenarios.results import BenchInfo, BenchResult, Candidate, ScoreRecord, ScorerInfo, Trial
from callsheet.scenarios.running import abench
from callsheet.settings import Settings, load_settings
from callsheet.tracing.phoenix import PhoenixClient

pytestmark = pytest.mark.timeout(600)

PROJECT = "callsheet-experiment-tests"
CANDIDATES = (Candidate(crew="clerk"), Candidate(crew="clerk", model="openai/gpt-4o-mini"))
HOSTILE = "\0'; DROP TABLE datasets; --<script>alert(1)</script>\u202e"
STORED = HOSTILE[1:]
SCORERS = (
    ScorerInfo(name="right"),
    ScorerInfo(name="f1"),
    ScorerInfo(name="cost", unit="usd", better="lower"),
)
Wait = Callable[[Callable[[], bool]], None]


@scorer
def right(attempt: Any) -> bool:
    """Whether the answer is the expected one."""
    return bool(attempt.output == attempt.case.expected)


@scorer
def f1(attempt: Any) -> float:
    """A share."""
    return 0.5


@scorer
def cost(attempt: Any) -> float:
    """A measure."""
    return 0.25


def a_suite(name: str = "") -> Suite:
    cases = [
        Case(id="one", input="1 + 1?", expected="2", metadata={"level": "easy"}),
        Case(id="two", input={"a": 1, "b": ["\ud800", HOSTILE]}, expected={"sum": 1}),
        Case(id=HOSTILE, input=HOSTILE, metadata={"big": 2**80}),
        Case(id="RGF0YXNldEV4YW1wbGU6MQ==", input="an id as Phoenix makes them"),
    ]
    return Suite(name or f"sums-{uuid.uuid4().hex[:8]}", cases, [right, f1, cost])


def a_bench(suite: Suite, *, repeats: int = 2, only: int | None = None) -> BenchResult:
    """A finished bench of the suite; of every candidate's last trial the run failed."""
    bench, trials = uuid.uuid4().hex[:8], []
    for candidate in CANDIDATES:
        for repeat in range(repeats):
            for case in suite.cases:
                trials.append(a_trial(bench, len(trials), case.id, candidate, repeat))
    info = BenchInfo(
        bench_id=f"bench-{bench}", suite=suite.name, digest=suite.digest, scorers=SCORERS, repeats=repeats,
        cases=tuple(case.id for case in suite.cases), candidates=CANDIDATES, started=1_700_000_000.0,
        versions={"callsheet": "0.1.0"}, machine={"cpus": 2},
    )  # fmt: skip
    return BenchResult(info=info, trials=tuple(trials[:only]))


def a_trial(bench: str, number: int, case: str, candidate: Candidate, repeat: int) -> Trial:
    run_id = f"run-{bench}-{number}"
    given: dict[str, Any] = {"status": "failed", "error": f"ToolError: {HOSTILE}"}
    if case != "two" or repeat == 0:
        scores = {
            "right": ScoreRecord(value=float(number % 2), explanation=f"because {HOSTILE}"),
            "f1": ScoreRecord(value=0.5),
            "cost": ScoreRecord(value=None, error="NoPriceError: no price is known"),
        }
        given = {"status": "done", "output": {"answer": number, "text": HOSTILE}, "scores": scores}
    return Trial(
        number=number, case=case, candidate=candidate, repeat=repeat, run_id=run_id, elapsed_s=2.5,
        started=1_700_000_000.0 + number, trace_id=ids.trace_id(run_id), **given,
    )  # fmt: skip


@pytest.fixture
def settings(real_phoenix: Any, tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home", phoenix=real_phoenix.process.url, project=PROJECT)


@pytest.fixture
def api(real_phoenix: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{real_phoenix.process.url}/v1", timeout=60.0, trust_env=False) as client:
        yield client


def examples(api: httpx.Client, published: Published) -> list[dict[str, Any]]:
    answer = api.get(f"datasets/{published.dataset_id}/examples").raise_for_status()
    return list(answer.json()["data"]["examples"])


def stored(api: httpx.Client, published: Published) -> dict[str, list[dict[str, Any]]]:
    """The runs, with their evaluations, of every experiment on the dataset, as Phoenix gives them."""
    listed = api.get(f"datasets/{published.dataset_id}/experiments").raise_for_status().json()["data"]
    return {e["id"]: api.get(f"experiments/{e['id']}/json").raise_for_status().json() for e in listed}


def shape(found: dict[str, list[dict[str, Any]]]) -> dict[str, set[tuple[Any, ...]]]:
    """What must be there once: (case's input, repetition, evaluations' names) of each run."""
    return {
        key: {
            (str(r["input"]), r["repetition_number"], *sorted(a["name"] for a in r["annotations"]))
            for r in runs
        }
        for key, runs in found.items()
    }


def test_every_case_run_and_score_is_there(settings: Settings, api: httpx.Client) -> None:
    suite = a_suite()
    bench = a_bench(suite)
    published = publish(bench, suite, settings)
    assert (published.runs_added, published.scores_added) == (16, 14 * 3)

    found = examples(api, published)
    cases = {e["node_id"]: e["metadata"]["case"] for e in found}
    assert sorted(cases.values()) == sorted(["one", "two", STORED, "RGF0YXNldEV4YW1wbGU6MQ=="])
    one = next(e for e in found if e["metadata"]["case"] == "one")
    assert (one["input"], one["output"]) == ({"input": "1 + 1?"}, {"expected": "2"})
    assert one["metadata"] == {"case": "one", "level": "easy"}
    two = next(e for e in found if e["metadata"]["case"] == "two")
    assert two["input"] == {"input": {"a": 1, "b": ["\ufffd", STORED]}}

    all_runs = stored(api, published)
    assert set(all_runs) == set(published.experiment_ids)
    for candidate, experiment_id in zip(CANDIDATES, published.experiment_ids, strict=True):
        about = api.get(f"experiments/{experiment_id}").json()["data"]
        assert about["name"] == f"{candidate.label} · {bench.info.bench_id}"
        assert (about["successful_run_count"], about["failed_run_count"], about["missing_run_count"]) == (
            7,
            1,
            0,
        )
        assert (about["metadata"]["crew"], about["metadata"]["model"]) == (candidate.crew, candidate.model)
        by_place = {(cases[r["example_id"]], r["repetition_number"]): r for r in all_runs[experiment_id]}
        assert len(by_place) == len(all_runs[experiment_id]) == 8
        for trial in bench.of(candidate):
            run = by_place[trial.case.replace("\0", ""), trial.repeat + 1]
            assert run["trace_id"] == trial.trace_id
            assert run["latency_ms"] == pytest.approx(2500)
            if trial.status == "failed":
                assert run["error"] == f"failed: ToolError: {STORED}"
                assert run["annotations"] == []
                continue
            assert run["error"] is None
            assert run["output"] == {"answer": trial.number, "text": STORED}
            said = {
                a["name"]: (a["score"], a["label"], a["explanation"], a["error"]) for a in run["annotations"]
            }
            assert said == {
                "right": (
                    trial.number % 2, "right" if trial.number % 2 else "wrong", f"because {STORED}", None,
                ),
                "f1": (0.5, None, None, None),
                "cost": (None, "scorer failed", None, "NoPriceError: no price is known"),
            }  # fmt: skip


def test_publishing_again_adds_nothing(settings: Settings, api: httpx.Client) -> None:
    suite = a_suite()
    bench = a_bench(suite)
    first = publish(bench, suite, settings)
    before = stored(api, first)
    second = publish(bench, suite, settings)
    assert (second.runs_added, second.scores_added) == (0, 0)
    assert second.url == first.url
    assert stored(api, second) == before
    assert len(examples(api, second)) == 4


def test_a_bench_that_was_resumed_is_completed(settings: Settings, api: httpx.Client) -> None:
    suite = a_suite()
    whole = a_bench(suite)
    part = whole.model_copy(update={"trials": whole.trials[:6]})
    first = publish(part, suite, settings)
    second = publish(whole, suite, settings)
    assert (first.runs_added, second.runs_added) == (6, 10)
    assert first.experiment_ids == second.experiment_ids
    runs = shape(stored(api, second))
    assert {key: len(places) for key, places in runs.items()} == dict.fromkeys(second.experiment_ids, 8)


def test_a_failed_run_is_replaced_when_its_trial_ended_well_later(
    settings: Settings, api: httpx.Client
) -> None:
    suite = a_suite()
    bench = a_bench(suite)
    first = publish(bench, suite, settings)
    failed = next(t for t in bench.trials if t.status == "failed")
    mended = failed.model_copy(
        update={"status": "done", "output": "2", "error": "", "scores": {"right": ScoreRecord(value=1.0)}}
    )
    trials = tuple(mended if t is failed else t for t in bench.trials)
    second = publish(bench.model_copy(update={"trials": trials}), suite, settings)
    assert (second.runs_added, second.scores_added) == (1, 1)
    (run,) = [r for runs in stored(api, first).values() for r in runs if r["trace_id"] == failed.trace_id]
    assert (run["error"], run["output"]) == (None, "2")
    assert [(a["name"], a["label"]) for a in run["annotations"]] == [("right", "right")]


def test_benches_of_one_suite_share_its_dataset_and_a_changed_suite_has_another(
    settings: Settings, api: httpx.Client
) -> None:
    suite = a_suite()
    first, second = (publish(a_bench(suite, only=4), suite, settings) for _ in range(2))
    assert first.dataset_id == second.dataset_id
    assert not set(first.experiment_ids) & set(second.experiment_ids)
    assert len(examples(api, second)) == 4
    changed = suite.only(limit=2)
    third = publish(a_bench(changed, only=4), changed, settings)
    assert third.dataset_id != first.dataset_id
    assert len(examples(api, third)) == 2


def test_texts_stay_away_where_traces_have_none(settings: Settings, api: httpx.Client) -> None:
    suite = a_suite()
    hidden = settings.model_copy(update={"trace_content": False})
    published = publish(a_bench(suite), suite, hidden)
    found, runs = examples(api, published), stored(api, published)
    assert {key for e in found for key in e["input"]["input"]} == {"characters"}
    assert {key for e in found for key in e["metadata"]} == {"case"}
    everything = str(runs)
    assert "because" not in everything
    assert "answer" not in everything
    assert "failed: ToolError: (" in everything
    shown = publish(a_bench(suite), suite, settings)
    assert shown.dataset_id != published.dataset_id


LINKED = """query($id: ID!) { node(id: $id) { ... on Experiment { runs(first: 100) { edges { run: node {
    trace { traceId rootSpan { name } } } } } } } }"""


def traces(client: PhoenixClient, experiment_id: str) -> list[dict[str, Any]]:
    """The traces that the experiment's runs name and of which Phoenix has the root."""
    edges = client.graphql(LINKED, {"id": experiment_id})["node"]["runs"]["edges"]
    linked = [edge["run"]["trace"] for edge in edges]
    return [trace for trace in linked if trace and trace["rootSpan"]]


def all_linked(client: PhoenixClient, experiment_id: str, wanted: int) -> bool:
    return len(traces(client, experiment_id)) == wanted


async def test_each_run_of_a_real_bench_is_linked_to_its_trace(
    settings: Settings, api: httpx.Client, wait_until: Wait
) -> None:
    """Two crews, two repeats, a case whose runs fail: all scores are there, and each run's trace with its spans."""
    clerk = Agent("clerk", role="You answer questions about sums.", model="offline")
    plain, picky = Crew("plain", agents=[clerk]), Crew("picky", agents=[clerk])

    @picky.flow
    async def _picky(run: Any, question: str) -> str:
        if "never" in question:
            raise ValueError("this is not asked")
        return str(await run.ask(clerk, question))

    cases = [Case(id=name, input=f"What is {name}?", expected=name) for name in ("one", "two", "never")]
    suite = Suite(f"real-{uuid.uuid4().hex[:8]}", cases, [right, f1])
    try:
        result = await abench(suite, plain, picky, repeats=2, host="inline", settings=settings)
        assert [trial.status for trial in result.trials].count("failed") == 2
        published = publish(result, suite, settings)
        assert (published.runs_added, published.scores_added) == (12, 10 * 2)
        client = PhoenixClient(settings.phoenix or "", timeout_s=30.0)
        for candidate, experiment_id in zip(result.info.candidates, published.experiment_ids, strict=True):
            trials = {trial.trace_id: trial for trial in result.of(candidate)}
            wait_until(partial(all_linked, client, experiment_id, len(trials)))
            found = traces(client, experiment_id)
            assert {trace["traceId"] for trace in found} == set(trials)
            assert {trace["rootSpan"]["name"] for trace in found} == {candidate.crew}
            runs = {run["trace_id"]: run for run in stored(api, published)[experiment_id]}
            assert set(runs) == set(trials)
            for trace_id, trial in trials.items():
                said = {a["name"]: a["score"] for a in runs[trace_id]["annotations"]}
                assert said == {name: score.value for name, score in trial.scores.items()}
                assert (runs[trace_id]["error"] is None) == (trial.status == "done")
    finally:
        close_portal()
