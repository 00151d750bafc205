"""The visitor: who is signed in, by the secret in the session cookie; and how a session begins and ends."""

from flask import current_app, g, request, session
from flask_login import UserMixin, current_user, login_user, logout_user

from bridge.accounts.sessions import SignedIn, end_session, find_signed_in, open_session
from bridge.accounts.tables import Member
from bridge.acts import Actor
from bridge.addresses import name_network
from bridge.config import Settings
from bridge.db import now_utc


class Visitor(UserMixin):
    """The signed-in member. The cookie has the secret of their session, and nothing else about them."""

    def __init__(self, session_secret: str, signed_in: SignedIn):
        self.session_secret = session_secret
        self.member = signed_in.member
        self.id = signed_in.member.id
        self.account_id = signed_in.member.account_id
        self.email = signed_in.member.email
        self.is_suspended = signed_in.account_status != "active"
        self.is_operator = signed_in.member.is_operator and not self.is_suspended
        self.proven_at = signed_in.proven_at
        self.time_zone = signed_in.member.time_zone

    def get_id(self) -> str:
        return self.session_secret

    @property
    def is_proven(self) -> bool:
        """Whether the member has proved lately who they are: for money, keys and security."""
        if self.proven_at is None:
            return False
        return (now_utc() - self.proven_at).total_seconds() < chosen_settings().fresh_sign_in_seconds


def chosen_settings() -> Settings:
    """The settings of the running app."""
    settings: Settings = current_app.config["BRIDGE"]
    return settings


def load_visitor(session_secret: str) -> Visitor | None:
    """The visitor of a session cookie, or None when the session is over."""
    if g.get("plain"):  # the database has just failed
        return None
    found = find_signed_in(session_secret)
    return Visitor(session_secret, found) if found else None


def find_actor() -> Actor:
    """The signed-in member, for the audit log."""
    return Actor(current_user.email, find_network())


def find_network() -> str:
    """The network that this request comes from."""
    return name_network(request.remote_addr or "")


def local_path(target: str | None, default: str = "/dashboard/") -> str:
    """The target if it is a path on this site, otherwise the default, so that nobody is redirected elsewhere."""
    target = target or ""
    on_this_site = target.startswith("/") and not target.startswith("//")  # then it has neither scheme nor host
    return target.rstrip("?") if on_this_site and target.isprintable() and "\\" not in target else default


def begin_session(member: Member, how: str, *, is_known: bool) -> None:
    """Begin a new session, so that knowing the old one is worth nothing. `how` they signed in is for the audit log;
    `is_known`: whether they have done so in this browser before."""
    leave_session()
    session.permanent = True
    client = {"user_agent": request.user_agent.string, "network": find_network()}
    secret = open_session(member, **client, how=how, is_known=is_known)
    login_user(Visitor(secret, SignedIn(member, "active", now_utc())))


def leave_session() -> None:
    """End the session, if there is one, and forget all that its cookie held."""
    if current_user.is_authenticated:
        end_session(current_user.session_secret)
        logout_user()
    session.clear()
