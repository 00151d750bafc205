"""The Redis that workers share: how to reach it, and the prefix of our keys.

Others may use the same Redis, even another gateway: each draws its prefix once and stores it in its database. Until the
prefix is read, Redis counts as away, since a key without it could be somebody else's."""

import math
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from bridge.config import Settings
from bridge.db import Table, db, transaction
from bridge.settings_rules import read_certificates

LOG_AGAIN_SECONDS = 60
LOOK_SECONDS = 2.0
UNVERIFIED = "CERTIFICATE_VERIFY_FAILED"  # how OpenSSL names it
HOW_TO_VERIFY = "set REDIS_CA_CERT to its authority's certificate, or REDIS_TLS_VERIFY=false to trust any"
log = structlog.get_logger()


class Installation(Table):
    """The one row that distinguishes this gateway from others on the same Redis."""

    __tablename__ = "installation"
    id: Mapped[int] = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    redis_prefix: Mapped[str] = mapped_column(sa.String(40))
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)


class PrefixUnknown(redis.ConnectionError):
    """Our keys' prefix has not been read from the database yet."""


class SharedRedis:
    """One per app. It opens no connection when it is made, so it may be made before a fork."""

    def __init__(self, settings: Settings):
        self._url = settings.redis_url
        self._tls = _tls_options(settings)
        self.prefix = ""

    def connect(self, wait_seconds: float) -> redis.Redis:
        """A client that waits this long for a connection and for an answer."""
        times = {"socket_timeout": wait_seconds, "socket_connect_timeout": wait_seconds}
        return redis.Redis.from_url(self._url, protocol=2, **times, **self._tls)

    def key(self, name: str) -> str:
        """The name with our prefix. Raises PrefixUnknown."""
        if not self.prefix:
            raise PrefixUnknown
        return self.prefix + name

    def read_prefix(self) -> None:
        """Read our prefix; the first process draws it. Needs an app context; raises SQLAlchemyError."""
        find = sa.select(Installation.redis_prefix)
        found = db.session.scalar(find)
        if found is None:
            with transaction() as session:
                insert: Any = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
                drawn = f"bridge:{secrets.token_hex(6)}:"
                session.execute(insert(Installation).values(id=1, redis_prefix=drawn).on_conflict_do_nothing())
                found = session.scalar(find)
        self.prefix = found or ""

    def find_problem(self) -> str:
        """What an operator should know at start about Redis's certificate, or "". Asks Redis, briefly."""
        if not self._url.startswith("rediss:"):
            return ""
        if self._is_unverified():
            return "Redis's certificate is not verified, since REDIS_TLS_VERIFY or REDIS_URL says so."
        client = self.connect(LOOK_SECONDS)
        try:
            client.ping()
        except redis.RedisError as error:
            if UNVERIFIED in str(error):
                return f"Redis's certificate can't be verified, so it is done without: {HOW_TO_VERIFY}."
        finally:
            client.close()
        return ""

    def _is_unverified(self) -> bool:
        asked = parse_qs(urlsplit(self._url).query).get("ssl_cert_reqs", ["required"])[-1]
        return self._tls.get("ssl_cert_reqs") == "none" or asked != "required"


def _tls_options(settings: Settings) -> dict[str, Any]:
    if not settings.redis_url.startswith("rediss:"):
        return {}
    if not settings.redis_tls_verify:
        return {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    if not settings.redis_ca_cert:
        return {}
    return {"ssl_ca_data": read_certificates(settings.redis_ca_cert)}


class _LastLogged:
    """When the log last said that Redis is away."""

    at = -math.inf


def log_redis_away(error: redis.RedisError) -> None:
    """Log that Redis is away, once a minute per process, whichever caller noticed."""
    now = time.monotonic()
    if now - _LastLogged.at >= LOG_AGAIN_SECONDS:
        _LastLogged.at = now
        effect = "limits are counted, and channels' health is kept, per process"
        remedy = {"remedy": HOW_TO_VERIFY} if UNVERIFIED in str(error) else {}
        log.warning("redis_away", effect=effect, error=type(error).__name__, **remedy)
