"""gunicorn's settings for a busy machine: the product's own, with more time between the drain's limit and the kill."""

from bridge.ops.gunicorn import *  # noqa: F403 - gunicorn reads its settings from here

graceful_timeout = 120
