"""What gunicorn and `flask --app wsgi` load. gevent patches before anything else is imported."""

from gevent import monkey

monkey.patch_all()

import sys

from app import create_app, list_commands_alone
from bridge.errors import MisconfiguredError
from bridge.telemetry import configure_logging

try:
    app = create_app()
except MisconfiguredError as error:
    if "--help" not in sys.argv:
        raise SystemExit("\n".join(error.problems)) from None
    app = list_commands_alone()  # `--help` must work before anything is set
else:
    configure_logging(app.config["BRIDGE"].log_level)
