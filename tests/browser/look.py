"""Drives Debian's Chromium through scenes: looks at each with axe-core, measures it, takes pictures. `python -m
tests.browser.look` reads what to do as JSON from standard input and prints what was found as JSON.

A scene is loaded once. Its theme and its width change while it is open, as on a phone that is turned."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.drive import CHROMIUM, THEMES, WIDTHS, watch

GROUND = {"light": "rgb(250, 249, 247)", "dark": "rgb(18, 18, 17)"}
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
LOOKS = [(theme, width) for theme in THEMES for width in WIDTHS]
IN_PAIRS = (LOOKS[0], LOOKS[3]), (LOOKS[1], LOOKS[2])  # each has both themes and both widths
AXE = """rules => axe.run(rules).then(found => found.violations.map(
  each => each.id + ' at ' + each.nodes.map(node => node.target).join(', ')
))"""
SIDEWAYS = "document.scrollingElement.scrollWidth > window.innerWidth"
STILL = "document.getAnimations().forEach(each => each.finish())"  # colours on their way from the other theme
TABLES = "[...document.querySelectorAll('.tw')].filter(box => box.scrollWidth > box.clientWidth).length"
LONGEST_PICTURE = 4000


def look(page: Page, scene: dict[str, Any], order: dict[str, Any], number: int, complaints: list[str]) -> None:
    """Look at a scene as the page is open now: in each theme at each width, or else in two of the four by turns, and
    with axe-core in one of them. Where the order names widths: in one theme at each of these."""
    name = scene["name"]
    if order["axe"]:
        page.evaluate(order["axe"])  # by the debugger: the page's own policy lets no foreign script in
    looks = LOOKS if order["everywhere"] else IN_PAIRS[number % 2]
    if order["widths"]:
        looks = tuple((THEMES[0], width) for width in order["widths"])
    for index, (theme, width) in enumerate(looks):
        where = f"{name} {theme} {width}"
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate(STILL)
        if page.evaluate(SIDEWAYS):
            complaints.append(f"{where} scrolls sideways")
        if width >= min(WIDTHS) and page.evaluate(TABLES):
            complaints.append(f"{where}: a table scrolls sideways")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        if ground != GROUND[theme]:
            complaints.append(f"{where} is {ground}")
        if order["axe"] and (order["everywhere"] or index == number // 2 % 2):
            complaints.extend(f"{where}: {found}" for found in page.evaluate(AXE, RULES))
        if order["folder"]:
            height = min(LONGEST_PICTURE, page.evaluate("document.documentElement.scrollHeight"))
            path = Path(order["folder"]) / f"{name}-{theme}-{width}.png"
            page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})


def visit(browser: Browser, order: dict[str, Any], complaints: list[str]) -> None:
    """Open each scene, in one browser context for each who looks."""
    contexts: dict[str, Page] = {}
    for number, scene in enumerate(order["scenes"]):
        who = scene["who"]
        if who not in contexts or not who:  # nobody is somebody else each time
            context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900})
            known = order["cookies"].get(who, {}).items()
            context.add_cookies([{"name": name, "value": value, "url": order["site"]} for name, value in known])
            contexts[who] = context.new_page()
            said: list[str] = []
            watch(contexts[who], said)
            contexts[who].said = said  # type: ignore[attr-defined]
        page = contexts[who]
        page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        answer = page.goto(order["site"] + scene["path"])
        if not answer or answer.status != scene["status"]:
            complaints.append(f"{scene['name']} answers {answer and answer.status} at {page.url}")
        for kind, where, what in scene["steps"]:
            if kind == "fill":
                page.fill(where, what)
            elif kind == "wait":
                page.wait_for_selector(where)
            else:
                page.locator(where).last.click()
                page.wait_for_load_state()
        look(page, scene, order, number, complaints)
        said = page.said  # type: ignore[attr-defined]
        refused = scene["status"] >= 400 or scene["steps"]  # the browser tells of every answer that is none
        complaints.extend(f"{scene['name']}: {text}" for text in said if not (refused and " 4" in f" {text}"))
        said.clear()
        if not who:
            page.context.close()


def main() -> None:
    order = json.load(sys.stdin)
    if order["axe"]:
        order["axe"] = Path(order["axe"]).read_text()
    complaints: list[str] = []
    started = time.perf_counter()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        visit(browser, order, complaints)
        browser.close()
    print(json.dumps({"complaints": complaints, "seconds": round(time.perf_counter() - started, 1)}))


if __name__ == "__main__":
    main()
