"""The life of a team in the browser: somebody is invited, calls within their budget, is removed; and an owner switches
between two accounts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.browser.drive import PASSWORD, call, sign_in, submit
from tests.factories import PASSWORD as OWNERS_PASSWORD

MATE = "tom@holt.example"
TEAM = "/dashboard/team"
FindLink = Callable[[Path, str, str], str]


def team(page: Page, site: str, log: Path, email: str, model: str, find_link: FindLink) -> dict[str, Any]:
    """Invite by mail, join, make a key, spend the budget, be removed; then open another account and switch back."""
    sign_in(page, site, email, OWNERS_PASSWORD)
    page.goto(f"{site}{TEAM}")
    page.fill("#email", MATE)
    page.fill("#budget", "0.02")
    submit(page, "Send invitation")
    found: dict[str, Any] = {"sent": f"on its way to {MATE}" in page.inner_text("main")}
    browser = page.context.browser
    assert browser
    mate = browser.new_context().new_page()
    mate.goto(site + "/join/" + find_link(log, MATE, "/join").rpartition("/")[2])
    mate.fill("#password", PASSWORD)
    submit(mate, "Join")
    found["inside"] = mate.url.removeprefix(site)
    mate.goto(f"{site}/dashboard/keys/new")
    mate.fill("input[name=name]", "worker")
    submit(mate, "Create key")
    secret = mate.inner_text("#secret")
    found["calls"] = [call(site, secret, model), call(site, secret, model)]
    page.goto(f"{site}{TEAM}")
    page.get_by_role("button", name=f"Remove {MATE}").click()
    page.locator("dialog:popover-open").get_by_role("button", name="Remove", exact=True).click()
    page.wait_for_load_state()
    found["removed"] = call(site, secret, model)
    mate.goto(f"{site}/dashboard/usage")
    found["left"] = mate.url.removeprefix(site)
    mate.context.close()
    page.goto(f"{site}/dashboard/accounts/new")
    page.fill("#account_name", "Lab")
    submit(page, "Open account")
    found["opened"] = page.inner_text(".switch summary b")
    page.locator(".switch summary").click()
    page.locator(".switch button", has_text=email).click()
    page.wait_for_load_state()
    found["switched"] = page.inner_text(".switch summary b")
    return found
