"""Standard output is for the answer alone, whoever else prints while a crew runs."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

_kept: TextIO | None = None


def answers() -> TextIO:
    """Where answers go: standard output, also while `only_answers` keeps it from others."""
    return sys.stdout if _kept is None else _kept


@contextlib.contextmanager
def only_answers() -> Iterator[None]:
    """While this holds, what a crew's file, flows and tools `print` goes to standard error."""
    global _kept
    outer, stdout = _kept, sys.stdout
    _kept, sys.stdout = outer or stdout, sys.stderr
    try:
        yield
    finally:
        _kept, sys.stdout = outer, stdout


def guard_descriptor() -> None:
    """Give this process's standard output another descriptor, and let descriptor 1 be standard error.

    For a process that is the command line and nothing else: what libraries written in C, and processes
    that inherit descriptor 1, write there no longer mixes with the answer. Without a standard output or
    error of its own the process is left as it is.
    """
    stdout, stderr = sys.stdout, sys.stderr
    try:
        if stdout.fileno() != 1 or stderr.fileno() != 2:
            return
        stdout.flush()
        raw = os.dup(1)  # not inherited by other processes
        os.dup2(2, 1)
    except (AttributeError, OSError, ValueError):  # closed, or replaced by something that is no file
        return
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(raw, "wb")), encoding=stdout.encoding, errors=stdout.errors,
        line_buffering=os.isatty(raw),
    )  # fmt: skip
