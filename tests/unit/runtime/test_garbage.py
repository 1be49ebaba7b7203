"""While an inline host is open, Python looks for cycles less often; a program's own choice is left alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from callsheet.runtime.garbage import DEFAULTS, SELDOM
from callsheet.runtime.host import HostConfig
from callsheet.runtime.inline_host import InlineHost


@pytest.fixture(autouse=True, params=DEFAULTS)
def thresholds(request: pytest.FixtureRequest) -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(*request.param)
    yield request.param
    gc.set_threshold(*before)


async def opened(folder: Path, name: str) -> InlineHost:
    host = InlineHost(HostConfig(journal=folder / f"{name}.db"))
    await host.open([])
    return host


async def test_garbage_is_looked_for_seldom_until_the_last_host_is_closed(
    tmp_path: Path, thresholds: tuple[int, int, int]
) -> None:
    first, second = await opened(tmp_path, "first"), await opened(tmp_path, "second")
    assert gc.get_threshold() == SELDOM
    await first.close()
    assert gc.get_threshold() == SELDOM
    await second.close()
    assert gc.get_threshold() == thresholds


async def test_a_host_that_was_never_opened_takes_it_from_nobody(tmp_path: Path) -> None:
    first, second = await opened(tmp_path, "first"), InlineHost(HostConfig(journal=tmp_path / "second.db"))
    await second.close()
    assert gc.get_threshold() == SELDOM
    await first.close()


@pytest.mark.parametrize("own", [(0, 0, 0), (10_000, 5, 5)])
async def test_a_programs_own_thresholds_are_kept(tmp_path: Path, own: tuple[int, int, int]) -> None:
    gc.set_threshold(*own)
    host = await opened(tmp_path, "only")
    assert gc.get_threshold() == own
    await host.close()
    assert gc.get_threshold() == own
