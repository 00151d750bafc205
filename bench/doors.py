"""What clients of each endpoint send, and how a stream of each dialect is proved whole."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from bench.dialects import INPUTS
from bench.gateway import model_of

SYSTEM = "You are a helpful assistant. Answer briefly."
QUESTION = "What is the capital of France?"
STREAM_TOKENS, WHOLE_TOKENS = 8192, 256  # which no answer of ours has


@dataclasses.dataclass(frozen=True)
class Proof:
    """What a whole stream has: the mark in its last event, and its words so many times: Responses says them again as a
    text, a part, an item and an answer are complete. `numbered`: its events count from 0 without a gap."""

    end_mark: str
    tellings: int = 1
    numbered: bool = False


PROOFS = {
    "openai": Proof("[DONE]"),
    "anthropic": Proof('"message_stop"'),
    "gemini": Proof('"STOP"'),
    "responses": Proof('"response.completed"', tellings=5, numbered=True),
}


@dataclasses.dataclass(frozen=True)
class Door:
    """An endpoint of the gateway's, the dialect of its streams, and a request's body but for model and `stream`."""

    path: str
    dialect: str
    write: Callable[[str, int], dict[str, Any]]


def _write_chat(prompt: str, cap: int) -> dict[str, Any]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
    return {"messages": messages, "max_tokens": cap, "temperature": 0.7}


def _write_message(prompt: str, cap: int) -> dict[str, Any]:
    return {"system": SYSTEM, "messages": [{"role": "user", "content": prompt}], "max_tokens": cap, "temperature": 0.7}


def _write_response(prompt: str, cap: int) -> dict[str, Any]:
    asked = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}
    return {"instructions": SYSTEM, "input": [asked], "max_output_tokens": cap, "store": False}


def _write_embeddings(prompt: str, cap: int) -> dict[str, Any]:
    """As OpenAI's SDKs ask: for base64."""
    return {"input": [prompt, *[QUESTION] * (INPUTS - 1)], "encoding_format": "base64"}


def _write_picture(prompt: str, cap: int) -> dict[str, Any]:
    return {"prompt": prompt, "size": "1024x1024", "quality": "high"}


DOORS = {
    "chat": Door("/v1/chat/completions", "openai", _write_chat),
    "messages": Door("/v1/messages", "anthropic", _write_message),
    "responses": Door("/v1/responses", "responses", _write_response),
    "embeddings": Door("/v1/embeddings", "openai", _write_embeddings),
    "images": Door("/v1/images/generations", "openai", _write_picture),
}


def ask(play: str, provider: str = "openai", stream: bool = False, prompt: str = "", door: str = "chat") -> str:
    """A request's body, as the SDKs write it. The play's name is in the prompt, which passes through every dialect."""
    cap = STREAM_TOKENS if stream else WHOLE_TOKENS
    body = {"model": model_of(provider), **DOORS[door].write(f"{play}\n{prompt or QUESTION}", cap)}
    if stream:
        body["stream"] = True
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)
