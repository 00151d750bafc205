"""The audit's doors and voices of what is no text: vectors and pictures, in which the same words are hidden. So what is
asked of words is asked of them."""

import base64
from typing import Any

from tests.audit.said import WORDS, Scale
from tests.audit.voices import Asked, OpenAI, Usage
from tests.doors import Counts, Told
from tests.upstream import Received

MOST_WORDS = 4096  # in one of them: the model's cap
EMBEDDINGS, IMAGES = "embeddings", "images"  # the doors, and the models that they are for


class _AtItsMost(Scale):
    """A picture that nobody counted is as many tokens as it can be."""

    def count(self, prompt_words: int, words: int, answer_bytes: int) -> tuple[int, int]:
        return prompt_words, 2**31


class _Whole:
    """What two doors share that have no streams here, and answers without ends."""

    def _end(self, body: Any, told: Told, counts: Counts) -> None:
        told.end, told.finished, told.answer_id = "done", True, body["id"]
        told.counts, told.cost = counts, str(body["usage"]["cost"])

    def hear(self, event: Any, told: Told) -> None:
        raise AssertionError("a stream, where none was asked for")

    def check(self, data: bytes, told: Told) -> None:
        raise AssertionError("a stream, where none was asked for")

    def check_failure(self, told: Told, status: int, *, beyond_cap: bool = False) -> None:
        assert (told.end, told.error["code"], status) == ("error", "upstream_error", 503)


class EmbeddingsDoor(_Whole):
    name, path, id_prefix, alive = EMBEDDINGS, "/v1/embeddings", "embd-", b""

    def ask(self, model: str, prompt: str, *, stream: bool, cap: int | None = None) -> dict[str, Any]:
        return {"model": model, "input": prompt}

    def read(self, body: Any, told: Told) -> None:
        if "error" in body:
            told.end, told.error = "error", body["error"]
            return
        for item in body["data"]:
            told.add("".join(f" {WORDS[int(float(each))]}" for each in item["embedding"]), item["index"])
        self._end(body, told, Counts(body["usage"]["prompt_tokens"], 0, 0, 0, 0))


class ImagesDoor(_Whole):
    name, path, id_prefix, alive = IMAGES, "/v1/images/generations", "img-", b""

    def ask(self, model: str, prompt: str, *, stream: bool, cap: int | None = None) -> dict[str, Any]:
        return {"model": model, "prompt": prompt}

    def read(self, body: Any, told: Told) -> None:
        if "error" in body:
            told.end, told.error = "error", body["error"]
            return
        for place, item in enumerate(body["data"]):
            told.add(base64.b64decode(item["b64_json"]).decode(), place)
        usage = body["usage"]
        self._end(body, told, Counts(usage["input_tokens"], 0, 0, usage["output_tokens"], 0))


class Vectors(OpenAI):
    """OpenAI's embeddings: nothing stands around an input, and nothing is counted of what comes."""

    name, scale = "vectors", Scale(125, 0, 0)

    def read(self, request: Received) -> Asked:
        return Asked(request.json["input"], MOST_WORDS, 1, False)

    def whole(self, texts: list[str], usage: Usage | None) -> dict[str, Any]:
        data = [
            {"object": "embedding", "index": place, "embedding": [WORDS.index(word) for word in text.split()]}
            for place, text in enumerate(texts)
        ]
        counts = {"usage": {"prompt_tokens": usage[0], "total_tokens": usage[0]}} if usage else {}
        return {"object": "list", "model": "upstream", "data": data, **counts}


class Pictures(OpenAI):
    """OpenAI's pictures, a token for each word that is in them."""

    name, scale = "pictures", _AtItsMost(100, 0, 0)

    def read(self, request: Received) -> Asked:
        body = request.json
        return Asked(body["prompt"], MOST_WORDS, body.get("n") or 1, False)

    def whole(self, texts: list[str], usage: Usage | None) -> dict[str, Any]:
        data = [{"b64_json": base64.b64encode(text.encode()).decode()} for text in texts]
        counts = {"input_tokens": usage[0], "output_tokens": usage[1], "total_tokens": 0} if usage else None
        return {"created": 1, "data": data, **({"usage": counts} if counts else {})}
