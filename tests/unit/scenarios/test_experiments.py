"""Publishing a bench, against a Phoenix in memory: cut off anywhere, refused, away, too old, and without its client."""

from __future__ import annotations

import base64
import json
import math
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import DefinitionError, TracingError
from callsheet.scenarios import Case, Suite, scorer
from callsheet.scenarios.experiments import evaluation, publish
from callsheet.scenarios.results import BenchInfo, BenchResult, Candidate, ScoreRecord, ScorerInfo, Trial
from callsheet.settings import Settings, load_settings
from callsheet.tracing.content import Content

CANDIDATES = (Candidate(crew="a"), Candidate(crew="b"))
RIGHT = ScorerInfo(name="right")


class MemoryPhoenix:
    """The REST calls that publishing makes, with Phoenix's rules: a good run stays, an evaluation is upserted."""

    def __init__(self) -> None:
        self.version = "20.26.1"
        self.datasets: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[tuple[str, str, int], dict[str, Any]] = {}
        self.evaluations: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[httpx.Request] = []
        self.cut_at: int | None = None
        self.refusal: httpx.Response | None = None

    def __call__(self, transport: Any, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if len(self.asked) == self.cut_at:
            raise httpx.ReadError("connection reset", request=request)
        answer = self.refusal or self.answer(request)
        answer.request = request
        return answer

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = unquote(request.url.path).strip("/").split("/")[1:]
        body = json.loads(request.content or b"{}")
        match request.method, path:
            case "GET", []:
                return httpx.Response(200, text=self.version)
            case "GET", ["datasets"]:
                named = [d for d in self.datasets.values() if d["name"] == request.url.params["name"]]
                return data(named)
            case "POST", ["datasets", "upload"]:
                return self.upload(body)
            case "GET", ["datasets", key]:
                return data(self.datasets[key])
            case "GET", ["datasets", key, "examples"]:
                return data({"version_id": "v", "examples": self.datasets[key]["kept"]})
            case "GET", ["datasets", key, "experiments"]:
                return data([e for e in self.experiments.values() if e["dataset_id"] == key])
            case "POST", ["datasets", key, "experiments"]:
                made = {**body, "id": f"e{len(self.experiments)}", "dataset_id": key}
                self.experiments[made["id"]] = {**made, "dataset_version_id": "v", "project_name": "p"}
                return data(made)
            case "GET", ["experiments", key]:
                return data(self.experiments[key])
            case "GET", ["experiments", key, "runs"]:
                return data([run for place, run in self.runs.items() if place[0] == key])
            case "GET", ["experiments", key, "json"]:
                return httpx.Response(
                    200, json=[self.record(run) for p, run in self.runs.items() if p[0] == key]
                )
            case "POST", ["experiments", key, "runs"]:
                place = (key, body["dataset_example_id"], body["repetition_number"])
                if place in self.runs and not self.runs[place].get("error"):
                    return httpx.Response(409, json={"detail": "it is there"})
                self.runs[place] = {**body, "id": f"r{len(self.runs)}"}
                return data(self.runs[place])
            case "POST", ["experiment_evaluations"]:
                self.evaluations[body["experiment_run_id"], body["name"]] = body
                return data({"id": "x"})
        return httpx.Response(404)

    def upload(self, body: dict[str, Any]) -> httpx.Response:
        key = base64.b64encode(f"Dataset:{len(self.datasets)}".encode()).decode()
        kept = [
            {"id": name, "node_id": f"{key}-{i}", "input": body["inputs"][i], "output": {}, "metadata": {}}
            for i, name in enumerate(body["example_ids"])
        ]
        self.datasets[key] = {"id": key, "name": body["name"], "kept": kept}
        return data({"dataset_id": key, "version_id": "v"})

    def record(self, run: dict[str, Any]) -> dict[str, Any]:
        said = [
            {
                **(e["result"] or {}),
                **{k: e[k] for k in ("name", "error", "annotator_kind", "start_time", "end_time")},
            }
            for (run_id, _), e in self.evaluations.items()
            if run_id == run["id"]
        ]
        return {
            "example_id": run["dataset_example_id"],
            "repetition_number": run["repetition_number"],
            "annotations": said,
        }

    def counts(self) -> tuple[int, int, int, int]:
        return len(self.datasets), len(self.experiments), len(self.runs), len(self.evaluations)


def data(value: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": value, "next_cursor": None})


@pytest.fixture
def phoenix(monkeypatch: pytest.MonkeyPatch) -> MemoryPhoenix:
    """What every HTTP request of this process arrives at."""
    server = MemoryPhoenix()
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda self, request: server(self, request))
    return server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, phoenix="http://phoenix.test:6006")


@scorer
def right(attempt: Any) -> bool:
    """Nothing is scored here."""
    return True


def a_suite() -> Suite:
    return Suite("sums", [Case(id="one", input="1 + 1?", expected="2"), Case(id="two", input=[1])], [right])


def a_bench(suite: Suite) -> BenchResult:
    trials = [
        Trial(
            number=2 * i + j, case=case.id, candidate=candidate, run_id=f"run-{i}-{j}", trace_id=f"{i}{j}" * 16,
            status="done" if i + j else "limit", output="2" if i + j else None,
            scores={"right": ScoreRecord(value=1.0)} if i + j else {},
        )
        for i, candidate in enumerate(CANDIDATES)
        for j, case in enumerate(suite.cases)
    ]  # fmt: skip
    info = BenchInfo(
        bench_id="bench-1", suite=suite.name, digest=suite.digest, scorers=(RIGHT,), candidates=CANDIDATES,
        cases=tuple(case.id for case in suite.cases),
    )  # fmt: skip
    return BenchResult(info=info, trials=tuple(trials))


def test_cut_off_at_any_request_and_repeated_it_is_there_once(
    phoenix: MemoryPhoenix, settings: Settings
) -> None:
    suite = a_suite()
    bench = a_bench(suite)
    publish(bench, suite, settings)
    whole, requests = phoenix.counts(), len(phoenix.asked)
    assert whole == (1, 2, 4, 3)
    for cut in range(1, requests + 1):
        phoenix.__init__()  # type: ignore[misc]
        phoenix.cut_at = cut
        with pytest.raises(TracingError, match="cannot be reached: connection reset"):
            publish(bench, suite, settings)
        phoenix.cut_at = None
        publish(bench, suite, settings)
        assert phoenix.counts() == whole


def test_each_request_takes_what_is_missing_and_no_more(phoenix: MemoryPhoenix, settings: Settings) -> None:
    suite = a_suite()
    bench = a_bench(suite)
    publish(bench, suite, settings)
    before = len([r for r in phoenix.asked if r.method == "POST"])
    del phoenix.evaluations["r3", "right"]
    again = publish(bench, suite, settings)
    assert (again.runs_added, again.scores_added) == (0, 1)
    assert len([r for r in phoenix.asked if r.method == "POST"]) == before + 1


def test_a_run_without_an_answer_says_how_it_ended(phoenix: MemoryPhoenix, settings: Settings) -> None:
    suite = a_suite()
    publish(a_bench(suite), suite, settings)
    assert [run.get("error") for run in phoenix.runs.values()] == ["limit", None, None, None]


def test_the_link_compares_all_candidates(phoenix: MemoryPhoenix, settings: Settings) -> None:
    suite = a_suite()
    found = publish(a_bench(suite), suite, settings)
    assert (
        found.url == "http://phoenix.test:6006/datasets/RGF0YXNldDow/compare?experimentId=e0&experimentId=e1"
    )
    assert found.experiment_ids == ("e0", "e1")


def test_keys_of_the_environment_are_not_sent(
    phoenix: MemoryPhoenix, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOENIX_API_KEY", "planted-key")
    monkeypatch.setenv("PHOENIX_CLIENT_HEADERS", "api_key=planted-key")
    suite = a_suite()
    publish(a_bench(suite), suite, settings)
    assert phoenix.asked
    assert not [r for r in phoenix.asked if "planted-key" in f"{r.headers.raw}{r.url}{r.content!r}"]


def test_a_suite_that_has_changed_since_is_refused(phoenix: MemoryPhoenix, settings: Settings) -> None:
    suite = a_suite()
    with pytest.raises(DefinitionError, match="has changed since the bench bench-1"):
        publish(a_bench(suite), suite.only(limit=1), settings)
    assert phoenix.asked == []


@pytest.mark.parametrize("phoenix_setting", ["off", None])
def test_without_a_phoenix_it_says_how_to_get_one(tmp_path: Path, phoenix_setting: str | None) -> None:
    suite = a_suite()
    with pytest.raises(TracingError, match="there is no Phoenix") as caught:
        publish(a_bench(suite), suite, load_settings(home=tmp_path, phoenix=phoenix_setting))
    assert "callsheet up" in caught.value.hint
    assert "results are kept" in caught.value.hint


@pytest.mark.parametrize(
    ("version", "refusal", "said", "hint"),
    [
        ("14.9.9", None, "requires Phoenix >= 15.0.0", "as new as"),
        ("<!DOCTYPE html>", None, "version could not be determined", "as new as"),
        ("20.26.1", httpx.Response(401), "HTTP 401", "asks for a key"),
        ("20.26.1", httpx.Response(502, text="<html>"), "HTTP 502", "really Phoenix"),
        ("20.26.1", httpx.Response(302, headers={"location": "/login"}), "HTTP 302", "really Phoenix"),
    ],
)
def test_a_server_that_cannot_take_it_is_one_clear_error(
    phoenix: MemoryPhoenix, settings: Settings, version: str, refusal: Any, said: str, hint: str
) -> None:
    phoenix.version, phoenix.refusal = version, refusal
    suite = a_suite()
    with pytest.raises(TracingError, match=said) as caught:
        publish(a_bench(suite), suite, settings)
    assert hint in caught.value.hint
    assert "results are kept" in caught.value.hint


def test_without_the_client_it_says_what_to_install(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "phoenix"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "phoenix", None)
    suite = a_suite()
    with pytest.raises(TracingError, match="client cannot be imported") as caught:
        publish(a_bench(suite), suite, settings)
    assert "callsheet[bench]" in caught.value.hint


@given(
    value=st.none() | st.floats(), explanation=st.text(), error=st.sampled_from(["", "ToolError: it broke"]),
    unit=st.sampled_from(["", "usd"]), better=st.sampled_from(["higher", "lower"]), shown=st.booleans(),
)  # fmt: skip
def test_any_score_can_be_taken(
    value: float | None, explanation: str, error: str, unit: str, better: Any, shown: bool
) -> None:
    info = ScorerInfo(name="s", unit=unit, better=better)
    said = evaluation(info, ScoreRecord(value=value, explanation=explanation, error=error), Content(shown))
    json.dumps(said, allow_nan=False).encode()
    # Phoenix takes none that says nothing, and one that only explains shows nothing.
    assert said["score"] is not None or said["label"] is not None
    assert (said["error"] is not None) == (bool(error) or value is None)
    if said["label"] == "right":
        assert (value, unit, better) == (1.0, "", "higher")
    if said["score"] is not None:
        assert value is not None
        assert math.isclose(said["score"], value)
