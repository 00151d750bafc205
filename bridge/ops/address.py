"""Where the server listens, and whether that address is free."""

import errno
import socket

from bridge.config import Settings


def listen_address(settings: Settings) -> str:
    """The address in gunicorn's form. BIND is an address or unix:PATH; without it development stays on loopback."""
    host = listen_host(settings)
    if host.startswith("unix:"):
        return host
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"


def listen_host(settings: Settings) -> str:
    return settings.bind.strip("[]") or ("127.0.0.1" if settings.development else "0.0.0.0")  # noqa: S104 - a server's


def is_taken(settings: Settings) -> bool:
    """Whether another process already listens there."""
    host = listen_host(settings)
    if host.startswith("unix:"):
        return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, settings.port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
