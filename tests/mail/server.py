"""A mail server on a loopback socket: it speaks SMTP, with STARTTLS or TLS if it has a certificate, and keeps mails."""

import base64
import contextlib
import dataclasses
import email
import email.policy
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import gevent
from gevent import ssl
from gevent.server import StreamServer

USER, PASSWORD = "bridge", "p:ss/w@rd"
ACCEPTED = b"250 queued"
WAIT_SECONDS = 60


@dataclasses.dataclass
class Received:
    """One received mail, and how its connection was secured."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool
    user: str


class MailServer:
    """Receives mails. `answers` maps a verb to the line that answers it instead; `certificate` allows STARTTLS, or TLS
    from the first byte with `implicit_tls`."""

    def __init__(self, certificate: Path | None = None, implicit_tls: bool = False):
        self.mails: list[Received] = []
        self.answers: dict[str, bytes] = {}
        self.connections = 0
        self._context: ssl.SSLContext | None = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._implicit = implicit_tls
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def close(self) -> None:
        self._server.stop(timeout=1)

    def wait_for(self, count: int) -> list[Received]:
        """The mails, once there are this many."""
        end = time.monotonic() + WAIT_SECONDS
        while len(self.mails) < count and time.monotonic() < end:
            gevent.sleep(0.02)
        return self.mails

    def _serve(self, connection: Any, _address: Any) -> None:
        self.connections += 1
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):  # a client that does not trust us hangs up
            stack.callback(connection.close)
            if self._implicit:
                connection = self._encrypt(stack, connection)
            self._talk(stack, connection)

    def _encrypt(self, stack: contextlib.ExitStack, connection: Any) -> Any:
        assert self._context
        encrypted = self._context.wrap_socket(connection, server_side=True)
        stack.callback(encrypted.close)
        return encrypted

    def _talk(self, stack: contextlib.ExitStack, connection: Any) -> None:
        encrypted, user, sender, recipients = self._implicit, "", "", []  # type: bool, str, str, list[str]
        lines = stack.enter_context(connection.makefile("rb"))
        self._say(connection, b"220 mail.test ESMTP")
        while line := lines.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            verb = verb.upper()
            if verb in self.answers and verb != "DATA":
                self._say(connection, self.answers[verb])
            elif verb == "EHLO":
                offers = [b"mail.test", b"AUTH PLAIN"]
                offers += [b"STARTTLS"] if self._context and not encrypted else []
                said = [b"250-" + offer for offer in offers[:-1]] + [b"250 " + offers[-1]]
                self._say(connection, b"\r\n".join(said))
            elif verb == "STARTTLS" and self._context:
                self._say(connection, b"220 go on")
                connection = self._encrypt(stack, connection)
                lines, encrypted = stack.enter_context(connection.makefile("rb")), True
            elif verb == "AUTH":
                _, name, password = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")
                user = name if (name, password) == (USER, PASSWORD) else ""
                self._say(connection, b"235 welcome" if user else b"535 who are you?")
            elif verb == "MAIL":
                sender, recipients = rest, []
                self._say(connection, b"250 ok")
            elif verb == "RCPT":
                recipients.append(rest)
                self._say(connection, b"250 ok")
            elif verb == "DATA":
                self._say(connection, b"354 go on")
                data = b""
                while (part := lines.readline()) not in (b".\r\n", b""):
                    data += part[1:] if part.startswith(b"..") else part
                answer = self.answers.get("DATA", ACCEPTED)
                if answer == ACCEPTED:
                    message = email.message_from_bytes(data, policy=email.policy.default)
                    self.mails.append(Received(sender, recipients, message, encrypted, user))
                self._say(connection, answer)
            elif verb == "QUIT":
                self._say(connection, b"221 bye")
                return
            else:
                self._say(connection, b"502 no")

    @staticmethod
    def _say(connection: Any, line: bytes) -> None:
        connection.sendall(line + b"\r\n")
