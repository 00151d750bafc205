"""Events are numbered where they end, and reach the store once and in order, however it comes and goes."""

from collections.abc import Sequence

import gevent
import pytest

from bridge import vault
from bridge.config import Settings
from bridge.errors import InvalidRequest, MisconfiguredError, ServiceUnavailable
from bridge.resume import recording
from bridge.resume.memory import MemoryStore
from bridge.resume.reader import Listener, Reader
from bridge.resume.recording import Recorder, number_events
from bridge.resume.store import Append, Written
from tests.resumed import split_events
from tests.rooms import FERNET_KEY
from tests.upstream import PATIENCE_SECONDS

SHORT = Settings(lease_seconds=0.05)


class Fickle(MemoryStore):
    """Away when it is told to be."""

    away = False

    def write(self, owner: str, appends: Sequence[Append]) -> Written:
        if self.away:
            raise ServiceUnavailable("")
        return super().write(owner, appends)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    vault.open_vault([FERNET_KEY])
    monkeypatch.setattr(recording, "MemoryStore", Fickle)
    monkeypatch.setattr(recording, "FLUSH_SECONDS", 0.01)
    return Recorder(SHORT, None)


def read_all(recorder: Recorder, request_id: str = "req_1", after: int = 0) -> list[tuple[int, bytes]]:
    head, _ = recorder.store.find(request_id) or pytest.fail("it isn't kept")
    listener = Listener(
        b": alive\n\n",
        60,
        lambda: False,
        lambda: None,
        lambda error, *_: error.message.encode() + b"\n\n",
        lambda: None,
    )
    return split_events(b"".join(Reader(recorder.store, request_id, head, after, listener)))


def test_each_event_gets_the_next_number():
    assert number_events(b"data: a\n\n", 4) == (b"id: 5\ndata: a\n\n", 5)
    several = b"event: x\ndata: a\n\ndata: b\n\ndata: [DONE]\n\n"
    assert number_events(several, 0) == (b"id: 1\nevent: x\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: [DONE]\n\n", 3)


@pytest.mark.parametrize("before", [0, 1, 4090, 4094, 4095, 10**6])
def test_many_events_are_numbered_like_each_alone(before: int):
    frames = [b"data: %d\n\n" % number for number in range(10)]
    alone = b"".join(number_events(frame, before + place)[0] for place, frame in enumerate(frames))
    assert number_events(b"".join(frames), before) == (alone, before + 10)


def test_while_the_store_is_away_events_wait_for_it(recorder: Recorder):
    one = recorder.open("req_1", 1, "chat", "model")
    recorder.store.away = True  # type: ignore[attr-defined]
    for number in range(10):
        one.add(b"data: %d\n\n" % number, 0)
        gevent.sleep(0)
    recorder.store.away = False  # type: ignore[attr-defined]
    one.end()
    one.leave()
    assert read_all(recorder) == [(number + 1, b"data: %d" % number) for number in range(10)]
    assert read_all(recorder, after=4)[0] == (5, b"data: 4")


def test_a_store_that_stays_away_ends_what_it_has_once_it_is_back(recorder: Recorder):
    one = recorder.open("req_1", 1, "chat", "model")
    one.add(b"data: kept\n\n", 3)
    with gevent.Timeout(PATIENCE_SECONDS):
        while one.kept_pieces < 3:
            gevent.sleep(0.01)
    recorder.store.away = True  # type: ignore[attr-defined]
    one.add(b"data: lost\n\n", 9)
    with gevent.Timeout(PATIENCE_SECONDS):
        while one.is_kept:
            gevent.sleep(0.01)
    assert one.add(b"data: live\n\n", 12) == b"id: 3\ndata: live\n\n"
    assert one.kept_pieces == 3  # by which a dead process is charged
    recorder.store.away = False  # type: ignore[attr-defined]
    events = read_all(recorder)
    assert events[0] == (1, b"data: kept")
    assert b"was away" in events[1][1]
    one.end()
    one.leave()
    assert read_all(recorder) == events


def test_what_is_kept_can_be_opened_by_its_own_key_at_its_own_place_alone(recorder: Recorder):
    one = recorder.open("req_1", 1, "chat", "model")
    one.add(b"data: a secret\n\n", 0)
    append = one.take()
    assert append is not None
    assert b"secret" not in append.block.sealed
    key = vault.DataKey(one.head.data_key)
    assert key.unseal(one.head.piece(1), append.block.sealed) == b"id: 1\ndata: a secret\n\n"
    with pytest.raises(MisconfiguredError):
        key.unseal(one.head.piece(2), append.block.sealed)
    with pytest.raises(MisconfiguredError):
        vault.DataKey().unseal(one.head.piece(1), append.block.sealed)
    assert append is one.take()  # until it has arrived
    one.drop()


def test_without_a_store_nothing_can_be_kept():
    with pytest.raises(InvalidRequest):
        Recorder(Settings(max_resume_bytes=0), None).open("req_1", 1, "chat", "model")
