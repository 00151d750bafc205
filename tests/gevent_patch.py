"""Patches gevent before any other plugin imports ssl or socket, as the server does: named in pytest's addopts."""

from gevent import monkey

monkey.patch_all()
