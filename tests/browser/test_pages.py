"""What people do and see, in a real browser against a running gateway."""

import collections
import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.exceptions import MethodNotAllowed, NotFound

from tests.browser.drive import CHROMIUM, THEMES, WIDTHS
from tests.browser.long_names import name_at_length
from tests.browser.scenes import Scene, list_scenes
from tests.browser.show import show
from tests.browser.stage import SETTINGS, Stage, set_stage
from tests.gateway import Gateway
from tests.warm import ROOT

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists() and not os.environ.get("CI"), reason="Chromium is missing: apt-get install chromium"
    ),
]
_numbers = itertools.count(1)


def drive(*arguments: str) -> dict[str, Any]:
    """Run the browser; what it found."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.browser.drive", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_a_newcomer_signs_up_calls_sees_the_receipt_and_revokes_the_key_on_every_worker(gateway: Gateway):
    found = drive(gateway.site_url, f"newcomer-{os.getpid()}-{next(_numbers)}@example.com")
    assert found["after_sign_up"] == "/dashboard/"
    assert found["docs"] == ["Costs", "Resumable streams", "Node"]
    assert found["open_and_after_esc"] == [True, False, True, False]
    assert found["shown_once"]
    assert found["secret_gone"]
    assert found["call"] == 200
    assert "sandbox-echo" in found["receipt"]
    assert "Complete" in found["receipt"]
    assert found["calls_after_revoking"] == [401] * 8
    assert found["complaints"] == []


IDS = collections.defaultdict(lambda: "1", channel="one", finish="/sign-up/finish", reset="/reset", confirm="/confirm")
NO_PAGES = {  # GET routes that are files, redirects or for machines
    *("static", "dashboard.export_usage", "dashboard.export_statement", "admin.export_usage"),
    *("admin.export_audit", "admin.export_customers", "dashboard.export_team_log", "metrics.show_metrics"),
    *(
        "dashboard.poll_payments",
        "dashboard.poll_payment",
        "dashboard.poll_plan",
        "admin.export_requests",
        "admin.show_rows",
    ),
    *("connected.go_there", "connected.come_back", "dashboard.go_and_connect", "dashboard.go_and_prove"),
    *("health.show_livez", "health.show_readyz", "public.show_status_json", "public.show_status_feed"),
    "public.show_llms",
    "dashboard.show_first_request",  # a part of the page of a new key
    "dashboard.show_playground_receipt",
    "half_way.show_code",  # after a password: "sign-in-code" goes that way
}


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_every_page_has_a_scene(app: Flask):
    scenes = list_scenes(Stage("", IDS, {}))
    assert len({scene.name for scene in scenes}) == len(scenes)  # pictures are named after them
    routes = app.url_map.bind("localhost")
    shown = set()
    for scene in scenes:
        with contextlib.suppress(NotFound, MethodNotAllowed):
            shown.add(routes.match(scene.path.partition("?")[0])[0])
    pages = {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    left = pages - shown - NO_PAGES
    assert not left, "add a line to tests/browser/scenes.py"


def test_every_page_and_state_can_be_used_by_everybody_and_fits_every_screen(start_gateway: Callable[..., Gateway]):
    """By axe-core, in one theme at one width by turns; `make screenshots` looks at all four."""
    stage = set_stage(start_gateway(**SETTINGS))
    assert show(stage, list_scenes(stage)) == []


def test_no_name_however_long_makes_a_page_wider_than_a_small_phone(start_gateway: Callable[..., Gateway]):
    gateway = start_gateway(**SETTINGS)
    stage = name_at_length(gateway, set_stage(gateway))
    scenes = [scene for scene in list_scenes(stage) if scene.who in ("mira", "operator") and not scene.steps]
    assert show(stage, scenes, widths=(320, 1280)) == []


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_picture_is_taken_in_each_theme_at_each_width(gateway: Gateway, tmp_path: Path):
    assert show(Stage(gateway.site_url, {}, {}), [Scene("landing", "", "/")], tmp_path, everywhere=True) == []
    taken = {path.name: path.read_bytes()[:4] for path in tmp_path.iterdir()}
    assert taken == {f"landing-{theme}-{width}.png": b"\x89PNG" for theme in THEMES for width in WIDTHS}
