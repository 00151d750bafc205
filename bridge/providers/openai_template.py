"""The short way of most chunks of a stream: they differ from the last in one text alone."""

import msgspec

from bridge.providers.openai_shapes import ABSENT, Chunk, SoundChunk


class Template(msgspec.Struct, frozen=True):
    """A chunk around its one text. Most chunks of a stream differ from the last in nothing else: if what stands around
    it is the same to the byte, and it is one JSON text, the chunk is as sound as that one, and goes on the same way."""

    before: bytes  # up to the text's opening quote, and that
    after: bytes  # its closing quote, and on
    our_before: bytes
    our_after: bytes
    our_between: bytes  # from one text's closing quote to the next one's opening quote
    thought: bool  # whether the text is what the model thinks aloud


def find_template(event: bytes, frame: bytes, chunk: SoundChunk | Chunk) -> Template | None:
    """What the next chunks may have in common with this one; None if it isn't of the plain kind."""
    choices = chunk.choices
    if not choices or len(choices) != 1 or chunk.usage is not None or choices[0].finish_reason:
        return None
    if type(chunk) is SoundChunk and chunk.obfuscation is not ABSENT:
        return None  # of another length each time
    delta = choices[0].delta
    if delta is None or delta.refusal or delta.function_call:
        return None
    calls = delta.tool_calls or ()
    thought, thought_name = delta.reasoning_content, b'"reasoning_content":'
    if not thought:
        thought, thought_name = getattr(delta, "reasoning", None), b'"reasoning":'
    elif getattr(delta, "reasoning", None) or getattr(choices[0], "usage", None) is not None:
        return None
    said = [(b'"content":', b'"content":', delta.content), (thought_name, b'"reasoning_content":', thought)]
    said += [(b'"arguments":', b'"arguments":', call.function.arguments) for call in calls if call.function]
    texts = [(theirs, ours, text) for theirs, ours, text in said if text]
    if len(texts) != 1 or len(calls) > 1 or any(call.id or (call.function and call.function.name) for call in calls):
        return None
    theirs, ours, text = texts[0]
    value = msgspec.json.encode(text)
    if event.count(theirs + value) != 1:
        theirs += b" "
    if (
        event.count(theirs + value) != 1
        or frame.count(ours + value) != 1
        or b'"usage"' in event.replace(b'"usage":null', b"").replace(b'"usage": null', b"")
    ):
        return None
    before, _, after = (b"data: " + event).partition(theirs + value)
    our_before, _, our_after = frame.partition(ours + value)
    our_before, our_after = our_before + ours + b'"', b'"' + our_after
    return Template(
        before + theirs + b'"', b'"' + after, our_before, our_after, our_after + our_before, text is thought
    )
