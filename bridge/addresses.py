"""Clients' addresses, in every form in which they arrive: with a port, in brackets, IPv4 within IPv6."""

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SUBSCRIBER_BITS = 64  # of IPv6: a subscriber has all addresses below them
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|([^:\[\]]+):\d+")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def read_address(text: str) -> Address | None:
    """The address; IPv4 within IPv6 becomes IPv4. None for text that is not an address, such as a socket's path."""
    found = _WITH_PORT.fullmatch(text.strip())
    plain = (found[1] or found[2]) if found else text.strip()
    try:
        address = ipaddress.ip_address(plain.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def read_network(text: str) -> Network:
    """One address or a network, such as 203.0.113.0/24. Raises ValueError."""
    single = read_address(text)
    network = ipaddress.ip_network(text.strip() if single is None else single)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        within = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((within, network.prefixlen - _MAPPED.prefixlen))
    return network


def is_within(text: str, networks: tuple[Network, ...]) -> bool:
    """Whether the address belongs to one of the networks; text that is not an address belongs to none."""
    address = read_address(text)
    return address is not None and any(address.version == each.version and address in each for each in networks)


def name_network(text: str) -> str:
    """The network that is counted as one client: an IPv4 address, or an IPv6 subscriber's network."""
    address = read_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address), SUBSCRIBER_BITS), strict=False))
    return str(address) if address else text.strip()
