"""`--docs` takes several values: `run research --docs docs README.md "How …?"`.

The rule, for a command with the arguments CREW and INPUT: after `--docs`, all words up to the next option
are paths. When no INPUT is given elsewhere, the last of them is the INPUT, unless it is an existing file or
folder. `--docs=PATH` takes that one path, `--` ends the options.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from callsheet.core.errors import UsageError

DOCS = "--docs"


def spread_docs(
    args: Sequence[str],
    *,
    with_value: Collection[str],
    positionals: int,
    exists: Callable[[str], bool],
) -> list[str]:
    """The arguments with each path after `--docs` under a `--docs` of its own, as click wants them.

    `with_value` are the options that take a value, `positionals` is how many words the command takes
    besides options, and `exists` tells whether a word names a file or folder. Raises UsageError for a
    `--docs` that no path follows.
    """
    words: list[str] = []  # outside of --docs
    paths: list[str] = []
    options: list[str] = []
    last_group = 0  # where the last group of paths begins
    rest: list[str] = []
    i = 0
    while i < len(args):
        arg = args[i]
        i += 1
        if arg == "--":
            rest = list(args[i:])
            break
        if arg == DOCS:
            last_group = len(paths)
            while i < len(args) and not _is_option(args[i]):
                paths.append(args[i])
                i += 1
            if last_group == len(paths):
                raise UsageError("--docs names no file or folder", hint="Write: --docs PATH…")
        elif arg.startswith(DOCS + "="):
            paths.append(arg.removeprefix(DOCS + "="))
            last_group = len(paths)
        elif _is_option(arg):
            options.append(arg)
            if arg in with_value and i < len(args):
                options.append(args[i])
                i += 1
        else:
            words.append(arg)
    words += rest
    if len(words) == positionals - 1 and last_group < len(paths) and not exists(paths[-1]):
        words.append(paths.pop())
    spread = [part for path in paths for part in (DOCS, path)]
    return [*spread, *options, "--", *words]


def _is_option(arg: str) -> bool:
    return arg.startswith("-") and arg != "-"
