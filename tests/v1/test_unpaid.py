"""Ways to be answered for less than it costs, or to leave something taken behind: none of them work."""

from typing import Any

import pytest

from bridge.catalogue.prices import PriceVersion
from bridge.errors import InvalidRequest
from bridge.v1.body import convert
from bridge.v1.chat import _refuse_unpriced
from bridge.v1.chat_request import ChatRequest
from bridge.v1.meter import Measure, count_answer, measure
from tests.v1.test_meter import MODEL

BODY: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]}
MEASURE = Measure(2**31, 0, None)


@pytest.mark.parametrize("kind", ["web_search", "openrouter:web_search", "builtin_function", "code_interpreter"])
def test_a_tool_that_the_provider_runs_and_bills_for_is_refused(kind: str):
    tools = [{"type": "function", "function": {"name": "mine"}}, {"type": kind}]
    with pytest.raises(InvalidRequest) as refused:
        _refuse_unpriced(convert({**BODY, "tools": tools}, ChatRequest))
    assert (refused.value.param, refused.value.code) == ("tools[1].type", "unsupported_parameter")
    _refuse_unpriced(convert({**BODY, "tools": [tools[0], {"type": "custom"}]}, ChatRequest))


def test_a_rejected_prediction_is_held_for_as_output():
    """Providers bill what they reject of it like output, beside the cap."""
    prediction = {"type": "content", "content": "word " * 1000}
    request = convert({**BODY, "max_tokens": 1, "prediction": prediction}, ChatRequest)
    found = measure(request, MODEL, 6000)
    assert found.cap_tokens == 1
    assert found.predicted_tokens >= 5000
    price = PriceVersion(1, 1_000_000_000, 1_000_000_000, 4_000_000_000)
    assert price.worst_cost(found.prompt_bound_tokens, 1 + found.predicted_tokens) > 5000 * 4000


@pytest.mark.parametrize("character", [" ", "^", "a", "\n", "的"])
def test_no_text_breaks_our_own_count(character: str):
    """The tokenizer gives up over a million spaces, and with it would go the charge of whoever hangs up after them."""
    request = convert({**BODY, "messages": [{"role": "user", "content": character * 1_000_000}]}, ChatRequest)
    usage = count_answer(["Hello"], request, MEASURE)
    assert usage.prompt_tokens > 1000
    assert usage.completion_tokens == 1
