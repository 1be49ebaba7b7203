"""`callsheet bench` and `callsheet benches`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callsheet.models.policy import ModelPolicy
from callsheet.testing import reply, scripted
from tests.unit.cli.conftest import Callsheet

SUITE = """
name: orders
scorers: [contains]
crew: desk.py
cases:
  - {id: a, input: "Where is order 17?", expected: Monday}
  - {id: b, input: "Where is order 18?", expected: Tuesday}
  - {id: c, input: "Where is order 19?", expected: Sunday}
"""
DESK = """
from callsheet import Agent, Crew
crew = Crew("desk", agents=[Agent("clerk", role="You answer.")])
"""


@pytest.fixture(autouse=True)
def files(callsheet: Callsheet) -> Path:
    Path("suite.yaml").write_text(SUITE)
    Path("desk.py").write_text(DESK)
    Path("other.py").write_text(DESK.replace("desk", "other"))
    return Path.cwd()


def answers(request: Any) -> Any:
    """Right for two of three orders, at 0.1 USD."""
    days = {"17": "on Monday", "18": "on Tuesday"}
    text = str(request.messages[-1].text)
    return reply(next((day for order, day in days.items() if order in text), "gone"), cost_usd=0.1)


def test_the_report_goes_to_standard_output_and_all_else_to_standard_error(callsheet: Callsheet) -> None:
    with scripted(answers):
        ended = callsheet("bench", "suite.yaml", "--inline", "--model", "ollama/llama3.2")
    assert ended.status == 0, ended.err
    assert "2/3" in ended.out
    assert "desk · ollama/llama3.2" in ended.out
    assert "3/3  contains: desk" in ended.err
    assert "0.3000 USD spent" in ended.err


def test_json_is_one_object_and_the_file_is_the_baseline_of_the_next(callsheet: Callsheet) -> None:
    with scripted(answers):
        first = callsheet("bench", "suite.yaml", "--inline", "--out", "base.json")
        again = callsheet("bench", "suite.yaml", "--inline", "--compare", "base.json", "--json")
        bench_id = again.data["result"]["info"]["bench_id"]
        third = callsheet("bench", "suite.yaml", "--inline", "--compare", bench_id)
    assert first.status == again.status == third.status == 0
    assert [t["case"] for t in again.data["result"]["trials"]] == ["a", "b", "c"]
    assert again.data["summary"]["candidates"][0]["right"] == 2
    assert f"Against the baseline {bench_id}" in third.out


def test_crews_and_models_are_each_benched_with_each(callsheet: Callsheet) -> None:
    with scripted(answers):
        ended = callsheet(
            "bench", "suite.yaml", "--inline", "--crew", "desk.py", "--crew", "other.py:crew", "--model", "offline",
            "--model", "ollama/llama3.2", "--repeats", "2", "--cases", "1", "--json",
        )  # fmt: skip
    assert ended.status == 0, ended.err
    labels = [f"{t['candidate']['crew']} · {t['candidate']['model']}" for t in ended.data["result"]["trials"]]
    four = ["desk · offline", "desk · ollama/llama3.2", "other · offline", "other · ollama/llama3.2"]
    assert labels == four * 2


def test_single_cases_and_other_scorers_can_be_named(callsheet: Callsheet) -> None:
    with scripted(answers):
        ended = callsheet(
            "bench", "suite.yaml", "--inline", "--case", "c", "--case", "a", "--scorer", "exact", "--json"
        )
    assert [t["case"] for t in ended.data["result"]["trials"]] == ["c", "a"]
    assert {tuple(t["scores"]) for t in ended.data["result"]["trials"]} == {("exact",)}


def test_a_threshold_that_is_not_reached_is_status_1(callsheet: Callsheet) -> None:
    with scripted(answers):
        met = callsheet("bench", "suite.yaml", "--inline", "--fail-under", "score=0.6,cost=0.2")
        missed = callsheet("bench", "suite.yaml", "--inline", "--fail-under", "score=0.8,cost=0.05")
    assert met.status == 0
    assert missed.status == 1
    assert "score is 0.6667, under 0.8" in missed.err
    assert "cost is 0.1 USD, over 0.05 USD" in missed.err


def test_a_spent_budget_is_status_3_and_more_goes_on_from_another_folder(
    callsheet: Callsheet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with scripted(answers) as script:
        ended = callsheet("bench", "suite.yaml", "--inline", "--at-once", "1", "--budget", "0.2", "--json")
        assert ended.status == 3
        assert len(ended.data["result"]["trials"]) == 2
        bench_id = ended.data["result"]["info"]["bench_id"]
        assert f"`callsheet bench --resume {bench_id} --budget 0.4` goes on" in ended.err
        monkeypatch.chdir(tmp_path)
        again = callsheet("bench", "--resume", bench_id, "--budget", "0.4", "--json")
    assert again.status == 0, again.err
    assert [t["case"] for t in again.data["result"]["trials"]] == ["a", "b", "c"]
    assert len(script.requests) == 3


def test_a_crew_that_only_fails_is_status_1_with_one_error(callsheet: Callsheet) -> None:
    from callsheet.core.errors import ModelRequestError

    with scripted(lambda request: ModelRequestError("no such thing")):
        ended = callsheet("bench", "suite.yaml", "--inline")
    assert ended.status == 1
    assert ended.err.count("every run of desk failed: ModelRequestError") == 1
    assert "--retry-failed" in ended.err


UNJUDGED = """
from callsheet import Agent, Crew
from callsheet.scenarios import Case, Suite

crew = Crew("desk", agents=[Agent("clerk", role="You answer.")])

def odd(attempt):
    raise KeyError("gone")

suite = Suite("odd", [Case(id="a", input="Where is order 17?"), Case(id="b", input="Hm?")], [odd], crew=crew)
"""


def test_a_scorer_that_fails_in_every_trial_is_status_1_and_the_answers_are_kept(
    callsheet: Callsheet,
) -> None:
    Path("odd.py").write_text(UNJUDGED)
    with scripted(answers) as script:
        ended = callsheet("bench", "odd.py:suite", "--inline", "--json")
        assert ended.status == 1
        assert ended.err.count("the scorer odd failed in every trial of desk: ") == 1
        assert "KeyError" in ended.err
        assert [t["output"] for t in ended.data["result"]["trials"]] == ["on Monday", "gone"]
        Path("odd.py").write_text(UNJUDGED.replace('raise KeyError("gone")', "return 1.0"))
        bench_id = ended.data["result"]["info"]["bench_id"]
        again = callsheet("bench", "--resume", bench_id, "--retry-failed")
        assert again.status == 0, again.err
        assert len(script.requests) == 2


def test_what_benches_cost_whose_price_is_not_known_is_not_listed_as_0(callsheet: Callsheet) -> None:
    with scripted(lambda request: reply("on Monday", cost_usd=None)):
        ended = callsheet("bench", "suite.yaml", "--inline")
    assert "0.0000" not in ended.err
    listed = callsheet("benches").out
    assert "not known" in listed
    assert "0.0000" not in listed
    (told,) = callsheet("benches", "--json").data
    assert (told["spent_usd"], told["unpriced"]) == (None, 3)


def test_a_tier_of_models_is_benched_by_its_name_and_resumed(
    callsheet: Callsheet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with scripted(answers) as script:
        ended = callsheet(
            "bench", "suite.yaml", "--inline", "--model", "fast", "--budget", "0.2", "--at-once", "1"
        )
        assert ended.status == 3, ended.err
        assert {request.model for request in script.requests} == {ModelPolicy(tier="fast").to_text()}
        bench_id = callsheet("benches", "--json").data[0]["bench_id"]
        again = callsheet("bench", "--resume", bench_id, "--budget", "1")
    assert again.status == 0, again.err
    assert "desk · fast" in again.out
    assert "policy" not in again.out


def test_a_baseline_of_other_cases_is_refused_before_anything_is_run(callsheet: Callsheet) -> None:
    Path("others.csv").write_text("id,input,expected\nz,What?,yes\n")
    with scripted(answers) as script:
        callsheet("bench", "suite.yaml", "--inline", "--out", "base.json")
        before = len(script.requests)
        ended = callsheet(
            "bench",
            "others.csv",
            "--inline",
            "--crew",
            "desk.py",
            "--scorer",
            "exact",
            "--compare",
            "base.json",
        )
        assert len(script.requests) == before
    assert ended.status == 2
    assert "no case of 'others' is in the baseline base.json, which is of 'orders'" in ended.err


def test_benches_are_listed_the_newest_first(callsheet: Callsheet) -> None:
    assert "There are no benches yet" in callsheet("benches").err
    with scripted(answers):
        callsheet("bench", "suite.yaml", "--inline")
        callsheet("bench", "suite.yaml", "--inline", "--cases", "1")
    newest, oldest = callsheet("benches", "--json").data
    assert (newest["done"], newest["planned"]) == (1, 1)
    assert (oldest["suite"], oldest["done"], oldest["spent_usd"]) == ("orders", 3, 0.3)
    assert oldest["bench_id"] in callsheet("benches").out


def test_a_bench_that_cannot_be_read_does_not_hide_the_others(callsheet: Callsheet, home: Path) -> None:
    with scripted(answers):
        callsheet("bench", "suite.yaml", "--inline")
        callsheet("bench", "suite.yaml", "--inline")
    (one, _) = sorted((home / "benches").iterdir())
    (one / "bench.json").write_text("{")
    ended = callsheet("benches", "--json")
    assert len(ended.data) == 1
    assert one.name in ended.err


def test_a_page_and_plots_are_written_where_wanted(callsheet: Callsheet) -> None:
    with scripted(answers):
        ended = callsheet("bench", "suite.yaml", "--inline", "--html", "page.html", "--plots", "plots")
    assert ended.status == 0, ended.err
    assert "Where is order 17?" in Path("page.html").read_text()
    assert list(Path("plots").glob("*.png"))


def test_where_there_is_no_phoenix_the_results_are_there_all_the_same(callsheet: Callsheet) -> None:
    with scripted(answers):
        ended = callsheet("bench", "suite.yaml", "--inline", "--phoenix")
    assert ended.status == 1
    assert "2/3" in ended.out
    assert "Phoenix" in ended.err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "the SUITE is missing"),
        (["none.yaml"], "none.yaml"),
        (["suite.yaml", "--crew", "nobody"], "no crew is called 'nobody'"),
        (["suite.yaml", "--model", "gpt"], "gpt"),
        (["suite.yaml", "--model", "openai/gpt-5-mini"], "OPENAI_API_KEY is not set"),
        (["suite.yaml", "--case", "z"], "'z'"),
        (["suite.yaml", "--scorer", "exakt"], "--scorer: no scorer is called 'exakt'"),
        (["suite.yaml", "--fail-under", "score=80"], "score=0.8 is 80 %"),
        (["gsm8k", "--data", "nowhere"], "--data: nowhere does not exist"),
        (["gsm8k", "--data", "desk.py"], "--data: desk.py is a file, and no folder"),
        (["suite.yaml", "--fail-under", "scor=1"], "scor"),
        (["suite.yaml", "--fail-under", "score"], "NAME=NUMBER"),
        (["suite.yaml", "--compare", "none.json"], "none.json cannot be read"),
        (["suite.yaml", "--budget", "0"], "--budget is 0"),
        (["suite.yaml", "--out", "."], "--out: . is a folder"),
        (["suite.yaml", "--retry-failed"], "--retry-failed is for a bench that is resumed"),
        (["--resume", "none"], "no bench is called 'none'"),
        (["suite.yaml", "--resume", "none"], "SUITE and --resume are both given"),
        (["--resume", "none", "--repeats", "2"], "--repeats and --resume are both given"),
    ],
)
def test_what_cannot_be_done_is_status_2_before_anything_is_run(
    callsheet: Callsheet, home: Path, args: list[str], told: str
) -> None:
    ended = callsheet("bench", *args, "--inline" if "--resume" not in args else "--json")
    assert ended.status == 2
    assert told in ended.err
    assert not (home / "benches").exists()


def test_a_crew_that_was_edited_meanwhile_is_told_of(callsheet: Callsheet) -> None:
    with scripted(answers):
        ended = callsheet("bench", "suite.yaml", "--inline", "--json")
        Path("desk.py").write_text(DESK.replace("You answer.", "You answer at length."))
        again = callsheet("bench", "--resume", ended.data["result"]["info"]["bench_id"])
    assert again.status == 2
    assert "the crew 'desk' has changed since the bench" in again.err


def test_a_bench_of_a_script_is_resumed_by_the_script(callsheet: Callsheet, home: Path) -> None:
    with scripted(answers):
        ended = callsheet("bench", "suite.yaml", "--inline", "--json")
        bench_id = ended.data["result"]["info"]["bench_id"]
        head = home / "benches" / bench_id / "bench.json"
        data = json.loads(head.read_text())
        del data["settings"]["command"]
        head.write_text(json.dumps(data))
        again = callsheet("bench", "--resume", bench_id)
    assert again.status == 2
    assert f'resume="{bench_id}"' in again.err
