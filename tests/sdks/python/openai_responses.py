"""Conversations by the SDK of OpenAI's: Responses. Every item of an answer goes back as it came."""

import functools

import openai
from openai.resources.responses import Responses
from program import EFFORT, NO_KEY, RETRIES, Case, Said, called, result_of, run
from schema import Event


def converse(case: Case) -> Said:
    """The answer after all tools were called."""
    items = [{"role": "user", "content": _ask(case)}]
    calls = []
    client = _open(case["base_url"]).with_options(api_key=case["key"])
    while True:
        answer = _answer(client.responses, case, items)
        asked = [item for item in answer.output if item.type == "function_call"]
        if not asked:
            break
        items += answer.output
        for call in asked:
            calls.append(called(call.name, call.arguments))
            output = result_of(call.name)
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": output})
    usage = [answer.usage.input_tokens, answer.usage.output_tokens]
    parsed = answer.output_parsed.model_dump() if case.get("schema") else None
    return {"text": answer.output_text, "calls": calls, "usage": usage, "parsed": parsed}


@functools.cache
def _open(base_url: str) -> openai.OpenAI:
    """One for all keys: it is dear to open."""
    return openai.OpenAI(api_key=NO_KEY, base_url=base_url, max_retries=RETRIES)


def _ask(case: Case) -> object:
    if not case.get("image"):
        return case["prompt"]
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{case['image']}", "detail": "auto"}
    return [{"type": "input_text", "text": case["prompt"]}, picture]


def _answer(responses: Responses, case: Case, items: list) -> openai.types.responses.Response:
    asked = {"model": case["model"], "input": items}
    if case.get("tools"):
        asked["tools"] = [{"type": "function", "strict": True, **tool} for tool in case["tools"]]
    if case["thinks"]:
        asked |= {"reasoning": {"effort": EFFORT, "summary": "auto"}, "store": False}
        asked["include"] = ["reasoning.encrypted_content"]
    if case.get("schema"):
        return responses.parse(**asked, text_format=Event)
    if not case["stream"]:
        return responses.create(**asked)
    with responses.stream(**asked) as stream:
        return stream.get_final_response()


run(converse)
