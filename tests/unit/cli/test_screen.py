"""Text of users and models reaches the terminal as text."""

from __future__ import annotations

import io

import pytest

from callsheet.cli.screen import console, notice, one_line, print_answer, print_error, print_table, printable


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\rc\x9bd\u202ee") == "a�[2Jb��c�d�e"
    assert printable("line\n\tnext\r\nlast") == "line\n\tnext\nlast"


def test_brackets_are_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_answer("It is so. [docs/a.md#L1-L2] [red]not red[/red] [/]")
    notice("[bold]seen[/bold] [/]")
    print_error("[/] broken", "do [this]")
    print_table(("a",), [("[source: x.md] [/]",)], empty="")
    said = capsys.readouterr()
    assert [line.rstrip() for line in said.out.splitlines()] == [
        "It is so. [docs/a.md#L1-L2] [red]not red[/red] [/]", "a", "[source: x.md] [/]"
    ]  # fmt: skip
    assert said.err == "[bold]seen[/bold] [/]\nerror: [/] broken\n  do [this]\n"


def test_without_a_terminal_there_are_no_colours_and_nothing_is_wrapped() -> None:
    out = io.StringIO()
    console(out).print("word " * 100, style="bold red")
    assert out.getvalue() == "word " * 100 + "\n"


def test_an_empty_table_says_so_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a",), [], empty="There is nothing.")
    assert capsys.readouterr() == ("", "There is nothing.\n")


def test_one_line_is_never_longer_than_asked() -> None:
    assert one_line("a  b\n c", 10) == "a b c"
    assert one_line("abcdefgh", 5) == "abcd…"


def test_a_closed_pipe_is_an_error_for_the_command_line_to_handle() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        console(Closed()).print("x")
