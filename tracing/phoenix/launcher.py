"""Starts `phoenix serve`, with its gRPC port on loopback.

Run by the Python of Phoenix's own environment, as a script: it imports nothing of callsheet. Phoenix 20.26
binds that port to all interfaces (`[::]`), whatever PHOENIX_HOST says, and without authentication anybody
on the network could write spans. Should a later Phoenix open it another way, the start fails here.
"""

from __future__ import annotations

import sys
from typing import Any

ANYWHERE = ("[::]:", "0.0.0.0:", "*:")


def on_loopback(address: str) -> str:
    """The address with an all-interfaces host replaced by 127.0.0.1; another host is refused."""
    for host in ANYWHERE:
        if address.startswith(host):
            return "127.0.0.1:" + address[len(host) :]
    if address.startswith(("127.0.0.1:", "localhost:", "[::1]:")):
        return address
    raise SystemExit(f"Phoenix wants to listen on {address}, which is not this machine alone")


def guarded(server: Any) -> Any:
    """The gRPC server, with ports opened on loopback only."""
    insecure, secure = server.add_insecure_port, server.add_secure_port
    server.add_insecure_port = lambda address: insecure(on_loopback(address))
    server.add_secure_port = lambda address, credentials: secure(on_loopback(address), credentials)
    return server


def main() -> None:
    """Serve until SIGTERM."""
    import grpc.aio  # type: ignore[import-untyped]

    make_server = grpc.aio.server
    grpc.aio.server = lambda *args, **kwargs: guarded(make_server(*args, **kwargs))
    sys.argv = ["phoenix", "serve"]
    from phoenix.server.main import main as serve

    serve()


if __name__ == "__main__":
    main()
