"""Crews found by what a person writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from callsheet.core.errors import CrewFileError, UnknownNameError
from callsheet.crews.crew import Crew
from callsheet.crews.loading import load_crew, resolve_crew
from callsheet.crews.ready import find_crew, ready_crews
from callsheet.settings import load_settings

ONE = 'from callsheet import Agent, Crew\ncrew = Crew("one", agents=[Agent("a", role="Help.")])\n'
TWO = ONE + 'other = Crew("two", agents=[Agent("a", role="Help.")])\nalias = crew\n'


@pytest.fixture(autouse=True)
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test loads is forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def refused(ref: str) -> CrewFileError:
    with pytest.raises(CrewFileError) as caught:
        load_crew(ref)
    assert caught.value.hint
    return caught.value


def test_a_file_with_one_crew_needs_no_name() -> None:
    Path("one.py").write_text(ONE)
    assert load_crew("one.py").name == "one"
    assert load_crew("./one.py:crew").name == "one"
    assert load_crew(str(Path("one.py").absolute())).name == "one"


def test_a_file_with_several_crews_needs_a_name() -> None:
    Path("two.py").write_text(TWO)
    assert load_crew("two.py:other").name == "two"
    error = refused("two.py")
    assert "crew, other" in error.message
    assert "two.py:crew" in error.hint


def test_a_crew_under_two_names_is_one_crew() -> None:
    Path("one.py").write_text(ONE + "again = crew\n")
    assert load_crew("one.py").name == "one"


def test_a_name_that_is_not_there_lists_those_that_are() -> None:
    Path("two.py").write_text(TWO)
    error = refused("two.py:third")
    assert "'third'" in error.message
    assert "crew, other" in error.hint


def test_what_has_the_name_and_is_no_crew_is_told_by_its_type() -> None:
    Path("one.py").write_text(ONE + "thing = 3\n")
    assert "of the type int" in refused("one.py:thing").message


def test_a_syntax_error_names_its_line() -> None:
    Path("bad.py").write_text("x = 1\n\ndef broken(:\n")
    error = refused("bad.py")
    assert "bad.py, line 3: SyntaxError" in error.message
    assert "def broken(:" in error.hint


def test_an_error_while_loading_names_the_line_in_the_file() -> None:
    Path("helper_of_bad.py").write_text("def fail():\n    raise KeyError('inside')\n")
    Path("bad.py").write_text("import helper_of_bad\n\nhelper_of_bad.fail()\n")
    assert "bad.py, line 3: KeyError: 'inside' (in: helper_of_bad.fail())" in refused("bad.py").message


def test_a_wrong_definition_keeps_its_own_remedy_and_gets_its_line() -> None:
    Path("twins.py").write_text(
        'from callsheet import Agent, Crew\n\ncrew = Crew("c", agents=[Agent("a", role="Help."), Agent("a")])\n'
    )
    error = refused("twins.py")
    assert "twins.py, line 3: crew 'c' has two agents called 'a'" in error.message
    assert "another" in error.hint


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('Agent("a", role="Help.", tools=["websearch"])', "no tool is called 'websearch'"),
        ('Agent("a", role="Help.", model="gpt")', "no model is called 'gpt'"),
    ],
)
def test_an_unknown_tool_or_model_is_found_when_the_file_is_loaded(line: str, told: str) -> None:
    Path("bad.py").write_text(f'from callsheet import Agent, Crew\ncrew = Crew("c", agents=[{line}])\n')
    error = refused("bad.py")
    assert "line 2" in error.message
    assert told in error.message


def test_a_missing_import_says_what_to_install() -> None:
    Path("bad.py").write_text("import there_is_no_such_module\n")
    error = refused("bad.py")
    assert "No module named 'there_is_no_such_module'" in error.message
    assert "Install" in error.hint


def test_a_file_that_ends_the_program_is_told_how_to_guard_it() -> None:
    Path("bad.py").write_text(ONE + "raise SystemExit(0)\n")
    assert '__name__ == "__main__"' in refused("bad.py").hint


def test_a_file_that_runs_its_crew_while_it_is_loaded_is_told_how_to_guard_it() -> None:
    Path("bad.py").write_text(ONE + 'print(crew.run("hello", host="inline").output)\n')
    error = refused("bad.py")
    assert "bad.py, line 3" in error.message
    assert '__name__ == "__main__"' in error.hint


def test_a_file_without_a_crew_is_shown_an_example() -> None:
    Path("none.py").write_text("x = 1\n")
    assert "Crew(" in refused("none.py").hint


@pytest.mark.parametrize("ref", ["missing.py", "missing.py:crew", "no/such/place.py", "bad\0name.py", "."])
def test_a_file_that_is_not_there_is_told_by_its_path(ref: str) -> None:
    with pytest.raises((CrewFileError, UnknownNameError)):
        load_crew(ref)


def test_a_folder_is_no_crew_file() -> None:
    Path("folder.py").mkdir()
    assert "cannot be read" in refused("folder.py").message


def test_a_file_that_is_no_text_is_told() -> None:
    Path("bin.py").write_bytes(b"\xff\xfe\x00crew")
    assert "bin.py" in refused("bin.py").message


def test_a_file_imports_what_lies_beside_it_and_both_travel() -> None:
    Path("sub").mkdir()
    Path("sub/beside_it.py").write_text("ROLE = 'You help.'\n")
    Path("sub/desk.py").write_text(
        "from callsheet import Agent, Crew\nimport beside_it\n"
        "crew = Crew('d', agents=[Agent('a', role=beside_it.ROLE)])\n"
    )
    crew = load_crew("sub/desk.py")
    assert crew.folder == Path("sub").resolve()
    assert "beside_it" in crew.modules
    assert all(spec.modules == crew.modules for spec in crew.participants())
    assert not any(name.partition(".")[0] in ("callsheet", "pydantic", "json") for name in crew.modules)


def test_two_files_of_one_name_do_not_mix() -> None:
    for place in ("x", "y"):
        Path(place).mkdir()
        Path(place, "crew.py").write_text(ONE.replace('"one"', f'"{place}"'))
    assert (load_crew("x/crew.py").name, load_crew("y/crew.py").name) == ("x", "y")


def test_types_in_a_file_that_postpones_annotations_are_found() -> None:
    Path("typed.py").write_text(
        "from __future__ import annotations\nfrom pydantic import BaseModel\nfrom callsheet import Agent, Crew, tool\n"
        "class Place(BaseModel):\n    name: str\n    parts: list[Part]\n"
        "class Part(BaseModel):\n    n: int\n"
        "@tool\ndef find(place: Place) -> str:\n    'Find a place.'\n    return place.name\n"
        "crew = Crew('t', agents=[Agent('a', role='Help.', tools=[find], output=Place)])\n"
        "@crew.flow\nasync def go(run, place: Place) -> Place:\n    return place\n"
    )
    assert load_crew("typed.py").name == "t"


def test_a_module_is_found_from_the_working_folder(tmp_path: Path) -> None:
    Path("mypackage_x").mkdir()
    Path("mypackage_x/__init__.py").write_text("")
    Path("mypackage_x/crews.py").write_text(TWO)
    crew = load_crew("mypackage_x.crews:other")
    assert crew.name == "two"
    assert crew.modules == ()  # Ray's workers can import it too


@pytest.mark.parametrize("ref", ["no_such_package.mod:crew", "..:crew", "1x:crew"])
def test_a_module_that_is_not_there_is_told(ref: str) -> None:
    with pytest.raises(CrewFileError):
        load_crew(ref)


def test_a_ready_made_crew_is_found_by_its_name() -> None:
    assert load_crew("research").name == "research"
    assert set(ready_crews()) == {"research"}
    with pytest.raises(UnknownNameError, match="'reserch'"):
        find_crew("reserch")


def test_a_name_without_a_cluster_is_that_of_a_ready_made_crew() -> None:
    settings = load_settings()
    found = resolve_crew("research", settings)
    assert isinstance(found, Crew)
    with pytest.raises(UnknownNameError) as caught:
        resolve_crew("reserch", settings)
    assert "Did you mean research?" in caught.value.hint


def test_a_file_named_without_its_ending_is_recognised() -> None:
    Path("desk.py").write_text(ONE)
    with pytest.raises(UnknownNameError) as caught:
        resolve_crew("desk", load_settings())
    assert "desk.py" in caught.value.hint
