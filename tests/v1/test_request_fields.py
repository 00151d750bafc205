"""Which fields of a request arrive at a provider: those of the list, and those that its channel lets through."""

import json
from typing import Any

import pytest
import requests

from bridge.catalogue.editing import update_channel
from bridge.errors import InvalidRequest
from bridge.providers.openai.request_fields import ACCEPTED, DOCUMENTED, NEVER, SAMPLING, check_pass_fields
from tests.played import Caller, Providers
from tests.replies import Reply
from tests.v1.test_providers_sdk import MODELS

EVERY = pytest.mark.parametrize("provider", MODELS)
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
HELLO = [{"role": "user", "content": "Hello!"}]
# fields by which servers are told a host, a path, code, a model, a price, a queue, stored state, or more than the cap
FOREIGN: dict[str, Any] = {
    "kv_transfer_params": {"do_remote_prefill": True, "remote_host": "10.0.0.5", "remote_port": 5600},
    "bootstrap_host": "10.0.0.5",
    "bootstrap_port": 8998,
    "bootstrap_room": 1,
    "lora_path": "/srv/x",
    "custom_logit_processor": "gASV",
    "session_params": {"id": "s"},
    "extra_body": {"google": {"cached_content": "cachedContents/x"}},
    "extra_headers": {"x-api-key": "k"},
    "cached_content": "cachedContents/x",
    "container": "c_1",
    "previous_response_id": "r_1",
    "conversation": "c",
    "prompt": {"id": "pmpt_1"},
    "provider": {"order": ["x"]},
    "route": "fallback",
    "plugins": [{"id": "web"}],
    "search_parameters": {"mode": "on"},
    "background": True,
    "priority": 1,
    "api_base": "http://10.0.0.5",
    "api_key": "sk-x",
    "chat_template": "{{ messages }}",
    "chat_template_kwargs": {"enable_thinking": False},
    "documents": [{"text": "x"}],
    "n_predict": 100_000,
    "max_new_tokens": 100_000,
    "best_of": 5,
    "use_beam_search": True,
    "echo": True,
    "prompt_logprobs": 5,
    "truncate_prompt_tokens": 5,
    "data_parallel_rank": 1,
    "return_hidden_states": True,
    "safe_prompt": True,
    "made_up": {"host": "10.0.0.5"},
}


def post(caller: Caller, strict: bool = False, **body: Any) -> requests.Response:
    headers = {**caller.key.headers, **({"x-bridge-strict": "true"} if strict else {})}
    return requests.post(f"{caller.gateway.base_url}/chat/completions", json=body, headers=headers, timeout=60)


def send(
    providers: Providers, caller: Caller, provider: str, stream: bool = False, /, **fields: Any
) -> tuple[dict[str, Any], set[str]]:
    """What arrives, and what the answer says was dropped."""
    providers[provider].answers(Reply("Hello."))
    answer = post(caller, **{"model": MODELS[provider], "messages": HELLO, "stream": stream, **fields})
    assert answer.status_code == 200, answer.text
    assert b"Hello." in answer.content or stream
    return providers[provider].sent[-1], {*filter(None, answer.headers.get("x-bridge-dropped", "").split(", "))}


@EVERY
@BOTH
def test_a_field_that_is_not_on_the_list_stays_here_and_is_named(
    provider: str, stream: bool, providers: Providers, caller: Caller
):
    sent, dropped = send(providers, caller, provider, stream, **FOREIGN)
    assert not {*FOREIGN} & {*sent}
    assert "10.0.0.5" not in json.dumps(sent)
    assert dropped == {*FOREIGN}
    assert caller.last_booked().outcome == "complete"


@EVERY
def test_strict_mode_refuses_them_by_name(provider: str, providers: Providers, caller: Caller):
    providers[provider].answers(Reply("Hello."))
    answer = post(caller, strict=True, model=MODELS[provider], messages=HELLO, kv_transfer_params={"a": 1})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "unsupported_parameter", "kv_transfer_params")
    assert providers[provider].requests == []


@BOTH
def test_what_servers_share_for_sampling_arrives(stream: bool, providers: Providers, caller: Caller):
    fields = dict.fromkeys(SAMPLING, 1)
    sent, dropped = send(providers, caller, "openai", stream, **fields, top_p=0.5, seed=7)
    assert {**fields, "top_p": 0.5, "seed": 7}.items() <= sent.items()
    assert dropped == set()


def test_each_field_that_is_let_through_is_harmless_for_a_reason():
    assert all(SAMPLING.values())
    assert not ACCEPTED & NEVER.keys()
    assert not SAMPLING.keys() & DOCUMENTED


@EVERY
def test_within_a_request_unknown_fields_stay_here_too(provider: str, providers: Providers, caller: Caller):
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}, "host": "10.0.0.5"}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}", "x": "10.0.0.5"}, "url": "y"}
    messages = [
        {"role": "system", "content": "Be brief.", "prompt_id": "10.0.0.5"},
        {"role": "user", "content": [{"type": "text", "text": "Hi", "path": "/srv"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "1", "store": "10.0.0.5"},
        {"role": "user", "content": "Go on.", "name": "Ada", "lora": 1},
    ]
    sent, dropped = send(
        providers,
        caller,
        provider,
        True,
        messages=messages,
        tools=[{"type": "function", "function": function, "server_url": "http://10.0.0.5"}],
        tool_choice="auto",
        temperature=None,
        stream_options={"include_usage": True, "continuous_usage_stats": True, "include_obfuscation": False},
    )
    assert "null" not in json.dumps(sent) or provider == "openai"
    assert not [word for word in ("10.0.0.5", "/srv", "lora", '"url"', "continuous") if word in json.dumps(sent)]
    if provider not in ("anthropic", "gemini"):
        assert sent["messages"][-1] == {"role": "user", "content": "Go on.", "name": "Ada"}
        assert sent["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert dropped == {
        "messages[0].prompt_id",
        "messages[1].content[0].path",
        "messages[2].tool_calls[0].url",
        "messages[2].tool_calls[0].function.x",
        "messages[3].store",
        "messages[4].lora",
        "tools[0].server_url",
        "tools[0].function.host",
        "stream_options.continuous_usage_stats",
    }


@EVERY
@BOTH
def test_in_the_objects_of_a_request_unknown_fields_stay_here_too(
    provider: str, stream: bool, providers: Providers, caller: Caller
):
    schema = {"type": "object", "properties": {"host": {"type": "string"}}, "required": ["host"]}
    wanted = {"name": "a", "schema": schema, "backend": "10.0.0.5"}
    mark = {"type": "ephemeral", "ttl": "5m", "scope": "10.0.0.5"}
    fields: dict[str, Any] = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": mark}]}],
        "response_format": {"type": "json_schema", "json_schema": wanted, "backend": "10.0.0.5"},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
        "tool_choice": {"type": "function", "function": {"name": "f", "url": "10.0.0.5"}, "server": "10.0.0.5"},
    }
    sent, dropped = send(providers, caller, provider, stream, **fields)
    assert "10.0.0.5" not in json.dumps(sent)
    assert "host" in json.dumps(sent)  # the client's own schema stays its own
    inner = {"response_format.backend", "response_format.json_schema.backend", "tool_choice.function.url"}
    assert dropped - {"response_format"} == {*inner, "tool_choice.server"}


def test_an_object_of_the_servers_own_names_no_code(providers: Providers, caller: Caller):
    fields = {
        "structured_outputs": {"regex": "a+", "_backend": "10.0.0.5"},
        "prediction": {"type": "content", "content": "x", "url": "10.0.0.5"},
    }
    sent, dropped = send(providers, caller, "openai", **fields)
    assert (sent["structured_outputs"], sent["prediction"]) == ({"regex": "a+"}, {"type": "content", "content": "x"})
    assert dropped == {"structured_outputs._backend", "prediction.url"}


def test_media_parts_hold_nothing_but_media(providers: Providers, caller: Caller):
    url = {"url": "https://example.com/a.png", "detail": "low", "headers": {"x": "y"}}
    parts = [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": url}]
    sent, dropped = send(providers, caller, "openai", messages=[{"role": "user", "content": parts}])
    assert sent["messages"][0]["content"][1]["image_url"] == {"url": url["url"], "detail": "low"}
    assert dropped == {"messages[0].content[1].image_url.headers"}


def test_messages_in_which_nothing_has_to_go_arrive_as_they_were_written(providers: Providers, caller: Caller):
    providers["openai"].answers(Reply("Hello."))
    messages = '[ {"content" : "H\\u00ebllo", "role":"user"},  {"role":"assistant","content":"Hi"} ]'
    data = f'{{"model": "gpt-4o", "messages": {messages}}}'
    url = f"{caller.gateway.base_url}/chat/completions"
    assert requests.post(url, data=data, headers=caller.key.headers, timeout=60).status_code == 200
    assert messages.encode() in providers["openai"].requests[-1].body


# what an operator lets through


@pytest.mark.parametrize("provider", MODELS)
@BOTH
def test_an_operator_lets_more_through_a_channel(provider: str, stream: bool, providers: Providers, caller: Caller):
    make, upstream = caller.gateway.make, providers[provider]
    model = make.make_model()
    served = {model: MODELS[provider]}
    name = make.make_channel(upstream.base_url, provider=provider, models=served, pass_fields=["made_up", "documents"])
    fields = {"made_up": {"a": 1}, "documents": [1], "chat_template_kwargs": {"b": 2}}
    sent, dropped = send(providers, caller, provider, stream, model=model, **fields)
    assert (sent["made_up"], sent["documents"]) == ({"a": 1}, [1])
    assert "chat_template_kwargs" not in sent
    assert dropped == {"chat_template_kwargs"}
    with make.app.app_context():
        update_channel(name, pass_fields=None)
        make.wait_for_gateway()
    sent, dropped = send(providers, caller, provider, stream, model=model, **fields)
    assert dropped == {*fields}


@pytest.mark.parametrize("field", [*NEVER, *sorted(DOCUMENTED), "a b", "", "x" * 65, "ü"])
def test_nobody_lets_through_what_is_priced_or_chooses_who_answers(field: str):
    with pytest.raises(InvalidRequest) as refused:
        check_pass_fields(["made_up", field])
    assert refused.value.param == "pass_fields"
    assert field[:64] in refused.value.message


def test_a_channel_keeps_each_field_once():
    assert check_pass_fields(["b", "made_up", "b"]) == ["b", "made_up"]
    with pytest.raises(InvalidRequest):
        check_pass_fields([f"field_{number}" for number in range(51)])
