"""What a customer does in the playground, in the browser: a tool, images, a schema, a stop, two models, their code."""

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, TimeoutError

from tests.browser.drive import sign_in

DEAR, CHEAP = "dear-model", "cheap-model"
TOOL = (
    '[{"type": "function", "function": {"name": "find_invoice", "parameters": {"type": "object", "properties": {}}}}]'
)
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415408d763f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
SCHEMA = '{"type": "object", "properties": {"total": {"type": "number"}}}'
PASTE = """bytes => {
  const pasted = new DataTransfer()
  pasted.items.add(new File([new Uint8Array(bytes)], 'image.png', { type: 'image/png' }))
  document.querySelector('#message').dispatchEvent(
    new ClipboardEvent('paste', { clipboardData: pasted, bubbles: true, cancelable: true }))
}"""  # what a browser sends when a screenshot is pasted
EVIL = '<img src=x onerror="document.title=1">'


def talk(page: Page, site: str, log: Path, email: str, password: str) -> dict[str, Any]:
    """Ask with a tool, and type its result; show an image, and paste another; ask for JSON of a schema; stop an answer;
    ask two models; copy it; change what was asked."""
    sign_in(page, site, email, password)
    page.goto(f"{site}/dashboard/playground")
    choose(page, 0, "dear")
    found: dict[str, Any] = {}
    page.click("[data-fold=tools] summary")
    page.fill("#p-tools", '[{"type": ')
    page.fill("#message", "Which invoice?")
    page.keyboard.press("Control+Enter")
    found["wrong_tools"] = page.inner_text("#p-tools-hint")
    page.fill("#p-tools", TOOL)
    page.click("[data-fold=parameters] summary")
    page.fill("#p-temperature", "0.2")
    page.fill("#p-max_tokens", "100")
    page.wait_for_selector("text=Costs at most $")
    found["quote"] = page.inner_text("[data-costs]")
    page.focus("#message")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=Result of find_invoice")
    found["call"] = page.inner_text(".turn pre")
    page.get_by_label("Result of find_invoice").fill("Number 2291")
    page.get_by_role("button", name="Send result").click()
    found["answer"] = wait_for_answer(page, 2)

    page.set_input_files("input[type=file]", {"name": "pixel.png", "mimeType": "image/png", "buffer": PIXEL})
    page.wait_for_selector(".thumb")
    page.evaluate(PASTE, [*PIXEL])
    page.locator(".thumb").nth(1).wait_for()
    page.fill("#message", EVIL)
    page.keyboard.press("Control+Enter")
    found["image"] = wait_for_answer(page, 3)
    found["shown"] = [
        page.locator(".turn img.shot").count(),
        page.locator(".turn img:not(.shot)").count(),
        page.title(),
    ]

    page.click("[data-fold=format] summary")
    page.select_option("#p-response_format", "json_schema")
    page.fill("#schema", '{"type": ')
    page.fill("#message", "As JSON")
    page.keyboard.press("Control+Enter")
    found["wrong_schema"] = page.inner_text("#schema-hint")
    page.fill("#schema", SCHEMA)
    page.focus("#message")
    page.keyboard.press("Control+Enter")
    wait_for_answer(page, 4)
    page.select_option("#p-response_format", "")

    page.fill("#message", "Go on for long")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=one two")
    found["running"] = page.locator(".meter").last.inner_text()
    page.keyboard.press("Escape")
    found["stopped"] = wait_for_answer(page, 5)
    page.locator(".meter a").last.click()
    found["receipt"] = page.inner_text("main")
    page.go_back()
    page.wait_for_selector("text=Stopped by you")  # the tab keeps it

    page.click("[data-new]")
    page.click("[data-compare]")
    choose(page, 1, "cheap")
    page.fill("#message", "Hello, both")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-difference]")
    found["difference"] = page.inner_text("[data-difference]")
    found["columns"] = page.locator(".versus .turn").count()
    page.get_by_role("button", name="Copy as code").click()
    found["code"] = page.locator("#as-code pre").evaluate_all("all => all.map(one => one.textContent)")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Edit this message").click()
    page.get_by_label("Change this message").fill("Hello again")
    page.get_by_role("button", name="Ask again").click()
    wait_for_answer(page, 2)
    page.get_by_role("button", name=f"Retry: ask {CHEAP} again").click()
    wait_for_answer(page, 2)
    page.get_by_role("button", name=f"Delete this answer of {DEAR}").click()
    found["left"] = page.locator(".versus").inner_text()
    page.goto(f"{site}/dashboard/keys")
    found["keys"] = page.inner_text("main")
    return found


def choose(page: Page, number: int, search: str) -> None:
    """Choose a model by the search of the picker."""
    pick = page.locator("[data-choice]").nth(number)
    pick.locator("summary").click()
    pick.locator("[type=search]").fill(search)
    pick.locator(".list label:visible").first.click()
    pick.locator("summary", has_text=re.compile(search)).wait_for()


def wait_for_answer(page: Page, number: int) -> str:
    """The text of the last turn, once so many answers have their receipts."""
    try:
        page.locator(".meter:has(a) b").nth(number - 1).wait_for(timeout=20000)
    except TimeoutError:
        raise AssertionError(page.inner_text("main")) from None
    return page.locator("article.turn").last.inner_text()
