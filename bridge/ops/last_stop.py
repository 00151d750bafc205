"""How a gateway that stops for good closes its listeners without resetting a connection.

The kernel resets the connections that wait in a listener's queue when the last process closes it, and routers don't
repeat a request that they have sent on one. A look at who waits isn't enough: the next may come between the look and
the close. So no new handshake may begin any more before the last look."""

import contextlib
import ctypes
import mmap
import socket
import struct
import sys
from typing import Any

SO_ATTACH_FILTER = 26  # Linux's; Python's socket has no name for it
FLAGS_OFFSET = 13  # of a TCP header
SYN = 0x02
# a program for the kernel, of lines with: instruction, lines to skip if true, if false, operand
DROP_HANDSHAKES = [
    (0x30, 0, 0, FLAGS_OFFSET),  # load the byte
    (0x45, 0, 1, SYN),  # is a bit of it set?
    (0x06, 0, 0, 0),  # return: keep no byte of the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # return: keep all of it
]


class LastStop:
    """Whether the gateway stops for good. Only gunicorn's master knows: workers are told to stop at a reload too.

    It is a byte of memory that the master shares with the workers that it starts from now on."""

    def __init__(self, arbiter: Any) -> None:
        self._arbiter, self._stop = arbiter, arbiter.stop
        self._byte = mmap.mmap(-1, 1)
        arbiter.stop = self._tell_and_stop

    def has_come(self) -> bool:
        """Whether the listeners are closed for good, once all workers have closed them."""
        return bool(self._byte[0])

    def _tell_and_stop(self, graceful: bool = True) -> None:
        self._byte[0] = _has_listeners_alone(self._arbiter)
        self._stop(graceful)


def _has_listeners_alone(arbiter: Any) -> bool:
    """Whether nobody beside this master and its workers has its listeners: no second master during an upgrade by USR2,
    and nobody who gave them to it, as systemd does. A listener that drops handshakes would stay deaf for them."""
    given = arbiter.systemd or any(isinstance(address, int) for address in arbiter.cfg.address)
    return bool(arbiter.reexec_pid == arbiter.master_pid == 0 and not given)


def drop_handshakes(listener: Any) -> None:
    """Let no new handshake begin; those that have begun go on. Whoever is dropped tries again after a second and is
    refused by then. Where this isn't possible, which is everywhere but on Linux, nothing happens."""
    if sys.platform != "linux" or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in DROP_HANDSHAKES))
    pointer = struct.pack("HP", len(DROP_HANDSHAKES), ctypes.addressof(program))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)
