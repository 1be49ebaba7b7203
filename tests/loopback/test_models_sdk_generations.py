"""The providers with the oldest SDKs that pyproject.toml admits, each in a fresh environment.

Slow, and it downloads packages: run by hand, with CALLSHEET_TEST_OLD_SDKS=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITE = ("gateway", "recorded", "streams", "addresses", "imports")

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("CALLSHEET_TEST_OLD_SDKS"),
        reason="makes environments with other SDKs: set CALLSHEET_TEST_OLD_SDKS=1 to run it",
    ),
    pytest.mark.timeout(1800),
]


@pytest.mark.parametrize(
    ("openai", "anthropic"),
    [("2.0.0", "0.70.0"), (">=2,<3", ">=0.70,<1"), (">=3,<4", ">=1,<2"), (">=3,<4", ">=2,<3")],
)
def test_the_loopback_suite_passes_with(openai: str, anthropic: str) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv to make the environments")
    wanted = [f"openai[aiohttp]{_spec(openai)}", f"anthropic[aiohttp]{_spec(anthropic)}"]
    tests = [f"tests/loopback/test_models_{name}.py" for name in SUITE]
    done = subprocess.run(
        [
            uv,
            "run",
            "--isolated",
            *(part for spec in wanted for part in ("--with", spec)),
            "pytest",
            "-q",
            *tests,
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "CALLSHEET_TEST_OLD_SDKS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"


def _spec(version: str) -> str:
    return version if version[0] in "<>=" else f"=={version}"
