"""What the API knows of a browser that asks through a page of ours."""

from bridge.inference.own_page import CLIENT
from bridge.v1.client import CLIENT_SLOW, HttpClient


def test_a_browser_that_is_closed_as_too_slow_is_known_behind_the_page():
    assert HttpClient({CLIENT: {CLIENT_SLOW: True}}).is_slow
    assert not HttpClient({CLIENT: {}}).is_slow
