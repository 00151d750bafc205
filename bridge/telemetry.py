"""Request ids, and the log: JSON lines with ids and numbers as fields, never with a prompt, an answer or a secret."""

import contextlib
import datetime
import functools
import logging
import os
import random
import re
import time
from typing import Any

import msgspec
import structlog

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
PROCESSORS: tuple[Any, ...] = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.format_exc_info,
)
_SECRET = re.compile(r"sk-[A-Za-z0-9_-]{8,}")
_random = random.Random()  # our own: some test tools seed the shared one, which would repeat ids
os.register_at_fork(after_in_child=_random.seed)


class _Output:
    """Where log lines go: stderr, so that a command's own output stays clean; a server uses stdout."""

    descriptor = 2


def hide_keys(text: str) -> str:
    """The text without any API key that somebody put into it."""
    return _SECRET.sub("sk-…", text)


def new_request_id() -> str:
    """`req_` and a UUIDv7 in hex. Ids of one process sort by time, to a quarter of a microsecond."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    # 48 bits of milliseconds, the version, 12 bits of the millisecond's fraction, 2 bits of variant, 62 random bits
    return f"req_{milliseconds:012x}7{(rest << 12) // 1_000_000:03x}{1 << 63 | _random.getrandbits(62):016x}"


def created_at_of(request_id: str) -> datetime.datetime:
    """The moment in a request id, in UTC, to the microsecond: `created_at` of all the request's rows.

    Raises ValueError if it is not one of our ids."""
    if len(request_id) != 36 or not request_id.startswith("req_") or request_id[16] != "7":
        raise ValueError(f"{request_id[:60]!r} is not a request id")
    microseconds = int(request_id[4:16], 16) * 1000 + (int(request_id[17:20], 16) * 1000 >> 12)
    return EPOCH + datetime.timedelta(microseconds=microseconds)


def log_request(request_id: str, settlement: Any, caller: Any, charge_nanos: int, attempts: int) -> None:
    """Log the one line of a request that reached the ledger. Fields about the model have OpenTelemetry's names. If the
    provider counted differently, the line says how, and what was not charged."""
    altered: dict[str, Any] = {}
    if settlement.provider_counts:
        altered = {"provider_counts": msgspec.Raw(settlement.provider_counts.encode())}
        altered |= {name: getattr(settlement, name) for name in ("uncharged_tokens", "uncharged_nanos")}
    labels: dict[str, Any] = {}
    if settlement.end_user:
        labels["end_user"] = hide_keys(settlement.end_user)
    if settlement.tags:
        labels["tags"] = msgspec.Raw(hide_keys(settlement.tags).encode())
    write_line(
        msgspec.json.encode(
            {
                "time": _now(),
                "level": "info",
                "event": "request",
                "request_id": request_id,
                "account_id": caller.account_id,
                "key_id": caller.key_id,
                "endpoint": settlement.endpoint,
                "status": settlement.status,
                "outcome": settlement.outcome,
                "error_code": settlement.error_code,
                "stream": settlement.stream,
                "gen_ai.request.model": settlement.model_asked,
                "gen_ai.response.model": settlement.upstream_id,
                "gen_ai.usage.input_tokens": settlement.prompt_tokens,
                "gen_ai.usage.output_tokens": settlement.completion_tokens,
                "tokens_source": settlement.tokens_source,
                **altered,
                "charge_nanos": charge_nanos,
                "channel": settlement.channel_name,
                "attempts": attempts,
                "first_content_ms": settlement.first_content_ms,
                "total_ms": settlement.total_ms,
                **labels,
            }
        )
    )


def log_refusal(request_id: str, caller: Any, status: int, code: str) -> None:
    """Log the one line of a request that was refused before it cost anything: it has no receipt, but it is counted
    here."""
    write_line(
        msgspec.json.encode(
            {
                "time": _now(),
                "level": "info",
                "event": "refused",
                "request_id": request_id,
                "account_id": caller.account_id if caller else None,
                "key_id": caller.key_id if caller else None,
                "status": status,
                "error_code": code,
            }
        )
    )


def write_line(line: bytes) -> None:
    """Write a log line at once, so that the lines of several workers do not mix."""
    with contextlib.suppress(OSError):  # the disk is full, or nobody reads the log: no reason for a request to fail
        os.write(_Output.descriptor, line + b"\n")


def log_to_stdout() -> None:
    """Log to stdout from now on, as a server does."""
    _Output.descriptor = 1


def configure_logging(level: str = "info") -> None:
    """Write everything that is logged, by structlog or by the standard library, as JSON lines."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[*PROCESSORS, _render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_names: _Lines(),
    )
    logging.root.handlers[:] = [LineHandler()]
    logging.root.setLevel(max(number, logging.INFO))  # libraries' own debugging may show what nobody should read
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # logs a greeting at every import


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_format_second(seconds)}.{nanoseconds // 1000:06d}+00:00"


@functools.lru_cache(maxsize=1)
def _format_second(seconds: int) -> str:
    """Seconds since 1970 as ISO 8601 has them in UTC: the same for all lines of a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _render(_logger: Any, _method: str, event: Any) -> bytes:
    return hide_keys(msgspec.json.encode(event, enc_hook=str).decode()).encode()


class _Lines:
    """The logger that structlog calls with rendered lines, whatever their level."""

    def msg(self, line: bytes) -> None:
        write_line(line)

    debug = info = warning = error = critical = exception = log = msg


class LineHandler(logging.Handler):
    """The handler that the standard library calls."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *PROCESSORS],
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    lambda *about: _render(*about).decode(),
                ],
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        try:
            write_line(self.format(record).encode())
        except Exception:  # noqa: BLE001 - as in the standard library: logging is no reason to fail
            self.handleError(record)
