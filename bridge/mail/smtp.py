"""Hands one mail to the operator's mail server. TLS is verified; only a server on this machine may go without."""

import contextlib
import dataclasses
import email.policy
import ipaddress
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from urllib.parse import unquote, urlsplit

from bridge.conceal import conceal
from bridge.config import Settings

TIMEOUT_SECONDS = 20
SUBMISSION_PORT, TLS_PORT = 587, 465
# lines as long as SMTP allows, so that no link is cut in two
POLICY = email.policy.SMTP.clone(max_line_length=990, cte_type="7bit")
# errors about us, not about this mail: once the operator has fixed that, the mail can go
OURS = (smtplib.SMTPAuthenticationError, smtplib.SMTPSenderRefused, smtplib.SMTPHeloError, smtplib.SMTPConnectError)


@dataclasses.dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails go. `implicit_tls`: TLS from the first byte, otherwise STARTTLS. `at_home`: on this machine."""

    host: str
    port: int
    user: str
    password: str = dataclasses.field(repr=False)
    sender: str
    implicit_tls: bool
    at_home: bool


class MailDelayed(Exception):
    """The mail may go later; the text says why it didn't now."""


class MailRefused(Exception):
    """The server will never take this mail."""


def find_server(settings: Settings) -> MailServer | None:
    """The server of SMTP_URL, otherwise of SMTP_HOST and its companions; None if neither is set."""
    if settings.smtp_url:
        parts = urlsplit(settings.smtp_url)
        host, implicit = parts.hostname or "", parts.scheme == "smtps"
        port = parts.port or (TLS_PORT if implicit else SUBMISSION_PORT)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    elif settings.smtp_host:
        host, port = settings.smtp_host, settings.smtp_port
        user, password, implicit = settings.smtp_user, settings.smtp_password, port == TLS_PORT
    else:
        return None
    return MailServer(host, port, user, password, settings.smtp_from, implicit, _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def write_message(server: MailServer, recipient: str, subject: str, text: str, number: int) -> EmailMessage:
    """The mail as it goes out. Its Message-ID is made from its number, so that a repeated copy can be recognised.

    Raises MailRefused for text that no header can hold, such as a line break."""
    message = EmailMessage(policy=POLICY)
    try:
        message["From"], message["To"], message["Subject"] = server.sender, _as_sent(recipient), subject
    except ValueError as error:
        raise MailRefused(str(error)) from None
    message["Date"] = formatdate()
    message["Message-ID"] = f"<ai-bridge-{number}@{parseaddr(server.sender)[1].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # so that no out-of-office reply is sent
    message.set_content(text)
    return message


def _as_sent(address: str) -> str:
    """The address with its domain in ASCII, since few servers accept other letters."""
    name, _, domain = address.rpartition("@")
    try:
        return f"{name}@{domain.encode('idna').decode()}" if not domain.isascii() else address
    except UnicodeError:
        return address


def send(server: MailServer, message: EmailMessage) -> None:
    """Hand the mail over. Returns when the server has accepted it. Waits for the network, so never call it in a
    request.

    Raises MailDelayed or MailRefused."""
    try:
        _hand_over(server, message)
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        raise (MailRefused if code >= 500 else MailDelayed)(_describe(server, code, said)) from None
    except OURS as error:
        raise MailDelayed(_describe(server, error.smtp_code, error.smtp_error)) from None
    except smtplib.SMTPResponseException as error:
        kind = MailRefused if error.smtp_code >= 500 else MailDelayed
        raise kind(_describe(server, error.smtp_code, error.smtp_error)) from None
    except (OSError, smtplib.SMTPException) as error:
        raise MailDelayed(conceal(f"{type(error).__name__}: {error}"[:300], server.password)) from None
    except ValueError as error:  # an address or a password isn't ASCII: the error's text would show it
        raise MailRefused(type(error).__name__) from None


def _hand_over(server: MailServer, message: EmailMessage) -> None:
    context = ssl.create_default_context()
    name = parseaddr(server.sender)[1].rpartition("@")[2]  # otherwise smtplib asks the DNS for our name
    if server.implicit_tls:
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, name, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        connection = smtplib.SMTP(server.host, server.port, name, timeout=TIMEOUT_SECONDS)
    try:
        if not server.implicit_tls:
            connection.ehlo_or_helo_if_needed()
            if connection.has_extn("starttls") or not server.at_home:
                connection.starttls(context=context)  # raises if the server has no TLS: nothing goes unencrypted
        if server.user:
            connection.login(server.user, server.password)
        connection.send_message(message)
        with contextlib.suppress(OSError, smtplib.SMTPException):  # the server has the mail: a failed QUIT is harmless
            connection.quit()
    finally:
        connection.close()


def _describe(server: MailServer, code: int, said: bytes | str) -> str:
    """The server's reply in at most 300 characters that a row can hold, without our password."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return conceal(f"{code} {' '.join(text.replace(chr(0), '').split())}", server.password)[:300]
