"""Conversations by the SDK of Anthropic's. Every block of an answer goes back as it came."""

import functools

import anthropic
from anthropic.resources import Messages
from program import BUDGET_TOKENS, MAX_TOKENS, NO_KEY, RETRIES, Case, Said, called, result_of, run
from schema import Event


def converse(case: Case) -> Said:
    """The answer after all tools were called."""
    messages = [{"role": "user", "content": _ask(case)}]
    calls = []
    client = _open(case["base_url"].removesuffix("/v1")).with_options(api_key=case["key"])
    while True:
        answer = _answer(client.messages, case, messages)
        if answer.stop_reason != "tool_use":
            break
        used = [block for block in answer.content if block.type == "tool_use"]
        calls += [called(call.name, call.input) for call in used]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": result_of(call.name)} for call in used]
        messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    text = "".join(block.text for block in answer.content if block.type == "text")
    usage = [answer.usage.input_tokens + answer.usage.cache_read_input_tokens, answer.usage.output_tokens]
    parsed = answer.parsed_output.model_dump() if case.get("schema") else None
    return {"text": text, "calls": calls, "usage": usage, "parsed": parsed}


@functools.cache
def _open(base_url: str) -> anthropic.Anthropic:
    """One for all keys: it is dear to open."""
    return anthropic.Anthropic(api_key=NO_KEY, base_url=base_url, max_retries=RETRIES)


def _ask(case: Case) -> object:
    if not case.get("image"):
        return case["prompt"]
    source = {"type": "base64", "media_type": "image/png", "data": case["image"]}
    return [{"type": "text", "text": case["prompt"]}, {"type": "image", "source": source}]


def _answer(client: Messages, case: Case, messages: list) -> anthropic.types.Message:
    asked = {"model": case["model"], "messages": messages, "max_tokens": MAX_TOKENS}
    if case.get("tools"):
        asked["tools"] = [
            {"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}
            for tool in case["tools"]
        ]
    if case["thinks"]:
        asked["thinking"] = {"type": "enabled", "budget_tokens": BUDGET_TOKENS}
    if case.get("schema"):
        return client.parse(**asked, output_format=Event)
    if not case["stream"]:
        return client.create(**asked)
    with client.stream(**asked) as stream:
        return stream.get_final_message()


run(converse)
