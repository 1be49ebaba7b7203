"""The launcher lets Phoenix listen on loopback only."""

import pytest

from callsheet.tracing.phoenix.launcher import guarded, on_loopback


@pytest.mark.parametrize("address", ["[::]:4317", "0.0.0.0:4317", "*:4317", "127.0.0.1:4317"])
def test_every_way_to_say_everywhere_becomes_loopback(address: str) -> None:
    assert on_loopback(address) == "127.0.0.1:4317"


@pytest.mark.parametrize("address", ["192.168.0.7:4317", "unix:///tmp/x", "example.org:1"])
def test_an_address_that_is_not_understood_stops_the_start(address: str) -> None:
    with pytest.raises(SystemExit, match="not this machine alone"):
        on_loopback(address)


def test_a_server_opens_its_ports_through_the_guard() -> None:
    opened: list[str] = []

    class Server:
        def add_insecure_port(self, address: str) -> None:
            opened.append(address)

        def add_secure_port(self, address: str, credentials: object) -> None:
            opened.append(address)

    server = guarded(Server())
    server.add_insecure_port("[::]:1")
    server.add_secure_port("[::]:2", None)
    assert opened == ["127.0.0.1:1", "127.0.0.1:2"]
