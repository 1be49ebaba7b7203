"""Where the tests find data sets that are not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "CALLSHEET_TEST_DATA"


def data_file(name: str) -> Path:
    """The path of a file of the data sets; skips the test where it is absent.

    Looked for in the folder that CALLSHEET_TEST_DATA names, else in `shared/data` beside the repository.
    """
    root = os.environ.get(VARIABLE)
    repository = Path(__file__).resolve().parent.parent
    folder = Path(root) if root else repository.parent / "shared" / "data"
    path = folder / name
    if not path.exists():
        pytest.skip(f"the data set {name} is not here: set {VARIABLE} to the folder that holds it")
    return path
