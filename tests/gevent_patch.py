"""Patches gevent before any other plugin imports ssl or socket, as the server does: named in pytest's addopts."""

import gevent
from gevent import monkey

monkey.patch_all()

# pytest-xdist's worker waits for its master through a native thread, which the hub can't see: without something of
# its own to wait for, it would call that a deadlock (LoopExit)
keep_hub_waiting = gevent.get_hub().loop.timer(3600, 3600)
keep_hub_waiting.start(lambda: None)
