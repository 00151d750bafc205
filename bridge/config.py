"""Settings, read from the environment once. At boot it names everything that is missing or wrong, all at once."""

import base64
import dataclasses
import os
import re
from collections.abc import Mapping
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bridge.errors import MisconfiguredError
from bridge.money import parse_dollars

PROVIDER_VARIABLES = ("OPENAI", "ANTHROPIC", "GEMINI", "DEEPSEEK", "MOONSHOT")
SAMPLE_SECRETS = ("change-me", "changeme", "secret", "dev", "development")
MIN_SECRET_LENGTH = 32
MAIL_SERVER = re.compile(r"smtps?://([^@/\s]+@)?[^@:/\s]+(:\d{1,5})?/?", re.ASCII)
TOP_UP_CURRENCIES = ("usd", "eur", "gbp", "chf", "cad", "aud", "nzd", "sgd", "sek", "nok", "dkk", "pln", "czk", "inr")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything an operator can set. The field `first_content_timeout_seconds` is read from
    `FIRST_CONTENT_TIMEOUT_SECONDS`, and so on: one name, two spellings. Durations are seconds, sizes bytes."""

    bridge_env: str = "production"
    data_dir: str = "data"
    port: int = 8000
    bind: str = ""
    web_concurrency: int = 1
    database_url: str = ""
    database_connections: int = 17
    redis_url: str = ""
    secret_key: str = ""
    fernet_keys: str = ""
    public_base_url: str = ""
    trust_proxy: int = 0
    allow_private_upstreams: bool = False
    upstream_proxy: str = ""
    signup: str = ""
    signup_credit: str = "0"
    signup_code: str = ""
    log_level: str = "info"

    smtp_url: str = ""
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_user: str = ""
    smtp_password: str = ""
    smtp_from: str = ""
    mail_seconds: float = 15
    nightly_hour: int = 3

    stripe_secret_key: str = ""
    stripe_webhook_secret: str = ""
    stripe_api_base: str = ""
    top_up_currency: str = "usd"
    top_up_rate: str = "1"
    top_up_minimum: str = "5"
    top_up_maximum: str = "500"
    auto_top_up_seconds: float = 15
    receipt_product: str = "AI Bridge credit"
    receipt_issuer: str = ""

    default_rpm: int = 0
    default_tpm: int = 0
    default_concurrency: int = 0

    connect_timeout_seconds: float = 5
    first_content_timeout_seconds: float = 60
    answer_timeout_seconds: float = 300
    idle_timeout_seconds: float = 60
    end_mark_seconds: float = 3
    total_timeout_seconds: float = 590
    hold_grace_seconds: float = 60
    sweep_seconds: float = 30
    keepalive_seconds: float = 15
    open_stream_after_seconds: float = 10
    drain_seconds: float = 22
    body_timeout_seconds: float = 30
    slow_client_seconds: float = 60
    cooldown_seconds: float = 30
    retry_backoff_seconds: float = 0.25
    retries_always: int = 10
    version_poll_seconds: float = 1

    max_body_bytes: int = 32 * 2**20
    max_bodies_in_memory_bytes: int = 256 * 2**20
    max_answer_bytes: int = 32 * 2**20
    max_event_bytes: int = 16 * 2**20
    max_in_flight: int = 1500

    @property
    def development(self) -> bool:
        return self.bridge_env == "development"

    @property
    def private_upstreams_allowed(self) -> bool:
        """Loopback, private addresses and plain http, as an operator's upstream."""
        return self.development or self.allow_private_upstreams

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir).resolve()

    @property
    def sqlalchemy_url(self) -> str:
        """The database as SQLAlchemy wants it named: psycopg 3 for PostgreSQL, a file in DATA_DIR when none is set."""
        url = self.database_url or f"sqlite:///{self.data_path / 'bridge.db'}"
        for scheme in ("postgres://", "postgresql://"):
            if url.startswith(scheme):
                return "postgresql+psycopg://" + url.removeprefix(scheme)
        return url

    @property
    def on_sqlite(self) -> bool:
        return self.sqlalchemy_url.startswith("sqlite")

    @property
    def workers(self) -> int:
        """SQLite has one writer, so it gets one worker."""
        return 1 if self.on_sqlite else max(1, self.web_concurrency)

    @property
    def signup_mode(self) -> str:
        return self.signup or ("open" if self.development else "closed")

    @property
    def signup_credit_nanos(self) -> int:
        return parse_dollars(self.signup_credit)

    @property
    def top_ups_open(self) -> bool:
        """Whether customers can pay: never without the webhook, by which alone payments are credited."""
        return bool(self.stripe_secret_key and self.stripe_webhook_secret)

    @property
    def top_up_rate_nanos(self) -> int:
        """What one unit of the top-ups' currency is credited as."""
        return parse_dollars(self.top_up_rate)

    @property
    def top_up_bounds(self) -> tuple[int, int]:
        """The smallest and the largest top-up, in billionths of the currency's unit."""
        return parse_dollars(self.top_up_minimum), parse_dollars(self.top_up_maximum)

    @property
    def site_url(self) -> str:
        """This site's own address without a slash at the end."""
        return (self.public_base_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def mails_go_out(self) -> bool:
        return bool(self.smtp_url or self.smtp_host)

    @property
    def fernet_key_list(self) -> list[str]:
        return [key.strip() for key in self.fernet_keys.split(",") if key.strip()]

    def complaints(self) -> list[str]:
        """What keeps this configuration from starting, a sentence each."""
        found = []
        if self.bridge_env not in ("production", "development"):
            found.append("BRIDGE_ENV must be production or development.")
        if len(self.secret_key) < MIN_SECRET_LENGTH or self.secret_key.lower() in SAMPLE_SECRETS:
            found.append(f"SECRET_KEY is missing or too short: set at least {MIN_SECRET_LENGTH} random characters.")
        if not self.fernet_key_list:
            found.append("FERNET_KEYS is missing: set one Fernet key, 32 random bytes in URL-safe base64.")
        for key in self.fernet_key_list:
            try:
                usable = len(base64.urlsafe_b64decode(key)) == 32
            except ValueError:
                usable = False
            if not usable:
                found.append("FERNET_KEYS holds something that is not a Fernet key (32 bytes in URL-safe base64).")
        if not self.development and self.on_sqlite:
            found.append("DATABASE_URL is missing: production needs PostgreSQL (postgresql://…).")
        if self.database_connections < 3:
            found.append("DATABASE_CONNECTIONS must be 3 or more: ledger, API and pages of a worker need one each.")
        if not self.development and not self.public_base_url:
            found.append("PUBLIC_BASE_URL is missing: set the site's own address, such as https://gateway.example.")
        if self.signup_mode not in ("open", "invite", "closed"):
            found.append("SIGNUP must be open, invite or closed.")
        if self.signup_mode == "invite" and not self.signup_code:
            found.append("SIGNUP=invite needs SIGNUP_CODE, the code that a newcomer has to know.")
        found += self._complaints_of_top_ups()
        found += self._complaints_of_mail()
        try:
            self.signup_credit_nanos  # noqa: B018 - parsed for its complaint
        except ValueError:
            found.append("SIGNUP_CREDIT must be an amount of dollars, such as 5.00.")
        return found

    def _complaints_of_top_ups(self) -> list[str]:
        found = []
        if self.top_up_currency not in TOP_UP_CURRENCIES:
            found.append(f"TOP_UP_CURRENCY must be one of {', '.join(TOP_UP_CURRENCIES)}.")
        try:
            smallest, largest = self.top_up_bounds
            if not 0 < smallest <= largest or self.top_up_rate_nanos <= 0:
                raise ValueError
        except ValueError:
            found.append(
                "TOP_UP_MINIMUM, TOP_UP_MAXIMUM and TOP_UP_RATE must be plain amounts, such as 5.00, in order."
            )
        return found

    def _complaints_of_mail(self) -> list[str]:
        found = []
        if self.smtp_url and not MAIL_SERVER.fullmatch(self.smtp_url):
            found.append("SMTP_URL must be smtp://user:password@host:587, or smtps://…:465, with the parts encoded.")
        if self.mails_go_out and not parseaddr(self.smtp_from)[1].strip("@").count("@"):
            found.append("SMTP_FROM is missing: the address that mails come from, such as AI Bridge <no-reply@…>.")
        if not (unquote(self.smtp_url) + self.smtp_user + self.smtp_password).isascii():
            found.append("The mail server's user and password must be ASCII: others can't be sent to it.")
        if not 0 <= self.nightly_hour <= 23:
            found.append("NIGHTLY_HOUR must be an hour of the day, 0 to 23.")
        return found


def _convert(name: str, text: str, kind: Any) -> object:
    if kind is bool:
        return text.strip().lower() in ("1", "true", "yes", "on")
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise MisconfiguredError([f"{name} must be a number, not {text!r}."]) from None
    return text.strip()


def read_settings(environ: Mapping[str, str] | None = None, check: bool = True) -> Settings:
    """Read every setting from the environment. Raises MisconfiguredError with all complaints at once."""
    environ = os.environ if environ is None else environ
    values = {}
    for field in dataclasses.fields(Settings):
        text = environ.get(field.name.upper(), "")
        if text != "":
            values[field.name] = _convert(field.name.upper(), text, field.type)
    settings = Settings(**values)  # type: ignore[arg-type]
    if check and (found := settings.complaints()):
        raise MisconfiguredError(found)
    return settings


def provider_credentials(environ: Mapping[str, str] | None = None) -> dict[str, tuple[str, str]]:
    """The providers that the environment connects: name -> (key, base URL or "")."""
    environ = os.environ if environ is None else environ
    found = {}
    for variable in PROVIDER_VARIABLES:
        key = environ.get(f"{variable}_API_KEY", "").strip()
        if key:
            found[variable.lower()] = (key, environ.get(f"{variable}_BASE_URL", "").strip())
    return found
