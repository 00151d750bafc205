"""Runs a command that reaches one port of this machine and nothing else: `python offline.py PORT COMMAND…`.

The command has a network namespace of its own, with nothing in it but a loopback device (network_namespaces(7)). A
socket stays in the namespace in which it was made: one that listens there is handed to us, who reach the port."""

import contextlib
import ctypes
import fcntl
import functools
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable

LOOPBACK, NAME = "127.0.0.1", b"lo"
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # linux/sockios.h, linux/if.h
PIECE_BYTES = 2**16


@functools.cache
def can_be_offline() -> bool:
    """Whether this kernel lets us have such a network: in some containers it doesn't."""
    return subprocess.run([*offline(0), "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0


def offline(port: int) -> list[str]:
    """What to put before a command, for it to reach this port alone."""
    return [sys.executable, __file__, str(port)]


def leave_network() -> None:
    """Move this process into a new network, whose loopback device works. Raises OSError where that isn't allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    kind = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWUSER | CLONE_NEWNET
    if libc.unshare(kind) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", NAME, IFF_UP))


def main() -> int:
    """Run the command. Returns its exit status."""
    port, command = int(sys.argv[1]), sys.argv[2:]
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        leave_network()
        with socket.create_server((LOOPBACK, port)) as listener:
            socket.send_fds(theirs, [b"."], [listener.fileno()])
        os.execvp(command[0], command)
    theirs.close()
    _, (listening,), *_ = socket.recv_fds(ours, 1, 1)
    _start(_accept, socket.socket(fileno=listening), port)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _accept(listener: socket.socket, port: int) -> None:
    while True:
        client = listener.accept()[0]
        server = socket.create_connection((LOOPBACK, port))
        _start(_pass_on, client, server)
        _start(_pass_on, server, client)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Pass on bytes and their end. A reset becomes an end, of both directions."""
    try:
        while data := source.recv(PIECE_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _start(function: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
