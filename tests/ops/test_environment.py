"""A provider's key in the environment connects it: at start, without any command."""

import requests

from tests.upstream import says


def test_a_provider_named_in_the_environment_serves_its_models_from_the_start(start_gateway, upstream):
    upstream.plays(says("Really"))
    environ = {"OPENAI_API_KEY": "sk-the-operators-own", "OPENAI_BASE_URL": upstream.base_url}
    gateway = start_gateway("sqlite", environ=environ)
    key = gateway.make.make_key()
    answers = {}
    for model in ("gpt-4o", "claude-3-5-sonnet"):
        body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}
        answer = requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60)
        answers[model] = answer.json()["choices"][0]["message"]["content"]
    assert answers["gpt-4o"] == "Really"
    assert answers["claude-3-5-sonnet"].startswith("[sandbox]")  # nobody has connected that one
    assert upstream.requests[0].headers["authorization"] == "Bearer sk-the-operators-own"
    assert "sk-the-operators-own" not in gateway.log()
