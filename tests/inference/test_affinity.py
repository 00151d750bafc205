"""A conversation keeps its channel, conversations share by weight, and only the conversations of a channel that is out
move."""

import collections
from typing import Any

from bridge.catalogue.health import Health
from bridge.catalogue.routing import Route, order_routes
from bridge.conversation.request import Conversation
from bridge.inference.affinity import OPENING_CHARACTERS, Affinity, digest_conversation
from bridge.providers.base import AttemptFailed, Blame
from tests.conversations import converse

ROUTES = [
    Route(number, f"channel-{number}", "openai", None, None, 1, weight, "m")
    for number, weight in ((1, 6), (2, 3), (3, 1))
]


def ask(*messages: tuple[str, Any], **more: Any) -> Conversation:
    body = {"model": "m", "messages": [{"role": role, "content": content} for role, content in messages], **more}
    return converse(body)


def first(request: Conversation, health: Health) -> int:
    return order_routes(ROUTES, health, point=Affinity(request, 7))[0].channel_id


def test_conversations_share_by_weight_and_move_only_from_a_channel_that_is_out():
    health = Health(30.0)
    before = {number: first(ask(("user", f"question {number}")), health) for number in range(4000)}
    shares = collections.Counter(before.values())
    assert 2280 < shares[1] < 2520
    assert 1090 < shares[2] < 1310
    assert 330 < shares[3] < 470
    health.failed(ROUTES[1], AttemptFailed(Blame.RATE, "429", retry_after_seconds=60))
    after = {number: first(ask(("user", f"question {number}")), health) for number in range(4000)}
    assert {before[number] for number in before if before[number] != after[number]} == {2}
    assert 2 not in after.values()


def test_what_is_said_later_changes_nothing_and_what_is_said_first_does():
    opening = ("system", "Be brief."), ("user", "Hello")
    digest = digest_conversation(ask(*opening), 7)
    longer = *opening, ("assistant", "Hi"), ("user", "And then?")
    assert digest_conversation(ask(*longer), 7) == digest
    others = [
        digest_conversation(ask(("system", "Be long."), ("user", "Hello")), 7),
        digest_conversation(ask(("user", "Hello")), 7),
        digest_conversation(ask(*opening), 8),
        digest_conversation(ask(*opening, prompt_cache_key="mine"), 7),
        digest_conversation(ask(("system", "Be brief."), ("user", [{"type": "text", "text": "Hello!"}])), 7),
    ]
    assert len({digest, *others}) == 6


def test_a_key_says_which_conversations_belong_together():
    one, other = (ask(("user", text), prompt_cache_key="mine") for text in ("Hello", "Bye"))
    assert digest_conversation(one, 7) == digest_conversation(other, 7) != digest_conversation(other, 8)


def test_no_more_than_the_beginning_of_a_message_is_read():
    long, longer = (ask(("user", "x" * OPENING_CHARACTERS + "y" * more)) for more in (1, 200_000))
    assert digest_conversation(long, 7) == digest_conversation(longer, 7)
