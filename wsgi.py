"""What gunicorn and `flask --app wsgi` load. gevent patches before anything else is imported."""

from gevent import monkey

monkey.patch_all()

from app import create_app
from bridge.telemetry import configure_logging

app = create_app()
configure_logging(app.config["BRIDGE"].log_level)
