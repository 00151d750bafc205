"""`supported_parameters` of /v1/models: what the provider's translation takes, and nothing that it drops."""

import pytest

from bridge.catalogue.parameters import OF_IMAGES, SAMPLES, is_taken, parameters_of
from bridge.providers import PROVIDERS
from bridge.providers.base import Order


def test_a_model_is_listed_with_what_its_generation_takes():
    everything = {*SAMPLES, "n"}
    assert set(parameters_of("openai", "llama3.2")) >= everything - {"reasoning_effort", "verbosity"}
    assert "reasoning_effort" not in parameters_of("openai", "gpt-4o")
    assert "temperature" in parameters_of("openai", "gpt-4o")
    assert "reasoning_effort" in parameters_of("openai", "gpt-5.2")
    assert "seed" not in parameters_of("anthropic", "claude-sonnet-4-5")
    assert "seed" in parameters_of("gemini", "gemini-2.5-flash")


def test_what_a_provider_drops_is_not_listed(monkeypatch):
    provider = PROVIDERS["openai"]
    write = type(provider).write_request

    def drops_seed(self, order: Order):
        outgoing = write(self, order)
        return type(outgoing)(outgoing.path, outgoing.body, dropped=tuple({"seed"} & set(order.conversation.options)))

    monkeypatch.setattr(type(provider), "write_request", drops_seed)
    assert not is_taken("openai", "gpt-4o", "seed")
    assert is_taken("openai", "gpt-4o", "stop")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_takes_what_every_client_sends(provider):
    assert {"stream", "stream_options", "max_tokens", "stop", "tools", "tool_choice", "n"} <= set(
        parameters_of(provider, "some-model")
    )


def test_the_list_of_models_says_what_each_takes(client, make_key):
    key = make_key()
    models = client.get("/v1/models", headers=key.headers).get_json()["data"]
    found = {model["id"]: model["supported_parameters"] for model in models}
    assert "tools" in found["gpt-4o"]
    assert all("n" in found[model["id"]] for model in models if "/v1/chat/completions" in model["endpoints"])
    assert found["text-embedding-3-small"] == ["dimensions", "encoding_format", "user"]
    assert found["gpt-image-2"] == [field for field in OF_IMAGES if field not in ("response_format", "style")]
    assert found["gemini-embedding-001"] == ["dimensions", "encoding_format", "user"]  # the sandbox's
