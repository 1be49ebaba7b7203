"""The face: configure, emit, flush, shutdown, without a server."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from callsheet import tracing
from callsheet.core.errors import SettingsError, TracingError
from callsheet.tracing import RunSpan, ToolSpan, TracingConfig
from callsheet.tracing.phoenix import PhoenixClient
from callsheet.tracing.transport import Transport


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    yield
    tracing.shutdown(5.0)


def tool(name: str) -> ToolSpan:
    return ToolSpan(run_id="run-012345", name=name, started=1.0, ended=2.0)


def names(folder: Path) -> list[str]:
    found = []
    for path in sorted(folder.glob("*.otlp")):
        for resource in ExportTraceServiceRequest.FromString(path.read_bytes()).resource_spans:
            found += [span.name for scope in resource.scope_spans for span in scope.spans]
    return found


def test_without_a_configuration_everything_does_nothing(tmp_path: Path) -> None:
    assert not tracing.is_enabled()
    tracing.emit(tool("a"))
    assert tracing.flush(0.0)
    tracing.shutdown()


def test_without_an_endpoint_every_span_is_kept_in_the_spool(tmp_path: Path) -> None:
    tracing.configure(TracingConfig(spool_dir=tmp_path / "spool"))
    assert tracing.is_enabled()
    for i in range(1000):
        tracing.emit(tool(str(i)))
    assert tracing.flush(30.0)
    assert names(tmp_path / "spool") == [str(i) for i in range(1000)]


def test_shutdown_keeps_what_was_emitted_last_and_ends_the_tracing(tmp_path: Path) -> None:
    tracing.configure(TracingConfig(spool_dir=tmp_path, schedule_delay_s=60.0))
    tracing.emit(tool("last"))
    tracing.shutdown(30.0)
    tracing.emit(tool("too late"))
    assert names(tmp_path) == ["last"]
    assert not tracing.is_enabled()


def test_configuring_twice_is_harmless_and_another_configuration_takes_over(tmp_path: Path) -> None:
    first, second = TracingConfig(spool_dir=tmp_path / "a"), TracingConfig(spool_dir=tmp_path / "b")
    tracing.configure(first)
    tracing.emit(tool("a"))
    tracing.configure(first)
    tracing.configure(second)
    tracing.emit(tool("b"))
    assert tracing.flush(30.0)
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (["a"], ["b"])


def test_a_full_queue_drops_spans_rather_than_block(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracing.configure(TracingConfig(spool_dir=tmp_path, max_queue=10, schedule_delay_s=60.0))
    for i in range(50):
        tracing.emit(tool(str(i)))
    assert tracing.flush(30.0)
    assert names(tmp_path) == [str(i) for i in range(10)]
    assert "dropped" in caplog.text


def test_a_folder_that_cannot_be_written_is_told_once_and_raises_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    tracing.configure(TracingConfig(spool_dir=tmp_path / "file"))
    for _ in range(3):
        tracing.emit(tool("a"))
        assert tracing.flush(30.0)
    told = [record for record in caplog.records if "cannot be kept" in record.message]
    assert len(told) == 1


@pytest.mark.parametrize("endpoint", ["", "localhost:6006", "ftp://host", "http://", "http://host:99999"])
def test_an_endpoint_that_is_no_address_is_refused_with_advice(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="http://127"):
        TracingConfig(spool_dir=tmp_path, endpoint=endpoint)


def test_a_password_in_an_address_and_a_header_that_cannot_be_sent_are_refused_unshown(
    tmp_path: Path,
) -> None:
    for settings in (
        {"endpoint": "http://me:SECRET@127.0.0.1:6006"},
        {"endpoint": "http://127.0.0.1:6006", "headers": (("authorization", "Bearer SECRET\n"),)},
        {"endpoint": "http://127.0.0.1:6006", "headers": (("authorization", "Bearer SECRET…"),)},
    ):
        with pytest.raises(SettingsError) as caught:
            TracingConfig(spool_dir=tmp_path, **settings)  # type: ignore[arg-type]
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "headers", [(("authorization", "Bearer SECRET\n"),), (("authorization", "SECRET…"),)]
)
def test_a_header_that_cannot_be_sent_is_shown_by_no_error(headers: tuple[tuple[str, str], ...]) -> None:
    outcome = Transport("http://127.0.0.1:9", headers).post(b"", 1.0)
    assert outcome.kind == "later"
    assert "SECRET" not in f"{outcome}"
    with pytest.raises(TracingError) as caught:
        PhoenixClient("http://127.0.0.1:9", headers).project_id("callsheet")
    assert "SECRET" not in f"{caught.value} {caught.value.__cause__}"


def test_a_configuration_survives_pickle_and_does_not_show_its_headers(tmp_path: Path) -> None:
    config = TracingConfig(spool_dir=tmp_path, headers=(("authorization", "Bearer hush"),))
    assert pickle.loads(pickle.dumps(config)) == config
    assert "hush" not in repr(config)


def test_a_span_survives_pickle() -> None:
    span = RunSpan(run_id="run-012345", crew="c", started=1.0, ended=2.0, metadata={"a": 1})
    assert pickle.loads(pickle.dumps(span)) == span


def test_span_ids_are_sixteen_hex_digits_and_new_each_time() -> None:
    made = {tracing.new_span_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in made)


def test_the_public_names_are_these() -> None:
    assert sorted(tracing.__all__) == [
        "EmbeddingSpan", "LlmSpan", "MessageSpan", "RetrieverSpan", "RunSpan", "Span", "SpanPlace", "ToolSpan",
        "TracingConfig", "TurnSpan", "WaitSpan", "configure", "emit", "flush", "is_enabled", "new_span_id", "shutdown",
    ]  # fmt: skip
