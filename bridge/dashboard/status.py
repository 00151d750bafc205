"""The status page, open to everyone; the same as JSON for programs, and its incidents as a feed."""

import functools
import hashlib
import re
from collections.abc import Callable

from flask import Response, abort, current_app, make_response, render_template, request, session
from flask_login import current_user
from markupsafe import Markup

from bridge.config import Settings
from bridge.cookies import cookie_name
from bridge.dashboard.public import public
from bridge.dashboard.status_feed import write_feed, write_json
from bridge.dashboard.status_snapshot import Status, find_status
from bridge.extensions import anyone_may_enter
from bridge.languages import ENGLISH, find_language, speak, to_translate, translate
from bridge.ledger.model_days import BAD, NONE, OK, TROUBLED

PAGE_SIZE = 100
PHONE_DAYS = 30
KEPT = "public, max-age=10"
# a day's kind: its class, the middle of its tick and what people call it; worse is taller, so that colour isn't alone
TICKS = {
    OK: ("tk-ok", "15.5", to_translate("good")),
    TROUBLED: ("tk-warn", "13", to_translate("with trouble")),
    BAD: ("tk-bad", "11", to_translate("bad")),
    NONE: ("tk-none", "20", to_translate("without calls")),
}
TICK_WIDTH = 4
_RUNS = re.compile("|".join(f"{re.escape(letter)}+" for letter in TICKS))


@public.get("/status")
@anyone_may_enter
def show_status() -> Response:
    """The models that match the filter, which is the URL: q, provider, page."""
    _require_page()
    status = find_status()
    tag = _tag_page(status)
    if tag is not None and request.if_none_match.contains_weak(tag):
        answer = Response(status=304)
    else:
        answer = make_response(_render(status))
    if tag is not None:
        answer.set_etag(tag, weak=True)
    return answer


@public.get("/status.json")
@anyone_may_enter
def show_status_json() -> Response:
    """States, shares and incidents, for programs."""
    _require_page()
    speak(ENGLISH)
    status = find_status()
    return _answer(status.tag, "application/json", lambda: write_json(status))


@public.get("/status.atom")
@anyone_may_enter
def show_status_feed() -> Response:
    """The incidents as an Atom feed."""
    settings = _require_page()
    speak(ENGLISH)  # everybody gets the same feed
    status = find_status()
    return _answer(status.tag, "application/atom+xml", lambda: write_feed(status, settings.site_url))


def _require_page() -> Settings:
    """The settings. Aborts with 404 where they have no such page."""
    settings: Settings = current_app.config["BRIDGE"]
    if not settings.status_page:
        abort(404)
    return settings


def _render(status: Status) -> str:
    words = request.args.get("q", "").strip().lower()[:100].split()
    provider, page = request.args.get("provider", ""), request.args.get("page", "")
    found = [
        row
        for row in status.rows
        if (not provider or row.state.provider == provider) and all(word in row.state.id.lower() for word in words)
    ]
    number = max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 6 else 1
    start = (number - 1) * PAGE_SIZE
    return render_template(
        "public/status.html",
        status=status,
        rows=found[start : start + PAGE_SIZE],
        found=len(found),
        page=number,
        has_more=len(found) > start + PAGE_SIZE,
        providers=sorted({row.state.provider for row in status.rows}),
        draw_ticks=draw_ticks,
        share=share,
        phone_days=PHONE_DAYS,
    )


def _tag_page(status: Status) -> str | None:
    """The page's tag for one browser without a sign-in, whose forms carry the token of its session; None where the page
    is to be made in any case."""
    token = session.get("csrf_token")
    if current_user.is_authenticated or not token or "_flashes" in session:
        return None
    theme = request.cookies.get(cookie_name(current_app.config["BRIDGE"], "theme"), "")
    seen = (status.tag, status.checked_at, token, theme, find_language(), request.full_path)
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:24]


def _answer(tag: str, mimetype: str, write: Callable[[], bytes]) -> Response:
    """What is written, unless the client has it."""
    is_known = request.if_none_match.contains_weak(tag)
    answer = Response(status=304) if is_known else Response(write(), mimetype=mimetype)
    answer.set_etag(tag)
    answer.headers["Cache-Control"] = KEPT
    return answer


def draw_ticks(days: str, label: str) -> Markup:
    """A tick for each day, and how many there are of each kind in the reader's language."""
    return _draw_ticks(days, label, find_language())


@functools.lru_cache(maxsize=4096)
def _draw_ticks(days: str, label: str, _language: str) -> Markup:
    """Days of one kind that follow each other are one dashed line: most models have a single one."""
    paths: dict[str, list[str]] = {letter: [] for letter in TICKS}
    for run in _RUNS.finditer(days):
        line = f"M{TICK_WIDTH * run.start()} {TICKS[run[0][0]][1]}h{TICK_WIDTH * len(run[0]) - 1}"
        paths[run[0][0]].append(line)
    drawn = "".join(f'<path class="{TICKS[kind][0]}" d="{"".join(each)}"/>' for kind, each in paths.items() if each)
    counts = ", ".join(f"{days.count(kind)} {translate(name)}" for kind, (_, _, name) in TICKS.items() if kind in days)
    said = translate("%(label)s, %(num)s days: %(counts)s", label=label, num=len(days), counts=counts)
    width = TICK_WIDTH * len(days) - 1
    return Markup(
        '<svg class="ticks" viewBox="0 0 {} 22" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(width, said, Markup(drawn))  # noqa: S704 - numbers and our own words


def share(part: int, whole: int) -> str:
    """A share with two decimals, rounded down, so that 100% means all of them; a dash if there were none."""
    if not whole:
        return "–"
    percent, hundredths = divmod(part * 10_000 // whole, 100)
    return "100%" if percent == 100 else f"{percent}.{hundredths:02d}%"
