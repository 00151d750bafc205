"""Every page and state that people see: the one list for the browser's checks in the suite and for `make screenshots`.
Where a page has no line here, test_pages.py fails."""

import dataclasses

from bridge.dashboard.guides import GUIDES
from bridge.db import now_utc
from tests.browser.stage import EMAILS, Stage
from tests.factories import PASSWORD

FILL, CLICK = "fill", "click"
Step = tuple[str, str, str]  # FILL or CLICK, where, with what


@dataclasses.dataclass(frozen=True)
class Scene:
    """A page in one state: who looks (see EMAILS; "": nobody who is signed in), where, and what they do before it is
    shown. `status` is that of the address, before any step."""

    name: str
    who: str
    path: str
    steps: tuple[Step, ...] = ()
    status: int = 200


def list_scenes(stage: Stage) -> list[Scene]:
    """All of them, with the ids of what is on the stage."""
    return [*_list_public(stage.ids), *_list_doors(stage.ids), *_list_customers(stage.ids), *_list_operators(stage.ids)]


def _list_public(ids: dict[str, str]) -> list[Scene]:
    guides = [Scene(f"docs-{guide.slug}", "", f"/docs/{guide.slug}") for guide in GUIDES]
    return [
        Scene("landing", "", "/"),
        Scene("models", "", "/models"),
        Scene("docs", "", "/docs"),
        *guides,
        Scene("docs-signed-in", "mira", "/docs"),
        Scene("error-404", "", "/nowhere", status=404),
        Scene("error-404-signed-in", "mira", "/dashboard/keys/999999", status=404),
        Scene("error-405", "", "/sign-out", status=405),
        Scene("alerts-off", "", f"/alerts/off/{ids['off']}"),
        Scene("alerts-off-unknown", "", "/alerts/off/nothing", status=404),
    ]


def _list_doors(ids: dict[str, str]) -> list[Scene]:
    def enter(name: str, password: str = PASSWORD) -> tuple[Step, ...]:
        typed = ((FILL, "#email", EMAILS[name]), (FILL, "#password", password))
        return (*typed, (CLICK, "main form[action='/sign-in'] button", ""))

    lost = (CLICK, "details.fold summary", "")
    return [
        Scene("sign-in", "", "/sign-in"),
        Scene("sign-in-wrong", "", "/sign-in", enter("mira", "not her password")),
        Scene("sign-in-code", "", "/sign-in", enter("guarded")),
        Scene("sign-in-code-lost", "", "/sign-in", (*enter("guarded"), lost)),
        Scene("sign-up", "", "/sign-up"),
        Scene("sign-up-wrong", "", "/sign-up", ((FILL, "#email", "nadia@example"), (CLICK, ".gate form button", ""))),
        Scene("sign-up-sent", "", "/sign-up?sent=1"),
        Scene("sign-up-finish", "", ids["finish"]),
        Scene("sign-up-finish-expired", "", "/sign-up/finish?ticket=old", status=400),
        Scene("forgot", "", "/forgot"),
        Scene("forgot-sent", "", "/forgot?sent=1"),
        Scene("reset", "", ids["reset"]),
        Scene("reset-expired", "", "/reset?ticket=old", status=400),
        Scene("confirm", "", ids["confirm"]),
        Scene("confirm-expired", "", "/confirm?ticket=old", status=400),
        Scene("prove", "stale", "/dashboard/prove?next=/dashboard/keys/new"),
    ]


def _list_customers(ids: dict[str, str]) -> list[Scene]:
    settings = "/dashboard/settings"
    wrong_key = ((FILL, "#budget_day", "-1"), (CLICK, "main form button.btn-primary", ""))
    new_key = ((FILL, "#name", "worker-eu"), (CLICK, "main form button.btn-primary", ""))
    return [
        Scene("overview", "mira", "/dashboard/"),
        Scene("overview-new", "newcomer", "/dashboard/"),
        Scene("overview-suspended", "suspended", "/dashboard/"),
        Scene("keys", "mira", "/dashboard/keys"),
        Scene("keys-empty", "newcomer", "/dashboard/keys"),
        Scene("key", "mira", f"/dashboard/keys/{ids['key']}"),
        Scene("key-disabled", "mira", f"/dashboard/keys/{ids['key_off']}"),
        Scene("key-form", "mira", "/dashboard/keys/new"),
        Scene("key-form-wrong", "mira", "/dashboard/keys/new", ((FILL, "#name", "x"), *wrong_key)),
        Scene("key-created", "mira", "/dashboard/keys/new", new_key),
        Scene("usage", "mira", "/dashboard/usage"),
        Scene("usage-30-days", "mira", "/dashboard/usage?period=30"),
        Scene("usage-end-users", "mira", "/dashboard/usage?by=end_user"),
        Scene("usage-tags", "mira", "/dashboard/usage?by=tag&tag=env%3Dprod"),
        Scene("usage-empty", "newcomer", "/dashboard/usage"),
        Scene("receipt", "mira", f"/dashboard/usage/{ids['receipt']}"),
        Scene("receipt-failed", "mira", f"/dashboard/usage/{ids['receipt_failed']}"),
        Scene("billing", "mira", "/dashboard/billing"),
        Scene("billing-new", "newcomer", "/dashboard/billing"),
        Scene("statement", "mira", f"/dashboard/billing/statement/{now_utc():%Y-%m}"),
        *(
            Scene(f"payment-{state}", "mira", f"/dashboard/billing/payments/{ids[state]}")
            for state in ("paid", "pending", "failed", "expired", "review")
        ),
        Scene("settings", "mira", settings),
        Scene("settings-security", "mira", f"{settings}/security"),
        Scene("settings-notices", "mira", f"{settings}/notices"),
        Scene("settings-data", "mira", f"{settings}/data"),
        Scene("settings-two-factor", "mira", f"{settings}/two-factor"),
        Scene("settings-passkey", "mira", f"{settings}/passkeys/new"),
    ]


def _list_operators(ids: dict[str, str]) -> list[Scene]:
    paths = {
        "channels": "/admin/channels",
        "channel-form": "/admin/channels/new",
        "channel": "/admin/channels/CHANNEL",
        "models": "/admin/models",
        "model-form": "/admin/models/new",
        "model": "/admin/models/one?id=gpt-4o",
        "customers": "/admin/customers",
        "customers-none": "/admin/customers?q=nobody",
        "customer": f"/admin/customers/{ids['account']}",
        "payments": "/admin/payments",
        "payments-all": "/admin/payments?show=all",
        "payment": f"/admin/payments/{ids['review']}",
        "usage": "/admin/usage",
        "usage-today": "/admin/usage?period=today",
        "codes": "/admin/codes",
        "drill": "/admin/drill",
        "system": "/admin/system",
    }
    codes = ((FILL, "#amount", "10"), (FILL, "#count", "3"), (CLICK, "main form button.btn-primary", ""))
    return [
        *(Scene(f"admin-{name}", "operator", path.replace("CHANNEL", ids["channel"])) for name, path in paths.items()),
        Scene("admin-codes-created", "operator", "/admin/codes", codes),
    ]
