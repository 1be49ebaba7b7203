"""Benches made by hand or from a seed, for the tests of figures and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from callsheet.scenarios.results import BenchInfo, BenchResult, Candidate, ScoreRecord, ScorerInfo, Trial

EXACT = ScorerInfo(name="exact")


def trial(case: str, value: float | None, candidate: Candidate | None = None, **fields: Any) -> Trial:
    """A trial with one score; `value` None: the run failed. `fields` are the trial's own."""
    made: dict[str, Any] = {
        "number": 0, "case": case, "candidate": candidate or Candidate(crew="a"), "run_id": f"run-{case}",
        "status": "failed" if value is None else "done", "output": None if value is None else f"answer {case}",
        "scores": {} if value is None else {"exact": ScoreRecord(value=value)},
        "error": "ModelError: no" if value is None else "", "cost_usd": 0.01, "elapsed_s": 1.0,
    }  # fmt: skip
    return Trial(**{**made, **fields})


def bench(
    values: Mapping[str, Sequence[float | None] | Mapping[str, float | None]],
    *,
    trials: Sequence[Trial] | None = None,
    **fields: Any,
) -> BenchResult:
    """A bench of one scorer, once a case: each crew's scores by case (None: failed), or in the order c0, c1, …"""
    by_crew = {
        crew: dict(given) if isinstance(given, Mapping) else {f"c{i}": v for i, v in enumerate(given)}
        for crew, given in values.items()
    }
    cases = tuple(dict.fromkeys(case for given in by_crew.values() for case in given))
    found = [
        trial(case, v, Candidate(crew=crew)) for crew, given in by_crew.items() for case, v in given.items()
    ]
    if trials is not None:
        found = list(trials)
        cases = tuple(dict.fromkeys(t.case for t in found))
    numbered = tuple(t.model_copy(update={"number": i}) for i, t in enumerate(found))
    info = {
        "bench_id": "bench-1", "suite": "made", "digest": "d", "cases": cases, "scorers": (EXACT,),
        "candidates": tuple(dict.fromkeys(t.candidate for t in numbered)),
    }  # fmt: skip
    inputs = fields.pop("inputs", {case: {"input": f"question {case}", "expected": "x"} for case in cases})
    return BenchResult(info=BenchInfo(**{**info, **fields}), trials=numbered, inputs=inputs)


def generated(candidates: int = 3, cases: int = 60, repeats: int = 1, seed: int = 1) -> BenchResult:
    """A bench that looks like a real one: hard and easy cases, dear and cheap candidates, failures, long tails."""
    rng = np.random.default_rng(seed)
    models = (
        "openai/gpt-4o",
        "openai/gpt-4o-mini",
        "anthropic/claude-sonnet-4-5",
        "groq/llama-3.3-70b-versatile",
    )
    scorers = (EXACT, ScorerInfo(name="f1"), ScorerInfo(name="seconds", unit="s", better="lower"))
    ids = tuple(f"case-{i:03d}" for i in range(cases))
    easy = rng.beta(1.5, 1.2, size=cases)
    trials: list[Trial] = []
    chosen = [Candidate(crew=f"helpdesk{i // 4 or ''}", model=models[i % 4]) for i in range(candidates)]
    for nth, candidate in enumerate(chosen):
        skill, price = rng.uniform(-0.2, 0.3), 10 ** rng.uniform(-4, -2)
        for i, case in enumerate(ids):
            for repeat in range(repeats):
                failed, right = rng.random() < 0.03, rng.random() < np.clip(easy[i] + skill, 0, 1)
                tokens = int(rng.lognormal(7 + nth / 5, 0.5))
                elapsed = float(rng.lognormal(1 + nth / 6, 0.6))
                scores = {
                    "exact": ScoreRecord(
                        value=float(right), explanation="as expected" if right else "another number"
                    ),
                    "f1": ScoreRecord(value=1.0 if right else round(float(rng.beta(1, 3)), 3)),
                    "seconds": ScoreRecord(value=elapsed),
                }
                trials.append(
                    Trial(
                        number=len(trials), case=case, candidate=candidate, repeat=repeat,
                        run_id=f"run-{nth}-{i}-{repeat}", status="failed" if failed else "done",
                        output=None if failed else f"The answer to question {i} is {i * 7 if right else i}.",
                        scores={} if failed else scores, error="ModelUnavailableError: overloaded" if failed else "",
                        llm_calls=4, tool_calls=2, steps=9, input_tokens=tokens, output_tokens=tokens // 6,
                        cost_usd=tokens * price / 1000, elapsed_s=elapsed, started=1_790_000_000.0 + i,
                        trace_id="ab" * 16, trace_url=f"http://127.0.0.1:6006/projects/1/traces/{nth}{i}{repeat}",
                    )
                )  # fmt: skip
    info = BenchInfo(
        bench_id="bench-1", suite="arithmetic", digest="d", cases=ids, scorers=scorers,
        candidates=tuple(chosen), repeats=repeats, started=1_790_000_000.0,
        versions={"callsheet": "0.1.0", "python": "3.11"}, machine={"cpus": 2},
    )  # fmt: skip
    inputs = {case: {"input": f"What is {i} times 7?", "expected": i * 7} for i, case in enumerate(ids)}
    return BenchResult(info=info, trials=tuple(trials), inputs=inputs)
