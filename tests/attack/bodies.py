"""Bodies that are cheap to send and could be expensive to read: by size, number, depth, or content."""

import gzip
import json
from collections.abc import Callable
from typing import Any

MEBIBYTE = 2**20
TEXT = "The quick brown fox, at 12:30, said: don't! "
PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5Erk"
    "Jggg=="
)


def raw(model: str, more: str) -> bytes:
    """A request with this further JSON among its fields."""
    return f'{{"model":"{model}","messages":[{{"role":"user","content":"Hello!"}}],"max_tokens":20,{more}}}'.encode()


def typed(model: str, content: Any = "Hello!", **more: Any) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 20, **more}
    return json.dumps(body).encode()


def keys(model: str) -> bytes:
    """21 MiB of short keys."""
    return raw(model, ",".join(f'"{number:x}":0' for number in range(2_250_000)))


def keys_within(model: str) -> bytes:
    """As many keys as a body may have, one of them spelt by an escape."""
    more = ",".join(f'"{number:x}":"{TEXT * 3}"' for number in range(125_000))
    return raw(model, '"\\u003a":0,"metadata":{' + more + "}")


def integers(model: str) -> bytes:
    return raw(model, f'"seed":[{"0," * 15_000_000}0]')


def strings(model: str) -> bytes:
    return raw(model, '"stop":[' + '"",' * 7_000_000 + '""]')


def objects(model: str) -> bytes:
    return raw(model, f'"metadata":[{"{}," * 7_000_000}0]')


def brackets(model: str) -> bytes:
    return raw(model, f'"metadata":{"[" * 15_000_000}')


def nested(model: str) -> bytes:
    """Objects within objects, again and again, each as deep as the limit and a little deeper."""
    return raw(model, '"metadata":[' + ",".join('{"a":' * 70 + "0" + "}" * 70 for _ in range(60_000)) + "]")


def text(model: str) -> bytes:
    return typed(model, TEXT * (20 * MEBIBYTE // len(TEXT)))


def blanks(model: str) -> bytes:
    return typed(model, " " * 20 * MEBIBYTE)


def escapes(model: str) -> bytes:
    """One text in which each letter is an escape."""
    content = '\\u00e9\\u003a\\\\\\"' * (20 * MEBIBYTE // 16)
    return f'{{"model":"{model}","messages":[{{"role":"user","content":"{content}"}}],"max_tokens":20}}'.encode()


def messages(model: str) -> bytes:
    turns = [{"role": ("user", "assistant")[number % 2], "content": TEXT} for number in range(60_001)]
    return json.dumps({"model": model, "messages": turns, "max_tokens": 20}).encode()


def parts(model: str) -> bytes:
    return typed(model, [{"type": "text", "text": TEXT}] * 60_000)


def tools(model: str) -> bytes:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    functions = [{"name": f"tool_{number}", "description": TEXT, "parameters": schema} for number in range(8000)]
    return typed(model, tools=[{"type": "function", "function": one} for one in functions])


def tool_schemas(model: str) -> bytes:
    """Tools whose parameters are large, with unions and references that lead to each other."""
    definitions = {
        f"d{number}": {"anyOf": [{"$ref": f"#/$defs/d{(number * 7 + step) % 300}"} for step in range(20)]}
        for number in range(300)
    }
    schema = {
        "type": "object",
        "$defs": definitions,
        "anyOf": [{"$ref": f"#/$defs/d{number}"} for number in range(300)],
    }
    functions = [{"name": f"tool_{number}", "parameters": schema, "strict": True} for number in range(3)]
    return typed(model, tools=[{"type": "function", "function": one} for one in functions])


def answer_schema(model: str) -> bytes:
    """A schema of twenty thousand properties, and some sixty levels."""
    schema: dict[str, Any] = {"type": "string"}
    for level in range(12):
        schema = {"type": "object", "properties": {f"p{level}": schema}, "additionalProperties": False}
    schema["properties"] |= {f"q{number}": {"type": "object", "properties": {}} for number in range(20_000)}
    form = {"type": "json_schema", "json_schema": {"name": "large", "strict": True, "schema": schema}}
    return typed(model, response_format=form)


def large_picture(model: str) -> bytes:
    url = "data:image/png;base64," + "iVBORw0K" * (20 * MEBIBYTE // 8)
    return typed(model, [{"type": "image_url", "image_url": {"url": url}}])


def pictures(model: str) -> bytes:
    return typed(model, [{"type": "image_url", "image_url": {"url": PICTURE}}] * 20_000)


def calls(model: str) -> bytes:
    """A tool loop of many turns, whose arguments are JSON within JSON."""
    arguments = json.dumps({"a": list(range(200)), "b": TEXT * 5})
    turns: list[dict[str, Any]] = [{"role": "user", "content": "Go."}]
    for number in range(3000):
        call = {"id": f"call_{number}", "type": "function", "function": {"name": "tool", "arguments": arguments}}
        turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        turns.append({"role": "tool", "tool_call_id": f"call_{number}", "content": TEXT})
    function = {"name": "tool", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    return json.dumps({"model": model, "messages": turns, "max_tokens": 20, "tools": tools}).encode()


def biases(model: str) -> bytes:
    return typed(model, logit_bias={str(number): 1 for number in range(100_000)}, stop=["x"] * 100_000)


def names(model: str) -> bytes:
    return typed(model, models=[f"{model}-{number}" for number in range(100_000)])


def bomb(model: str) -> bytes:
    """A gibibyte of blanks, in a mebibyte."""
    packed = gzip.compress(b" " * 64 * MEBIBYTE)
    return packed * 16


BODIES: dict[str, Callable[[str], bytes]] = {
    body.__name__: body
    for body in (
        keys,
        keys_within,
        integers,
        strings,
        objects,
        brackets,
        nested,
        text,
        blanks,
        escapes,
        messages,
        parts,
        tools,
        tool_schemas,
        answer_schema,
        large_picture,
        pictures,
        calls,
        biases,
        names,
        bomb,
    )
}
