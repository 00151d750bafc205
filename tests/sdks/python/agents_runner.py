"""Conversations by OpenAI's Agents SDK, which calls tools itself: `agents_runner.py responses` or `agents_runner.py
chat`."""

import asyncio
import functools
import sys
from typing import Any

from agents import (
    Agent,
    FunctionTool,
    ItemHelpers,
    MessageOutputItem,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    set_tracing_disabled,
)
from agents.result import RunResultBase
from openai import AsyncOpenAI
from openai.types.shared import Reasoning
from program import EFFORT, NO_KEY, RETRIES, Case, Said, called, result_of, run
from schema import Event

LOOP = asyncio.Runner()
MODELS = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}
THINKS = {
    "responses": {"response_include": ["reasoning.encrypted_content"], "store": False},
    "chat": {},
}


def converse(case: Case) -> Said:
    """The answer after all tools were called."""
    return LOOP.run(_converse(case))


async def _converse(case: Case) -> Said:
    calls: list[dict[str, Any]] = []
    client = _open(case["base_url"]).with_options(api_key=case["key"])
    agent = Agent(
        name="Clerk",
        model=MODELS[sys.argv[1]](model=case["model"], openai_client=client),
        model_settings=_settings(case),
        tools=[_make_tool(tool, calls) for tool in case.get("tools") or ()],
        output_type=Event if case.get("schema") else None,
    )
    result = await _run(agent, [{"role": "user", "content": _ask(case)}], case["stream"])
    last = result.raw_responses[-1].usage
    parsed = result.final_output.model_dump() if case.get("schema") else None
    usage = [last.input_tokens, last.output_tokens]
    # the last item may be reasoning: a stream of Gemini's gives the signature of its text after it
    text = next(item for item in reversed(result.new_items) if isinstance(item, MessageOutputItem))
    return {"text": ItemHelpers.text_message_output(text), "calls": calls, "usage": usage, "parsed": parsed}


@functools.cache
def _open(base_url: str) -> AsyncOpenAI:
    """One for all keys: it is dear to open."""
    return AsyncOpenAI(api_key=NO_KEY, base_url=base_url, max_retries=RETRIES)


async def _run(agent: Agent, asked: list, stream: bool) -> RunResultBase:
    if not stream:
        return await Runner.run(agent, asked)
    result = Runner.run_streamed(agent, asked)
    async for _event in result.stream_events():
        pass
    return result


def _settings(case: Case) -> ModelSettings:
    if not case["thinks"]:
        return ModelSettings(include_usage=True)
    reasoning = Reasoning(effort=EFFORT, summary="auto")
    return ModelSettings(include_usage=True, reasoning=reasoning, **THINKS[sys.argv[1]])


def _make_tool(tool: dict[str, Any], calls: list[dict[str, Any]]) -> FunctionTool:
    async def answer(_context: object, arguments: str) -> str:
        calls.append(called(tool["name"], arguments))
        return result_of(tool["name"])

    return FunctionTool(tool["name"], tool["description"], tool["parameters"], answer)


def _ask(case: Case) -> object:
    if not case.get("image"):
        return case["prompt"]
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{case['image']}", "detail": "auto"}
    return [{"type": "input_text", "text": case["prompt"]}, picture]


set_tracing_disabled(True)
run(converse)
