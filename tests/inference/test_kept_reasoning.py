"""What we keep of a tool loop's reasoning goes out again as a part of the prompt: it is held for, and only where it is
wanted."""

import requests

from bridge.reasoning.reasoning import keep_reasoning
from tests.conversations import list_turns
from tests.gateway import Gateway
from tests.upstream import says

DOLLAR = 1_000_000_000
CALL_ID = "call_00_Zk3vXn1jQ2mW8yT5rB7u"
LOOP = [
    {"role": "user", "content": "What is the weather in Paris?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": CALL_ID, "type": "function", "function": {"name": "look_up", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": CALL_ID, "content": "Sunny."},
]
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]
THOUGHT = "It may be sunny. " * 500


def ask(gateway: Gateway, provider: str, upstream, times: int = 1, **headers: str) -> requests.Response:
    model = gateway.make.make_model(input_price=10 * DOLLAR, output_price=10 * DOLLAR)
    gateway.make.make_channel(upstream.base_url, model, provider=provider)
    key = gateway.make.make_key()
    with gateway.make.app.app_context():
        keep_reasoning(key.account_id, {CALL_ID: {"provider": "deepseek", "reasoning": THOUGHT}}, list_turns(LOOP[:1]))
    upstream.plays(says("Sunny."))
    body = {"model": model, "messages": LOOP * times, "tools": TOOLS, "max_tokens": 1}
    headers = {**key.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=60)


def needed_dollars(answer: requests.Response) -> float:
    assert answer.status_code == 402
    return float(answer.json()["error"]["message"].split("$")[1].split(",")[0].split()[0])


def test_the_hold_covers_the_reasoning_that_we_send_back(gateway, upstream):
    with_thoughts = needed_dollars(ask(gateway, "deepseek", upstream, x_bridge_max_cost="0"))
    without = needed_dollars(ask(gateway, "openai", upstream, x_bridge_max_cost="0"))
    assert with_thoughts - without >= len(THOUGHT) / 100_000


def test_the_hold_covers_it_as_often_as_the_client_names_the_call(gateway, upstream):
    with_thoughts = needed_dollars(ask(gateway, "deepseek", upstream, times=3, x_bridge_max_cost="0"))
    without = needed_dollars(ask(gateway, "openai", upstream, times=3, x_bridge_max_cost="0"))
    assert with_thoughts - without >= 3 * len(THOUGHT) / 100_000
    assert ask(gateway, "deepseek", upstream, times=3).status_code == 200
    assert upstream.requests[-1].body.decode().count(THOUGHT) == 3


def test_the_reasoning_reaches_the_provider_that_wants_it(gateway, upstream):
    assert ask(gateway, "deepseek", upstream).status_code == 200
    assert upstream.requests[-1].json["messages"][1]["reasoning_content"] == THOUGHT


def test_no_other_provider_gets_it(gateway, upstream):
    assert ask(gateway, "openai", upstream).status_code == 200
    assert THOUGHT[:20] not in upstream.requests[-1].body.decode()
