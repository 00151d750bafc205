"""Passkeys: a member proves who they are by a key that never leaves their device (WebAuthn). Each challenge is a
ticket, so it is answered once.

The library is loaded when it is needed: many requests never ask for it."""

import base64
import binascii
import datetime
import hashlib
import ipaddress
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import sqlalchemy as sa

from bridge.accounts.notes import tell_member
from bridge.accounts.tables import Member, Passkey
from bridge.accounts.tickets import issue_ticket, use_ticket
from bridge.acts import Actor, record_act
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

ADD, SIGN_IN = "passkey_add", "passkey_in"
LASTS = datetime.timedelta(minutes=5)
MOST_PASSKEYS = 20
MAX_NAME_LENGTH = 60
MAX_CREDENTIAL_LENGTH = 20_000
NAME = "AI Bridge"
LOCALHOST = "localhost"


class WrongPasskey(Exception):
    """What the browser sent is no valid answer of one of our passkeys to a challenge that is still open."""


def find_origin(settings: Settings) -> str:
    """The origin for which passkeys are made. Development without an address of its own is reached by localhost: a
    passkey can't be made for an IP address."""
    return (settings.public_base_url or f"http://{LOCALHOST}:{settings.port}").rstrip("/")


def are_possible(settings: Settings) -> bool:
    """Whether browsers make passkeys for this site: it needs a name, and TLS unless it is this machine."""
    parts = urlsplit(find_origin(settings))
    try:
        ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return parts.scheme == "https" or parts.hostname == LOCALHOST
    return False


def list_passkeys(member_id: int) -> list[Passkey]:
    """The member's passkeys, the oldest first."""
    return list(db.session.scalars(sa.select(Passkey).where(Passkey.member_id == member_id).order_by(Passkey.id)))


def ask_for_new(settings: Settings, member: Member) -> str:
    """What the browser needs to make a passkey, as JSON."""
    import webauthn
    from webauthn.helpers import structs

    with transaction() as session:
        secret = issue_ticket(session, ADD, lasts=LASTS, member_id=member.id)
    options = webauthn.generate_registration_options(
        rp_id=_find_host(settings),
        rp_name=NAME,
        user_name=member.email,
        user_display_name=member.name or member.email,
        user_id=hashlib.sha256(f"member:{member.id}".encode()).digest(),
        challenge=secret.encode(),
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=_describe(list_passkeys(member.id)),
    )
    return str(webauthn.options_to_json(options))


def add_passkey(settings: Settings, member: Member, name: str, credential: str, actor: Actor) -> Passkey:
    """Keep the passkey that the browser has made. Raises WrongPasskey, or InvalidRequest for a name that can't be."""
    import webauthn
    from webauthn.helpers.exceptions import WebAuthnException

    name = " ".join(name.split())
    if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidRequest(f"Name the passkey in at most {MAX_NAME_LENGTH} letters.", param="name")
    if len(list_passkeys(member.id)) >= MOST_PASSKEYS:
        raise InvalidRequest(f"There are {MOST_PASSKEYS} passkeys already. Remove one first.", param="name")
    challenge, member_id = _use_challenge(ADD, credential)
    if member_id != member.id:
        raise WrongPasskey
    try:
        made = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=_find_host(settings),
            expected_origin=find_origin(settings),
            require_user_verification=True,
        )
    except WebAuthnException:
        raise WrongPasskey from None
    passkey = Passkey(
        member_id=member.id,
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        name=name,
        created_at=now_utc(),
    )
    try:
        with transaction() as session:
            session.add(passkey)
            record_act(session, member.account_id, "passkey_added", actor, name)
            tell_member(session, member, "passkey_added", f"It is called {name}.")
    except sa.exc.IntegrityError:  # it is known already
        raise WrongPasskey from None
    return passkey


def ask_for_known(settings: Settings, member: Member | None = None) -> str:
    """What the browser needs to use a passkey, as JSON: one of the member's, or whichever it has for this site."""
    import webauthn
    from webauthn.helpers import structs

    with transaction() as session:
        secret = issue_ticket(session, SIGN_IN, lasts=LASTS, member_id=member.id if member else None)
    options = webauthn.generate_authentication_options(
        rp_id=_find_host(settings),
        challenge=secret.encode(),
        allow_credentials=_describe(list_passkeys(member.id)) if member else None,
        user_verification=structs.UserVerificationRequirement.REQUIRED,
    )
    return str(webauthn.options_to_json(options))


def check_passkey(settings: Settings, credential: str, member: Member | None = None) -> Member:
    """The member whose passkey has answered; if one is given, it must be theirs. Raises WrongPasskey."""
    import webauthn
    from webauthn.helpers.exceptions import WebAuthnException

    challenge, asked_id = _use_challenge(SIGN_IN, credential)
    if asked_id != (member.id if member else None):
        raise WrongPasskey
    known = sa.select(Passkey).where(Passkey.credential_id == _read_id(credential))
    passkey = db.session.scalar(known.execution_options(populate_existing=True))
    if passkey is None or (member and passkey.member_id != member.id):
        raise WrongPasskey
    try:
        answer = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=_find_host(settings),
            expected_origin=find_origin(settings),
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=True,
        )
    except WebAuthnException:
        raise WrongPasskey from None
    with transaction() as session:
        used = sa.update(Passkey).where(Passkey.id == passkey.id)
        used = used.values(sign_count=answer.new_sign_count, used_at=now_utc()).returning(Passkey.member_id)
        member_id = session.scalar(used.execution_options(synchronize_session=False))
    found = db.session.get(Member, member_id, populate_existing=True) if member_id is not None else None
    if found is None:  # it was removed in this moment
        raise WrongPasskey
    return found


def remove_passkey(member: Member, passkey_id: int, actor: Actor) -> str:
    """Forget one of the member's passkeys. Returns its name. Raises NotFound."""
    with transaction() as session:
        gone = sa.delete(Passkey).where(Passkey.id == passkey_id, Passkey.member_id == member.id)
        name = session.scalar(gone.returning(Passkey.name).execution_options(synchronize_session=False))
        if name is None:
            raise NotFound("There is no such passkey.")
        record_act(session, member.account_id, "passkey_removed", actor, name)
        tell_member(session, member, "passkey_removed", f"It was called {name}.")
    return name


def _find_host(settings: Settings) -> str:
    return urlsplit(find_origin(settings)).hostname or ""


def _describe(passkeys: list[Passkey]) -> "list[PublicKeyCredentialDescriptor]":
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    return [PublicKeyCredentialDescriptor(id=passkey.credential_id) for passkey in passkeys]


def _use_challenge(purpose: str, credential: str) -> tuple[bytes, int | None]:
    """The challenge that the browser answers, and whose it was; it is used up whatever comes of the answer."""
    try:
        said = _decode(json.loads(credential[:MAX_CREDENTIAL_LENGTH])["response"]["clientDataJSON"])
        secret = _decode(json.loads(said)["challenge"]).decode("ascii")
    except (ValueError, TypeError, KeyError, AttributeError):  # also what is no JSON, Base64 or text
        raise WrongPasskey from None
    with transaction() as session:
        ticket = use_ticket(session, purpose, secret)
    if ticket is None:
        raise WrongPasskey
    return secret.encode(), ticket.member_id


def _read_id(credential: str) -> bytes:
    try:
        return _decode(json.loads(credential)["rawId"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise WrongPasskey from None


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None
