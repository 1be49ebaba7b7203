"""What a campaign has shown: every run against the undisturbed one, every effect, every model call."""

from __future__ import annotations

import itertools
import json
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from benchmarks.chaos_lab.actors import Killed
from benchmarks.chaos_lab.campaign import Log
from benchmarks.chaos_lab.models import ModelServer, Sighting
from benchmarks.chaos_lab.records import Journal
from benchmarks.chaos_lab.stage import CREW_FILE, Stage

CALM = "j99999"
"""The job of the undisturbed run; every other has a name as long."""

EXPLAINS = {
    "llm": ("agent", "replica", "gateway", "node"),
    "tool": ("agent", "replica", "node"),
}
"""Kills that may cost a call of that kind under way. The driver's is one of them where Ray ends with it."""

KEPT_WITHIN_S = 2.0
"""A call that was answered so long before a kill was finished: it should have been in the journal. While there
is no coordinator nothing is kept, so the time counts from when there was one again."""


BAD = (
    "lost_runs", "wrong_answers", "repeated_model_calls", "repeated_tool_calls", "repeated_once_effects",
    "missing_effects", "unstable_keys", "handled_twice", "faults",
)  # fmt: skip
"""What there must be none of."""


@dataclass
class Verdict:
    """The figures, and the evidence for each that is not zero."""

    kills: int = 0
    runs: int = 0
    done: int = 0
    lost_runs: list[str] = field(default_factory=list)
    wrong_answers: list[str] = field(default_factory=list)
    repeated_model_calls: list[str] = field(default_factory=list)
    repeated_tool_calls: list[str] = field(default_factory=list)
    repeated_once_effects: list[str] = field(default_factory=list)
    missing_effects: list[str] = field(default_factory=list)
    unstable_keys: list[str] = field(default_factory=list)
    handled_twice: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    in_flight_again: dict[str, int] = field(default_factory=dict)
    """Calls that a kill caught under way, and that were made again: by kind."""
    model_calls: int = 0
    tool_calls: int = 0
    waited: int = 0
    recovery_s: dict[str, dict[str, float]] = field(default_factory=dict)
    by_kind: dict[str, int] = field(default_factory=dict)
    made: list[Killed] = field(default_factory=list)

    def add(self, other: Verdict) -> None:
        """Count another campaign in."""
        for name in ("kills", "runs", "done", "model_calls", "tool_calls", "waited"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in BAD:
            getattr(self, name).extend(getattr(other, name))
        for name, count in other.in_flight_again.items():
            self.in_flight_again[name] = self.in_flight_again.get(name, 0) + count
        self.made.extend(other.made)
        _measure(self)

    @property
    def wrong(self) -> list[str]:
        """Everything that must not be."""
        found: list[str] = []
        for name in BAD:
            found += [f"{name}: {line}" for line in getattr(self, name)]
        return found


def undisturbed(stage: Stage, server: ModelServer) -> str:
    """The answer of a run that nothing disturbs, in a home of its own and without Ray; it leaves no traces."""
    done = stage.callsheet(
        "run", str(CREW_FILE), CALM, "--inline", "--json", "--docs", str(stage.docs),
        "--home", str(stage.folder / "calm"),
    )  # fmt: skip
    server.sightings.clear()
    (stage.folder / "ledger.jsonl").unlink()
    answer: str = json.loads(done.stdout)["output"]
    return answer


def judge(
    journal: Journal, ledger: list[dict[str, Any]], sightings: list[Sighting], log: Log, calm: str
) -> Verdict:
    """The verdict on a campaign; `calm` is the answer to job `CALM` of a run that nothing disturbed."""
    verdict = Verdict(
        kills=len(log.kills), made=list(log.kills), faults=list(log.faults), waited=len(log.decisions)
    )
    runs = {run["run_id"]: run for run in journal.runs()}
    verdict.runs = len(runs)
    jobs = {run_id: json.loads(run["input"])["input"] for run_id, run in runs.items()}
    for job, run_id in log.jobs.items():
        if run_id not in runs:
            verdict.lost_runs.append(f"{run_id} ({job}) was begun and is not in the journal")
    for run_id, run in runs.items():
        if run["status"] != "done":
            verdict.lost_runs.append(f"{run_id} ({jobs[run_id]}) is {run['status']}: {run['error']}")
            continue
        verdict.done += 1
        answer, wanted = json.loads(run["output"])["output"], calm.replace(CALM, jobs[run_id])
        if answer != wanted:
            verdict.wrong_answers.append(f"{run_id}: {answer!r} instead of {wanted!r}")
    done = {run_id for run_id, run in runs.items() if run["status"] == "done"}
    _judge_models(verdict, journal, sightings, log.kills, done)
    _judge_tools(verdict, journal, ledger, log.kills, done, jobs)
    twice = journal.rows(
        "SELECT run_id, reply_to, count(*) AS c FROM envelopes WHERE reply_to != '' AND kind = 'reply'"
        " GROUP BY run_id, reply_to HAVING c > 1"
    )
    verdict.handled_twice = [f"{row['run_id']}: {row['c']} replies to {row['reply_to']}" for row in twice]
    _measure(verdict)
    return verdict


def _judge_models(
    verdict: Verdict, journal: Journal, sightings: list[Sighting], kills: list[Killed], done: set[str]
) -> None:
    """Each request is seen once, save those that a kill caught under way; and never after its reply was kept."""
    asks = journal.rows(
        "SELECT id, run_id, receiver, body FROM envelopes WHERE kind = 'ask' AND receiver != 'flow'"
    )
    turns = {}
    for ask in asks:
        text = json.loads(ask["body"]).get("input", "")
        if ask["run_id"] in done and isinstance(text, str) and text.startswith("["):
            turns[text[1 : text.index("]")]] = ask["id"]
    steps: dict[tuple[str, int], dict[str, Any]] = {}
    counts: dict[str, int] = defaultdict(int)
    for step in journal.rows("SELECT * FROM steps WHERE kind = 'llm' ORDER BY n"):
        steps[step["turn_id"], counts[step["turn_id"]]] = step
        counts[step["turn_id"]] += 1
    seen: dict[tuple[str, int], list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        seen[sighting.task, sighting.nth].append(sighting)
    verdict.model_calls = len(seen)
    for (task, nth), requests in seen.items():
        turn = turns.get(task)
        if turn is None:
            continue  # of a run that is not done, which is told above
        requests.sort(key=lambda request: request.arrived)
        what = f"{task}, call {nth}"
        kept = steps.get((turn, nth))
        if kept is None:
            verdict.missing_effects.append(f"the model answered {what}, and no step says so")
            continue
        if len({request.digest for request in requests}) > 1:
            verdict.repeated_model_calls.append(f"{what}: it was asked in different words")
        if requests[-1].arrived > kept["ended"]:
            verdict.repeated_model_calls.append(f"{what}: asked again after its reply was kept")
        times = [(request.arrived, request.answered) for request in requests]
        _explain(verdict.repeated_model_calls, verdict, "llm", what, times, kills)


def _judge_tools(
    verdict: Verdict, journal: Journal, ledger: list[dict[str, Any]], kills: list[Killed], done: set[str],
    jobs: dict[str, str],
) -> None:  # fmt: skip
    steps: dict[tuple[str, str, str], dict[str, Any]] = {}
    for step in journal.rows("SELECT * FROM steps WHERE kind = 'tool'"):
        given = json.loads(step["input"])
        steps[step["turn_id"], step["name"], _same(json.loads(given["arguments"]))] = step
    effects: dict[tuple[str, str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in ledger:
        effects[line["run"], line["turn"], line["tool"], _same(line["arguments"])].append(line)
    verdict.tool_calls = len(effects)
    for (run, turn, tool, arguments), made in effects.items():
        what = f"{run} {tool}({arguments})"
        if len({line["key"] for line in made}) > 1:
            verdict.unstable_keys.append(f"{what}: {[line['key'] for line in made]}")
        if tool == "pay" and len(made) > 1:
            verdict.repeated_once_effects.append(f"{what}: {[(m['pid'], m['at']) for m in made]}")
        kept = steps.get((turn, tool, arguments))
        if run not in done:
            continue
        if kept is None:
            verdict.missing_effects.append(f"{what} was made, and no step says so")
            continue
        if tool != "pay" and made[-1]["at"] > kept["ended"]:
            verdict.repeated_tool_calls.append(f"{what}: made again after its result was kept")
        _explain(
            verdict.repeated_tool_calls,
            verdict,
            tool,
            what,
            [(line["at"], line["at"]) for line in made],
            kills,
        )
    for (turn, tool, arguments), step in steps.items():
        if step["run_id"] in done and (step["run_id"], turn, tool, arguments) not in effects:
            verdict.missing_effects.append(f"{step['run_id']} {tool}({arguments}) has a result and no effect")
    # Whatever the journal says: a run that is done has paid for both of its orders.
    paid = {(line["run"], line["arguments"]["order"]) for line in ledger if line["tool"] == "pay"}
    for run in done:
        for order in (f"{jobs[run]}-a", f"{jobs[run]}-b"):
            if (run, order) not in paid:
                verdict.missing_effects.append(f"{run} is done and never paid for {order}")


def _explain(
    bad: list[str],
    verdict: Verdict,
    kind: str,
    what: str,
    times: list[tuple[float, float | None]],
    kills: list[Killed],
) -> None:
    """Between a call and the same call again there must be a kill that can have cost the first."""
    may = EXPLAINS["llm" if kind == "llm" else "tool"]
    for (first, answered), (again, _) in itertools.pairwise(times):
        causes = [
            kill
            for kill in kills
            if kill.at <= min(again, _kept_by(answered or again, kill, kills))
            # What a killed process has sent may arrive after its death, but not after its successor's birth.
            and first <= max(kill.at, kill.up or 0.0)
            and (kill.kind in may or (kill.kind == "driver" and kill.label != "cluster"))
        ]
        if causes:
            verdict.in_flight_again[kind] = verdict.in_flight_again.get(kind, 0) + 1
        else:
            bad.append(
                f"{what}: made at {first:.3f} and at {again:.3f}, and nothing was killed that explains it"
            )


def _kept_by(answered: float, before: Killed, kills: list[Killed]) -> float:
    """When a call answered at that time had to be in the journal, as far as can be said before that kill."""
    keepers = [k.up for k in kills if k.kind in ("coordinator", "node") and k.up and k.at < before.at]
    return max([answered, *keepers]) + KEPT_WITHIN_S


def _same(arguments: Any) -> str:
    return json.dumps(arguments, sort_keys=True)


def _measure(verdict: Verdict) -> None:
    verdict.by_kind, verdict.recovery_s = {}, {}
    groups: dict[str, list[Killed]] = defaultdict(list)
    for kill in verdict.made:
        verdict.by_kind[kill.kind] = verdict.by_kind.get(kill.kind, 0) + 1
        where = f", {kill.label}" if kill.kind in ("driver", "node") else ""
        groups[f"{kill.kind}{where}"].append(kill)
        if not where:
            groups["one actor"].append(kill)
    for name, members in groups.items():
        values = [kill.recovery_s for kill in members if kill.recovery_s is not None]
        away = [kill.away_s for kill in members if kill.away_s is not None]
        if away:
            verdict.recovery_s[name] = {
                "away_median": round(statistics.median(away), 3), "away_worst": round(max(away), 3)
            }  # fmt: skip
        if values:
            verdict.recovery_s[name] |= {
                "median": round(statistics.median(values), 3), "worst": round(max(values), 3), "n": len(values)
            }  # fmt: skip
