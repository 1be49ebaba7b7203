"""The commands that only look."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Callsheet
from tests.unit.cli.past import journal_of, left_run


@pytest.mark.parametrize("command", ["runs", "crews", "models", "tools", "roles", "status"])
def test_every_listing_prints_json_alone(callsheet: Callsheet, command: str) -> None:
    ended = callsheet(command, "--json")
    assert ended.status == 0
    assert isinstance(ended.data, list | dict)


@pytest.mark.parametrize("command", ["runs", "crews", "models", "tools", "roles", "status"])
def test_looking_makes_nothing(callsheet: Callsheet, home: Path, command: str) -> None:
    assert callsheet(command).status == 0
    assert not home.exists()


def test_help_names_every_command(callsheet: Callsheet) -> None:
    for ended in (callsheet("--help"), callsheet()):
        assert ended.status == 0
        for command in (
            "run", "resume", "reply", "approve", "deny", "cancel", "watch", "show", "replay", "fork", "launch",
            "crews", "stop", "up", "down", "status", "doctor", "models", "tools", "roles", "runs",
        ):  # fmt: skip
            assert f"\n  {command} " in ended.out


def test_the_help_of_run_states_the_rule_of_docs(callsheet: Callsheet) -> None:
    told = " ".join(callsheet("run", "--help").out.split())
    assert "All words up to the next option are paths" in told


def test_version(callsheet: Callsheet) -> None:
    assert callsheet("--version").out.startswith("callsheet ")


def test_a_run_can_be_listed_and_shown_by_the_beginning_of_its_id(
    callsheet: Callsheet, documents: Path
) -> None:
    run = callsheet("run", "research", "--inline", "--json", "--docs", "docs", "README.md", "crash?").data
    listed = callsheet("runs", "--json").data
    assert [one["run_id"] for one in listed] == [run["run_id"]]
    assert listed[0]["output"] == run["output"]
    assert run["run_id"] in callsheet("runs").out
    shown = callsheet("show", run["run_id"][:13], "--json").data
    assert shown["usage"] == run["usage"]
    assert {message["sender"] for message in shown["messages"]} == {
        "person", "flow", "researcher", "analyst", "writer"
    }  # fmt: skip
    assert {step["kind"] for step in shown["steps"]} == {"llm", "tool"}
    assert {step["agent"] for step in shown["steps"]} == {"researcher", "analyst", "writer"}
    text = callsheet("show", run["run_id"]).out
    assert "researcher used search_documents" in text
    assert "research → you" in text


def test_runs_are_filtered_by_status_and_crew(callsheet: Callsheet, documents: Path) -> None:
    callsheet("run", "research", "--inline", "--docs", "docs", "--", "journal?")
    assert len(callsheet("runs", "--status", "done", "--crew", "research", "--json").data) == 1
    assert callsheet("runs", "--status", "failed", "--json").data == []
    assert callsheet("runs", "--crew", "other", "--json").data == []


def test_a_run_id_must_be_known_and_unambiguous(callsheet: Callsheet, documents: Path) -> None:
    assert "There are no runs yet" in callsheet("show", "1").err
    for _ in range(2):
        callsheet("run", "research", "--inline", "--docs", "docs", "--", "journal?")
    ids = [run["run_id"] for run in callsheet("runs", "--json").data]
    ambiguous = callsheet("show", ids[0][:2])
    assert ambiguous.status == 2
    assert all(run_id in ambiguous.err for run_id in ids)
    assert "`callsheet runs`" in callsheet("show", "zzz").err


def test_a_run_that_nobody_works_on_is_listed_as_cut_off(callsheet: Callsheet, home: Path) -> None:
    record = left_run(home, owner="inline-1-x")
    row = callsheet("runs").out.splitlines()[1]
    assert "cut off" in row
    assert "running" not in row
    for told in (callsheet("runs", "--json").data[0], callsheet("show", record.run_id, "--json").data):
        assert (told["status"], told["cut_off"]) == ("running", True)
    with journal_of(home, owner="inline-1-x"):
        assert "cut off" not in callsheet("runs").out
        assert callsheet("runs", "--json").data[0]["cut_off"] is False


def test_the_status_tells_how_many_runs_are_under_way_and_how_many_wait(
    callsheet: Callsheet, home: Path
) -> None:
    left_run(home, status="waiting", owner="")
    assert "0 running, 1 waiting" in callsheet("status").out
    journal = callsheet("status", "--json").data["journal"]
    assert (journal["running"], journal["waiting"]) == (0, 1)


def test_the_status_calls_a_flow_by_its_crews_name(
    callsheet: Callsheet, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = {"name": "night-desk", "crew": "desk", "participants": {"flow": [11], "clerk": [12, 13]}}
    monkeypatch.setattr("callsheet.crews.loading.launched_crews", lambda settings: [launch])
    monkeypatch.setenv("CALLSHEET_ADDRESS", "127.0.0.1:6379")
    assert "crew night-desk (pids: desk 11; clerk 12, 13)" in callsheet("status").out


def test_an_unknown_status_is_refused(callsheet: Callsheet) -> None:
    ended = callsheet("runs", "--status", "finished")
    assert ended.status == 2
    assert "cancelled" in ended.err


@pytest.mark.parametrize(("command", "name"), [("tools", "web_search"), ("roles", "writer")])
def test_a_card_is_shown_whole(callsheet: Callsheet, command: str, name: str) -> None:
    assert callsheet(command, name).out.startswith(f"{name}\n")
    assert callsheet(command, name, "--json").data["name"] == name


@pytest.mark.parametrize(("command", "near"), [("tools", "websearch"), ("roles", "writter")])
def test_an_unknown_card_names_the_nearest(callsheet: Callsheet, command: str, near: str) -> None:
    ended = callsheet(command, near)
    assert ended.status == 2
    assert "Did you mean" in ended.err


def test_models_tell_of_keys_and_never_show_one(
    callsheet: Callsheet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    for ended in (callsheet("models"), callsheet("models", "--json")):
        assert "OPENAI_API_KEY" in ended.out
        assert "secret" not in ended.out + ended.err
    assert callsheet("models", "--json").data["default"].startswith("openai/")


def test_the_ready_made_crew_is_listed(callsheet: Callsheet) -> None:
    (crew,) = callsheet("crews", "--json").data
    assert crew["name"] == "research"
    assert [agent["name"] for agent in crew["agents"]] == ["researcher", "analyst", "writer"]


@pytest.mark.parametrize("args", [["launch", "research"], ["stop", "research"]])
def test_without_a_cluster_nothing_can_be_kept_serving(callsheet: Callsheet, args: list[str]) -> None:
    ended = callsheet(*args)
    assert ended.status == 2
    assert "`callsheet up`" in ended.err


def test_a_crew_cannot_be_launched_under_any_name(callsheet: Callsheet) -> None:
    ended = callsheet("launch", "research", "--name", "../x")
    assert ended.status == 2
    assert "'../x'" in ended.err


def test_down_ends_nothing_where_nothing_was_started(callsheet: Callsheet) -> None:
    ended = callsheet("down")
    assert ended.status == 0
    assert "Nothing" in ended.err


def test_a_broken_journal_is_told_with_a_remedy(callsheet: Callsheet, home: Path) -> None:
    home.mkdir()
    (home / "journal.db").write_text("this is no database" * 50)
    ended = callsheet("runs")
    assert ended.status == 1
    assert "journal.db" in ended.err
    assert "move it away" in ended.err


def test_show_cuts_long_texts_unless_all_is_wanted(callsheet: Callsheet) -> None:
    Path("desk.py").write_text(
        'from callsheet import Agent, Crew\ncrew = Crew("desk", agents=[Agent("clerk", role="You answer.")])\n'
        "@crew.flow\nasync def go(run, task):\n    return 'one\\n' * 100 + 'the end'\n"
    )
    run = callsheet("run", "desk.py", "--inline", "--json", "word " * 50_000 + "last").data["run_id"]
    cut, full = callsheet("show", run), callsheet("show", run, "--full")
    assert len(cut.out) < 5_000
    assert "last" not in cut.out
    assert "the end" not in cut.out
    assert "--full" in cut.err
    assert "last" in full.out
    assert "the end" in full.out
    assert "--full" not in full.err


def test_a_relative_home_is_shown_whole(callsheet: Callsheet) -> None:
    assert callsheet("status", "--json", "--home", "state").data["home"] == str(Path.cwd() / "state")


def test_models_for_a_step_are_listed_with_the_reason_and_those_left_out(
    callsheet: Callsheet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    ended = callsheet("models", "--for", "tools,vision", "--tier", "fast")
    assert ended.status == 0
    assert "openai/gpt-5-nano" in ended.out
    assert "no key (ANTHROPIC_API_KEY)" in ended.out
    data = callsheet("models", "--for", "tools,vision", "--tier", "fast", "--json").data
    assert data["choices"][0]["model"].startswith("openai/")
    assert data["choices"][0]["usd"] > 0
    assert "ANTHROPIC_API_KEY" in data["left_out"][0]["why"]
    dear = callsheet("models", "--tier", "fast", "--prefer", "openai/gpt-4o", "--json").data
    assert dear["choices"][0]["model"] == "openai/gpt-4o"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--tier", "fast"), "Set ANTHROPIC_API_KEY or OPENAI_API_KEY"),
        (("--tier", "best"), "fast, balanced, frontier"),
        (("--for", "visoin"), "tools, vision, json, thinking"),
    ],
)
def test_where_no_model_will_do_it_is_said_what_is_missing(
    callsheet: Callsheet, args: tuple[str, ...], says: str
) -> None:
    ended = callsheet("models", *args)
    assert ended.status == 2
    assert says in ended.err


def test_a_key_in_a_dotenv_file_counts(
    callsheet: Callsheet, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-very-secret\n")
    ended = callsheet("models", "--json")
    assert ended.data["default"].startswith("openai/")
    assert "very-secret" not in ended.out + ended.err
