"""Which network addresses a tool may connect to: public ones alone.

A name is resolved by us, each address it has is checked, and the connection goes to a checked address:
there is no second look-up that could give another answer (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

# Networks inside of which IPv6 carries an IPv4 address that must be looked at itself.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
# What the ipaddress module of older Pythons takes for public, and one address of a cloud's own service.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # RFC 6890; a cloud's metadata service was at 192.0.0.192
        "192.88.99.0/24",  # RFC 7526
        "168.63.129.16/32",  # Azure's host, seen from its machines
        "64:ff9b:1::/48",  # RFC 8215
        "3fff::/20",  # RFC 9637
        "5f00::/16",  # RFC 9602
    )
)
# What inet_aton takes for an IPv4 address but ipaddress does not: 2130706433, 0x7f.1, 127.1, 0177.0.0.1
_LEGACY_IPV4 = re.compile(r"^(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+)){0,3}\.?$", re.IGNORECASE)


class AddressRefused(OSError):  # noqa: N818 - the network's errors are OSErrors, and aiohttp expects one
    """The address is not a public one."""


class PublicAddresses:
    """Decides on addresses. `allowed` are (IP address, port) pairs let through although not public."""

    def __init__(self, allowed: frozenset[tuple[str, int]] = frozenset()) -> None:
        self._allowed = allowed

    def check(self, address: str, port: int) -> None:
        """Raises AddressRefused unless the IP address is public."""
        if (address, port) in self._allowed:
            return
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            raise AddressRefused(f"{address!r} is not an IP address") from None
        if not is_public(ip):
            raise AddressRefused(f"{address} is not a public address")

    def check_literal(self, host: str, port: int) -> None:
        """Check a URL's host if it is an IP address in any notation; a name passes, to be resolved."""
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            if _LEGACY_IPV4.match(host):
                raise AddressRefused(f"{host!r} is an unusual notation of an address") from None
            return
        self.check(host, port)


def is_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is reachable from everywhere: not private, loopback, link-local, reserved, …"""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip.teredo is not None:
            inner = ip.teredo[1]
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if ip.is_site_local:
            return False
    if any(ip in network for network in _NOT_PUBLIC):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class CheckedResolver(AbstractResolver):
    """Resolves names through the system and refuses a name if any of its addresses is not public."""

    def __init__(self, addresses: PublicAddresses) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host, all of them checked. Raises AddressRefused, or OSError if it has none."""
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        for info in infos:
            self._addresses.check(str(info[4][0]), port)
        return [
            ResolveResult(
                hostname=host, host=str(info[4][0]), port=port, family=info[0], proto=info[2],
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for info in infos
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is held open."""


def checked_socket(addresses: PublicAddresses) -> Any:
    """A socket factory for aiohttp's connector: the last look, at the very address about to be connected."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        addresses.check(str(address[0]), int(address[1]))
        return socket.socket(family=family, type=kind, proto=protocol)

    return make
