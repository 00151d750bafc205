"""Vectors and pictures by the SDKs that no other test uses, with an upstream that answers in the bytes of OpenAI's."""

import json
import shutil
from pathlib import Path

import pytest

from tests.agents.books import check_books
from tests.played import Caller, Providers
from tests.sdks.programs import FOLDER, run_program
from tests.upstream import PIXEL, Received, Step, draws, pictures, vectors

pytestmark = [pytest.mark.clients, pytest.mark.short]
EMBEDDER, DRAWER = "text-embedding-3-small", "gpt-image-1"
VOCABULARY = FOLDER.parents[1] / "bridge/data"  # the one that the gateway counts with


def answers(request: Received) -> list[Step]:
    """Vectors, pictures, or a stream of pictures, as asked."""
    if request.path.endswith("/embeddings"):
        return vectors()(request)
    return (draws(partial=1) if request.asked.get("stream") else pictures())(request)


def run(providers: Providers, caller: Caller, program: str, folder: Path, *models: str):
    """What the program prints."""
    providers["openai"].requests.clear()
    providers["openai"].plays(answers)
    shutil.copy(FOLDER / program, folder)
    given = (providers.gateway.base_url, caller.key.secret, *models)
    return json.loads(run_program(folder / Path(program).name, given, TIKTOKEN_CACHE_DIR=str(VOCABULARY)))


def test_langchain_gets_vectors_of_tokens_and_of_texts(providers: Providers, caller: Caller, tmp_path: Path):
    of_tokens, of_texts = run(providers, caller, "python/langchain_embeddings.py", tmp_path, EMBEDDER)
    tokens, texts = (sent["input"] for sent in providers["openai"].sent)
    assert [len(each) for each in tokens] == [3, 1]
    assert all(isinstance(token, int) for each in tokens for token in each)
    assert texts == ["one two three", "four"]
    assert [vector[0] / vector[1] for vector in of_tokens] == [6, 2]  # LangChain makes them of length 1
    assert of_texts == [[13.0, 0.5], [4.0, 0.5]]
    assert [receipt["endpoint"] for receipt in check_books(caller)] == ["embeddings", "embeddings"]


def test_the_sdk_for_node_gets_vectors_and_pictures(providers: Providers, caller: Caller, tmp_path: Path):
    said = run(providers, caller, "node/other-doors.mjs", tmp_path, EMBEDDER, DRAWER)
    assert said["vectors"] == [[3.0, 0.5], [5.0, 0.5]]
    assert said["pictures"] == [[[PIXEL, PIXEL], 400], [[PIXEL], 200]]
    assert [kind for kind, _ in said["events"]] == ["image_generation.partial_image", "image_generation.completed"]
    assert said["events"][-1][1] == PIXEL
    paths = [request.path for request in providers["openai"].requests]
    assert paths == ["/v1/embeddings", *(f"/v1/images/{each}" for each in ("generations", "edits", "generations"))]
    assert caller.gateway.make.check_ledger() == []
