"""Cassettes: what models answered, kept in a file, so that a crew can be run again without them, exactly.

Exchanges are kept as the agents see them, provider-neutral: no headers, no keys, no cookies.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from callsheet.core.errors import (
    CallsheetError,
    ModelAuthError,
    ModelError,
    ModelReplyError,
    ModelRequestError,
)
from callsheet.models.cassette_file import Exchange, append, line_of, prepare, read
from callsheet.models.exchange import HIDDEN, data_digest, request_data
from callsheet.models.messages import ModelReply, ModelRequest
from callsheet.models.nearest import difference

Mode = Literal["record", "replay"]

RUNS = 1000
"""How many runs' places in a cassette are remembered; the longest unused ones are forgotten first."""

FILES = 16
"""How many cassettes that are replayed are kept in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCassette:
    """Asks the gateway whether a cassette can be used, before a run begins; answered with CassetteFacts."""

    path: str
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class CassetteFacts:
    """What is in a cassette: how many exchanges, and the models that were asked, in order of first use."""

    exchanges: int = 0
    models: tuple[str, ...] = ()


class Cassette:
    """One cassette. `Cassette.open(path, "record")` takes `keep`, `Cassette.open(path, "replay")` takes `find`.

    A line is in the file before `keep` returns, whole, whoever else records there; it survives the process.
    Where a replay stands is kept in memory alone.
    """

    def __init__(self, path: str, exchanges: Sequence[Exchange], secrets: Sequence[str] = ()) -> None:
        self.path = path
        self._secrets = [secret for secret in secrets if len(secret) >= 8]
        self._exchanges = exchanges
        self._by_digest: dict[str, list[Exchange]] = defaultdict(list)
        for exchange in exchanges:
            self._by_digest[exchange.digest].append(exchange)
        self._runs: OrderedDict[str, _Places] = OrderedDict()

    @staticmethod
    def open(path: str, mode: Mode, secrets: Sequence[str] = ()) -> Cassette:
        """A cassette to record to or to replay from; `secrets` are never written. Raises UsageError."""
        if mode == "record":
            prepare(path)
            return Cassette(path, (), secrets)
        return Cassette(path, read(path), secrets)

    @property
    def facts(self) -> CassetteFacts:
        """What there was in it when it was opened for replay."""
        models = dict.fromkeys(str(exchange.request["model"]) for exchange in self._exchanges)
        return CassetteFacts(exchanges=len(self._exchanges), models=tuple(models))

    def find(self, request: ModelRequest) -> ModelReply:
        """The recorded reply; of several to the same request, a run gets them in the order of recording.

        A turn that asks again, since its process died, gets the same reply again. Raises what was recorded as
        an error, and ModelRequestError, with the difference to the nearest one, for a request that is not there.
        """
        data = request_data(request)
        digest = data_digest(data)
        kept = self._by_digest.get(digest)
        if not kept:
            raise self._missing(request, difference(data, self._exchanges))
        place = self._place(request).of(digest, request, kept)
        if place >= len(kept):
            times = "once" if len(kept) == 1 else f"{len(kept)} times"
            raise self._missing(
                request,
                f"the same request was recorded {times} (line {kept[-1].line}), and the run makes it once more",
            )
        answer = kept[place].answer
        if isinstance(answer, CallsheetError):
            # A new one for each: whoever catches it may write into it.
            raise CallsheetError.from_dict(answer.to_dict())
        return replace(answer, request_id=request.id, source="cassette")

    def keep(self, request: ModelRequest, answer: ModelReply | CallsheetError) -> None:
        """Add an exchange. Raises ServiceError where the file cannot be written.

        Of errors, those are kept that the same request meets again: what the provider refuses, and replies
        that make no sense; a busy server or a wrong key is no property of the crew.
        """
        if isinstance(answer, CallsheetError) and not _lasting(answer):
            return
        line = line_of(Exchange(request=request_data(request), answer=answer, agent=request.agent))
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        append(self.path, line)

    def _place(self, request: ModelRequest) -> _Places:
        places = self._runs.pop(request.run_id, None) or _Places()
        self._runs[request.run_id] = places
        if len(self._runs) > RUNS:
            self._runs.popitem(last=False)
        return places

    def _missing(self, request: ModelRequest, why: str) -> ModelRequestError:
        who = f"{request.agent} asks" if request.agent else "the run asks"
        return ModelRequestError(
            f"{who} {request.model} for what is not in the cassette {self.path}: {why}",
            model=request.model, run_id=request.run_id,
            hint="Mend what has changed, or delete the file and record it anew with --record.",
        )  # fmt: skip


class _Places:
    """How far one run is with each request that it makes more than once."""

    def __init__(self) -> None:
        self._given: dict[str, dict[str, tuple[int, str]]] = defaultdict(dict)
        self._next: dict[str, int] = defaultdict(int)

    def of(self, digest: str, request: ModelRequest, kept: Sequence[Exchange]) -> int:
        """The place of the reply that this request gets."""
        given = self._given[digest]
        # A turn's conversation only grows: it makes the same request again only to repeat it.
        turn = request.turn_id or request.id
        if turn in given:
            place, asked_as = given[turn]
            failed = place < len(kept) and isinstance(kept[place].answer, CallsheetError)
            if not failed or asked_as == request.id:
                return place
        place = self._next[digest]
        self._next[digest] = place + 1
        given[turn] = (place, request.id)
        return place


class Cassettes:
    """The cassettes of a gateway, by what each request says of them (`record`, `replay`): several runs, one file."""

    name = "cassette"

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = secrets
        self._replayed: dict[str, tuple[tuple[int, ...], Cassette]] = {}

    def open(self, request: OpenCassette) -> CassetteFacts:
        """See that a cassette can be used. Raises UsageError."""
        if request.mode == "record":
            return Cassette.open(request.path, "record").facts
        return self._replay(request.path).facts

    def find(self, request: ModelRequest) -> ModelReply | None:
        """The recorded reply, or None for a request that is not to be replayed. Raises as `Cassette.find`."""
        return self._replay(request.replay).find(request) if request.replay else None

    def keep(self, request: ModelRequest, answer: ModelReply | CallsheetError) -> None:
        """Record an exchange whose request says so. Raises ServiceError."""
        if request.record:
            Cassette(request.record, (), self._secrets).keep(request, answer)

    async def close(self) -> None:
        """Nothing is left open."""
        self._replayed.clear()

    def _replay(self, path: str) -> Cassette:
        mark = _mark(path)
        known = self._replayed.get(path)
        if known is None or known[0] != mark:  # recorded anew, or edited
            known = self._replayed[path] = (mark, Cassette.open(path, "replay", self._secrets))
            if len(self._replayed) > FILES:
                del self._replayed[next(iter(self._replayed))]
        return known[1]


def _mark(path: str) -> tuple[int, ...]:
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _lasting(error: CallsheetError) -> bool:
    if isinstance(error, ModelAuthError) or not isinstance(error, ModelError):
        return False
    return isinstance(error, ModelReplyError) or not error.retryable
