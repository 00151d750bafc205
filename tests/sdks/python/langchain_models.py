"""Conversations by LangChain: `langchain_models.py responses` with ChatOpenAI, `langchain_models.py messages` with
ChatAnthropic."""

import functools
import operator
import sys

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from program import BUDGET_TOKENS, EFFORT, MAX_TOKENS, RETRIES, Case, Said, called, result_of, run
from schema import Event


def converse(case: Case) -> Said:
    """The answer after all tools were called."""
    model = OPEN[sys.argv[1]](case)
    messages = [HumanMessage(_ask(case))]
    if case.get("schema"):
        found = model.with_structured_output(Event, method="json_schema", include_raw=True).invoke(messages)
        return _tell(found["raw"], [], found["parsed"].model_dump())
    if case.get("tools"):
        model = model.bind_tools([{"type": "function", "function": tool} for tool in case["tools"]])
    calls = []
    while True:
        answer = functools.reduce(operator.add, model.stream(messages)) if case["stream"] else model.invoke(messages)
        if not answer.tool_calls:
            return _tell(answer, calls)
        calls += [called(call["name"], call["args"]) for call in answer.tool_calls]
        results = [ToolMessage(result_of(call["name"]), tool_call_id=call["id"]) for call in answer.tool_calls]
        messages += [answer, *results]


def _tell(answer: AIMessage, calls: list, parsed: object = None) -> Said:
    counted = answer.usage_metadata
    usage = [counted["input_tokens"], counted["output_tokens"]]
    return {"text": str(answer.text), "calls": calls, "usage": usage, "parsed": parsed}


def _open_responses(case: Case) -> BaseChatModel:
    thinks = {
        "reasoning": {"effort": EFFORT, "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    return ChatOpenAI(
        model=case["model"],
        base_url=case["base_url"],
        api_key=case["key"],
        max_retries=RETRIES,
        use_responses_api=True,
        **(thinks if case["thinks"] else {}),
    )


def _open_messages(case: Case) -> BaseChatModel:
    thinks = {"thinking": {"type": "enabled", "budget_tokens": BUDGET_TOKENS}}
    return ChatAnthropic(
        model=case["model"],
        base_url=case["base_url"].removesuffix("/v1"),
        api_key=case["key"],
        max_retries=RETRIES,
        max_tokens=MAX_TOKENS,
        **(thinks if case["thinks"] else {}),
    )


def _ask(case: Case) -> str | list:
    if not case.get("image"):
        return case["prompt"]
    picture = {"type": "image", "base64": case["image"], "mime_type": "image/png"}
    return [{"type": "text", "text": case["prompt"]}, picture]


OPEN = {"responses": _open_responses, "messages": _open_messages}
run(converse)
