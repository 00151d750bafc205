"""The models of the public documentation page: each name, and each alias, reaches its provider under today's name."""

from typing import Any

import pytest

from bridge.catalogue.seed import SeedModel, load_seed
from bridge.conversation.kinds import CHAT
from tests.played import Caller, Providers
from tests.replay import upstream_model
from tests.replies import Reply

# Name on the page, provider, and what its maker calls what serves it now.
PAGE = [
    ("gpt-4o", "openai", "gpt-4o"),
    ("gpt-4o-mini", "openai", "gpt-4o-mini"),
    ("claude-3-5-sonnet-20241022", "anthropic", "claude-sonnet-4-5"),
    ("claude-3-5-haiku-20241022", "anthropic", "claude-haiku-4-5"),
    ("gemini-1.5-pro", "gemini", "gemini-2.5-pro"),
    ("gemini-1.5-flash", "gemini", "gemini-2.5-flash"),
    ("gemini-2.0-flash", "gemini", "gemini-2.5-flash"),
    ("deepseek-chat", "deepseek", "deepseek-v4-flash"),
    ("deepseek-reasoner", "deepseek", "deepseek-v4-flash"),
    ("moonshot-v1-128k", "moonshot", "kimi-k2.5"),
    ("kimi-k2.5", "moonshot", "kimi-k2.5"),
]
ALIASES = [
    ("claude-3-5-sonnet", "anthropic", "claude-sonnet-4-5"),
    ("claude-3-5-haiku", "anthropic", "claude-haiku-4-5"),
]


def test_the_page_s_streaming_example_prints_the_poem(providers: Providers, caller: Caller, capsys):
    poem = Reply("Roses are red,\nviolets are blue.")
    providers["anthropic"].answers(poem)
    client = caller.sdk
    stream = client.chat.completions.create(
        model="claude-3-5-sonnet",
        messages=[{"role": "user", "content": "Write a poem"}],
        stream=True,
    )
    for chunk in stream:
        delta = chunk.choices[0].delta.content or ""
        print(delta, end="", flush=True)
    assert capsys.readouterr().out == poem.text
    assert upstream_model(providers["anthropic"].requests[-1]) == "claude-sonnet-4-5"


@pytest.mark.parametrize(("name", "provider", "upstream"), [*PAGE, *ALIASES])
def test_each_name_is_answered_under_its_own_name_by_what_serves_it(
    name: str, provider: str, upstream: str, providers: Providers, caller: Caller
):
    providers[provider].answers(Reply("Hello!"))
    messages: list[Any] = [{"role": "user", "content": "Hello!"}]
    answer = caller.sdk.chat.completions.create(model=name, messages=messages, max_tokens=100, temperature=1)
    assert (answer.model, answer.choices[0].message.content) == (name, "Hello!")
    assert [upstream_model(request) for request in providers[provider].requests] == [upstream]
    assert caller.sdk.models.retrieve(name).id == (caller.last_booked().model_id)


def talks(model: SeedModel) -> bool:
    return CHAT in model.kinds


def test_every_other_model_of_the_catalogue_reaches_its_provider(providers: Providers, caller: Caller):
    reached = {}
    for provider, seed in load_seed().items():
        if provider in providers.replays:
            providers[provider].answers(Reply("Hello!"))
            for model in filter(talks, seed.models):
                for name in (model.id, *model.aliases):
                    caller.sdk.chat.completions.create(
                        model=name, messages=[{"role": "user", "content": "Hello!"}], max_tokens=100
                    )
                    reached[name] = (upstream_model(providers[provider].requests[-1]), model.upstream_id)
    assert len(reached) > 40
    assert {name: found for name, found in reached.items() if found[0] != found[1]} == {}


@pytest.mark.parametrize(("name", "thinks"), [("deepseek-chat", False), ("deepseek-reasoner", True)])
def test_deepseek_s_two_names_are_one_model_that_thinks_or_does_not(
    name: str, thinks: bool, providers: Providers, caller: Caller
):
    providers["deepseek"].answers(Reply("Hello!"))
    caller.sdk.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hello!"}])
    assert providers["deepseek"].sent[-1]["thinking"] == {"type": "enabled" if thinks else "disabled"}
