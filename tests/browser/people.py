"""Drives Debian's Chromium through the life of an account and prints what it found, as JSON: `python -m
tests.browser.people WHAT SITE LOG …`. Mails are read from the gateway's log, where development writes them."""

import base64
import functools
import hashlib
import hmac
import json
import re
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.drive import CHROMIUM, PASSWORD, call, sign_in, submit, watch
from tests.browser.playground import talk
from tests.browser.team import team
from tests.payments.stripe_side import make_event, make_session, send_over_socket

PATIENCE_SECONDS = 120
NEW = "a different horse battery"
SECURITY = "/dashboard/settings/security"


def find_link(log: Path, recipient: str, path: str) -> str:
    """The newest link to this page in a mail to this address, once the background has written it."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        for line in reversed(log.read_text(errors="replace").splitlines()):
            if '"mail"' not in line or recipient not in line:
                continue
            fields = json.loads(line)
            if fields.get("recipient") == recipient and (
                found := re.search(rf"https?://\S+{path}(?:\?ticket=|/)\S+", fields["text"])
            ):
                return found[0]
        time.sleep(0.5)
    raise AssertionError(f"no mail to {recipient} leads to {path}")


def to(site: str, link: str) -> str:
    """A mailed link at the address that the browser uses."""
    return site + link.partition("//")[2].partition("/")[1] + link.partition("//")[2].partition("/")[2]


def code_of(secret: str, step: int) -> str:
    """What an authenticator app shows in this half minute (RFC 6238), worked out anew."""
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", step), hashlib.sha1)
    place = digest[-1] & 15
    return f"{(int.from_bytes(digest[place : place + 4], 'big') & 0x7FFFFFFF) % 10**6:06d}"


def reset(page: Page, site: str, log: Path, email: str, password: str) -> dict[str, Any]:
    """Forget the password, set another by mail, and sign in with it."""
    page.goto(f"{site}/sign-in")
    page.get_by_role("link", name="Forgot password?").click()
    page.fill("input[name=email]", email)
    submit(page, "Send the link")
    found: dict[str, Any] = {"sent": "a link is on its way" in page.inner_text("main")}
    link = find_link(log, email, "/reset")
    page.goto(to(site, link))
    page.locator("#password").fill(NEW)
    page.get_by_text("Show the password").click()
    found["shown"] = page.get_attribute("#password", "type")
    submit(page, "Set password")
    found["said"] = page.inner_text("main")
    sign_in(page, site, email, NEW)
    found["inside"] = page.url.removeprefix(site)
    page.goto(to(site, link))
    found["again"] = page.inner_text("h1")
    return found


def join(page: Page, site: str, log: Path, email: str, password: str) -> dict[str, Any]:
    """Sign up where mails go out, and open the account by the link."""
    page.goto(f"{site}/sign-up")
    page.fill("input[name=email]", email)
    submit(page, "Send the link")
    page.wait_for_url(f"{site}/sign-up?sent=1")  # the browser has worked before
    found: dict[str, Any] = {"said": page.inner_text("main")}
    page.goto(to(site, find_link(log, email, "/sign-up/finish")))
    page.fill("#password", PASSWORD)
    submit(page, "Create account")
    found["inside"], found["welcomed"] = page.url.removeprefix(site), page.inner_text("main")
    return found


def two_factor(page: Page, site: str, log: Path, email: str, password: str) -> dict[str, Any]:
    """Turn the second factor on, sign in by a code, then by a recovery code."""
    sign_in(page, site, email, password)
    page.goto(f"{site}{SECURITY}")
    page.locator("#two-factor").get_by_role("link", name="Turn on").click()
    box = page.locator("svg.qr").bounding_box()
    found: dict[str, Any] = {"picture": bool(box and box["width"] > 100)}
    secret, step = page.inner_text("#secret").replace(" ", ""), int(time.time()) // 30
    page.fill("#code", code_of(secret, step))
    submit(page, "Turn on")
    codes = page.locator("#codes li").all_inner_texts()
    found["codes"] = len(codes)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    found["downloaded"] = Path(waiting.value.path()).read_text().split() == codes
    page.goto(f"{site}{SECURITY}")
    found["gone"] = codes[0] not in page.content()
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.wait_for_url(f"{site}/")
    sign_in(page, site, email, password)
    found["asked"] = page.url.removeprefix(site)
    # the code of that half minute is spent; a clock may be half a minute ahead
    page.fill("#code", code_of(secret, max(step + 1, int(time.time()) // 30)))
    submit(page, "Continue")
    found["by_code"] = page.url.removeprefix(site)
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.wait_for_url(f"{site}/")
    sign_in(page, site, email, password)
    page.get_by_text("Lost your phone?").click()
    page.fill("#recovery", codes[4].upper())
    submit(page, "Use the code")
    found["by_recovery"] = page.url.removeprefix(site)
    page.goto(f"{site}{SECURITY}")
    found["left"] = "9 of 10 recovery codes left" in page.inner_text("#two-factor")
    return found


def data(page: Page, site: str, log: Path, email: str, password: str) -> dict[str, Any]:
    """Download the archive, then delete the account."""
    sign_in(page, site, email, password)
    page.goto(f"{site}/dashboard/settings/data")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the archive").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        member = json.loads(archive.read("account.json"))["member"]
        found: dict[str, Any] = {"files": len(archive.namelist()), "email": member["email"] == email}
    page.goto(f"{site}/dashboard/settings/data")
    page.get_by_role("button", name="Delete account", exact=True).click()
    page.locator("#del button.btn-danger").click()
    found["still_open"] = page.locator("#del").is_visible()  # the browser asks for the address
    page.fill("#del-confirm", email)
    page.locator("#del button.btn-danger").click()
    page.wait_for_url(f"{site}/sign-in")
    found["said"] = page.inner_text("main")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_selector("[role=alert]")
    found["refused"] = page.inner_text("[role=alert]")
    return found


def passkey(page: Page, site: str, log: Path, email: str, password: str) -> dict[str, Any]:
    """Make a passkey with a device of software, and sign in by it alone; it is also a fresh sign-in."""
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
    options |= {"hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True}
    device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    sign_in(page, site, email, password)
    page.goto(f"{site}{SECURITY}")
    page.get_by_role("link", name="Add a passkey").click()
    page.fill("input[name=name]", "Software <device>")
    page.get_by_role("button", name="Add passkey").click()
    page.wait_for_url(f"{site}{SECURITY}")
    found: dict[str, Any] = {"listed": "Software <device>" in page.inner_text("#passkeys")}
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.wait_for_url(f"{site}/")
    page.goto(f"{site}/sign-in?next={SECURITY}")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{site}{SECURITY}")
    found["used"] = "last used" in page.inner_text("#passkeys")
    page.get_by_role("button", name="Remove the passkey Software <device>").click()
    page.wait_for_load_state()
    found["removed"] = "no longer opens this account" in page.inner_text("main")
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.wait_for_url(f"{site}/")
    page.goto(f"{site}/sign-in")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_selector(".note")
    found["refused"] = page.inner_text(".note")
    return found


def customer(page: Page, site: str, log: Path, email: str, model: str) -> dict[str, Any]:
    """From nothing to a paid call and back: sign up, confirm, a key, a refused call, money, a receipt, the key's
    budget, another secret, the end of the key. `model` costs money."""
    join(page, site, log, email, PASSWORD)
    banner = page.locator("main .note").first
    found: dict[str, Any] = {"newcomer": banner.inner_text()}
    page.goto(f"{site}/dashboard/keys/new")
    page.fill("input[name=name]", "worker")
    page.fill("input[name=budget_month]", "0.017")
    submit(page, "Create key")
    secret = page.inner_text("#secret")
    found["code"] = page.inner_text("#use .bar")
    found["unpaid"] = call(site, secret, model)
    page.wait_for_selector("#refused")  # told by itself
    found["refused"] = page.inner_text("#refused")
    page.locator("#refused").get_by_role("link", name="Add credit").click()
    pay(page, site, found)
    found["paid"] = call(site, secret, model)
    page.goto(f"{site}/dashboard/")
    found["overview"] = page.inner_text("main")
    found["budget"] = banner.inner_text()
    found["over_budget"] = call(site, secret, model)
    banner.get_by_role("link").click()
    page.select_option("select[name=overlap]", "0")
    submit(page, "Rotate")
    rotated = page.inner_text("#secret")
    found["rotated"] = [call(site, one) for one in (secret, rotated)]
    page.goto(f"{site}/dashboard/keys")
    page.get_by_role("link", name="worker").first.click()
    page.get_by_role("button", name="Revoke", exact=True).click()
    page.fill("#revoke-confirm", "worker")
    page.locator("dialog#revoke button.btn-danger").click()
    page.wait_for_load_state()
    found["revoked"] = call(site, rotated)
    return found


def pay(page: Page, site: str, found: dict[str, Any]) -> None:
    """Choose $50 and pay at Stripe, whose page is played; look at the payment while its news come."""
    page.route("https://checkout.stripe.com/**", lambda route: route.fulfill(body="<h1>Pay here</h1>"))
    said = [page.locator("[data-pay]").inner_text()]
    page.fill("#amount", "1,234.5")
    said.append(page.locator("[data-pay]").inner_text())
    page.get_by_text("$50", exact=True).click()
    found["pays"] = [*said, page.locator("[data-pay]").inner_text(), page.input_value("#amount")]
    submit(page, "Pay $50.00")
    page.wait_for_url("https://checkout.stripe.com/**")
    page.goto(f"{site}/dashboard/billing")
    payments = page.locator("[aria-label=Payments]")
    found["open"] = payments.inner_text()
    payments.get_by_role("link").first.click()
    page.wait_for_selector("text=Waiting for Stripe")
    payment_id = page.url.rpartition("/")[2]
    assert send_over_socket(site, make_event("checkout.session.completed", make_session(payment_id, 5000))) == 200
    page.wait_for_selector("text=is added")  # by itself
    found["receipt"] = page.inner_text("main")


def set_up(page: Page, site: str, log: Path, email: str, upstream: str) -> dict[str, Any]:
    """From the link of the first start to the first served request: become the operator, connect `upstream`, choose its
    models, make the test call, give the own account credit, create a key, call."""
    started = time.monotonic()
    link = re.findall(r"^https?://\S+/first-operator\?ticket=\S+$", log.read_text(), re.MULTILINE)[-1]
    page.goto(to(site, link))
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    submit(page, "Create operator account")
    page.wait_for_url(f"{site}/admin/")
    found: dict[str, Any] = {"landed": page.inner_text("main")}
    page.get_by_role("link", name="Connect: Connect a provider").click()
    page.get_by_text("More", exact=False).first.click()
    page.fill("#api_key", "sk-upstream-0123456789")
    page.fill("#base_url", upstream)
    submit(page, "Check and continue")
    page.wait_for_url(f"{site}/admin/setup/models?**")
    found["offered"] = page.inner_text("main")
    submit(page, "Offer these models")
    page.wait_for_url(f"{site}/admin/setup/try?**")
    submit(page, "Make the call")
    page.wait_for_url(f"{site}/admin/setup/done?**")
    found["done"] = page.inner_text("main")
    page.get_by_role("link", name="Give your own account credit").click()
    page.fill("#amount", "5")
    page.fill("#note", "To try it out")
    submit(page, "Add credit")
    page.goto(f"{site}/dashboard/keys/new")
    page.fill("input[name=name]", "first")
    submit(page, "Create key")
    secret = page.inner_text("#secret")
    found["call"] = call(site, secret, "gpt-4o")
    found["seconds"] = time.monotonic() - started
    page.goto(f"{site}/dashboard/usage")
    page.locator("main a.id").first.click()
    page.wait_for_load_state()
    found["receipt"] = page.inner_text("main")
    page.goto(f"{site}/admin/")
    found["home"] = page.inner_text("main")
    page.goto(to(site, link))
    found["again"] = page.inner_text("h1")
    return found


def incident(page: Page, site: str, log: Path, email: str, password: str) -> dict[str, Any]:
    """Open an incident, see it on the status page, resolve it, and see it among the earlier ones."""
    sign_in(page, site, email, password)
    page.goto(f"{site}/admin/incidents")
    page.get_by_role("link", name="Open an incident").click()
    page.fill("#title", "Answers are slow")
    page.fill("#text", "We look into it.")
    submit(page, "Open")
    address, found = page.url, {"during": reload_until(page, f"{site}/status", "Now: Answers are slow")}
    page.goto(address)
    page.select_option("#state", "resolved")
    page.fill("#text", "It was a cable.")
    submit(page, "Post update")
    found["after"] = reload_until(page, f"{site}/status", "It was a cable.")
    return found


def models(page: Page, site: str, _log: Path, _email: str, _password: str) -> dict[str, Any]:
    """A visitor looks for a model, opens its page, and comes back to what they had found."""
    page.goto(f"{site}/models?sort=model")
    page.locator("main input[type=search]").press_sequentially("sonnet-4", delay=20)
    page.wait_for_url("**/models?q=sonnet-4&sort=model")
    found: dict[str, Any] = {"typed": page.locator("#found th a.id").all_inner_texts()}
    found["said"] = page.inner_text("#said")
    page.get_by_role("link", name="claude-sonnet-4-5", exact=True).click()
    found["title"] = page.inner_text("h1").strip()
    page.get_by_text("curl", exact=True).click()
    found["code"] = page.locator("main .code pre:visible").inner_text()
    page.go_back()
    found["back"] = page.locator("#found th a.id").all_inner_texts()
    return found


def reload_until(page: Page, address: str, text: str) -> str:
    """The page's text, once it has this in it: a worker tells of a change a second later."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        page.goto(address)
        if text in (found := page.inner_text("main")):
            return found
        time.sleep(0.5)
    raise AssertionError(f"{address} doesn't say {text!r}")


JOURNEYS: dict[str, Callable[[Page, str, Path, str, str], dict[str, Any]]] = {
    "reset": reset,
    "join": join,
    "two_factor": two_factor,
    "data": data,
    "passkey": passkey,
    "customer": customer,
    "set_up": set_up,
    "talk": talk,
    "incident": incident,
    "models": models,
    "team": functools.partial(team, find_link=find_link),
}


def travel(browser: Browser, what: str, site: str, log: Path, email: str, password: str) -> dict[str, Any]:
    context = browser.new_context(accept_downloads=True)
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page, complaints = context.new_page(), []  # type: Page, list[str]
    watch(page, complaints)
    found = JOURNEYS[what](page, site, log, email, password)
    found["complaints"] = [text for text in complaints if not re.search(r"\b40[01]\b", text)]  # refusals are part of it
    context.close()
    return found


def main() -> None:
    what, site, log, email, password = sys.argv[1:]
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        found = travel(browser, what, site, Path(log), email, password)
        browser.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
