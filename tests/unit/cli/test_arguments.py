"""`--docs` takes several paths, and the INPUT may stand behind them."""

from __future__ import annotations

import pytest

from callsheet.cli.arguments import spread_docs
from callsheet.core.errors import UsageError

FILES = {"a", "b", "README.md"}


def spread(*args: str) -> tuple[list[str], list[str], list[str]]:
    """(paths, other options, words) of a command line."""
    found = spread_docs(
        args, with_value={"--model", "--session"}, positionals=2, exists=lambda word: word in FILES
    )
    options, words = found[: found.index("--")], found[found.index("--") + 1 :]
    paths = []
    while options[:1] == ["--docs"]:
        paths.append(options[1])
        options = options[2:]
    return paths, options, words


@pytest.mark.parametrize(
    ("args", "paths", "options", "words"),
    [
        (["crew", "--docs", "a", "b", "q"], ["a", "b"], [], ["crew", "q"]),
        (["crew", "q", "--docs", "a", "b"], ["a", "b"], [], ["crew", "q"]),
        (["--docs", "a", "b", "--model", "m", "crew", "q"], ["a", "b"], ["--model", "m"], ["crew", "q"]),
        (["crew", "--docs=a", "--docs=b", "q"], ["a", "b"], [], ["crew", "q"]),
        (["crew", "--docs=a", "--docs=b"], ["a", "b"], [], ["crew"]),
        (["crew", "--docs", "a", "b", "--model", "x", "q"], ["a", "b"], ["--model", "x"], ["crew", "q"]),
        (["crew", "--docs", "a", "--docs", "b", "q"], ["a", "b"], [], ["crew", "q"]),
        (["crew", "--docs", "a", "--json", "q"], ["a"], ["--json"], ["crew", "q"]),
        (["crew", "--docs", "a", "q", "--json"], ["a"], ["--json"], ["crew", "q"]),
        (["crew", "--docs", "a", "--", "q"], ["a"], [], ["crew", "q"]),
        (["crew", "--docs", "a", "--", "--strange"], ["a"], [], ["crew", "--strange"]),
        (["--docs", "a", "--", "crew", "q"], ["a"], [], ["crew", "q"]),
        (["crew", "--docs", "a", "-"], ["a"], [], ["crew", "-"]),
        (["crew", "--session=s", "q"], [], ["--session=s"], ["crew", "q"]),
        (["crew", "q"], [], [], ["crew", "q"]),
    ],
)
def test_words_after_docs_are_paths_up_to_the_next_option(
    args: list[str], paths: list[str], options: list[str], words: list[str]
) -> None:
    assert spread(*args) == (paths, options, words)


def test_the_last_path_is_the_input_only_where_none_is_given_elsewhere() -> None:
    assert spread("crew", "q", "--docs", "a", "missing")[0] == ["a", "missing"]


def test_a_last_word_that_is_a_file_is_a_document() -> None:
    assert spread("crew", "--docs", "a", "README.md") == (["a", "README.md"], [], ["crew"])


def test_an_input_is_not_taken_for_the_missing_crew() -> None:
    assert spread("--docs", "a", "q") == (["a", "q"], [], [])


def test_a_value_of_an_option_is_no_path() -> None:
    assert spread("crew", "--docs", "a", "--model", "offline")[0] == ["a"]


@pytest.mark.parametrize("args", [["crew", "--docs"], ["crew", "--docs", "--json", "q"]])
def test_docs_without_a_path_is_refused(args: list[str]) -> None:
    with pytest.raises(UsageError, match="names no file"):
        spread(*args)
