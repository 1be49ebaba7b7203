"""No span is lost, whatever the server does: proven against a server on loopback."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callsheet import tracing
from callsheet.tracing import ToolSpan, TracingConfig, export
from callsheet.tracing.spool import Spool


@pytest.fixture(autouse=True)
def _quick_and_clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(export, "BREAKER_S", 0.1)
    yield
    tracing.shutdown(5.0)


def config(folder: Path, url: str | None, **changes: Any) -> TracingConfig:
    return TracingConfig(**{"spool_dir": folder, "endpoint": url, "schedule_delay_s": 0.02, **changes})


def emit(*names: str) -> None:
    for name in names:
        tracing.emit(ToolSpan(run_id="run-012345", name=name, started=1.0, ended=2.0))


def numbered(start: int, stop: int) -> list[str]:
    return [f"span {i}" for i in range(start, stop)]


def waiting(folder: Path) -> bytes:
    """All that is in the spool, once the exporter's thread has given up its claim."""
    for thread in threading.enumerate():
        if thread.name == "callsheet-tracing":
            thread.join(20)
    return b"".join(path.read_bytes() for path in folder.glob("*.otlp*"))


def test_spans_arrive_as_otlp_with_the_configured_headers(tmp_path: Path, otlp: Any) -> None:
    tracing.configure(config(tmp_path, otlp.url, headers=(("authorization", "Bearer k"),)))
    emit("a", "b")
    assert otlp.wait_for(lambda: otlp.names == {"a": 1, "b": 1})
    path, headers, _ = otlp.requests[0]
    assert path == "/v1/traces"
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["authorization"] == "Bearer k"


def test_an_endpoint_below_a_path_keeps_the_path(tmp_path: Path, otlp: Any) -> None:
    tracing.configure(config(tmp_path, otlp.url + "/phoenix/"))
    emit("a")
    assert otlp.wait_for(lambda: bool(otlp.requests))
    assert otlp.requests[0][0] == "/phoenix/v1/traces"


def test_nothing_is_lost_when_the_server_comes_late(
    tmp_path: Path, free_port: int, start_otlp: Callable[[int], Any]
) -> None:
    tracing.configure(config(tmp_path, f"http://127.0.0.1:{free_port}"))
    for i in range(0, 300, 50):
        emit(*numbered(i, i + 50))
        assert tracing.flush(30.0)
    server = start_otlp(free_port)
    emit(*numbered(300, 400))
    assert server.wait_for(lambda: len(server.names) == 400)
    assert set(server.names.values()) == {1}


def test_nothing_is_lost_when_the_server_is_full_for_a_while(tmp_path: Path, otlp: Any) -> None:
    answers = iter([200, 503, 503, 429, 408, 503])
    otlp.answer = lambda headers, names: next(answers, 200)
    tracing.configure(config(tmp_path, otlp.url))
    for i in range(0, 200, 20):
        emit(*numbered(i, i + 20))
        assert tracing.flush(30.0)
    assert otlp.wait_for(lambda: len(otlp.names) == 200)
    assert {status for _, _, status in otlp.requests} == {200, 503, 429, 408}
    assert set(otlp.names.values()) == {1}
    tracing.shutdown(30.0)
    assert waiting(tmp_path) == b""


@pytest.mark.timeout(25)  # the SDK's own exporter would need 30 s here
def test_a_server_that_never_answers_does_not_hold_up_the_end(tmp_path: Path, black_hole: str) -> None:
    tracing.configure(config(tmp_path, black_hole))
    emit("early")
    assert tracing.flush(10.0)
    emit(*numbered(0, 100))
    tracing.shutdown(0.5)
    kept = waiting(tmp_path)
    assert all(name.encode() in kept for name in ["early", *numbered(0, 100)])


@pytest.mark.timeout(25)
def test_a_request_under_way_at_the_end_is_kept_on_disk(tmp_path: Path, otlp: Any) -> None:
    hold, arrived = threading.Event(), threading.Event()

    def answer(headers: dict[str, str], names: list[str]) -> int:
        if "hanging" in names:
            arrived.set()
            hold.wait(20)
        return 200

    otlp.answer = answer
    tracing.configure(config(tmp_path, otlp.url))
    emit("first")
    assert otlp.wait_for(lambda: otlp.names["first"] == 1)
    emit("hanging")
    assert arrived.wait(10)
    emit("behind it")
    tracing.shutdown(0.1)
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("*.otlp"))
    hold.set()
    assert b"hanging" in kept
    assert b"behind it" in kept


def test_what_an_earlier_process_left_is_sent_without_a_new_span(tmp_path: Path, otlp: Any) -> None:
    tracing.configure(config(tmp_path, None))
    emit("left behind")
    tracing.shutdown(10.0)
    tracing.configure(config(tmp_path, otlp.url))
    assert otlp.wait_for(lambda: otlp.names["left behind"] == 1)


def test_a_lapsed_claim_is_sent_by_whoever_is_alive(tmp_path: Path, otlp: Any) -> None:
    tracing.configure(config(tmp_path, None))
    emit("claimed")
    tracing.shutdown(10.0)
    long_ago = Spool(tmp_path, 10**9, now=lambda: 1.0)
    assert long_ago.claim() is not None
    tracing.configure(config(tmp_path, otlp.url))
    assert otlp.wait_for(lambda: otlp.names["claimed"] == 1)


def test_a_refused_key_is_told_once_and_the_spans_wait_for_the_right_one(
    tmp_path: Path, otlp: Any, caplog: pytest.LogCaptureFixture
) -> None:
    otlp.answer = lambda headers, names: 200 if headers.get("authorization") == "Bearer right" else 401
    tracing.configure(config(tmp_path, otlp.url))
    emit("a")
    assert otlp.wait_for(lambda: len(otlp.requests) >= 3)
    tracing.shutdown(10.0)
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "authorization: Bearer" in told[0].getMessage()
    tracing.configure(config(tmp_path, otlp.url, headers=(("authorization", "Bearer right"),)))
    assert otlp.wait_for(lambda: otlp.names["a"] == 1)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_body_that_is_refused_is_put_aside_and_holds_up_no_other(
    tmp_path: Path, otlp: Any, status: int
) -> None:
    otlp.answer = lambda headers, names: status if "poison" in names else 200
    tracing.configure(config(tmp_path, otlp.url))
    emit("good")
    assert otlp.wait_for(lambda: otlp.names["good"] == 1)
    emit("poison")
    assert tracing.flush(10.0)
    emit("after")
    assert otlp.wait_for(lambda: otlp.names["after"] == 1)
    tracing.shutdown(10.0)
    (aside,) = tmp_path.iterdir()
    assert aside.name.endswith(".refused")
    assert b"poison" in aside.read_bytes()
    assert [s for _, _, s in otlp.requests].count(status) == 1


def test_a_server_that_is_not_phoenix_is_named_and_gets_nothing_for_good(
    tmp_path: Path, otlp: Any, caplog: pytest.LogCaptureFixture
) -> None:
    otlp.answer = lambda headers, names: 404
    tracing.configure(config(tmp_path, otlp.url))
    emit("a")
    assert otlp.wait_for(lambda: len(otlp.requests) >= 2)
    tracing.shutdown(10.0)
    assert "Is it really Phoenix" in caplog.text
    assert b"a" in waiting(tmp_path)


def test_a_disk_that_fails_does_not_matter_while_the_server_answers(tmp_path: Path, otlp: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    tracing.configure(config(tmp_path / "file", otlp.url))
    emit("a")
    assert otlp.wait_for(lambda: otlp.names["a"] == 1)


def test_sending_the_spool_twice_repeats_the_same_span_ids(tmp_path: Path, otlp: Any) -> None:
    tracing.configure(config(tmp_path, None))
    emit("a")
    tracing.shutdown(10.0)
    (file,) = tmp_path.iterdir()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    for folder in (tmp_path, tmp_path / "copy"):
        seen = otlp.names["a"]
        tracing.configure(config(folder, otlp.url))
        assert otlp.wait_for(lambda seen=seen: otlp.names["a"] == seen + 1)
    assert len(otlp.span_ids) == 1


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_sends_its_own_spans_and_not_its_parents(tmp_path: Path, otlp: Any) -> None:
    tracing.configure(config(tmp_path, otlp.url, schedule_delay_s=0.3))
    emit("parent")
    child = os.fork()
    if child == 0:
        emit("child")
        os._exit(0 if tracing.flush(20.0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert otlp.wait_for(lambda: len(otlp.names) == 2)
    tracing.shutdown(10.0)
    # The child may have died between its POST and the end of its claim on the spooled file: then its span
    # comes a second time, from the parent, under the same id.
    assert set(otlp.names) == {"parent", "child"}
    assert otlp.names["parent"] == 1
    assert len(otlp.span_ids) == 2
