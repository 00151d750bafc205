"""Pages that are asked for first are no slower than others: their templates were compiled before the workers began."""

import jinja2
import pytest
from flask import Flask

from bridge.dashboard import compile_templates

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def test_no_page_compiles_a_template_once_all_are(app: Flask, monkeypatch: pytest.MonkeyPatch):
    compile_templates(app)
    monkeypatch.setattr(jinja2.Environment, "compile", None)
    monkeypatch.setattr(jinja2.BaseLoader, "load", None)
    for path in ("/", "/sign-in", "/models", "/docs", "/nothing"):
        assert app.test_client().get(path).status_code in (200, 404)
