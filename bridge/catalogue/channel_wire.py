"""What a channel sends beside its dialect's own: headers and a query, and the proxy that it goes through. All of it is
kept sealed, for it may hold secrets; it is never shown again."""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import msgspec

from bridge import vault
from bridge.conceal import HIDDEN, PART
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.providers.wire.dial import PROXY_PORTS, is_public

KEY = "{key}"  # in a value: the key of the channel that is used
MODEL = "{model}"  # in a base URL: what the upstream calls the model
DIRECT = "direct"  # as a proxy: none, whatever UPSTREAM_PROXY says
MOST_VALUES, MOST_CHARACTERS = 20, 2000
# what a connection is framed by, what a proxy on the way reads, and what the code that sends decides
REFUSED = frozenset(
    (
        *("host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"),
        *("proxy-connection", "proxy-authorization", "proxy-authenticate"),
        *("content-length", "content-type", "content-encoding", "accept-encoding"),
    )
)
# of these the value is no secret: pages show it, and errors may say it
OPEN_NAMES = frozenset(("api-version", "anthropic-version", "anthropic-beta", "openai-beta", "user-agent"))
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
QUERY_NAME = re.compile(r"[A-Za-z0-9._$\[\]-]{1,100}")


class Wire(msgspec.Struct, frozen=True):
    """Header names in lower case, and query names, each with its value; and a proxy's URL, DIRECT, or "" for the
    setting's."""

    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    proxy: str = ""

    def list_values(self) -> list[tuple[str, str]]:
        """All names with their values."""
        return [*self.headers.items(), *self.query.items()]

    def list_secrets(self) -> list[str]:
        """What of it must not be said by anybody. What is shorter than a few characters could be a part of any
        text, and is no secret."""
        secrets = [part for name, value in self.list_values() if name not in OPEN_NAMES for part in value.split(KEY)]
        proxy = urlsplit(self.proxy)
        return [part.strip() for part in (*secrets, proxy.password or "") if len(part.strip()) >= PART]

    def fill(self, key: str) -> tuple[dict[str, str], dict[str, str]]:
        """Headers and query as they are sent with this key."""
        headers = {name: value.replace(KEY, key) for name, value in self.headers.items()}
        return headers, {name: value.replace(KEY, key) for name, value in self.query.items()}

    @property
    def carries_key(self) -> bool:
        """Whether the key goes out in one of them: then the dialect's own header for it doesn't."""
        return any(KEY in value for _, value in self.list_values())


NOTHING = Wire()
WIRE_FIELDS = frozenset(("headers", "query", "proxy"))


def read_wire(sealed: str | None) -> Wire:
    """Raises MisconfiguredError when no master key opens it."""
    return msgspec.json.decode(vault.unseal(sealed), type=Wire) if sealed else NOTHING


def seal_wire(wire: Wire) -> str | None:
    return None if wire == NOTHING else vault.seal(msgspec.json.encode(wire).decode())


def check_headers(given: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """The headers by names in lower case. HIDDEN as a value is the one that it had before. Raises InvalidRequest."""
    found = _keep_hidden({name.lower(): value for name, value in given.items()}, before, "headers")
    for name, value in found.items():
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            raise InvalidRequest(
                translate("Give a header a line, such as api-key: {key}, in plain ASCII."), param="headers"
            )
        if name in REFUSED:
            raise InvalidRequest(
                translate("%(name)s belongs to the connection itself and can't be set.", name=name), param="headers"
            )
    return found


def check_query(given: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """As `check_headers`, of the query."""
    found = _keep_hidden(given, before, "query")
    for name, value in found.items():
        if not QUERY_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            raise InvalidRequest(translate("Give a parameter a line, such as api-version=2024-10-21."), param="query")
    return found


def _keep_hidden(given: Mapping[str, str], before: Mapping[str, str], param: str) -> dict[str, str]:
    found = {name: before.get(name, "") if value == HIDDEN else value for name, value in given.items()}
    if missing := [name for name, value in found.items() if not value]:
        raise InvalidRequest(translate("%(value)s has no value yet: give one.", value=missing[0][:40]), param=param)
    if len(found) > MOST_VALUES or sum(len(name) + len(value) for name, value in found.items()) > MOST_CHARACTERS:
        raise InvalidRequest(
            translate(
                "At most %(most_values)s of them, %(most_characters)s characters in all.",
                most_values=MOST_VALUES,
                most_characters=MOST_CHARACTERS,
            ),
            param=param,
        )
    return found


def check_proxy(url: str, before: str, *, private_allowed: bool) -> str:
    """The proxy's URL. Names are looked up and checked again at each connection. Raises InvalidRequest."""
    if url == DIRECT or not url:
        return url
    if before and url == hide_login(before):
        return before
    if HIDDEN in url:
        raise InvalidRequest(translate("Type the proxy's password again."), param="proxy")
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.scheme not in PROXY_PORTS or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidRequest(
            translate("Give http://, socks5:// or socks5h://, host and port; or direct."), param="proxy"
        )
    if parts.path.strip("/") or parts.query or parts.fragment or len(url) > 500:
        raise InvalidRequest(translate("A proxy's address ends with its port."), param="proxy")
    if not private_allowed and _is_private(parts.hostname or ""):
        message = translate("Only proxies at public addresses; ALLOW_PRIVATE_UPSTREAMS=1 permits private ones.")
        raise InvalidRequest(message, param="proxy")
    return url


def _is_private(host: str) -> bool:
    try:
        return not is_public(str(ipaddress.ip_address(host)))
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def hide_login(proxy: str) -> str:
    """The proxy's URL without its password."""
    parts = urlsplit(proxy)
    if parts.password is None:
        return proxy
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{parts.username}:{HIDDEN}@{host}"


def write_lines(values: Mapping[str, str], separator: str) -> str:
    """The values a line each, with HIDDEN for what is not to be shown."""
    return "\n".join(
        f"{name}{separator}{value if name in OPEN_NAMES or value.strip() == KEY else HIDDEN}"
        for name, value in values.items()
    )


def read_lines(text: str, separator: str, param: str) -> dict[str, str]:
    """What `write_lines` wrote, as an operator changed it. Raises InvalidRequest, which doesn't quote a line without
    a name: it may be a secret."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, mark, value = line.partition(separator.strip())
        if not mark:
            raise InvalidRequest(
                translate(
                    "Line %(number)s has no name: write name%(separator)svalue.", number=number, separator=separator
                ),
                param=param,
            )
        if not value.strip():
            raise InvalidRequest(translate("“%(value)s” has no value.", value=name.strip()[:40]), param=param)
        if name.strip().lower() in (each.lower() for each in found):
            raise InvalidRequest(translate("%(value)s is there twice.", value=name.strip()[:40]), param=param)
        found[name.strip()] = value.strip()
    return found


def blank_typed(text: str, separator: str) -> str:
    """Lines as an operator typed them, for the form that comes back after an error: a secret is not sent out again, so
    its name stands there alone, and a line without a name is gone."""
    kept = []
    for line in text.splitlines():
        name, mark, value = (part.strip() for part in line.partition(separator.strip()))
        is_open = name.lower() in OPEN_NAMES or value in (KEY, HIDDEN)
        if mark:
            kept.append(f"{name}{separator}{value if is_open else ''}".rstrip())
    return "\n".join(kept)


def place_model(base_url: str | None, upstream_id: str) -> str | None:
    """The base URL for this model."""
    if not base_url or MODEL not in base_url:
        return base_url
    return base_url.replace(MODEL, quote(upstream_id, safe=""))
