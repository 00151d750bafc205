"""Settings, read from the environment once. At the start, everything that is missing or wrong is named at once."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bridge.database_url import read_database_url
from bridge.errors import MisconfiguredError
from bridge.money import parse_dollars
from bridge.settings_problems import list_problems
from bridge.settings_rules import (
    is_quoted,
    is_web_address,
    read_bonus_steps,
    read_flag,
)

DEVELOPMENT_CREDIT = "5"  # dollars: a newcomer to `make run` can make the call that the page shows
UNLIMITED = -1  # other gateways' value for no limit; ours is 0


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that an operator can set. The field `first_content_timeout_seconds` is read from
    `FIRST_CONTENT_TIMEOUT_SECONDS`, and so on: one name, two spellings. Durations are seconds, sizes bytes."""

    bridge_env: str = "production"
    data_dir: str = "data"
    port: int = 8000
    bind: str = ""
    web_concurrency: int = 1
    database_url: str = ""
    database_connections: int = 17
    database_wait_seconds: float = 2.5
    redis_url: str = ""
    redis_ca_cert: str = ""
    redis_tls_verify: bool = True
    secret_key: str = ""
    fernet_keys: str = ""
    public_base_url: str = ""
    trust_proxy: int = 0
    allow_private_upstreams: bool = False
    upstream_proxy: str = ""
    upstream_ca_cert: str = ""
    signup: str = ""
    signup_credit: str = ""
    signup_code: str = ""
    signup_work_bits: int = 17
    turnstile_site_key: str = ""
    turnstile_secret_key: str = ""
    hcaptcha_site_key: str = ""
    hcaptcha_secret_key: str = ""
    verify_email: bool = False
    fresh_sign_in_seconds: float = 3600
    require_second_factor: bool = False
    show_channel_names: bool = False
    status_page: bool = True
    four_eyes_dollars: str = ""
    github_client_id: str = ""
    github_client_secret: str = ""
    github_url: str = "https://github.com"
    github_api_url: str = "https://api.github.com"
    google_client_id: str = ""
    google_client_secret: str = ""
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    oidc_label: str = "single sign-on"
    log_level: str = "info"
    metrics_token: str = ""

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
    top_up_bonus: str = ""
    referral_credit: str = ""
    referral_cap: str = "100"
    auto_top_up_seconds: float = 15
    receipt_product: str = "AI Bridge credit"
    receipt_issuer: str = ""

    default_rpm: int = 0
    default_tpm: int = 0
    default_concurrency: int = 0
    default_spend_day: str = "0"
    default_keys: int = 0

    connect_timeout_seconds: float = 5
    first_content_timeout_seconds: float = 60
    answer_timeout_seconds: float = 300
    idle_timeout_seconds: float = 60
    end_mark_seconds: float = 3
    total_timeout_seconds: float = 590
    hold_grace_seconds: float = 60
    lease_seconds: float = 20
    sweep_seconds: float = 30
    keepalive_seconds: float = 15
    open_stream_after_seconds: float = 10
    drain_seconds: float = 22
    body_timeout_seconds: float = 30
    slow_client_seconds: float = 60
    cooldown_seconds: float = 30
    probe_seconds: float = 60
    incident_quiet_seconds: float = 300
    retry_backoff_seconds: float = 0.25
    retries_always: int = 10
    version_poll_seconds: float = 1
    resume_seconds: float = 600

    max_body_bytes: int = 32 * 2**20
    max_bodies_in_memory_bytes: int = 256 * 2**20
    max_answer_bytes: int = 32 * 2**20
    max_event_bytes: int = 16 * 2**20
    max_resume_bytes: int = 256 * 2**20
    max_in_flight: int = 4000

    @property
    def development(self) -> bool:
        return self.bridge_env == "development"

    @property
    def tls_expected(self) -> bool:
        """Whether browsers reach the pages by TLS: in production, and wherever the site's own address says so."""
        return not self.development or self.public_base_url.startswith("https://")

    @property
    def private_upstreams_allowed(self) -> bool:
        """Whether an upstream may be at a loopback or private address, or use plain http."""
        return self.development or self.allow_private_upstreams

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir).resolve()

    @property
    def sqlalchemy_url(self) -> str:
        """The database's URL for SQLAlchemy: psycopg 3 for PostgreSQL, or a file in DATA_DIR if none is set. Raises
        ValueError for a URL that the checks refuse."""
        return read_database_url(self.database_url)[0] or f"sqlite:///{self.data_path / 'bridge.db'}"

    @property
    def is_pooled(self) -> bool:
        """Whether DATABASE_URL says that it leads to a pooler; a pooler that it doesn't mention is detected."""
        return read_database_url(self.database_url)[1]

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
    def default_spend_day_nanos(self) -> int:
        """What an account may spend a day that was given no figure; 0 is no limit."""
        return parse_dollars(self.default_spend_day or "0")

    @property
    def signup_credit_nanos(self) -> int:
        return parse_dollars(self.signup_credit or (DEVELOPMENT_CREDIT if self.development else "0"))

    @property
    def four_eyes_nanos(self) -> int | None:
        """Above this an operator's change of money needs another operator; None if never."""
        return parse_dollars(self.four_eyes_dollars) if self.four_eyes_dollars else None

    @property
    def top_ups_open(self) -> bool:
        """Whether customers can pay. They can't without the webhook, since only it credits payments."""
        return bool(self.stripe_secret_key and self.stripe_webhook_secret)

    @property
    def top_up_rate_nanos(self) -> int:
        """The credit for one unit of the top-ups' currency."""
        return parse_dollars(self.top_up_rate)

    @property
    def top_up_bounds(self) -> tuple[int, int]:
        """The smallest and the largest top-up, in billionths of the currency's unit."""
        return parse_dollars(self.top_up_minimum), parse_dollars(self.top_up_maximum)

    @property
    def top_up_bonus_steps(self) -> tuple[tuple[int, int], ...]:
        """From how many billionths of the currency's unit on a top-up earns how many hundredths of a percent more, the
        smallest first."""
        return read_bonus_steps(self.top_up_bonus)

    @property
    def referral_credit_nanos(self) -> int:
        """What each side of a referral gets; 0 is off."""
        return parse_dollars(self.referral_credit or "0")

    @property
    def referral_cap_nanos(self) -> int:
        """The most that an account can earn by referrals in all."""
        return parse_dollars(self.referral_cap or "0")

    @property
    def site_url(self) -> str:
        """This site's own address without a slash at the end."""
        return (self.public_base_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def mails_go_out(self) -> bool:
        return bool(self.smtp_url or self.smtp_host)

    @property
    def signs_up_by_mail(self) -> bool:
        """Whether a newcomer's account opens by a link in a mail, so that sign-up tells nobody which addresses have
        one."""
        return self.verify_email or self.mails_go_out

    @property
    def fernet_key_list(self) -> list[str]:
        return [key.strip() for key in self.fernet_keys.split(",") if key.strip()]


def read_settings(providers: Iterable[str], environ: Mapping[str, str] | None = None, check: bool = True) -> Settings:
    """Read every setting from the environment, which may also hold keys of these providers. Raises MisconfiguredError
    with all problems at once."""
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    problems = []
    for field in dataclasses.fields(Settings):
        text = environ.get(field.name.upper(), "").strip()
        try:
            if text:
                values[field.name] = _convert(field.name.upper(), text, field.type)
        except ValueError as error:
            problems.append(str(error))
    settings = Settings(**values)
    if check and (found := problems + _list_problems(settings, problems) + _problems_of_providers(providers, environ)):
        raise MisconfiguredError(found)
    return settings


def _problems_of_providers(providers: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """What is wrong with the keys and addresses of providers that the environment connects."""
    found = []
    for name, (key, base_url) in provider_credentials(providers, environ).items():
        if is_quoted(key) or not (key.isascii() and key.isprintable()) or " " in key:
            found.append(f"{name.upper()}_API_KEY must be the key alone, without quotes or spaces.")
        if base_url and not is_web_address(base_url):
            found.append(f"{name.upper()}_BASE_URL must be an https:// or http:// address.")
    return found


def _list_problems(settings: Settings, unreadable: list[str]) -> list[str]:
    """The problems of the settings that could be read; `unreadable` has those of the others."""
    names = {problem.partition(" ")[0] for problem in unreadable}
    return [found for found in list_problems(settings) if found.partition(" ")[0].rstrip(":,") not in names]


def _convert(name: str, text: str, kind: Any) -> object:
    """The value of a setting's text. Raises ValueError with a sentence that doesn't repeat the text."""
    if is_quoted(text):
        raise ValueError(f"{name} is in quotes: leave them out, they are not taken off here.")
    if kind is bool:
        try:
            return read_flag(text)
        except ValueError:
            raise ValueError(f"{name} must be true or false.") from None
    if kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            what = "whole number" if kind is int else "number"
            raise ValueError(f"{name} must be a {what}.") from None
        return 0 if name.startswith("DEFAULT_") and value == UNLIMITED else value
    return text.lower() if name in ("BRIDGE_ENV", "LOG_LEVEL", "SIGNUP", "TOP_UP_CURRENCY") else text


def provider_credentials(
    providers: Iterable[str], environ: Mapping[str, str] | None = None
) -> dict[str, tuple[str, str]]:
    """Those of the providers that the environment connects: name -> (key, base URL or "")."""
    environ = os.environ if environ is None else environ
    found = {}
    for name in providers:
        if key := environ.get(f"{name.upper()}_API_KEY", "").strip():
            found[name] = (key, environ.get(f"{name.upper()}_BASE_URL", "").strip())
    return found
