"""The gateway as shipped: a scratch database, a setup by its own commands, and gunicorn on a port of its own."""

import base64
import contextlib
import dataclasses
import http.client
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis

from bench.servers import (
    LOOPBACK,
    ROOT,
    START_SECONDS,
    BenchError,
    Server,
    free_port,
    pin,
    server_cores,
    stop,
    wait_until_it_answers,
)

EMAIL = "bench@example.com"
COMMAND_SECONDS = 60
INHERITED = ("PATH", "HOME", "USER", "LANG", "TMPDIR")
NO_POSTGRES = (
    "PostgreSQL does not answer at {url}: start it, name another with --postgres, or measure with --setup sqlite."
)
NO_REDIS = "Redis does not answer at {url}: start it, name another with --redis, or measure with --setup sqlite."
AS_SHIPPED = "bridge.ops.gunicorn"
ASKED_BY_RESPONSES = "gpt-5.5"  # OpenAI's name of a model that is
OTHERS_OF_OPENAI = {"responses": ASKED_BY_RESPONSES, "embeddings": "text-embedding-3-small", "images": "gpt-image-1"}


@dataclasses.dataclass(frozen=True)
class Stores:
    """The gateway's database and Redis; empty for SQLite and memory. A pid is 0 if the server is not on this
    machine."""

    database_url: str = ""
    redis_url: str = ""
    postgres_pid: int = 0
    redis_pid: int = 0


@dataclasses.dataclass(frozen=True)
class Home:
    """A setup that can be served many times: the environment of commands and servers, a key with limits that nobody
    reaches, one without limits, and one that is refused after its first request of each minute."""

    environment: dict[str, str]
    stores: Stores
    folder: Path
    key: str
    unlimited_key: str
    refused_key: str


@dataclasses.dataclass(frozen=True)
class Gateway:
    """A running gateway, the keys that its requests use by turns, and its number of clients (0: the scenario's)."""

    server: Server
    home: Home
    keys: tuple[str, ...]
    clients: int = 0


@contextlib.contextmanager
def scratch_stores(postgres_url: str, redis_url: str) -> Iterator[Stores]:
    """A database of our own in PostgreSQL, and a Redis database that was empty; both are emptied afterwards."""
    with _scratch_database(postgres_url) as (database_url, postgres_pid), _empty_redis(redis_url) as (url, redis_pid):
        yield Stores(database_url, url, postgres_pid, redis_pid)


@contextlib.contextmanager
def _scratch_database(postgres_url: str) -> Iterator[tuple[str, int]]:
    name = f"bridge_bench_{os.getpid()}_{secrets.token_hex(3)}"
    try:
        connection = psycopg.connect(postgres_url, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        raise BenchError(NO_POSTGRES.format(url=postgres_url)) from None
    with connection:
        try:
            connection.execute(f'CREATE DATABASE "{name}"')
            yield f"{postgres_url.rpartition('/')[0]}/{name}", _postmaster(connection)
        finally:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _postmaster(connection: psycopg.Connection) -> int:
    """The parent of our backend: all of the cluster's processes are its children."""
    backend = connection.info.backend_pid
    with contextlib.suppress(OSError):
        name, _, fields = Path(f"/proc/{backend}/stat").read_text().rpartition(")")
        if "postgres" in name:
            return int(fields.split()[1])
    return 0


@contextlib.contextmanager
def _empty_redis(redis_url: str) -> Iterator[tuple[str, int]]:
    root = redis_url.rstrip("/")
    try:
        for number in range(15, 0, -1):
            client = redis.Redis.from_url(f"{root}/{number}", socket_connect_timeout=3)
            if client.dbsize() == 0:
                break
            client.close()
        else:
            raise BenchError(f"Redis at {root} has no empty database among 1 to 15.")
        server: Any = client.info("server")
        pid = int(server["process_id"])
    except redis.ConnectionError:
        raise BenchError(NO_REDIS.format(url=root)) from None
    local = Path(f"/proc/{pid}/comm")
    with client:
        try:
            yield f"{root}/{number}", pid if local.exists() and "redis" in local.read_text() else 0
        finally:
            client.flushdb()


def set_up(upstream: Server, stores: Stores, folder: Path) -> Home:
    """Set up a gateway: migrations, a catalogue, a rich account, its keys, and the upstream as a channel for each
    dialect. All is done by operators' commands, in parallel where they don't depend on each other."""
    folder.mkdir()
    environment = _environment(stores, folder)
    run_commands(environment, "db upgrade")
    run_commands(environment, "catalogue sync", f"account create {EMAIL} --password {secrets.token_urlsafe(18)}")
    price = "--input-price 2.50 --output-price 10 --context 1000000 --max-output 16384"
    root = f"http://{LOOPBACK}:{upstream.port}"
    channels = {  # the address and the models of each, by provider
        "openai": (f"{root}/v1", ",".join((_served("openai"), *_serve_as(OTHERS_OF_OPENAI)))),
        "anthropic": (root, _served("anthropic")),
        "gemini": (root, _served("gemini")),
    }
    printed = run_commands(
        environment,
        f"key issue {EMAIL} --rpm 100000000 --tpm 100000000000 --concurrency 100000",
        f"key issue {EMAIL}",
        f"key issue {EMAIL} --rpm 1",
        f"account credit {EMAIL} 1000000.00",
        *(f"model add {model_of(name)} {price}" for name in (*channels, "responses")),
        f"model add {model_of('embeddings')} --kinds embeddings --input-price 0.02 --context 8192",
        f"model add {model_of('images')} --kinds images --input-price 5 --output-price 40 --context 32000 "
        "--max-output 6240",
    )
    run_commands(
        environment,
        *(
            f"channel add {provider}-mock --provider {provider} --base-url {url} --api-key bench --models {models}"
            for provider, (url, models) in channels.items()
        ),
    )
    keys = [lines.splitlines()[-1].strip() for lines in printed[:3]]
    return Home(environment, stores, folder, *keys)


@contextlib.contextmanager
def running_gateway(
    home: Home,
    workers: int = 1,
    config: str = AS_SHIPPED,
    variables: dict[str, str] | None = None,
    cores: set[int] | None = None,
) -> Iterator[Gateway]:
    """gunicorn with a config module (by default the product's) and further variables for it, on as many cores as
    workers unless cores are given."""
    port = free_port()
    environment = home.environment | {
        "PORT": str(port),
        "WEB_CONCURRENCY": str(workers),
        "RESUME_SECONDS": "5",  # a run writes more in a second than an account's streams in minutes
        "MAX_RESUME_BYTES": str(2**32),
        "MAX_IN_FLIGHT": "6000",  # our one account has a quarter: as many as a worker takes by default
        "PUBLIC_BASE_URL": f"http://{LOOPBACK}:{port}",
        **(variables or {}),
    }
    log = home.folder / f"gateway-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", f"python:{config}", "wsgi:app"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=pin(cores or server_cores(workers)),
        )
        try:
            wait_until_it_answers("The gateway", process, port, log)
            _await_worker(port)
            yield Gateway(Server(port, process.pid), home, (home.key,))
        finally:
            stop(process, signal.SIGQUIT)  # at once: nobody is being served


def _await_worker(port: int) -> None:
    """Wait for a worker, since the kernel accepts connections before there is one. Raises BenchError if none answers
    200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=START_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/livez")
            status = connection.getresponse().status
        except OSError as error:
            raise BenchError(f"The gateway does not answer: {error}") from None
    if status != 200:
        raise BenchError(f"The gateway answers {status} to /livez.")


def _environment(stores: Stores, folder: Path) -> dict[str, str]:
    """The environment of production, but with the upstream on loopback. None of the caller's settings and provider keys
    get in."""
    inherited = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("PG")}
    return inherited | {
        "FLASK_SKIP_DOTENV": "1",
        "PROBE_SECONDS": "0",  # what is measured are requests
        "BRIDGE_ENV": "production" if stores.database_url else "development",
        "ALLOW_PRIVATE_UPSTREAMS": "1",
        "BIND": LOOPBACK,
        "DATA_DIR": str(folder),
        "DATABASE_URL": stores.database_url or f"sqlite:///{folder / 'bridge.db'}",
        "REDIS_URL": stores.redis_url,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "FERNET_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "PUBLIC_BASE_URL": f"http://{LOOPBACK}",
    }


def model_of(provider: str) -> str:
    """The public name of the model whose one channel reaches the mock upstream in the provider's dialect; `responses`
    is OpenAI's second one, and `embeddings` and `images` are no conversations at all."""
    return f"bench-{provider}"


def _served(provider: str) -> str:
    return f"{model_of(provider)}={model_of(provider)}"


def _serve_as(upstream_ids: dict[str, str]) -> Iterator[str]:
    return (f"{model_of(name)}={upstream_id}" for name, upstream_id in upstream_ids.items())


def run_commands(environment: dict[str, str], *commands: str, seconds: float = COMMAND_SECONDS) -> list[str]:
    """Run `flask` commands in parallel, and return their output. Raises BenchError if one fails."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "wsgi", *command.split()],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for command in commands
    ]
    try:
        printed = []
        for command, process in zip(commands, started, strict=True):
            output, errors = process.communicate(timeout=seconds)
            if process.returncode != 0:
                raise BenchError(f"`flask {command}` failed: {(errors or output).strip()[-1000:]}")
            printed.append(output)
        return printed
    finally:
        for process in started:
            stop(process)
