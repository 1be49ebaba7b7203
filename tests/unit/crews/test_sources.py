"""Where a crew is defined is known, and it is found there again."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from callsheet import Agent, Crew
from callsheet.core.errors import CrewFileError
from callsheet.crews.loading import load_crew
from callsheet.crews.ready import find_crew
from callsheet.crews.sources import load_source

DESK = 'from callsheet import Agent, Crew\ndesk = Crew("helpdesk", agents=[Agent("clerk", role="You answer.")])\n'


@pytest.fixture(autouse=True)
def paths_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def written(path: Path, text: str = DESK) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_crew_of_a_crew_file_knows_its_file(tmp_path: Path) -> None:
    path = written(tmp_path / "desk.py")
    crew = load_crew(str(path))
    assert json.loads(crew.source) == {"file": str(path), "crew": "helpdesk"}
    again = load_source(crew.source)
    assert (again.name, again.folder) == ("helpdesk", tmp_path)
    assert again.modules == crew.modules


def test_a_crew_of_a_script_knows_its_file(tmp_path: Path) -> None:
    path = written(tmp_path / "script.py")
    crew = runpy.run_path(str(path), run_name="__main__")["desk"]
    assert json.loads(crew.source) == {"file": str(path), "crew": "helpdesk"}
    assert load_source(crew.source).name == "helpdesk"


def test_a_crew_of_a_module_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "deskpackage" / "__init__.py", "")
    written(tmp_path / "deskpackage" / "crews.py")
    monkeypatch.chdir(tmp_path)
    crew = load_crew("deskpackage.crews:desk")
    assert json.loads(crew.source) == {
        "module": "deskpackage.crews", "crew": "helpdesk", "folder": str(tmp_path)
    }  # fmt: skip
    for name in ("deskpackage", "deskpackage.crews"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path)])
    monkeypatch.chdir("/")
    assert load_source(crew.source).name == "helpdesk"


def test_a_crew_of_a_module_beside_a_crew_file_is_found_in_that_module(tmp_path: Path) -> None:
    written(tmp_path / "deskbeside.py")
    path = written(tmp_path / "main.py", "from deskbeside import desk\n")
    assert json.loads(load_crew(str(path)).source)["module"] == "deskbeside"


def test_a_ready_made_crew_is_found_by_its_name() -> None:
    crew = find_crew("research")
    assert json.loads(crew.source) == {"ready": "research"}
    assert load_source(crew.source).name == "research"


def test_nobody_claims_to_find_what_has_no_file() -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    exec(DESK, names)
    assert names["desk"].source == ""  # type: ignore[attr-defined]
    with pytest.raises(CrewFileError, match="nothing tells where"):
        load_source("")


def test_a_class_of_ones_own_is_found_where_it_is_made(tmp_path: Path) -> None:
    class Desk(Crew):
        def __init__(self) -> None:
            super().__init__("helpdesk", [Agent("clerk", role="You answer.")])

    names: dict[str, object] = {
        "__name__": "crewfile_x",
        "__file__": str(written(tmp_path / "x.py")),
        "Desk": Desk,
    }
    exec("desk = Desk()", names)
    assert json.loads(names["desk"].source)["file"] == str(tmp_path / "x.py")  # type: ignore[attr-defined]


def test_the_crew_is_found_by_its_own_name_among_several(tmp_path: Path) -> None:
    path = written(
        tmp_path / "desk.py", DESK + 'other = Crew("other", agents=[Agent("a", role="You answer.")])\n'
    )
    crew = load_crew(f"{path}:other")
    assert load_source(crew.source).name == "other"


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "desk.py")
    source = load_crew(str(path)).source
    path.unlink()
    with pytest.raises(CrewFileError, match="does not exist"):
        load_source(source)


def test_a_crew_that_is_gone_is_told_with_what_there_is(tmp_path: Path) -> None:
    path = written(tmp_path / "desk.py")
    source = load_crew(str(path)).source
    path.write_text(DESK.replace("helpdesk", "frontdesk"))
    with pytest.raises(CrewFileError, match="no crew called 'helpdesk' any more") as told:
        load_source(source)
    assert "frontdesk" in told.value.hint


def test_two_crews_of_one_name_are_told(tmp_path: Path) -> None:
    path = written(tmp_path / "desk.py", DESK + DESK.splitlines()[1].replace("desk =", "twin =") + "\n")
    with pytest.raises(CrewFileError, match="2 crews called 'helpdesk'"):
        load_source(json.dumps({"file": str(path), "crew": "helpdesk"}))


def test_a_ready_made_crew_that_is_gone_is_told() -> None:
    with pytest.raises(CrewFileError, match="no ready-made crew 'gone'"):
        load_source('{"ready":"gone"}')


@pytest.mark.parametrize("source", ["no json", "[]", '{"file": 1, "crew": "x"}', '{"file": "x.py"}'])
def test_what_is_no_source_is_told(source: str) -> None:
    with pytest.raises(CrewFileError, match="nothing of where a crew is defined"):
        load_source(source)
