"""What is built holds all of the code, under `callsheet` alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("agents", "core", "crews", "memory", "models", "roles", "runtime", "scenarios", "tools", "tracing")
FILES = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build needs, since a build writes beside its source."""
    place = tmp_path_factory.mktemp("build") / "source"
    place.mkdir()
    for name in ("callsheet", *FOLDERS):
        shutil.copytree(
            ROOT / name, place / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in FILES:
        shutil.copy(ROOT / name, place)
    return place


@pytest.fixture(scope="module")
def built(source: Path) -> Path:
    """The folder with the sdist, and the wheel that was built from it; without the network."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed, which builds the packages")
    target = source.parent / "built"
    done = subprocess.run(
        [uv, "build", "--offline", "--out-dir", str(target)],
        cwd=source, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    if "network was disabled" in done.stderr:
        pytest.skip("uv has no setuptools in its cache, and fetching it would need the network")
    assert done.returncode == 0, done.stderr
    return target


def modules() -> set[str]:
    """Every Python file of the repository's code, by the name it must have in a package."""
    own = {
        path.relative_to(ROOT) for name in ("", "/cli") for path in (ROOT / f"callsheet{name}").glob("*.py")
    }
    linked = {
        "callsheet" / path.relative_to(ROOT) for name in FOLDERS for path in (ROOT / name).rglob("*.py")
    }
    return {path.as_posix() for path in own | linked}


def test_the_wheel_holds_every_module_under_callsheet_and_no_other(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {name for name in names if name.endswith(".py")} >= modules()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"callsheet"}
    assert "callsheet/py.typed" in names
    assert any(name.endswith("/LICENSE") for name in names)


def test_the_sdist_holds_every_module(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= modules()
