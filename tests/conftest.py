"""What holds for every test: a home of its own, no keys, and hypothesis without surprises."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "callsheet", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("ci", parent=settings.get_profile("callsheet"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "callsheet")

# No test may reach a provider, or a cluster or home of the person who runs it.
for _name in list(os.environ):
    _ours = _name.startswith("CALLSHEET_") and not _name.startswith("CALLSHEET_TEST_")
    if _ours or _name.startswith("RAY_") or _name.endswith("_API_KEY"):
        del os.environ[_name]
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A callsheet home that ends with the test."""
    folder = tmp_path / "callsheet-home"
    monkeypatch.setenv("CALLSHEET_HOME", str(folder))
    return folder
