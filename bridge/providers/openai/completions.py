"""Plain completions in OpenAI's dialect, as before there were conversations."""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from bridge.conversation.answer import Choice, ChoiceWriter, Completion
from bridge.conversation.completion import CompletionRequest
from bridge.conversation.request import Native
from bridge.json_types import Json, JsonObject
from bridge.providers.asked import list_dropped
from bridge.providers.base import AttemptFailed, Blame, Order, Outgoing, StreamOrder, refuse
from bridge.providers.blame.errors import find_refusal, read_openai_error
from bridge.providers.finish_words import read_finish
from bridge.providers.odd_json import decode_any, mend_texts
from bridge.providers.openai.answer import read_body
from bridge.providers.openai.request_fields import SAMPLING
from bridge.providers.openai.usage import read_openai_usage
from bridge.providers.translated import TranslatedReader
from bridge.providers.wire.sse import DONE

PATH, DEEPSEEK_PATH = "/completions", "/beta/completions"
# Fields of OpenAI's own that go out as they came; those with a value of their own are written beside them.
TAKEN = frozenset(
    {"temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "stop", "seed", "user"}
    | SAMPLING.keys()
)


class OpenAICompletions:
    """See Translator."""

    path: ClassVar[str] = PATH
    taken: ClassVar[frozenset[str]] = TAKEN

    def write_request(self, order: Order) -> Outgoing:
        """The client's own body with what may go out, and with a cap. Raises AttemptFailed for what the upstream can't
        take."""
        request = order.request
        assert isinstance(request, CompletionRequest)
        assert isinstance(request.native, Native)
        body, taken = request.native.body, self.taken | order.passes
        out: JsonObject = {"model": order.upstream_id, "prompt": body["prompt"]}
        out |= {name: body[name] for name in ("suffix", "n", "best_of", "echo") if body.get(name) is not None}
        out |= {name: value for name, value in request.options.items() if name in taken and value is not None}
        out["max_tokens"] = request.output_cap_tokens if order.output_cap is None else order.output_cap
        if request.stream:
            out |= {"stream": True, "stream_options": {"include_usage": True}}
        self.fit(request, out)
        dropped = list_dropped(request.options, taken | {"stream_options"})
        return Outgoing(self.path, msgspec.json.encode(out), dropped=tuple(dropped), reading=_echoed(request))

    def fit(self, request: CompletionRequest, out: JsonObject) -> None:
        """Bring the body into what this upstream takes. May raise AttemptFailed (see `refuse`)."""

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """A whole answer. Raises AttemptFailed for what is none, or an error inside a 200."""
        mended = set[str]()
        body = read_body(data, mended)
        if isinstance(body, dict) and body.get("error"):
            raise read_openai_error(200, {}, data)
        choices = body.get("choices") if isinstance(body, dict) else None
        if not isinstance(choices, list) or not choices:
            raise find_refusal(data) or AttemptFailed(Blame.UPSTREAM, "the answer has no choices")
        found = sorted([_read_choice(choice, place) for place, choice in enumerate(choices)], key=_index)
        if [choice.index for choice in found] != list(range(len(found))):
            found = [msgspec.structs.replace(choice, index=place) for place, choice in enumerate(found)]
            mended.add("index of a choice")
        text = _without_echoes([choice.text for choice in found], outgoing.reading)
        usage = read_openai_usage(body.get("usage"))
        return Completion(found, usage, found[0].finish_reason, text, mended=mended)

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> "CompletionsReader":
        return CompletionsReader(order)


class DeepSeekCompletions(OpenAICompletions):
    """DeepSeek's, which fill in the middle: one prompt, one choice."""

    path: ClassVar[str] = DEEPSEEK_PATH
    taken: ClassVar[frozenset[str]] = frozenset(
        {"temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "stop"}
    )

    def fit(self, request: CompletionRequest, out: JsonObject) -> None:
        if len(request.prompts) > 1 or not isinstance(request.prompts[0], str):
            raise refuse("prompt", "prompt: this model takes one text at a time. Send several requests.")
        out["prompt"] = request.prompts[0]
        for name in ("n", "best_of"):
            if out.pop(name, 1) != 1:
                raise refuse(name, f"{name}: this model gives one choice. Leave it out, or ask several times.")


class CompletionsReader(TranslatedReader):
    """A stream of one choice or several, as OpenAI has it: each chunk is a piece of one."""

    def __init__(self, order: StreamOrder):
        super().__init__(order)
        self._order = order
        self._writers: dict[int, ChoiceWriter] = {order.index: self._writer}
        self._ends: dict[int, str] = {}

    def read(self, event: bytes) -> bytes:
        """The frames of one chunk. Raises AttemptFailed (see StreamReader)."""
        chunk, odd = decode_any(event)
        if odd:
            self.mended.add("JSON")
            chunk = mend_texts(chunk)
        if not isinstance(chunk, dict):
            raise AttemptFailed(Blame.UPSTREAM, "the stream holds what is no chunk")
        if chunk.get("error"):
            raise read_openai_error(200, {}, event)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            raise find_refusal(event) or AttemptFailed(Blame.UPSTREAM, "the stream holds what is no chunk")
        frames = b"".join([self._say(choice) for choice in choices])
        if (counts := read_openai_usage(chunk.get("usage"))) is not None:
            self.count(counts)
        return frames

    def _read_checked(self, event: bytes) -> bytes:
        if event != DONE:
            return super()._read_checked(event)
        self.ended = self.finished = True
        return b""

    def _say(self, choice: Json) -> bytes:
        said = _read_piece(choice)
        index = said.index if 0 <= said.index < max(1, self._order.choices) else 0
        writer = self._writers.get(index)
        if writer is None:
            writer = self._writers[index] = self._order.listener.choice(index)
        frames = b""
        if said.text or said.logprobs:
            self.text += [said.text] if said.text else []
            self.started = self.started or bool(said.text)
            frames = writer.text(said.text, said.logprobs)
        if said.finish_reason and index not in self._ends:
            self._ends[index] = said.finish_reason
            frames += writer.finish(said.finish_reason)
            if len(self._ends) >= max(1, self._order.choices):
                self.ended = True
                self.finish_reason = self._ends.get(0, said.finish_reason)
        return frames


def _index(choice: Choice) -> int:
    return choice.index


def _read_choice(choice: Json, place: int) -> Choice:
    """A whole choice. Raises AttemptFailed for what is none."""
    said = _read_piece(choice, place)
    return said if said.finish_reason else msgspec.structs.replace(said, finish_reason="stop")


def _read_piece(choice: Json, place: int = 0) -> Choice:
    """A choice or a piece of one; without an end its reason is "". Raises AttemptFailed."""
    if not isinstance(choice, dict):
        raise AttemptFailed(Blame.UPSTREAM, "the answer has a choice that is none")
    if choice.get("error"):
        raise read_openai_error(200, {}, msgspec.json.encode({"error": choice["error"]}))
    text, index, logprobs = choice.get("text"), choice.get("index"), choice.get("logprobs")
    if not isinstance(text, str):
        if "text" not in choice or text is not None:
            raise AttemptFailed(Blame.UPSTREAM, "the answer has a choice without a text")
        text = ""
    reason = read_finish(choice.get("finish_reason")) or ""
    odds = logprobs if isinstance(logprobs, dict) else None
    return Choice(reason, text, logprobs=odds, index=index if type(index) is int else place)


def _echoed(request: CompletionRequest) -> Sequence[str]:
    """What each text begins with that is no output."""
    if not request.echo:
        return ()
    each = request.choices // len(request.prompts)
    return [text for prompt in request.prompts for text in [prompt if isinstance(prompt, str) else ""] * each]


def _without_echoes(texts: list[str], echoed: object) -> list[str]:
    """What of the texts is output, for our own count."""
    if isinstance(echoed, list) and len(echoed) == len(texts):
        texts = [text.removeprefix(prompt) for text, prompt in zip(texts, echoed, strict=True)]
    return [text for text in texts if text]
