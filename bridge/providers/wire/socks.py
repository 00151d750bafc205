"""Asks a SOCKS5 proxy for a connection (RFC 1928, with name and password as in RFC 1929)."""

import ipaddress
from typing import Any

from bridge.providers.base import AttemptFailed, Blame

VERSION, NO_LOGIN, BY_PASSWORD, CONNECT = 5, 0, 2, 1
BY_IPV4, BY_NAME, BY_IPV6 = 1, 3, 4
MOST_LOGIN_BYTES = 255
REFUSALS = {
    2: "its rules don't allow the connection",
    3: "the network can't be reached",
    4: "the host can't be reached",
    5: "the connection was refused",
    6: "the connection took too long",
    8: "it takes no such address",
}


def ask_socks(sock: Any, host: str, port: int, username: str, password: str) -> None:
    """Have the proxy at the other end of `sock` connect to host and port: from then on the socket leads there. `host`
    is a name, which the proxy looks up, or an address. Raises AttemptFailed."""
    try:
        _greet(sock, username, password)
        sock.sendall(bytes([VERSION, CONNECT, 0]) + _write_host(host) + port.to_bytes(2, "big"))
        _, code, _, kind = _read(sock, 4)
        if code:
            raise _refused(REFUSALS.get(code, f"code {code}"))
        _read(sock, _read(sock, 1)[0] if kind == BY_NAME else 16 if kind == BY_IPV6 else 4)  # where it connects from
        _read(sock, 2)
    except OSError:
        raise AttemptFailed(Blame.UPSTREAM, "the proxy broke the connection") from None


def _greet(sock: Any, username: str, password: str) -> None:
    """Agree on how we sign in: by name and password where there are any, without them else."""
    method = BY_PASSWORD if username else NO_LOGIN
    sock.sendall(bytes([VERSION, 1, method]))
    version, chosen = _read(sock, 2)
    if version != VERSION:
        raise _refused("it does not speak SOCKS5")
    if chosen != method:
        raise _refused("it does not take our name and password" if username else "it wants a name and password")
    if not username:
        return
    name, secret = username.encode(), password.encode()
    if max(len(name), len(secret)) > MOST_LOGIN_BYTES:
        raise _refused("its name or password is too long")
    sock.sendall(bytes([1, len(name)]) + name + bytes([len(secret)]) + secret)
    if _read(sock, 2)[1]:
        raise _refused("it does not take our name and password")


def _write_host(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna")
        return bytes([BY_NAME, len(name)]) + name
    return bytes([BY_IPV4 if address.version == 4 else BY_IPV6]) + address.packed


def _read(sock: Any, count: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise _refused("it closed the connection")
        data += piece
    return data


def _refused(why: str) -> AttemptFailed:
    return AttemptFailed(Blame.UPSTREAM, f"the proxy refused the connection: {why}")
