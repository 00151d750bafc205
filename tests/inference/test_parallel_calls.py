"""Parallel calls that are ended together: whoever ended them hears what it was."""

import gevent
import pytest

from bridge.errors import ServiceUnavailable
from bridge.inference.choices import call_all
from bridge.providers.wire.transport import LeftUnsent


def never_connects(_place: int) -> None:
    try:
        gevent.sleep(60)
    except gevent.GreenletExit:
        raise LeftUnsent from None


def test_a_time_limit_stays_one_while_all_calls_still_connect():
    with gevent.Timeout(0.01, False):
        call_all(2, never_connects)
        pytest.fail("nothing was answered")


def test_a_drain_says_why_it_ends_calls_that_still_connect():
    asking = gevent.spawn(_note_end)
    gevent.sleep(0.01)
    asking.kill(ServiceUnavailable("The gateway restarts."))
    assert isinstance(asking.value, ServiceUnavailable)


def test_who_leaves_while_all_calls_still_connect_has_sent_nothing():
    asking = gevent.spawn(call_all, 2, never_connects)
    gevent.sleep(0.01)
    asking.kill()
    assert isinstance(asking.value, LeftUnsent)


def _note_end() -> BaseException | None:
    try:
        call_all(2, never_connects)
    except ServiceUnavailable as error:
        return error
    return None
