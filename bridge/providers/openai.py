"""OpenAI, and the base of every upstream that speaks its dialect: requests and answers pass almost as they are."""

from typing import Any

import msgspec

from bridge.providers.base import (
    AttemptFailed,
    Blame,
    ChatOrder,
    Completion,
    Counts,
    Outgoing,
    StreamOrder,
)
from bridge.providers.conversation import is_legacy
from bridge.providers.draft import Draft
from bridge.providers.errors import find_refusal, read_openai_error
from bridge.providers.openai_answer import read_body, read_completion
from bridge.providers.openai_choice import read_for, reading_of
from bridge.providers.openai_models import fit_openai, wants_newer_cap
from bridge.providers.openai_stream import OpenAIReader
from bridge.providers.openai_usage import read_openai_usage
from bridge.providers.token_scale import OPEN_WEIGHTS, OPENAI, TokenScales

CAPS = ("max_completion_tokens", "max_tokens")
# What would choose a model, a host, a price or stored state at an upstream that knows these fields.
NEVER_FORWARDED: tuple[str, ...] = ("models", "provider", "route", "plugins", "transforms", "background")
NEVER_FORWARDED += ("preset", "fallbacks", "api_base", "base_url", "api_key")
NEVER_FORWARDED += ("search_parameters", "enable_search")  # searches that some hosts bill apart
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

    def fit(self, draft: Draft) -> None:
        """Bring the request into what this provider takes. May raise AttemptFailed (see `refuse`)."""

    def write_chat(self, order: ChatOrder) -> Outgoing:
        """The client's body with the upstream's model name, one cap in the name that it knows, and usage asked for."""
        out = dict(order.body)
        if order.encoded_messages is not None:
            out["messages"] = order.encoded_messages
        draft = Draft(order, out, [field for field in NEVER_FORWARDED if out.pop(field, None) is not None])
        if out.get("store"):
            draft.drop("store", "metadata")
        out["model"] = order.upstream_id
        caps = [out.pop(field, None) for field in CAPS]
        if cap := order.output_cap or caps[0] or caps[1]:
            out[self.cap_field(order.upstream_id)] = cap
        if out.get("stream"):
            out["stream_options"] = {**(out.get("stream_options") or {}), "include_usage": True}
        else:
            draft.drop("stream_options")  # which OpenAI refuses beside a whole answer
        self.fit(draft)
        body, dropped = msgspec.json.encode(out), tuple(draft.dropped)
        reading = read_for(out, draft.legacy or is_legacy(order.body))
        return Outgoing(self.chat_path, body, dropped=dropped, clamped=tuple(draft.clamped), reading=reading)

    def read_usage(self, usage: Any) -> Counts | None:
        """The upstream's counts, class by class; None where it says nothing."""
        return read_openai_usage(usage)

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """A whole answer. Raises AttemptFailed for what is none, or an error inside a 200."""
        mended = set[str]()
        body = read_body(data, mended)
        if isinstance(body, dict) and body.get("error"):
            raise self.read_error(200, {}, data)
        if not isinstance(body, dict) or not body.get("choices"):
            raise find_refusal(data) or AttemptFailed(Blame.UPSTREAM, "the answer has no choices")
        return read_completion(body, self, reading_of(outgoing.reading), mended)

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> OpenAIReader:
        return OpenAIReader(self, order, reading_of(outgoing.reading))

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed:
        return read_openai_error(status, headers, data)


class OpenAI(OpenAICompatible):
    """OpenAI itself, and whatever an operator reaches by its dialect: Ollama, llama.cpp, vLLM, OpenRouter."""

    name = "openai"
    label = "OpenAI"
    base_url = "https://api.openai.com/v1"
    token_scales = OPENAI

    def cap_field(self, upstream_id: str) -> str:
        """The thinking models refuse `max_tokens`; servers of the same dialect may know no other name."""
        return "max_completion_tokens" if wants_newer_cap(upstream_id) else "max_tokens"

    def fit(self, draft: Draft) -> None:
        fit_openai(draft)
