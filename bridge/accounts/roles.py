"""The roles that a member may have in an account, and what each of them may do there."""

from bridge.languages import to_translate, translate

OWNER, ADMIN, DEVELOPER, BILLING, VIEWER = "owner", "admin", "developer", "billing", "viewer"
# the highest first
ROLES = {
    OWNER: to_translate("Everything, including deleting the account and naming other owners"),
    ADMIN: to_translate("Members, everyone's keys, usage and payments"),
    DEVELOPER: to_translate("Calls models with keys of their own, and sees what those used"),
    BILLING: to_translate("Payments, statements and usage, but no keys"),
    VIEWER: to_translate("Sees usage and receipts, and changes nothing"),
}
# as pages and mails call them
NAMES = {
    OWNER: to_translate("owner"),
    ADMIN: to_translate("admin"),
    DEVELOPER: to_translate("developer"),
    BILLING: to_translate("billing"),
    VIEWER: to_translate("viewer"),
}
INVITED = tuple(role for role in ROLES if role != OWNER)  # an account's owners are named among its members
# right -> what it lets a member do, and who has it beside owners
RIGHTS: dict[str, tuple[str, frozenset[str]]] = {
    "own_keys": (to_translate("Call models, own keys"), frozenset((ADMIN, DEVELOPER))),
    "keys": (to_translate("Everyone's keys and limits"), frozenset((ADMIN,))),
    "own_usage": (to_translate("Usage and receipts of own keys"), frozenset((ADMIN, DEVELOPER, BILLING, VIEWER))),
    "usage": (to_translate("Usage and receipts"), frozenset((ADMIN, BILLING, VIEWER))),
    "billing": (to_translate("Payments, statements"), frozenset((ADMIN, BILLING))),
    "members": (to_translate("Members and roles"), frozenset((ADMIN,))),
    "account": (to_translate("Delete or transfer the account"), frozenset()),
}


def may(role: str | None, right: str) -> bool:
    """Whether a member of this role has the right. No role, or one that isn't known, has none."""
    return role == OWNER or (role is not None and role in RIGHTS[right][1])


def list_roles_with(right: str) -> list[str]:
    """The roles that have the right, the owner first."""
    return [role for role in ROLES if may(role, right)]


def name_role(role: str) -> str:
    """What a role is called, in the reader's language."""
    return translate(NAMES[role]) if role in NAMES else role


def list_given(role: str | None) -> list[str]:
    """The roles that a member of this role may give to others, and take from them: none above their own."""
    return list(ROLES) if role == OWNER else list(INVITED) if may(role, "members") else []


def higher_of(one: str, other: str) -> str:
    """The one of two roles that comes first."""
    ranks = list(ROLES)
    return min(one, other, key=ranks.index)
