"""Only public addresses may be connected to."""

from __future__ import annotations

import ipaddress

import pytest

from callsheet.tools.addresses import AddressRefused, PublicAddresses, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
        "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
        "2002:a00:1::1", "192.0.0.192", "::ffff:192.0.0.192", "168.63.129.16", "192.88.99.1", "3fff::1",
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        PublicAddresses().check(address, 80)
    with pytest.raises(AddressRefused):
        PublicAddresses().check_literal(address, 80)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
)
def test_public_addresses_pass(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
    PublicAddresses().check_literal(address, 443)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0x7f.1", "017700000001", "1"]
)
def test_unusual_notations_of_addresses_are_refused(host: str) -> None:
    with pytest.raises(AddressRefused):
        PublicAddresses().check_literal(host, 80)


@pytest.mark.parametrize("host", ["example.org", "1and1.com", "123.example", "xn--bcher-kva.example"])
def test_names_pass_to_be_resolved(host: str) -> None:
    PublicAddresses().check_literal(host, 80)


def test_an_exception_holds_for_one_address_and_port() -> None:
    addresses = PublicAddresses(frozenset({("127.0.0.1", 8080)}))
    addresses.check("127.0.0.1", 8080)
    for address, port in (("127.0.0.1", 8081), ("127.0.0.2", 8080)):
        with pytest.raises(AddressRefused):
            addresses.check(address, port)
