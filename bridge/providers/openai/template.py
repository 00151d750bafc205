"""The short way of most chunks of a stream: they differ from the last in one text alone."""

import msgspec

from bridge.conversation.answer import Channel, ChoiceWriter

# Where a text stands in a server's chunk, by where it stands in ours.
NAMES: dict[str, tuple[bytes, ...]] = {
    "content": (b'"content":', b'"text":'),
    "reasoning_content": (b'"reasoning_content":', b'"reasoning":', b'"thinking":', b'"text":', b'"summary":'),
    "arguments": (b'"arguments":',),
}


class Template(msgspec.Struct, frozen=True):
    """A chunk around its one text. Most chunks of a stream differ from the last in nothing else: if what stands around
    it is the same to the byte, and it is one JSON text, the chunk is as sound as that one, and goes on the same way."""

    before: bytes  # up to the text's opening quote, and that
    after: bytes  # its closing quote, and on
    thought: bool  # whether the text is what the model thinks aloud
    our_before: bytes = b""
    our_after: bytes = b""
    our_between: bytes = b""  # from one text's closing quote to the next one's opening quote
    writer: ChoiceWriter | None = None  # who is told the texts, where our bytes are nobody's, and what they are
    channel: Channel = ""


def find_template(
    event: bytes, frame: bytes, field: str, text: str, writer: ChoiceWriter | None = None, channel: Channel = ""
) -> Template | None:
    """What the next chunks may have in common with this one, whose one text is `field`; None where that can't be told
    from the rest by its bytes, or where there are counts, which change. `frame` is the chunk as it goes out, unless
    there is a `writer` who is told its text."""
    value = msgspec.json.encode(text)
    theirs = _find_name(event, NAMES[field], value)
    if not theirs or b'"usage"' in event.replace(b'"usage":null', b"").replace(b'"usage": null', b""):
        return None
    before, _, after = (b"data: " + event).partition(theirs + value)
    before, after, thought = before + theirs + b'"', b'"' + after, field == "reasoning_content"
    if writer is not None:
        return Template(before, after, thought, writer=writer, channel=channel)
    ours = _find_name(frame, NAMES[field][:1], value)
    if not ours:
        return None
    our_before, _, our_after = frame.partition(ours + value)
    our_before, our_after = our_before + ours + b'"', b'"' + our_after
    return Template(before, after, thought, our_before, our_after, our_after + our_before)


def _find_name(data: bytes, names: tuple[bytes, ...], value: bytes) -> bytes:
    """The name that this value has, once, and what stands between the two."""
    for name in names:
        for written in (name, name + b" "):
            count = data.count(written + value)
            if count:
                return written if count == 1 else b""
    return b""
