"""Conversations by the SDK of OpenAI's: chat completions."""

import functools

import openai
from openai.resources.chat import Completions
from program import EFFORT, NO_KEY, RETRIES, Case, Said, called, result_of, run
from schema import Event


def converse(case: Case) -> Said:
    """The answer after all tools were called."""
    messages = [{"role": "user", "content": _ask(case)}]
    calls = []
    client = _open(case["base_url"]).with_options(api_key=case["key"])
    while True:
        answer = _answer(client.chat.completions, case, messages)
        message = answer.choices[0].message
        if not message.tool_calls:
            break
        messages.append(message)
        for call in message.tool_calls:
            calls.append(called(call.function.name, call.function.arguments))
            content = result_of(call.function.name)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
    usage = [answer.usage.prompt_tokens, answer.usage.completion_tokens]
    parsed = message.parsed.model_dump() if case.get("schema") else None
    return {"text": message.content, "calls": calls, "usage": usage, "parsed": parsed}


@functools.cache
def _open(base_url: str) -> openai.OpenAI:
    """One for all keys: it is dear to open."""
    return openai.OpenAI(api_key=NO_KEY, base_url=base_url, max_retries=RETRIES)


def _ask(case: Case) -> object:
    if not case.get("image"):
        return case["prompt"]
    url = f"data:image/png;base64,{case['image']}"
    return [{"type": "text", "text": case["prompt"]}, {"type": "image_url", "image_url": {"url": url}}]


def _answer(chat: Completions, case: Case, messages: list) -> openai.types.chat.ChatCompletion:
    asked = {"model": case["model"], "messages": messages}
    if case.get("tools"):
        asked["tools"] = [{"type": "function", "function": {**tool, "strict": True}} for tool in case["tools"]]
    if case["thinks"]:
        asked["reasoning_effort"] = EFFORT
    if case.get("schema"):
        return chat.parse(**asked, response_format=Event)
    if not case["stream"]:
        return chat.create(**asked)
    with chat.stream(**asked, stream_options={"include_usage": True}) as stream:
        return stream.get_final_completion()


run(converse)
