"""The only code that speaks to a provider over a socket: one requests session per channel, deadlines, failures."""

import functools
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec
import requests

from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.wire.connections import READ_BYTES
from bridge.providers.wire.dial import Dialer
from bridge.providers.wire.transport import GeventAdapter, PreparedUpstreamRequest, Reply
from bridge.providers.wire.unpack import Unpacked

TEMPLATES = 64
NO_QUERY: Mapping[str, str] = MappingProxyType({})
LIST_HEADERS = frozenset({"anthropic-beta", "openai-beta"})  # of which a request and a channel may both name some


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """How long each phase may take. `until`, monotonic, is when status and headers have to be there at the latest,
    whatever the phases took; the deadline of the rest is the relay's."""

    connect_seconds: float
    first_byte_seconds: float
    idle_seconds: float
    until: float = math.inf


class Answer:
    """An upstream's answer: status and headers (names in lower case) are there, the body is read as it arrives."""

    __slots__ = ("status", "headers", "_raw", "_read")

    def __init__(self, response: requests.Response):
        self.status = response.status_code
        self._raw: Any = response.raw
        if isinstance(self._raw, Reply):
            self.headers: dict[str, str] = self._raw.headers
            self._read = self._raw.read_some
        else:  # played by the `responses` library
            self.headers = {name.lower(): value for name, value in response.headers.items()}
            self._read = self._read_played
        if (coding := self.headers.get("content-encoding", "")) and coding.strip().lower() != "identity":
            self._read = Unpacked(self._read, coding).read_some

    def read_some(self, timeout_seconds: float) -> bytes | None:
        """All of the body that has arrived, as soon as any has; b"" at its end.

        None when nothing came for that long: the answer is still good, ask again. Raises AttemptFailed when it was
        cut: a chunked body without its last chunk, or fewer bytes than announced."""
        return self._read(timeout_seconds)

    def read_all(self, max_bytes: int, timeout_seconds: float) -> bytes:
        """The whole body. `timeout_seconds` limits each silence. Raises AttemptFailed when too large, silent or cut."""
        announced = self.headers.get("content-length", "")
        expected, received = int(announced) if announced.isdecimal() else 0, 0
        pieces: list[bytes] = []
        while max(expected, received) <= max_bytes:
            data = self._read(timeout_seconds)
            if data is None:
                raise AttemptFailed(Blame.UPSTREAM, f"silent for {timeout_seconds:g} s", status=self.status)
            if not data:
                return b"".join(pieces)
            pieces.append(data)
            received += len(data)
        raise AttemptFailed(Blame.UPSTREAM, f"the answer is larger than {max_bytes} bytes", status=self.status)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it. May be called again."""
        self._raw.close()

    def _read_played(self, timeout_seconds: float) -> bytes:
        data: bytes = self._raw.read1(READ_BYTES)
        return data


class _Session(requests.Session):
    """A session that follows nothing: requests would read a redirect's whole body only to say where it points."""

    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        return iter(())


class Upstream:
    """One channel's far end: a session, its connections, its headers and query. For the greenlets of one worker."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        adapter: GeventAdapter,
        query: Mapping[str, str],
    ):
        self._base_url = base_url.rstrip("/")
        self._headers = headers
        self._query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
        self._timeouts = timeouts
        self._adapter = adapter
        self._session = _Session()
        self._session.trust_env = False
        self._session.adapters.clear()
        self._session.mount("", adapter)  # whatever the URL: it is the dialer that refuses
        self._template = functools.lru_cache(maxsize=TEMPLATES)(self._prepare)

    def send(self, outgoing: Outgoing, *, timeouts: Timeouts | None = None) -> Answer:
        """POST it; returns once status and headers are there, whatever the status. The caller closes the answer.

        Raises AttemptFailed: UPSTREAM when no answer could be had, SETUP for an address that isn't allowed."""
        return self._send("POST", outgoing.path, outgoing.headers, outgoing.body, timeouts)

    def get(self, path: str, headers: tuple[tuple[str, str], ...] = (), *, timeouts: Timeouts | None = None) -> Answer:
        """GET a path below the base URL. Otherwise as `send`."""
        return self._send("GET", path, headers, b"", timeouts)

    def close(self) -> None:
        """Close idle connections; answers that are still being read end by themselves."""
        self._session.close()

    def _send(
        self, method: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes, timeouts: Timeouts | None
    ) -> Answer:
        limits = timeouts or self._timeouts
        request = PreparedUpstreamRequest()
        try:
            request.__dict__.update(self._template(method, path, headers).__dict__)
        except ValueError:  # whatever requests finds wrong with a URL or a header
            # the complaint itself may show the key, so it stays here
            raise AttemptFailed(Blame.SETUP, "the base URL or a header is not valid") from None
        request.body = body
        phases = (limits.connect_seconds, limits.first_byte_seconds, limits.until)
        try:
            response = self._session.send(
                request,
                stream=True,
                allow_redirects=False,
                proxies={},
                timeout=phases,  # type: ignore[arg-type] # our adapter's own
            )
        except requests.RequestException as error:
            raise AttemptFailed(Blame.UPSTREAM, f"the request failed: {type(error).__name__}") from None
        return Answer(response)

    def _prepare(self, method: str, path: str, headers: tuple[tuple[str, str], ...]) -> PreparedUpstreamRequest:
        """What all requests to this path have in common."""
        request = PreparedUpstreamRequest()
        merged = requests.structures.CaseInsensitiveDict({"User-Agent": "ai-bridge", **self._headers})
        if method == "POST":
            merged["Content-Type"] = "application/json"
        for name, value in headers:
            own = self._headers.get(name.lower())  # those of a channel's own are in lower case, and win
            if own is None:
                merged[name] = value
            elif name.lower() in LIST_HEADERS:
                merged[name] = f"{own},{value}"
        # an answer can't grow in our hands, nor wait in a compressor's buffer
        merged["Accept-Encoding"] = "identity"
        url = join_url(self._base_url, path)
        if self._query:
            url += f"{'&' if '?' in url else '?'}{self._query}"
        request.prepare(method=method, url=url, headers=dict(merged))
        if request.headers is not None:
            request.headers.pop("Content-Length", None)
        request.head = self._adapter.render_head(request)
        return request


def join_url(base_url: str, path: str) -> str:
    """The path below the base URL. Providers' own SDKs take theirs with or without the API's version: one that ends the
    base URL and begins the path stands there once."""
    base, path = base_url.rstrip("/"), path.lstrip("/")
    version, _, rest = path.partition("/")
    return f"{base}/{rest}" if rest and base.endswith(f"/{version}") else f"{base}/{path}"


def open_upstream(  # noqa: PLR0913 - what a connection is made of
    base_url: str,
    headers: Mapping[str, str],
    timeouts: Timeouts,
    *,
    private_allowed: bool,
    proxy: str | None = "",
    pool_size: int = 2048,
    ca_bundle: str | None = None,
    query: Mapping[str, str] = NO_QUERY,
    more_cas: str = "",
    proxy_private_allowed: bool = True,
) -> Upstream:
    """An upstream that is called at `base_url` with these headers and this query on each request. A header whose name
    is in lower case stands whatever a request says. Opens no connection yet.

    At most `pool_size` connections are kept while idle; how many are in use is the caller's to limit. `proxy` is a URL
    (see Dialer, which also says what `ca_bundle` and `more_cas` are). Unless private upstreams are allowed, only https
    to public addresses is. Wrong addresses are reported when something is sent."""
    dialer = Dialer(base_url, private_allowed, proxy or "", ca_bundle, more_cas, proxy_private_allowed)
    return Upstream(base_url, headers, timeouts, GeventAdapter(dialer, pool_size), query)
