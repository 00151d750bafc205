"""Opens a connection to an upstream: its name resolved, every address checked, through the proxy, under TLS."""

import base64
import contextlib
import dataclasses
import functools
import ipaddress
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import certifi
import gevent
from gevent import socket, ssl

from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.wire.socks import ask_socks

MAX_PROXY_ANSWER_BYTES = 16 * 1024
KEEPALIVE_PROBE_SECONDS = 30
PROXY_PORTS = {"http": 80, "socks5": 1080, "socks5h": 1080}  # by scheme, where the URL names none
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


@dataclasses.dataclass(frozen=True, slots=True)
class Dialer:
    """How to reach one upstream. `proxy` is an http://, socks5:// or socks5h:// URL, or "" for none; `ca_bundle` is a
    file of CAs to trust instead of the system's, `more_cas` are such as PEM beside them.

    Behind a proxy of http:// or socks5h:// it is the proxy that resolves names, so that only an upstream given as an
    address is checked; for one of socks5:// we do. `proxy_private_allowed`: the proxy itself may be at a private
    address, since whoever runs the machine has named it."""

    base_url: str
    private_allowed: bool
    proxy: str = ""
    ca_bundle: str | None = None
    more_cas: str = ""
    proxy_private_allowed: bool = True

    def connect(self, timeout_seconds: float) -> Any:
        """A connected gevent socket, verified when the base URL is https; all phases share the timeout.

        Raises AttemptFailed: SETUP for an address or scheme that isn't allowed, UPSTREAM for all that may pass."""
        host, port, secure = self._target()
        late = AttemptFailed(Blame.UPSTREAM, f"no connection within {timeout_seconds:g} s")
        with gevent.Timeout(timeout_seconds, late):
            if self.proxy:
                sock = self._through_proxy(host, port, secure, timeout_seconds)
            else:
                sock = _connect_any(self._find(host, port), timeout_seconds)
            return self._secure(sock, host) if secure else sock

    @property
    def forwards(self) -> bool:
        """Whether requests are put to a proxy, which wants whole URLs, rather than sent through a tunnel."""
        return self.proxy.startswith("http:") and not self.base_url.lower().startswith("https:")

    @property
    def proxy_authorization(self) -> str:
        """The header's value for a proxy that wants a name and password, else ""."""
        if "@" not in self.proxy:
            return ""
        return "Basic " + base64.b64encode(":".join(self._proxy_login()).encode()).decode()

    def _proxy_login(self) -> tuple[str, str]:
        parts = urlsplit(self.proxy)
        return unquote(parts.username or ""), unquote(parts.password or "")

    def _find(self, host: str, port: int) -> list[Any]:
        """The upstream's addresses, each of them one that is allowed."""
        addresses = _resolve(host, port)
        if not self.private_allowed:
            for address in addresses:
                _require_public(address[4][0])
        return addresses

    def _target(self) -> tuple[str, int, bool]:
        scheme, host, port = _split(self.base_url, "the base URL")
        if scheme not in ("http", "https"):
            raise AttemptFailed(Blame.SETUP, "the base URL is neither https nor http")
        if scheme == "http" and not self.private_allowed:
            raise AttemptFailed(Blame.SETUP, "plain http upstreams are not allowed")
        return host, port or (443 if scheme == "https" else 80), scheme == "https"

    def _through_proxy(self, host: str, port: int, secure: bool, timeout_seconds: float) -> Any:
        scheme, proxy_host, proxy_port = _split(self.proxy, "the proxy")
        if scheme not in PROXY_PORTS:
            raise AttemptFailed(Blame.SETUP, "the proxy is no http://, socks5:// or socks5h:// address")
        if not self.private_allowed:
            _require_public(host)
        target = self._find(host, port)[0][4][0] if scheme == "socks5" else host
        found = _resolve(proxy_host, proxy_port or PROXY_PORTS[scheme])
        if not self.proxy_private_allowed:
            for address in found:
                _require_public(address[4][0], "the proxy's address is not public")
        sock = _connect_any(found, timeout_seconds)
        with _closing_on_failure(sock):
            if scheme != "http":
                ask_socks(sock, target, port, *self._proxy_login())
            elif secure:
                self._open_tunnel(sock, host, port)
        return sock

    def _open_tunnel(self, sock: Any, host: str, port: int) -> None:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
        if authorization := self.proxy_authorization:
            head += f"Proxy-Authorization: {authorization}\r\n"
        answer = b""
        try:
            sock.sendall(head.encode("latin-1") + b"\r\n")
            while b"\r\n\r\n" not in answer and len(answer) < MAX_PROXY_ANSWER_BYTES:
                data = sock.recv(4096)
                if not data:
                    break
                answer += data
        except OSError:
            raise AttemptFailed(Blame.UPSTREAM, "the proxy broke the connection") from None
        words = answer.split(b"\r\n", 1)[0].split()
        if len(words) < 2 or words[1] != b"200":
            raise AttemptFailed(Blame.UPSTREAM, "the proxy refused the connection")

    def _secure(self, sock: Any, host: str) -> Any:
        with _closing_on_failure(sock):
            # the handshake by itself, so that the wrapped socket is ours to close whatever interrupts it
            secured = _tls_context(self.ca_bundle, self.more_cas).wrap_socket(
                sock, server_hostname=host, do_handshake_on_connect=False
            )
        with _closing_on_failure(secured):
            try:
                secured.do_handshake()
            except ssl.SSLCertVerificationError as error:
                reason = f"the TLS certificate is not trusted: {error.verify_message}"
                raise AttemptFailed(Blame.UPSTREAM, reason) from None
            except OSError:
                raise AttemptFailed(Blame.UPSTREAM, "the TLS handshake failed") from None
        return secured


@contextlib.contextmanager
def _closing_on_failure(sock: Any) -> Iterator[None]:
    """Closes the socket when the block raises, be it a greenlet's end: a failed connection leaves nothing open."""
    try:
        yield
    except BaseException:
        sock.close()
        raise


def is_public(address: str) -> bool:
    """Whether this is an address of the open internet; an IPv4 address inside an IPv6 one is judged as itself."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is None:
            return ip.is_global and ip in _GLOBAL_UNICAST
        ip = inner
    return ip.is_global and not ip.is_multicast


def _require_public(host: str, complaint: str = "the upstream's address is not public") -> None:
    """Raises AttemptFailed for an address that isn't public; a name passes, for it is judged by its addresses."""
    try:
        allowed = is_public(host)
    except ValueError:
        return
    if not allowed:
        raise AttemptFailed(Blame.SETUP, complaint)


def _split(url: str, what: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise AttemptFailed(Blame.SETUP, f"{what} is not a URL")
    return parts.scheme, host, port


def _resolve(host: str, port: int) -> list[Any]:
    try:
        return list(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        raise AttemptFailed(Blame.UPSTREAM, "the upstream's name was not found") from None


def _connect_any(addresses: list[Any], timeout_seconds: float) -> Any:
    """The first address that takes us. Each but the last may use half the time that is left."""
    deadline = time.monotonic() + timeout_seconds
    reason = "the upstream's name has no address"
    for remaining, (family, kind, protocol, _, address) in zip(
        range(len(addresses) - 1, -1, -1), addresses, strict=True
    ):
        left = max(0.001, deadline - time.monotonic())
        sock = socket.socket(family, kind, protocol)
        try:
            with _closing_on_failure(sock):
                _set_options(sock)
                sock.settimeout(left / 2 if remaining else left)
                sock.connect(address)
        except TimeoutError:
            reason = f"no connection within {timeout_seconds:g} s"
        except ConnectionRefusedError:
            reason = "the connection was refused"
        except OSError as error:
            reason = f"the connection failed: {os.strerror(error.errno or 0)}"
        else:
            sock.settimeout(timeout_seconds)
            return sock
    raise AttemptFailed(Blame.UPSTREAM, reason)


def _set_options(sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # a model may think for minutes: probes keep the way open through routers, and find out when the far end is gone
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_PROBE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_PROBE_SECONDS)


@functools.lru_cache(maxsize=8)
def _tls_context(ca_bundle: str | None, more_cas: str) -> Any:
    """One context for all upstreams of a worker: loading the CAs takes 50 ms and 3.5 MB."""
    authorities = ca_bundle or ssl.get_default_verify_paths().cafile or certifi.where()
    context = ssl.create_default_context(cafile=authorities)
    if more_cas:
        context.load_verify_locations(cadata=more_cas)
    context.set_alpn_protocols(["http/1.1"])
    return context
