"""Pictures in OpenAI's dialect."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from bridge.conversation.answer import Choice, Completion
from bridge.conversation.images import EXTENSIONS, PARTIAL_TOKENS, ImageRequest, Picture
from bridge.conversation.usage import Counts, count_pictures
from bridge.json_types import JsonObject
from bridge.multipart import Part, find_boundary, read_parts, write_parts
from bridge.providers.asked import list_dropped
from bridge.providers.base import AttemptFailed, Blame, Order, Outgoing, StreamOrder, StreamReader
from bridge.providers.blame.errors import find_refusal, read_openai_error
from bridge.providers.openai.answer import read_body
from bridge.providers.openai.request_fields import take_passed
from bridge.providers.tally import Tally
from bridge.providers.translated import TranslatedReader

PATH, EDITS_PATH = "/images/generations", "/images/edits"
TAKEN = frozenset({"user", "safety_identifier"})
OWN_MODELS = ("gpt-image-", "chatgpt-image-")  # OpenAI's, which give base64 alone and refuse these fields
NOT_OWN = ("response_format", "style")
PICTURE_BYTES = 24 * 1024 * 1024  # of one in an answer, as base64
MOST_PARTS = 64
SAID_OF_THEM = ("background", "output_format", "quality", "size")


NO_HEADERS: tuple[tuple[str, str], ...] = ()


class Asked(Struct, frozen=True):
    """What the reader has to know: how many pictures at the most, of how many tokens each can be, and of which
    quality; "": the answer says it."""

    pictures: int
    most_tokens: int
    quality: str


class OpenAIImages:
    """See Translator."""

    def write_request(self, order: Order) -> Outgoing:
        """The fields as the client wrote them, as far as the model takes them."""
        request = order.request
        assert isinstance(request, ImageRequest)
        out: JsonObject = {"model": order.upstream_id, "prompt": request.prompt, **request.fields}
        dropped = list_dropped(request.options, TAKEN | order.passes)
        if order.upstream_id.startswith(OWN_MODELS):
            dropped += [field for field in NOT_OWN if out.pop(field, "b64_json") not in ("b64_json", None)]
        if request.choices > 1:
            out["n"] = request.choices
        if request.stream:
            out["stream"] = True
        out |= take_passed(request.options, TAKEN | order.passes, out)
        path, body, headers = PATH, b"", NO_HEADERS
        if request.pictures:
            path = EDITS_PATH
            body, content_type = write_parts(_list_parts(request, out))
            headers = (("Content-Type", content_type),)
        return Outgoing(
            path,
            body or msgspec.json.encode(out),
            headers,
            dropped=tuple(dropped),
            reading=Asked(request.choices, order.output_cap or 0, request.quality),
            answer_bytes=request.choices * PICTURE_BYTES,
        )

    def read_answer(self, data: bytes, outgoing: Outgoing) -> Completion:
        """The pictures, and what is said of them. Raises AttemptFailed."""
        asked = outgoing.reading
        assert isinstance(asked, Asked)
        body = read_body(data)
        if isinstance(body, dict) and body.get("error"):
            raise read_openai_error(200, {}, data)
        found = body.get("data") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(found, list):
            raise find_refusal(data) or AttemptFailed(Blame.UPSTREAM, "the answer has no pictures")
        pictures = [read_picture(each if isinstance(each, dict) else {}) for each in found]
        if not 0 < len(pictures) <= asked.pictures:
            raise AttemptFailed(Blame.UPSTREAM, f"the answer has {len(pictures)} pictures of {asked.pictures}")
        top = {field: body[field] for field in SAID_OF_THEM if isinstance(body.get(field), str)}
        usage = read_usage(body, len(pictures), asked)
        return Completion([Choice("stop", extras={"images": pictures})], usage, "stop", [], top=top)

    def open_reader(self, outgoing: Outgoing, order: StreamOrder) -> StreamReader:
        asked = outgoing.reading
        assert isinstance(asked, Asked)
        return ImagesReader(order, asked)


class ImagesReader(TranslatedReader):
    """A stream of unfinished pictures, and the one that they become."""

    def __init__(self, order: StreamOrder, asked: Asked):
        super().__init__(order)
        self._asked = asked
        self._shown = 0

    def read(self, event: bytes) -> bytes:
        """The frames of one event. Raises AttemptFailed (see StreamReader)."""
        body = msgspec.json.decode(event)
        if isinstance(body, dict) and (body.get("error") or body.get("type") == "error"):
            raise read_openai_error(200, {}, event)
        kind = body.get("type") if isinstance(body, dict) else None
        if not isinstance(kind, str):
            raise find_refusal(event) or AttemptFailed(Blame.UPSTREAM, "the stream holds what is no event")
        if kind.endswith(".partial_image"):
            return self._show(body)
        return self._finish(body) if kind.endswith(".completed") else b""

    def _show(self, body: JsonObject) -> bytes:
        self._shown += 1
        self.started = True
        drawn = min(self._shown * PARTIAL_TOKENS, self._asked.most_tokens)
        self.count(Counts(None, drawn, image_output_tokens=drawn))
        index = body.get("partial_image_index")
        place = index if type(index) is int else self._shown - 1
        return self._writer.extras({"partial_image": {**describe_picture(body), "partial_image_index": place}})

    def _finish(self, body: JsonObject) -> bytes:
        picture = describe_picture(body)
        self.started = self.ended = self.finished = True
        self.count(read_usage(body, 1, self._asked))
        return self._writer.extras({"images": [picture]}) + self.say_end("stop")


def describe_picture(item: JsonObject) -> JsonObject:
    """One picture with what is said of it. Raises AttemptFailed."""
    return {**read_picture(item), **{field: item[field] for field in SAID_OF_THEM if isinstance(item.get(field), str)}}


def _list_parts(request: ImageRequest, out: JsonObject) -> Iterator[Part]:
    """An edit's fields and files."""
    for name, value in out.items():
        yield Part(name, (value if isinstance(value, str) else msgspec.json.encode(value).decode()).encode())
    name = "image" if len(request.pictures) == 1 else "image[]"
    for place, picture in enumerate(request.pictures):
        yield _write_file(name, f"image{place}", picture)
    if request.mask is not None:
        yield _write_file("mask", "mask", request.mask)


def _write_file(name: str, file_name: str, picture: Picture) -> Part:
    return Part(name, picture.data, True, f"{file_name}.{EXTENSIONS[picture.media_type]}", picture.media_type)


def read_written(outgoing: Outgoing) -> JsonObject:
    """What such a request asks for, in either form, for who plays its upstream. `pictures`: how many it was sent."""
    if outgoing.path != EDITS_PATH:
        found: JsonObject = msgspec.json.decode(outgoing.body)
        return found
    parts = read_parts(outgoing.body, find_boundary(outgoing.headers[0][1]), MOST_PARTS)
    fields: JsonObject = {part.name: part.data.decode() for part in parts if not part.is_file}
    more = {"n": int(fields.get("n", 1)), "stream": fields.get("stream") == "true"}
    return {**fields, **more, "pictures": sum(part.is_file for part in parts)}


def read_picture(item: JsonObject) -> JsonObject:
    """One picture of an answer, as its bytes in base64 or by its address. Raises AttemptFailed."""
    found: JsonObject = {
        field: value
        for field in ("b64_json", "url", "revised_prompt")
        if isinstance(value := item.get(field), str) and value
    }
    if not found.keys() & {"b64_json", "url"}:
        raise AttemptFailed(Blame.UPSTREAM, "the answer has a picture that is none")
    return found


def read_usage(body: JsonObject, pictures: int, asked: Asked) -> Counts:
    """The counts of an answer. Of one that counts nothing the pictures are as many tokens as they can be: what the
    answer says in words isn't there to be counted. They are of the quality that was asked for, which was held."""
    usage, most_tokens = body.get("usage"), pictures * asked.most_tokens
    quality = asked.quality or str(body.get("quality"))
    if not isinstance(usage, dict):
        return count_pictures(Counts(None, most_tokens, image_output_tokens=most_tokens), pictures, quality)
    tally = Tally()
    prompt, completion = tally.first(usage, "input_tokens"), tally.first(usage, "output_tokens")
    if completion is None:
        completion = most_tokens
    written = usage.get("output_tokens_details")
    counts = Counts(
        prompt,
        completion,
        image_tokens=tally.part(usage.get("input_tokens_details"), "image_tokens"),
        image_output_tokens=tally.part(written, "image_tokens") if written else completion,
        odd=tally.odd,
    )
    return count_pictures(counts, pictures, quality)
