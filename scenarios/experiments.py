"""A bench in Phoenix: the suite as a dataset, each candidate as an experiment on it, each score as an evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from callsheet.core.canonical import from_json
from callsheet.core.errors import DefinitionError, TracingError
from callsheet.crews.system import phoenix_endpoint, tracing_config
from callsheet.scenarios.case import Case
from callsheet.scenarios.results import BenchInfo, BenchResult, Candidate, ScoreRecord, ScorerInfo, Trial
from callsheet.scenarios.suite import Suite
from callsheet.settings import Settings
from callsheet.tracing.config import TracingConfig
from callsheet.tracing.content import Content, clean, json_text

if TYPE_CHECKING:
    import httpx
    from phoenix.client import Client

TIMEOUT_S = 60.0
"""How long Phoenix may take over one request: it stores one at a time, and spans may be waiting before it."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where a bench stands in Phoenix, and what this call added to what was there."""

    url: str
    """The page that compares the bench's experiments, case by case."""
    dataset_id: str
    experiment_ids: tuple[str, ...]
    """In the order of the bench's candidates."""
    runs_added: int = 0
    scores_added: int = 0


def publish(result: BenchResult, suite: Suite, settings: Settings) -> Published:
    """Put a bench into Phoenix; `result` may be unfinished, and published again when it has grown.

    The dataset belongs to the suite's digest and is made once. What Phoenix has of the bench already stays, so
    publishing twice, or again after it was cut off half way, makes no doubles; a run that stands there as failed
    is replaced by one of the same trial that ended otherwise. Blocks, for some 10 ms a run and a score.

    Raises DefinitionError for a suite that is not the bench's, and TracingError where there is no Phoenix, it
    refuses, or its client is not installed. The result itself is never changed.
    """
    if suite.digest != result.info.digest:
        raise DefinitionError(
            f"the suite {suite.name!r} has changed since the bench {result.info.bench_id}",
            hint="Publish with the suite as it was, or run the bench again.",
        )
    endpoint = phoenix_endpoint(settings)
    tracing = tracing_config(settings, endpoint)
    if tracing is None or endpoint is None:
        raise TracingError(
            "there is no Phoenix to publish the bench to",
            hint="`callsheet up` starts one; CALLSHEET_PHOENIX names one that runs elsewhere. "
            "The bench's results are kept: publish them when it is there.",
        )
    content = Content(tracing.content)
    with _connected(endpoint, tracing) as http:
        client = _client(http)
        dataset_id, examples = _dataset(client, suite, content, shown=tracing.content)
        there = {_identity(e["metadata"]): e["id"] for e in client.experiments.list(dataset_id=dataset_id)}
        experiment_ids: list[str] = []
        runs = scores = 0
        for candidate in result.info.candidates:
            identity = (result.info.bench_id, candidate.crew, candidate.model)
            experiment_id = there.get(identity) or _create(client, dataset_id, result.info, candidate)
            experiment_ids.append(experiment_id)
            added = _add_missing(client, experiment_id, examples, result, candidate, content)
            runs, scores = runs + added[0], scores + added[1]
    query = urlencode([("experimentId", experiment_id) for experiment_id in experiment_ids])
    return Published(
        url=f"{endpoint.rstrip('/')}/datasets/{dataset_id}/compare?{query}", dataset_id=dataset_id,
        experiment_ids=tuple(experiment_ids), runs_added=runs, scores_added=scores,
    )  # fmt: skip


# --- the dataset and its experiments ---------------------------------------------------------------------


def _dataset(client: Client, suite: Suite, content: Content, *, shown: bool) -> tuple[str, dict[str, str]]:
    """The suite's dataset, made where there is none: its id, and its examples' node ids by case id."""
    name = f"{suite.name} {suite.digest[:12]}" + ("" if shown else " without texts")
    examples = [_example(case, content, shown) for case in suite.cases]
    try:
        dataset = client.datasets.get_dataset(dataset=name, timeout=int(TIMEOUT_S))
    except ValueError:  # what the client says of a dataset that is not there
        dataset = None
    if dataset is None or not {e["id"] for e in examples} <= {e["id"] for e in dataset.examples}:
        # By the examples' own ids: those that are there stay as they are.
        dataset = client.datasets.create_dataset(
            name=name, examples=examples, dataset_description=clean(suite.description) or None,
            timeout=int(TIMEOUT_S),
        )  # fmt: skip
    return dataset.id, {example["id"]: example["node_id"] for example in dataset.examples}


def _example(case: Case, content: Content, shown: bool) -> dict[str, Any]:
    metadata = {**case.metadata, **({"files": case.files} if case.files else {})} if shown else {}
    return {
        "id": _example_id(case.id),
        "input": {"input": _shown(case.input, content)},
        "output": {} if case.expected is None else {"expected": _shown(case.expected, content)},
        "metadata": _storable({**metadata, "case": case.id}),
    }


def _example_id(case_id: str) -> str:
    # With a word before it: Phoenix refuses ids that look like its own.
    return f"case {clean(case_id)}"


def _create(client: Client, dataset_id: str, info: BenchInfo, candidate: Candidate) -> str:
    metadata = {
        "bench": info.bench_id, "crew": candidate.crew, "model": candidate.model, "suite": info.suite,
        "digest": info.digest, "host": info.host, "started": info.started, "versions": info.versions,
        "machine": info.machine,
    }  # fmt: skip
    experiment = client.experiments.create(
        dataset_id=dataset_id, experiment_name=clean(f"{candidate.label} · {info.bench_id}"),
        experiment_metadata=_storable(metadata), repetitions=info.repeats,
    )  # fmt: skip
    return experiment["id"]


def _identity(metadata: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return metadata.get("bench"), metadata.get("crew"), metadata.get("model")


# --- runs and scores -------------------------------------------------------------------------------------


def _add_missing(
    client: Client,
    experiment_id: str,
    examples: Mapping[str, str],
    result: BenchResult,
    candidate: Candidate,
    content: Content,
) -> tuple[int, int]:
    """Add the candidate's trials and scores that Phoenix lacks; how many of each were added."""
    stored = client.experiments.get_experiment(experiment_id=experiment_id)
    runs = {(run["dataset_example_id"], run["repetition_number"]): run for run in stored["task_runs"]}
    scores = {(entry.experiment_run_id, entry.name): _said(entry) for entry in stored["evaluation_runs"]}
    runs_added = scores_added = 0
    for trial in result.of(candidate):
        place = (examples[_example_id(trial.case)], trial.repeat + 1)
        error = _failure(trial, content)
        run: Any = runs.get(place)
        new = run is None or (
            run.get("error") and (run["error"], run.get("trace_id")) != (error, trial.trace_id)
        )
        if new:
            run = client.experiments.log_run(
                experiment_id=experiment_id, dataset_example_id=place[0], repetition_number=place[1],
                output=_shown(trial.output, content), error=error, trace_id=trial.trace_id or None,
                start_time=_time(trial.started), end_time=_time(trial.started + trial.elapsed_s),
            )  # fmt: skip
            runs_added += 1
        for scorer in result.info.scorers:
            record = trial.scores.get(scorer.name)
            if record is None:
                continue
            said = evaluation(scorer, record, content)
            if new or scores.get((run["id"], scorer.name)) != said:
                client.experiments.log_evaluation(
                    experiment_run_id=run["id"], name=scorer.name, **said,
                    metadata={"unit": scorer.unit, "better": scorer.better},
                    start_time=_time(trial.started + trial.elapsed_s),
                )  # fmt: skip
                scores_added += 1
    return runs_added, scores_added


def evaluation(scorer: ScorerInfo, record: ScoreRecord, content: Content) -> dict[str, Any]:
    """A score as Phoenix takes it: score, label, explanation, error.

    Shares of 1 that are whole have a label, `right` or `wrong`; so has a scorer that failed itself.
    """
    value = _storable(record.value)
    number = value if isinstance(value, int | float) else None
    explanation = clean(content.text(record.explanation)) if record.explanation else None
    if record.error or record.value is None:
        error = clean(content.error(record.error or "the scorer gave no score") or "")
        return {"score": None, "label": "scorer failed", "explanation": explanation, "error": error}
    label = None
    if number is None:
        label = str(value)  # not finite: no number that Phoenix could store
    elif not scorer.unit and scorer.better == "higher":
        label = {1.0: "right", 0.0: "wrong"}.get(number)
    return {"score": number, "label": label, "explanation": explanation, "error": None}


def _said(entry: Any) -> dict[str, Any]:
    """A stored evaluation in the form of `evaluation`."""
    found = dict(entry.result or {})
    return {
        "score": found.get("score"),
        "label": found.get("label"),
        "explanation": found.get("explanation"),
        "error": entry.error,
    }


def _failure(trial: Trial, content: Content) -> str | None:
    if trial.status == "done":
        return None
    text = content.error(trial.error) if trial.error else ""
    return clean(f"{trial.status}: {text}" if text else trial.status)


def _time(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


def _storable(value: Any) -> Any:
    return from_json(json_text(value))


def _shown(value: Any, content: Content) -> Any:
    """A value of the conversation; hidden, only how long it is."""
    text = json_text(value)
    return from_json(text if value is None else content.json(text))


# --- the connection --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _connected(endpoint: str, tracing: TracingConfig) -> Iterator[httpx.Client]:
    """A connection to Phoenix, with every way in which it can fail told as a TracingError."""
    try:
        import httpx
        from phoenix.client.exceptions import PhoenixException
        from phoenix.client.resources.datasets import DatasetUploadError
    except ImportError as error:
        raise TracingError(
            f"Phoenix's client cannot be imported: {error}",
            hint="Install it with `pip install 'callsheet[bench]'`, and publish the kept results then.",
        ) from error
    kept = "The bench's results are kept: publish them again then."
    try:
        # Straight to the server, as the spans go: past proxies, and without keys of the environment.
        with httpx.Client(
            base_url=endpoint, headers=dict(tracing.headers), timeout=TIMEOUT_S, trust_env=False
        ) as http:
            yield http
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        what = f"{error.request.method} {error.request.url.path}"
        hint = f"Is it really Phoenix that listens there? {kept}"
        if status in (401, 403):
            hint = f"It asks for a key, which callsheet has no setting for yet. {kept}"
        raise TracingError(f"Phoenix at {endpoint} answers {what} with HTTP {status}", hint=hint) from None
    except httpx.TransportError as error:
        raise TracingError(
            f"Phoenix at {endpoint} cannot be reached: {error or type(error).__name__}",
            hint=f"`callsheet up` starts one; `callsheet status` says whether it runs. {kept}",
        ) from error
    except (PhoenixException, DatasetUploadError) as error:
        raise TracingError(
            f"Phoenix at {endpoint} does not take the bench: {error}",
            hint=f"Check that it is Phoenix, and as new as `callsheet up` installs it. {kept}",
        ) from error
    except ValueError as error:  # no JSON, or what the client does not understand
        raise TracingError(
            f"what listens at {endpoint} does not answer as Phoenix does: {error}",
            hint=f"Is it really Phoenix? {kept}",
        ) from error


def _client(http: httpx.Client) -> Client:
    """Phoenix's client over the connection, once it is known that a Phoenix answers that is new enough."""
    from phoenix.client import Client
    from phoenix.client.constants.server_requirements import DATASET_UPLOAD_EXAMPLE_IDS
    from phoenix.client.utils.server_requirements import ServerVersionGuard

    http.get("arize_phoenix_version").raise_for_status()
    ServerVersionGuard(http).require(DATASET_UPLOAD_EXAMPLE_IDS)
    return Client(http_client=http)
