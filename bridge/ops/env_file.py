"""The file `.env` beside the Makefile: this checkout's settings, with secrets that were drawn for it alone."""

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet
from dotenv import load_dotenv

from bridge.errors import MisconfiguredError

ENV_FILE = Path(__file__).parents[2] / ".env"


def write_env_file(path: Path = ENV_FILE) -> bool:
    """Write the file, for a development gateway, readable by its owner only. An existing file stays.

    Returns whether it was written. Raises MisconfiguredError if the checkout isn't writable."""
    if _is_unwanted():
        return False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise MisconfiguredError([f"{path} can't be written: {error.strerror}. Set its settings yourself."]) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(
            "# Made by `make run`. What the environment sets counts more than what stands here; see .env.example.\n"
            "BRIDGE_ENV=development\n"
            f"SECRET_KEY={secrets.token_urlsafe(48)}\n"
            f"FERNET_KEYS={Fernet.generate_key().decode()}\n"
        )
    return True


def load_env_file(path: Path = ENV_FILE) -> None:
    """Read the file, if there is one, into the environment. Variables that are already set stay."""
    if not _is_unwanted():
        load_dotenv(path)


def _is_unwanted() -> bool:
    """FLASK_SKIP_DOTENV=1, which the `flask` command knows too, skips the file."""
    return os.environ.get("FLASK_SKIP_DOTENV", "").lower() in ("1", "true", "yes")
