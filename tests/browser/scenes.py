"""Every page and state that people see: the one list for the browser's checks in the suite and for `make screenshots`.
Where a page has no line here, test_pages.py fails."""

import dataclasses

from bridge.db import now_utc
from tests.browser.stage import EMAILS, Stage
from tests.factories import PASSWORD

FILL, CLICK, WAIT = "fill", "click", "wait"
Step = tuple[str, str, str]  # FILL, CLICK or WAIT for it to be seen, where, with what


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
    return [
        *_list_public(stage.ids),
        *_list_doors(stage.ids),
        *_list_customers(stage.ids),
        *_list_playground(),
        *_list_operators(stage.ids),
    ]


def _list_public(ids: dict[str, str]) -> list[Scene]:
    # of the docs those that are least alike: all are made of the same few pieces
    slugs = ("costs", "labels", "models", "messages", "errors", "headers", "claude-code", "langchain", "cursor")
    docs = [Scene(f"docs-{slug}", "", f"/docs/{slug}") for slug in slugs]
    return [
        Scene("landing", "", "/"),
        Scene("models", "", "/models"),
        Scene("models-sorted", "", "/models?sort=-input&provider=anthropic"),
        Scene("models-none", "", "/models?q=nothing"),
        Scene("model", "", "/models/gpt-4o"),
        Scene("model-tiers", "mira", "/models/gpt-6.2-sol"),
        Scene("model-image", "", "/models/gpt-image-1-mini"),
        Scene("model-succeeded", "", "/models/o4-mini"),
        Scene("model-retired", "", f"/models/{ids['retired']}"),
        Scene("model-unknown", "", "/models/gpt-4-o", status=404),
        Scene("docs", "", "/docs"),
        Scene("status", "", "/status"),
        Scene("status-none", "", "/status?q=nothing"),
        Scene("status-signed-in", "mira", "/status"),
        *docs,
        Scene("docs-search", "", "/docs/search?q=idempotency"),
        Scene("docs-search-nothing", "", "/docs/search?q=unheard+of"),
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
        Scene("first-operator-used", "", "/first-operator?ticket=old", status=400),
        Scene("join", "", ids["join"]),
        Scene("join-other", "newcomer", ids["join"]),
        Scene("join-over", "", "/join/old", status=404),
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
        Scene("billing-plan", "newcomer", f"/dashboard/billing?plan={ids['plan_code']}"),
        Scene("statement", "mira", f"/dashboard/billing/statement/{now_utc():%Y-%m}"),
        *(
            Scene(f"payment-{state}", "mira", f"/dashboard/billing/payments/{ids[state]}")
            for state in ("paid", "pending", "failed", "expired", "review")
        ),
        Scene("settings", "mira", settings),
        Scene("team", "mira", "/dashboard/team"),
        Scene("team-alone", "newcomer", "/dashboard/team"),
        Scene("team-refused", "sara", "/dashboard/team", status=403),
        Scene("team-log", "mira", "/dashboard/team/log"),
        Scene("team-log-none", "mira", "/dashboard/team/log?by=nobody@example.com"),
        Scene("team-overview", "sara", "/dashboard/"),
        Scene("team-settings", "sara", settings),
        Scene("account-new", "mira", "/dashboard/accounts/new"),
        Scene("no-account", "gone", "/no-account"),
        Scene("settings-security", "mira", f"{settings}/security"),
        Scene("settings-notices", "mira", f"{settings}/notices"),
        Scene("settings-data", "mira", f"{settings}/data"),
        Scene("settings-two-factor", "mira", f"{settings}/two-factor"),
        Scene("settings-passkey", "mira", f"{settings}/passkeys/new"),
    ]


def _list_playground() -> list[Scene]:
    page = "/dashboard/playground"
    new, send = (CLICK, "[data-new]", ""), (CLICK, "[data-send]", "")
    echo = ((CLICK, "[data-choice] summary", ""), (CLICK, "label:has([value=sandbox-echo])", ""))
    asked = ((FILL, "#message", "Which line of this invoice is wrong, and by how much?"), send)
    dear = ((CLICK, "[data-choice] summary", ""), (CLICK, "label:has([value='gpt-4o'])", ""))
    other = ((CLICK, "[data-choice] summary", ""), (CLICK, "label:has([name=other][value=sandbox-echo])", ""))
    tools = ((CLICK, "[data-fold=tools] summary", ""), (FILL, "#p-tools", '[{"type": "function",\n  "function": {'))
    return [
        Scene("playground-empty", "newcomer", page),
        Scene("playground-failed", "newcomer", page, (*dear, *asked, (WAIT, ".turn .note", ""), *tools)),
        Scene("playground-key-off", "operator", page),
        Scene("playground-picker", "mira", page, ((CLICK, "[data-choice] summary", ""),)),
        Scene("playground", "mira", page, (*echo, *asked, (WAIT, ".meter a", ""))),
        Scene("playground-code", "mira", page, ((CLICK, ".head [popovertarget=as-code]", ""),)),
        Scene(
            "playground-compare",
            "mira",
            page,
            (new, *echo, (CLICK, "[data-compare]", ""), *other, *asked, (WAIT, "[data-difference]", "")),
        ),
    ]


def _list_operators(ids: dict[str, str]) -> list[Scene]:
    paths = {
        "requests": "/admin/requests",
        "requests-7-days": "/admin/requests?period=7",
        "requests-none": "/admin/requests?model=nothing&live=off",
        "request": f"/admin/requests/{ids['receipt']}",
        "request-failed": f"/admin/requests/{ids['receipt_failed']}",
        "home": "/admin/",
        "home-30-days": "/admin/?period=30",
        "setup": "/admin/setup",
        "setup-connect": "/admin/setup/connect",
        "setup-models": "/admin/setup/models?channel=CHANNEL&names=gpt-4o,gpt-4o-mini,new-model",
        "setup-try": "/admin/setup/try?channel=CHANNEL",
        "setup-done": "/admin/setup/done?channel=CHANNEL",
        "channels": "/admin/channels",
        "channel-form": "/admin/channels/new",
        "channels-off": "/admin/channels?state=off",
        "channels-none": "/admin/channels?q=nobody",
        "channel": "/admin/channels/CHANNEL",
        "channel-slow": f"/admin/channels/{ids['channel_slow']}",
        "channel-partly": f"/admin/channels/{ids['channel_partly']}",
        "channel-edit": "/admin/channels/CHANNEL/edit",
        "models": "/admin/models",
        "model-form": "/admin/models/new",
        "prices": "/admin/prices",
        "bulk-prices": "/admin/models/bulk?q=gpt",
        "bulk-prices-none": "/admin/models/bulk?q=nothing",
        "model": "/admin/models/one?id=gpt-4o",
        "customers": "/admin/customers",
        "customers-none": "/admin/customers?q=nobody",
        "customers-found": "/admin/customers?q=example",
        "customers-by-spend": "/admin/customers?sort=spend",
        "customers-new": "/admin/customers/new",
        "customer": f"/admin/customers/{ids['account']}",
        "customer-keys": f"/admin/customers/{ids['account']}/keys",
        "customer-money": f"/admin/customers/{ids['account']}/money",
        "customer-terms": f"/admin/customers/{ids['account']}/terms",
        "customer-members": f"/admin/customers/{ids['account']}/members",
        "customer-suspended": f"/admin/customers/{ids['suspended']}",
        "payments": "/admin/payments",
        "payments-all": "/admin/payments?show=all",
        "payment": f"/admin/payments/{ids['review']}",
        "usage": "/admin/usage",
        "usage-today": "/admin/usage?period=today",
        "codes": "/admin/codes",
        "plans": "/admin/plans",
        "plan": f"/admin/plans/{ids['plan']}",
        "drill": "/admin/drill",
        "incidents": "/admin/incidents",
        "incident": f"/admin/incidents/{ids['incident']}",
        "incident-form": "/admin/incidents/new?models=qwen3-8b",
        "audit": "/admin/audit",
        "audit-none": "/admin/audit?q=nobody",
        "operators": "/admin/operators",
        "approvals": "/admin/approvals",
        "system": "/admin/system",
    }
    wrong_key = ((CLICK, "main form button.btn-primary", ""),)
    tested = ((CLICK, "main form[action$='/test'] button.btn-primary", ""),)
    codes = ((FILL, "#amount", "10"), (FILL, "#count", "3"), (CLICK, "main form button.btn-primary", ""))
    many = ((CLICK, "input[name=all]", ""), (CLICK, "button[value=change]", ""))
    own_list = 'openai.models.gpt-4o = {context = 128000, price = ["7", "3", "11"]}'
    pasted = ((FILL, "#file", own_list), (CLICK, "main form[action='/admin/prices/compare'] button", ""))
    raised = ((FILL, "#percent", "-15"), (CLICK, "main form[method=post] button.btn-primary", ""))
    unsaid = ((CLICK, "main form[action$='/updates'] button.btn-primary", ""),)
    return [
        Scene("admin-incident-wrong", "operator", f"/admin/incidents/{ids['incident']}", unsaid),
        Scene("admin-channels-change", "operator", "/admin/channels", many),
        *(Scene(f"admin-{name}", "operator", path.replace("CHANNEL", ids["channel"])) for name, path in paths.items()),
        Scene("admin-setup-connect-wrong", "operator", "/admin/setup/connect", wrong_key),
        Scene("admin-prices-compared", "operator", "/admin/prices", pasted),
        Scene("admin-bulk-prices-preview", "operator", "/admin/models/bulk?q=claude", raised),
        Scene("admin-channel-tested", "operator", f"/admin/channels/{ids['channel']}", tested),
        Scene("admin-codes-created", "operator", "/admin/codes", codes),
    ]
