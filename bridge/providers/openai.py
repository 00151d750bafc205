"""OpenAI, and the base of every upstream that speaks its dialect: requests and answers pass almost as they are."""

from typing import Any

import msgspec

from bridge.providers.base import AttemptFailed, Blame, ChatOrder, Completion, Outgoing, StreamOrder, Usage
from bridge.providers.errors import read_openai_error
from bridge.providers.openai_stream import RUBBISH, OpenAIReader, UsageStruct
from bridge.providers.token_scale import OPEN_WEIGHTS, OPENAI, TokenScales

MAX_TOKENS_COUNTED = 2**31
# What would choose a model, a host, a price or stored state at an upstream that knows these fields.
NEVER_FORWARDED: tuple[str, ...] = ("models", "provider", "route", "plugins", "transforms", "background")
NEVER_FORWARDED += ("preset", "fallbacks", "api_base", "base_url", "api_key")
# What would make it write or read more than the hold pays for: some servers put these before the cap that we send.
NEVER_FORWARDED += ("n_predict", "num_predict", "max_new_tokens", "max_output_tokens", "max_gen_tokens", "max_length")
NEVER_FORWARDED += ("best_of", "chat_template")


class OpenAICompatible:
    """Any upstream of OpenAI's dialect. Subclasses say what is different about them."""

    name: str
    label: str
    base_url: str
    chat_path: str = "/chat/completions"
    keeps_reasoning: bool = False
    token_scales: TokenScales = OPEN_WEIGHTS

    def auth_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def cap_field(self, upstream_id: str) -> str:
        """The name of the output cap for this model."""
        return "max_tokens"

    def choices_per_call(self, body: dict[str, Any], upstream_id: str) -> int:
        """As many as OpenAI itself takes."""
        return 128

    def write_chat(self, order: ChatOrder) -> Outgoing:
        """The client's body with the upstream's model name, our cap where it gave none, and usage asked for."""
        out, upstream_id, output_cap = dict(order.body), order.upstream_id, order.output_cap
        if order.encoded_messages is not None:
            out["messages"] = order.encoded_messages
        dropped = [field for field in NEVER_FORWARDED if out.pop(field, None) is not None]
        if out.get("store"):
            dropped.append("store")
            del out["store"]
            if out.pop("metadata", None) is not None:
                dropped.append("metadata")
        out["model"] = upstream_id
        if output_cap is not None:
            for field in ("max_tokens", "max_completion_tokens"):
                out.pop(field, None)
            out[self.cap_field(upstream_id)] = output_cap
        elif out.get("max_completion_tokens") and not out.get("max_tokens"):
            # servers of the same dialect may know only the older name, and then write without an end
            out[self.cap_field(upstream_id)] = out.pop("max_completion_tokens")
        if out.get("stream"):
            options = out.get("stream_options") or {}
            out["stream_options"] = {**options, "include_usage": True}
        return Outgoing(self.chat_path, msgspec.json.encode(out), dropped=tuple(dropped))

    def read_usage(self, usage: UsageStruct | None) -> Usage | None:
        """The upstream's counts, or None when a count is missing: zero is a value."""
        if usage is None or usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        prompt, cached, written = usage.prompt_tokens_details, 0, 0
        if prompt:
            cached, written = prompt.cached_tokens or 0, prompt.cache_write_tokens or 0
        completion, reasoning = usage.completion_tokens_details, 0
        if completion and completion.reasoning_tokens:
            reasoning = completion.reasoning_tokens
        return clamp_usage(usage.prompt_tokens, usage.completion_tokens, cached, reasoning, written)

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """A whole answer. Raises AttemptFailed for what is none, or an error inside a 200."""
        try:
            body = msgspec.json.decode(data)
        except RUBBISH:
            raise AttemptFailed(Blame.UPSTREAM, "the answer is not JSON") from None
        if isinstance(body, dict) and body.get("error"):
            raise self.read_error(200, {}, data)
        choices = body.get("choices") if isinstance(body, dict) else None
        if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
            raise AttemptFailed(Blame.UPSTREAM, "the answer has no choices")
        text: list[str] = []
        for place, choice in enumerate(choices):
            if type(choice.get("index")) is not int:
                choice["index"] = place
            message = choice.setdefault("message", {"role": "assistant", "content": None})
            if not isinstance(message, dict):
                raise AttemptFailed(Blame.UPSTREAM, "the answer has a choice without a message")
            message.setdefault("role", "assistant")
            message.setdefault("content", None)
            message.setdefault("refusal", None)
            choice.setdefault("logprobs", None)
            if not isinstance(reason := choice.get("finish_reason"), str) or not reason:
                choice["finish_reason"] = "stop"
            text.extend(_said(message))
        try:
            usage = self.read_usage(msgspec.convert(body.get("usage"), UsageStruct | None))
        except msgspec.ValidationError:
            usage = None  # counts that are no counts are missing counts
        return Completion(body, usage, choices[0]["finish_reason"], text)

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> OpenAIReader:
        return OpenAIReader(self, order)

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        return read_openai_error(status, headers, data)


def clamp_usage(
    prompt: int, completion: int, cached: int, reasoning: int, written: int = 0, written_for_an_hour: int = 0
) -> Usage:
    """Counts within sane bounds: none negative, none absurd, parts no larger than their whole. What was read from a
    cache and what was written to one are different parts of the prompt."""
    prompt = min(max(0, prompt), MAX_TOKENS_COUNTED)
    completion = min(max(0, completion), MAX_TOKENS_COUNTED)
    cached = min(max(0, cached), prompt)
    written = min(max(0, written), prompt - cached)
    reasoning = min(max(0, reasoning), completion)
    return Usage(prompt, completion, cached, reasoning, written, min(max(0, written_for_an_hour), written))


def _said(message: dict[str, Any]) -> list[str]:
    """Everything the model wrote in a message, for our own count."""
    thought = message.get("reasoning_content") or message.get("reasoning")
    said = [message.get("content"), message.get("refusal"), thought]
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    for function in [*functions, message.get("function_call")]:
        if isinstance(function, dict):
            said += [function.get("name"), function.get("arguments")]
    return [text for text in said if isinstance(text, str) and text]


class OpenAI(OpenAICompatible):
    """OpenAI itself, and whatever an operator reaches by its dialect: Ollama, llama.cpp, vLLM, OpenRouter."""

    name = "openai"
    label = "OpenAI"
    base_url = "https://api.openai.com/v1"
    token_scales = OPENAI

    def cap_field(self, upstream_id: str) -> str:
        """The thinking models refuse `max_tokens`; servers of the same dialect may know no other name."""
        thinks = upstream_id.removeprefix("ft:").startswith(("o1", "o3", "o4", "gpt-5"))
        return "max_completion_tokens" if thinks else "max_tokens"
