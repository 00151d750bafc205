"""OpenAI's Responses against exchanges, our own and recorded: what is read was said, whole and streamed, wherever the
stream is cut."""

import json
from typing import Any

import pytest

from bridge.conversation.usage import Counts
from bridge.providers.base import AttemptFailed, Blame, StreamOrder
from tests.providers.recordings import list_exchanges
from tests.providers.responses.reading import NATIVE, OPENAI, SENT, OfResponses, cut, gather

APIS = ("openai-responses", "azure-openai-responses", "deepseek-responses")
EXCHANGES = [each for name in ("openai", "deepseek") for each in list_exchanges(name, *APIS)]
UNFINISHED = ("queued", "in_progress", "failed")


def named(exchanges: Any) -> list[Any]:
    return [pytest.param(each, id=each["id"]) for each in exchanges]


def answered(stream: bool) -> list[Any]:
    good = [each for each in EXCHANGES if each["response"]["status"] == 200]
    return named(each for each in good if is_stream(each) is stream and last_of(each)["status"] not in UNFINISHED)


def is_stream(exchange: dict[str, Any]) -> bool:
    return not exchange["response"]["body_text"].lstrip().startswith("{")


def events_of(text: str) -> list[dict[str, Any]]:
    lines = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def last_of(exchange: dict[str, Any]) -> dict[str, Any]:
    """The whole response."""
    text = exchange["response"]["body_text"]
    if not is_stream(exchange):
        return json.loads(text)
    return next(one["response"] for one in reversed(events_of(text)) if "response" in one)


def items_of(exchange: dict[str, Any]) -> list[dict[str, Any]]:
    """The output, as its parts or as the last event has it: some normalised recordings lack it in one."""
    output = last_of(exchange)["output"]
    done = [one for one in events_of(exchange["response"]["body_text"]) if one["type"] == "response.output_item.done"]
    found = {one["output_index"]: one["item"] for one in done} if is_stream(exchange) else {}
    return [found.get(place, item) for place, item in enumerate(output)] or [found[place] for place in sorted(found)]


def texts_of(items: list[dict[str, Any]], kind: str, field: str) -> str:
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    return "".join(part[field] for part in parts if part["type"] == kind)


def thoughts_of(items: list[dict[str, Any]]) -> str:
    thoughts = [item for item in items if item["type"] == "reasoning"]
    told = [item["summary"] or item.get("content") or [] for item in thoughts]
    return "".join("\n\n".join(part["text"] for part in parts) for parts in told)


def calls_of(items: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    functions = [item for item in items if item["type"] in ("function_call", "custom_tool_call")]
    return [(item["call_id"], item["name"], item.get("arguments") or item.get("input", "")) for item in functions]


def check(choice: Any, exchange: dict[str, Any]) -> None:
    items, last = items_of(exchange), last_of(exchange)
    assert choice.text == texts_of(items, "output_text", "text")
    assert (choice.refusal or "") == texts_of(items, "refusal", "refusal")
    assert choice.reasoning == thoughts_of(items)
    calls = calls_of(items)
    assert [(call.id, call.name, call.arguments) for call in choice.calls] == calls
    encrypted = [item["encrypted_content"] for item in items if item.get("encrypted_content")]
    assert [sealed.value["encrypted_content"] for sealed in choice.sealed] == encrypted
    ended = "length" if last["status"] == "incomplete" else "tool_calls" if calls else "stop"
    assert choice.finish_reason == ended
    cited = [part for item in items if item["type"] == "message" for part in item["content"]]
    pages = [one for part in cited for one in part.get("annotations") or () if one["type"] == "url_citation"]
    assert [one["url_citation"]["url"] for one in choice.extras.get("annotations", ())] == [one["url"] for one in pages]


def check_counts(said: Counts | None, exchange: dict[str, Any]) -> None:
    usage = last_of(exchange).get("usage")
    if usage is None:
        assert said is None
        return
    of_input, of_output = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    cached, written = of_input.get("cached_tokens") or 0, of_input.get("cache_write_tokens") or 0
    thought = of_output.get("reasoning_tokens") or 0
    assert said == Counts(usage["input_tokens"], usage["output_tokens"], cached, thought, written)


@pytest.mark.parametrize("exchange", answered(stream=False))
def test_a_whole_answer_says_what_was_recorded(exchange: dict[str, Any]):
    data = exchange["response"]["body_text"].encode()
    completion = OPENAI.read_answer(data, SENT)
    [choice] = completion.choices
    check(choice, exchange)
    check_counts(completion.usage, exchange)
    assert not completion.mended
    assert completion.native is None
    native = OPENAI.read_answer(data, NATIVE).native
    assert native is not None
    assert (native.dialect, native.body) == ("responses", json.loads(data))


@pytest.mark.parametrize("exchange", answered(stream=True))
@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("how", ["whole", "byte by byte", "anywhere", "anywhere else"])
def test_a_stream_says_what_was_recorded_wherever_it_is_cut(exchange: dict[str, Any], line_end: str, how: str):
    data = exchange["response"]["body_text"].replace("\r\n", "\n").replace("\n", line_end).encode()
    choice, reader = gather(cut(data, how))
    check(choice, exchange)
    check_counts(reader.usage, exchange)
    assert (reader.ended, reader.finished, reader.mended) == (True, True, set())
    said = [choice.text, choice.reasoning, choice.refusal or ""]
    said += [piece for call in choice.calls for piece in (call.name, call.arguments)]
    assert sorted("".join(reader.text)) == sorted("".join(said))


@pytest.mark.parametrize("exchange", answered(stream=True))
@pytest.mark.parametrize("how", ["whole", "byte by byte", "anywhere"])
def test_a_streams_own_events_go_on_to_who_speaks_the_dialect(exchange: dict[str, Any], how: str):
    """With our names and without the last one, which is kept."""
    listener = OfResponses()
    reader = OPENAI.open_reader(NATIVE, StreamOrder(listener, 2**22))
    frames = b"".join(reader.feed(piece) for piece in cut(exchange["response"]["body_text"].encode(), how))
    passed, theirs = events_of(frames.decode()), events_of(exchange["response"]["body_text"])
    *before, last = [one for one in theirs if one["type"].startswith("response.")]
    assert [one["type"] for one in passed] == [one["type"] for one in before]
    for ours, their in zip(passed, before, strict=True):
        if "response" in their:
            assert (ours["response"]["id"], ours["response"]["model"]) == ("resp_ours", "public")
        elif "item" in their:
            item = ours["item"]
            if their["item"].get("encrypted_content") and ours["type"].endswith("done"):
                assert item["encrypted_content"] == f"sealed {their['item']['encrypted_content']}"
            assert {**item, "encrypted_content": 0} == {**their["item"], "encrypted_content": 0}
        else:
            assert ours == their
    assert listener.chunks is not None
    assert listener.chunks.ending is not None
    assert listener.chunks.ending["type"] == last["type"]
    assert reader.finished
    check_counts(reader.usage, exchange)


@pytest.mark.parametrize("exchange", named(each for each in EXCHANGES if each["response"]["status"] != 200))
def test_an_error_body_is_never_an_answer(exchange: dict[str, Any]):
    body, status = exchange["response"]["body_text"].encode(), exchange["response"]["status"]
    with pytest.raises(AttemptFailed) as failed:
        OPENAI.read_answer(body, SENT)
    assert failed.value.blame in (OPENAI.read_error(status, {}, body).blame, Blame.UPSTREAM, Blame.SETUP)


@pytest.mark.parametrize(
    "exchange", named(each for each in EXCHANGES if is_stream(each) and last_of(each)["status"] in UNFINISHED)
)
def test_a_stream_that_failed_is_no_answer(exchange: dict[str, Any]):
    with pytest.raises(AttemptFailed):
        gather([exchange["response"]["body_text"].encode()])


def test_exchanges_of_our_own_are_read_where_there_are_no_others():
    assert {is_stream(each) for each in EXCHANGES} == {True, False}
