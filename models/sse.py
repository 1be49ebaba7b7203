"""Server-sent events as the providers use them: bytes in, the events' data out.

After the WHATWG's specification (https://html.spec.whatwg.org/multipage/server-sent-events.html), without
what no provider uses (ids, retry times). Written here since the SDKs' own decoders cost about as much for each
event as everything else that is done with it.
"""

from __future__ import annotations

from callsheet.core.errors import ModelReplyError

MAX_EVENT = 32 * 1024 * 1024
"""Bytes that may wait for the end of their event; a server that never ends one must not fill the memory."""


class EventParser:
    """Takes a stream of bytes in pieces of any size, and gives the data of each event as soon as it is whole."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that end in this piece; lines of one event are joined by a line feed.

        Raises ModelReplyError for an event beyond all measure.
        """
        if self._after_cr and piece[:1] == b"\n":
            piece = piece[1:]  # the other half of a line's end
        if not piece:
            return []
        self._after_cr = piece[-1:] == b"\r"
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        head, end, tail = piece.rpartition(b"\n")
        if not end:
            self._rest += piece
            self._check_size()
            return []
        lines = (self._rest + head).split(b"\n") if self._rest else head.split(b"\n")
        self._rest = tail
        found = []
        for line in lines:
            if not line:
                if self._data:
                    found.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                    self._data = []
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                self._data.append(b"")
            # Comments (": keep-alive") and other fields say nothing that the data does not.
        self._check_size()
        return found

    def _check_size(self) -> None:
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT:
            raise ModelReplyError(
                "the server sends an event without end",
                hint="Check that the address speaks this provider's API.",
            )
