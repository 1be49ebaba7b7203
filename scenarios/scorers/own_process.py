"""Work that a stranger's text may make endless, in a process that can be ended."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

SAFE_LENGTH = 20_000
"""Characters up to which what takes quadratic time at worst is no risk."""

TIME_LIMIT_S = 5.0
"""Seconds after which the process is ended."""


async def in_own_process(python: Sequence[str], given: Any) -> Any:
    """What a Python program, given as the interpreter's arguments, answers: JSON from its standard input to its output.

    Raises TimeoutError where that takes more than `TIME_LIMIT_S`; the process is ended then.
    """
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-I", *python],
            input=json.dumps(given), capture_output=True, text=True, timeout=TIME_LIMIT_S, check=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"it took more than {TIME_LIMIT_S:g} s") from error
    return json.loads(done.stdout)
