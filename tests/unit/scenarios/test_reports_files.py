"""A bench's JSON file: what is written is read back, and what is none, or of another version, is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import UsageError
from callsheet.scenarios.reports import read_json, write_json
from tests.unit.scenarios.made_benches import bench, generated, trial


def changed(path: Path, change: Any) -> Path:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "a folder" / "bench.json"
    write_json(generated(2, 5, 2), path)
    return path


def test_a_bench_is_read_back_as_it_was_written(written: Path) -> None:
    assert read_json(written) == generated(2, 5, 2)


def test_the_file_holds_the_figures_too(written: Path) -> None:
    summary = json.loads(written.read_text())["summary"]
    assert [c["label"] for c in summary["candidates"]] == [
        "helpdesk · openai/gpt-4o", "helpdesk · openai/gpt-4o-mini",
    ]  # fmt: skip
    assert set(summary["candidates"][0]["scores"][0]["estimate"]) == {"mean", "low", "high", "n"}


def test_nothing_but_the_file_is_left_in_its_folder(written: Path) -> None:
    assert [path.name for path in written.parent.iterdir()] == ["bench.json"]


@pytest.mark.parametrize(
    "output", ["half a pair: \ud83d", {"\udfff": ["\ud800"]}, float("inf"), "\x00\u2028"]
)
def test_what_models_say_never_spoils_the_file(tmp_path: Path, output: Any) -> None:
    path = tmp_path / "bench.json"
    write_json(bench({}, trials=[trial("c0", float("nan"), output=output, error="\ud83d")]), path)
    assert read_json(path).trials[0].case == "c0"
    assert "\ufffd" in read_json(path).trials[0].error


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(v=2),
        lambda data: data["result"]["info"].update(v=2),
        lambda data: data["result"]["trials"][3].update(v=2, invented="field"),
    ],
)
def test_an_unknown_version_is_refused_by_name(written: Path, change: Any) -> None:
    with pytest.raises(UsageError, match="version 2; this callsheet reads version 1"):
        read_json(changed(written, change))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        "3",
        '{"format": "other", "v": 1}',
        '{"format": "callsheet-bench", "v": 1}',
    ],
)
def test_what_is_no_bench_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"other\.json is") as caught:
        read_json(path)
    assert "--out" in caught.value.hint


def test_a_damaged_bench_is_refused_with_the_place(written: Path) -> None:
    with pytest.raises(UsageError, match=r"trials\.1\.status") as caught:
        read_json(changed(written, lambda data: data["result"]["trials"][1].update(status="odd")))
    assert "damaged" in caught.value.message


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("binary", "missing"):
        with pytest.raises(UsageError, match=name):
            read_json(tmp_path / name)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_json(bench({"a": [1.0]}), tmp_path / "file" / "bench.json")
