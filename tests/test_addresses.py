"""An address is read in one place, in every form in which it arrives."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.addresses import is_within, name_network, read_address, read_network

OFFICE = (read_network("203.0.113.0/24"), read_network("2001:db8::/32"))


@pytest.mark.parametrize(
    "text",
    [
        "203.0.113.7",
        "203.0.113.7:4711",
        " 203.0.113.7 ",
        "::ffff:203.0.113.7",
        "[::ffff:203.0.113.7]:443",
        "::FFFF:cb00:7107",
        "2001:db8::1",
        "[2001:db8::1]",
        "[2001:db8::1]:443",
        "2001:DB8:0:0::1%eth0",
    ],
)
def test_an_address_of_the_office_is_one_in_every_form(text: str) -> None:
    assert is_within(text, OFFICE)


@pytest.mark.parametrize(
    "text", ["203.0.114.7", "::ffff:203.0.114.7", "2001:db9::1", "", "unix:", "localhost", "1", "[]"]
)
def test_what_is_another_or_none_is_not(text: str) -> None:
    assert not is_within(text, OFFICE)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("[2001:db8::1]", "2001:db8::1/128"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_a_network_is_kept_in_one_form(text: str, network: str) -> None:
    assert str(read_network(text)) == network


def test_a_subscriber_of_ipv6_is_counted_as_one_and_neighbours_of_ipv4_are_not() -> None:
    assert name_network("2001:db8:1:2::1") == name_network("[2001:db8:1:2:ffff::9]:1234")
    assert name_network("2001:db8:1:2::1") != name_network("2001:db8:1:3::1")
    assert name_network("203.0.113.7:1") == name_network("::ffff:203.0.113.7") != name_network("203.0.113.8")


@given(st.ip_addresses(), st.integers(1, 65535))
def test_a_port_changes_no_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    shown = f"[{address}]" if address.version == 6 else str(address)
    assert read_address(f"{shown}:{port}") == read_address(str(address)) is not None
