"""Request ids carry their time and never repeat; the log is JSON lines without secrets."""

import datetime
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from bridge import telemetry
from bridge.dialects import answer_id
from bridge.ledger.batch import Settlement
from bridge.telemetry import created_at_of, log_request, new_request_id

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Logging as in a server, and what it has written; undone afterwards."""
    handlers, level = logging.root.handlers[:], logging.root.level
    telemetry.configure_logging("info")
    yield lambda: [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_an_id_carries_the_moment_it_was_made():
    before = datetime.datetime.now(datetime.UTC)
    made = created_at_of(new_request_id())
    after = datetime.datetime.now(datetime.UTC)
    millisecond = datetime.timedelta(milliseconds=1)
    assert before - millisecond <= made <= after + millisecond


def test_an_id_is_read_to_the_microsecond():
    half_a_millisecond_after_a_second = f"req_{1000:012x}7{0x800:03x}" + "8" * 16
    assert created_at_of(half_a_millisecond_after_a_second) == datetime.datetime(
        1970, 1, 1, 0, 0, 1, 500, tzinfo=datetime.UTC
    )


def test_an_id_is_a_uuid_of_version_seven():
    request_id = new_request_id()
    assert (len(request_id), request_id[:4], request_id[16]) == (36, "req_", "7")
    assert request_id[20] in "89ab"


def test_ids_never_repeat_and_sort_by_time():
    ids = [new_request_id() for _ in range(20_000)]
    assert len(set(ids)) == len(ids)
    assert [created_at_of(id_) for id_ in ids] == sorted(created_at_of(id_) for id_ in ids)


def test_workers_do_not_make_the_same_ids():
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    child = fork.Process(target=lambda: theirs.send(new_request_id()[20:]))
    child.start()
    from_child = ours.recv()
    child.join()
    assert from_child != new_request_id()[20:]


def test_whoever_has_the_answer_finds_the_receipt():
    request_id = new_request_id()
    assert answer_id("chat", request_id).removeprefix("chatcmpl-") == request_id.removeprefix("req_")


@pytest.mark.parametrize(
    "text", ["", "req_", "req_" + "7" * 31, "msg_" + "7" * 32, "req_" + "1" * 32, "req_" + "7g" * 16]
)
def test_what_is_no_id_has_no_time(text: str):
    with pytest.raises(ValueError):
        created_at_of(text)


def test_a_request_is_one_line_of_ids_and_numbers(lines: Lines):
    request_id = new_request_id()
    settlement = Settlement(request_id, created_at_of(request_id), status=200, model_asked="m", prompt_tokens=5)
    log_request(request_id, settlement, SimpleNamespace(account_id=1, key_id=2), 340, 1)
    (line,) = lines()
    assert (line["event"], line["request_id"], line["account_id"], line["key_id"]) == ("request", request_id, 1, 2)
    assert (line["gen_ai.usage.input_tokens"], line["charge_nanos"], line["attempts"]) == (5, 340, 1)


def test_a_full_disk_silences_the_log_for_as_long_as_it_is_full(
    tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
):
    with (tmp_path / "log").open("wb") as log, open("/dev/full", "wb") as full:
        descriptor = os.dup(full.fileno())
        monkeypatch.setattr(telemetry._Output, "descriptor", descriptor)
        try:
            structlog.get_logger().warning("lost")
            os.dup2(log.fileno(), descriptor)
            structlog.get_logger().warning("written")
        finally:
            os.close(descriptor)
    assert [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()] == ["written"]


def test_both_ways_of_logging_write_the_same_lines(lines: Lines):
    structlog.get_logger().warning("careful", request_id="req_1")
    logging.getLogger("some.library").warning("careful", extra={"request_id": "req_1"})
    first, second = lines()
    assert first["level"] == second["level"] == "warning"
    assert first["event"] == second["event"] == "careful"
    assert first["request_id"] == second["request_id"] == "req_1"
    assert second["logger"] == "some.library"


def test_a_key_never_reaches_the_log(lines: Lines):
    try:
        raise RuntimeError("refused sk-abcdefghijklmnopqrstuvwxyz")
    except RuntimeError:
        structlog.get_logger().exception("failed", key="sk-abcdefghijklmnopqrstuvwxyz")
        logging.getLogger("some.library").exception("failed")
    found = lines()
    assert [line["event"] for line in found] == ["failed", "failed"]
    assert all("RuntimeError" in line["exception"] for line in found)
    assert "abcdefgh" not in json.dumps(found)


def test_a_log_that_nobody_reads_fails_no_request(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(telemetry._Output, "descriptor", -1)
    telemetry.write_line(b"one")
    telemetry.write_line(b"two")
