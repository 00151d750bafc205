"""The visitor: who is signed in, by the secret in the session cookie; and how a session begins and ends."""

from flask import current_app, g, request, session
from flask_login import UserMixin, current_user, login_user, logout_user

from bridge.accounts import roles
from bridge.accounts.memberships import move_on
from bridge.accounts.operators import find_role, may
from bridge.accounts.people import find_viewed
from bridge.accounts.sessions import SignedIn, end_session, find_signed_in, open_session
from bridge.accounts.tables import Account, Member
from bridge.acts import Actor
from bridge.addresses import name_network
from bridge.config import Settings
from bridge.db import db, now_utc
from bridge.viewing import find_view

OF_ACCOUNT = "account"  # in the cookie: the account that this browser's forms were made for


class Visitor(UserMixin):
    """The signed-in member, in the account that they look at. The cookie has the secret of their session, and nothing
    else about them. Somebody who belongs to no account any more is a stranger to every page but the one that offers
    them another (see accounts.py)."""

    def __init__(self, session_secret: str, signed_in: SignedIn):
        self.session_secret = session_secret
        self.member = signed_in.member
        self.id = signed_in.member.id
        self.membership = signed_in.membership
        self.account_id = self.membership.account_id if self.membership else signed_in.member.account_id
        self.role = self.membership.role if self.membership else None  # kept: a row is read again after a commit
        self.account_name = signed_in.account_name
        self.accounts, self.members = signed_in.accounts, signed_in.members
        self.email = signed_in.member.email
        self.is_suspended = signed_in.account_status != "active"
        is_barred = self.is_suspended or signed_in.owns_suspended
        self.operator_role = None if is_barred else find_role(signed_in.member)
        self.is_operator = self.operator_role is not None
        self.proven_at = signed_in.proven_at
        self.has_used_second_factor = signed_in.second_factor_at is not None  # in this session
        self.time_zone, self.language = signed_in.member.time_zone, signed_in.member.language

    def get_id(self) -> str:
        return self.session_secret

    @property
    def is_authenticated(self) -> bool:
        return self.membership is not None

    @property
    def is_active(self) -> bool:
        """Whether they may be signed in: also without an account."""
        return True

    def may(self, right: str) -> bool:
        """Whether their role in the account has this right; templates ask it before they offer a form or a link."""
        return roles.may(self.role, right)

    @property
    def is_proven(self) -> bool:
        """Whether the member has proved lately who they are: for money, keys and security."""
        if self.proven_at is None:
            return False
        return (now_utc() - self.proven_at).total_seconds() < chosen_settings().fresh_sign_in_seconds


class Viewer(Visitor):
    """An operator who views a customer's pages: as the customer's first owner, without a proof or a session. See
    `viewing.py` for what they may."""

    def __init__(self, operator: Visitor, owner: SignedIn):
        super().__init__(operator.session_secret, owner)
        self.operator_role, self.is_operator = None, False
        self.time_zone, self.language = operator.time_zone, operator.language


def chosen_settings() -> Settings:
    """The settings of the running app."""
    settings: Settings = current_app.config["BRIDGE"]
    return settings


def load_visitor(session_secret: str) -> Visitor | None:
    """The visitor of a session cookie, or None when the session is over."""
    if g.get("plain"):  # the database has just failed
        return None
    found = find_signed_in(session_secret)
    if found is None:
        return None
    if found.membership is None and move_on(found.member.id):
        found = find_signed_in(session_secret) or found
    visitor = Visitor(session_secret, found)
    _void_forms_of_another(visitor.account_id)
    return _find_viewer(visitor) or visitor


def _void_forms_of_another(account_id: int) -> None:
    """Void the forms that are open in this browser if its person looks at another account by now: they switched in
    another browser, or were taken out. A form that comes just now has passed the check of its token: the door refuses
    it."""
    before = session.get(OF_ACCOUNT)
    if before == account_id:
        return
    session[OF_ACCOUNT] = account_id
    if before is not None:
        session.pop("csrf_token", None)
        g.is_form_of_another = True


def _find_viewer(visitor: Visitor) -> Viewer | None:
    """The visitor as a customer, if they are an operator who views one's pages. The console is always their own."""
    view = find_view()
    if view is None or view.is_over or request.path.startswith("/admin") or not may(visitor.operator_role, "view_as"):
        return None
    found = find_viewed(view.account_id)
    return Viewer(visitor, found) if found else None


def find_person() -> Visitor | None:
    """Who is signed in, also one who belongs to no account."""
    found = current_user._get_current_object()
    return found if isinstance(found, Visitor) else None


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


def home_of(member: Member) -> str:
    """Where a member lands who asked for no page: operators at their console. A suspended one is a customer there."""
    account = db.session.get(Account, member.account_id) if member.is_operator else None
    return "/admin/" if account and account.status == "active" else "/dashboard/"


def begin_session(member: Member, how: str, *, is_known: bool, by_second_factor: bool = False) -> None:
    """Begin a new session, so that knowing the old one is worth nothing. `how` they signed in is for the audit log;
    `is_known`: whether they have done so in this browser before; `by_second_factor`: whether a code or a passkey was
    part of it."""
    leave_session()
    session.permanent = True
    client = {"user_agent": request.user_agent.string, "network": find_network()}
    secret = open_session(member, **client, how=how, is_known=is_known, by_second_factor=by_second_factor)
    visitor = load_visitor(secret)
    if visitor is not None:  # otherwise the account was deleted in this moment
        login_user(visitor)


def leave_session() -> None:
    """End the session, if there is one, and forget all that its cookie held."""
    if find_person() is not None:
        end_session(current_user.session_secret)
        logout_user()
    session.clear()
