"""Reasoning behind tool calls: kept sealed for a day, found by its own account alone, and nobody else's."""

import datetime
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from bridge.db import db, now_utc
from bridge.reasoning import reasoning
from bridge.reasoning.reasoning import (
    KEPT_FOR,
    MAX_KEPT_BYTES,
    forget_reasoning,
    key_of,
)
from bridge.reasoning.tables import KeptReasoning
from tests.conversations import list_turns

QUESTION = {"role": "user", "content": "What is the weather in Paris?"}
OTHER_QUESTION = {"role": "user", "content": "And in Rome?"}
GO_ON = {"role": "user", "content": "Go on."}
UNIQUE, COUNTED = "toolu_01A09q90qw90lq917835lq9", "functions.get_weather:0"
THOUGHTS = {"provider": "anthropic", "blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]}


@pytest.fixture(autouse=True)
def context(app):
    with app.app_context():
        yield


def keep_reasoning(account_id: int, kept: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    reasoning.keep_reasoning(account_id, kept, list_turns(messages))


def recall_reasoning(account_id: int, messages: list[dict[str, Any]]) -> dict[str, Any]:
    return reasoning.recall_reasoning(account_id, list_turns(messages))


def call(*ids: str) -> dict[str, Any]:
    """The model's turn with calls of these ids."""
    function = {"name": "get_weather", "arguments": "{}"}
    return {"role": "assistant", "tool_calls": [{"id": one, "type": "function", "function": function} for one in ids]}


def test_what_was_kept_is_found_again_by_the_calls_id():
    keep_reasoning(1, {UNIQUE: THOUGHTS}, [QUESTION])
    assert recall_reasoning(1, [OTHER_QUESTION, call(UNIQUE, "toolu_unknown_unknown")]) == {UNIQUE: THOUGHTS}


def test_no_account_finds_anothers():
    keep_reasoning(1, {UNIQUE: THOUGHTS}, [QUESTION])
    assert recall_reasoning(2, [QUESTION, call(UNIQUE)]) == {}


def test_ids_that_providers_count_are_told_apart_by_what_the_call_answered():
    keep_reasoning(1, {COUNTED: {"reasoning": "Paris"}}, [QUESTION])
    keep_reasoning(1, {COUNTED: {"reasoning": "Rome"}}, [OTHER_QUESTION])
    assert recall_reasoning(1, [QUESTION, call(COUNTED)]) == {COUNTED: {"reasoning": "Paris"}}
    assert recall_reasoning(1, [OTHER_QUESTION, call(COUNTED)]) == {COUNTED: {"reasoning": "Rome"}}
    assert recall_reasoning(1, [call(COUNTED)]) == {}


def test_the_same_last_words_in_another_conversation_are_no_key_to_this_one():
    keep_reasoning(1, {COUNTED: {"reasoning": "Paris"}}, [QUESTION, call(COUNTED), GO_ON])
    assert recall_reasoning(1, [QUESTION, call(COUNTED), GO_ON, call(COUNTED)]) == {COUNTED: {"reasoning": "Paris"}}
    assert recall_reasoning(1, [OTHER_QUESTION, call(COUNTED), GO_ON, call(COUNTED)]) == {}


def test_of_an_id_that_is_used_again_the_later_turn_s_reasoning_counts():
    kept, messages = ["first", "second", "third"], [QUESTION]
    for thought in kept:
        keep_reasoning(1, {COUNTED: {"reasoning": thought}}, messages)
        messages += [call(COUNTED), GO_ON]
    assert recall_reasoning(1, messages) == {COUNTED: {"reasoning": "third"}}


def test_a_long_conversation_is_read_once_however_many_calls_it_has(monkeypatch: pytest.MonkeyPatch):
    read = []
    encode = msgspec.json.encode
    monkeypatch.setattr(msgspec.json, "encode", lambda value: read.append(value) or encode(value))
    messages = [QUESTION, call(*(f"f:{i}" for i in range(200)))] * 20
    assert recall_reasoning(1, messages) == {}
    assert len(read) == len(messages) - 1


def test_a_field_that_only_looks_like_calls_is_none():
    assert recall_reasoning(1, [{**QUESTION, "tool_calls": 5}, {"role": "assistant", "tool_calls": None}]) == {}


def test_kept_again_the_newer_counts():
    keep_reasoning(1, {UNIQUE: {"reasoning": "old"}}, [QUESTION])
    keep_reasoning(1, {UNIQUE: {"reasoning": "new"}}, [QUESTION])
    assert recall_reasoning(1, [QUESTION, call(UNIQUE)]) == {UNIQUE: {"reasoning": "new"}}


def test_nothing_readable_is_stored():
    keep_reasoning(1, {UNIQUE: THOUGHTS}, [QUESTION])
    row = db.session.execute(sa.select(KeptReasoning.key, KeptReasoning.sealed)).one()
    assert UNIQUE not in row.key
    assert "Hm." not in row.sealed
    assert "thinking" not in row.sealed


def test_what_a_lost_master_key_sealed_takes_nothing_else_with_it():
    other = "toolu_sealed_with_another_key"
    keep_reasoning(1, {UNIQUE: THOUGHTS, other: THOUGHTS}, [QUESTION])
    lost = sa.update(KeptReasoning).where(KeptReasoning.key == key_of(1, other, ""))
    db.session.execute(lost.values(sealed=Fernet(Fernet.generate_key()).encrypt(b"{}").decode()))
    db.session.commit()
    assert recall_reasoning(1, [QUESTION, call(UNIQUE, other)]) == {UNIQUE: THOUGHTS}


def test_after_a_day_it_is_not_found_and_deleted():
    keep_reasoning(1, {UNIQUE: THOUGHTS}, [QUESTION])
    old = now_utc() - KEPT_FOR - datetime.timedelta(minutes=1)
    db.session.execute(sa.update(KeptReasoning).values(created_at=old))
    db.session.commit()
    keep_reasoning(1, {"toolu_another_one_kept": THOUGHTS}, [QUESTION])
    assert recall_reasoning(1, [QUESTION, call(UNIQUE)]) == {}
    forget_reasoning()
    assert db.session.scalar(sa.select(sa.func.count()).select_from(KeptReasoning)) == 1


def test_what_is_absurdly_long_is_not_kept():
    keep_reasoning(1, {UNIQUE: {"reasoning": "a" * MAX_KEPT_BYTES}}, [QUESTION])
    assert recall_reasoning(1, [QUESTION, call(UNIQUE)]) == {}


def test_a_database_that_is_away_costs_the_reasoning_and_nothing_else():
    KeptReasoning.__table__.drop(db.engine)
    try:
        keep_reasoning(1, {UNIQUE: THOUGHTS}, [QUESTION])
        assert recall_reasoning(1, [QUESTION, call(UNIQUE)]) == {}
    finally:
        KeptReasoning.__table__.create(db.engine)  # others use the same database
