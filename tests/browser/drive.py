"""Drives Debian's Chromium through the pages of a running gateway and prints what it found, as JSON.

A process of its own, since Playwright's loop and gevent's patches do not mix: `python -m tests.browser.drive …`."""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
PASSWORD = "a long enough password"
WIDTHS = (1280, 390)
THEMES = ("light", "dark")


def watch(page: Page, complaints: list[str]) -> None:
    """Note what the browser has to complain about: scripts, policies, and answers that failed."""
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "response", lambda answer: complaints.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
    )


def call(site: str, secret: str, model: str = "sandbox-echo") -> int:
    """The status of one chat completion with this key."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]}).encode()
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{site}/v1/chat/completions", body, headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def submit(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_load_state()


def sign_in(page: Page, site: str, email: str, password: str) -> None:
    page.goto(f"{site}/sign-in")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    submit(page, "Sign in")


def open_and_escape(page: Page) -> Iterator[bool]:
    """Whether the choice of models is open, and the menu of a phone: when opened, and after Esc."""
    page.locator("details.pick summary").click()
    yield page.locator("details.pick[open]").count() > 0
    page.keyboard.press("Escape")
    yield page.locator("details.pick[open]").count() > 0
    page.set_viewport_size({"width": 390, "height": 800})
    page.locator("label[for=menu]").click()
    yield page.locator("#menu").is_checked()
    page.keyboard.press("Escape")
    yield page.locator("#menu").is_checked()
    page.set_viewport_size({"width": 1280, "height": 720})


def read_docs(page: Page, site: str) -> Iterator[str]:
    """Where an old address of the docs leads, what their search finds first, and the tab of code after a choice of
    Node on another page."""
    page.goto(f"{site}/docs#money")
    page.wait_for_url(f"{site}/docs/costs#charge")
    yield page.inner_text("h1")
    page.locator(".code label", has_text="Node").first.click()
    page.keyboard.press("/")
    page.keyboard.type("resumable")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site}/docs/search?**")
    yield page.locator(".found a").first.inner_text()
    page.locator(".found a").first.click()
    page.wait_for_url(f"{site}/docs/resume**")
    yield page.locator(".code>input:checked").first.get_attribute("aria-label") or ""


def journey(browser: Browser, site: str, email: str) -> dict[str, Any]:
    """A newcomer: sign up, create a key, call, see the receipt, revoke the key."""
    page, complaints = browser.new_page(), []  # type: Page, list[str]
    watch(page, complaints)
    page.goto(site)
    page.get_by_role("link", name="Create account").first.click()
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", PASSWORD)
    submit(page, "Create account")
    found: dict[str, Any] = {"after_sign_up": page.url.removeprefix(site)}
    page.goto(f"{site}/dashboard/keys/new")
    found["open_and_after_esc"] = list(open_and_escape(page))
    page.fill("input[name=name]", "worker <prod>")
    submit(page, "Create key")
    secret = page.inner_text("#secret")
    found["shown_once"] = secret in page.content()
    found["call"] = call(site, secret)
    page.goto(f"{site}/dashboard/usage")
    page.locator("main a.id").first.click()
    page.wait_for_load_state()
    found["receipt"] = page.inner_text("main")
    page.goto(f"{site}/dashboard/keys")
    found["secret_gone"] = secret not in page.content()
    page.get_by_role("link", name="worker <prod>").first.click()
    page.get_by_role("button", name="Revoke", exact=True).click()
    page.fill("#revoke-confirm", "worker <prod>")
    page.locator("dialog#revoke button.btn-danger").click()
    page.wait_for_load_state()
    found["calls_after_revoking"] = [call(site, secret) for _ in range(8)]
    found["docs"] = list(read_docs(page, site))
    found["complaints"] = complaints
    page.close()
    return found


def main() -> None:
    site, email = sys.argv[1:]
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        found = journey(browser, site, email)
        browser.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
