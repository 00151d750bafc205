"""Whatever JSON an item, a tool or a choice is: it is read, or refused with the place at fault."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.dialects.responses.read import read_responses
from bridge.dialects.responses.request import (
    HOSTED_ITEMS,
    ITEMS,
    ResponsesRequest,
    list_references,
    refuse_foreign,
    refuse_state,
)
from bridge.errors import InvalidRequest
from bridge.vault import open_vault
from tests.rooms import FERNET_KEY

open_vault([FERNET_KEY])
KINDS = [*ITEMS, *sorted(HOSTED_ITEMS), "input_text", "input_image", "input_file", "output_text", "refusal", "function"]
KINDS += ["custom", "namespace", "tool_search", "web_search", "allowed_tools", "grammar", "user", "assistant", "system"]
FIELDS = ["type", "role", "content", "call_id", "name", "namespace", "arguments", "input", "output", "summary", "tools"]
FIELDS += ["text", "image_url", "file_data", "file_url", "file_id", "id", "encrypted_content", "format", "mode"]
FIELDS += ["parameters", "strict", "description", "refusal", "detail", "filename", "properties", "required"]
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3))
leaves = leaves | st.sampled_from([*KINDS, "ab1.AAAA", "call_1"])
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(FIELDS), values, max_size=7)


def read(body: dict[str, Any]) -> Any:
    try:
        refuse_state(body)
        refuse_foreign(body)
        request = msgspec.convert(body, ResponsesRequest)
        if list(list_references(body)):
            return None
        return read_responses(body, request, 1)
    except msgspec.ValidationError as error:
        named = " - at `$" in str(error) or "field" in str(error)
    except InvalidRequest as error:
        named = bool(error.param)
    assert named
    return None


@settings(max_examples=100)
@given(st.lists(objects, min_size=1, max_size=4))
def test_any_input(items: list[Any]):
    asked = read({"model": "m", "input": items})
    if asked is not None:
        assert asked.conversation.native is not None
        for turn in asked.conversation.turns:
            assert turn.role in ("system", "user", "assistant")


@settings(max_examples=100)
@given(st.lists(objects, max_size=3), values, st.lists(objects, max_size=2))
def test_any_tools_and_any_choice_among_them(tools: list[Any], choice: Any, more: list[Any]):
    items = [{"type": "additional_tools", "tools": more}, {"role": "user", "content": "Hi"}]
    asked = read({"model": "m", "input": items, "tools": tools, "tool_choice": choice})
    if asked is not None:
        names = [tool.name for tool in asked.conversation.tools]
        assert len(set(names)) == len(names)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(sorted(ResponsesRequest.__struct_fields__)), values, max_size=5))
def test_any_field(fields: dict[str, Any]):
    read({"model": "m", "input": "Hi", **fields})


@pytest.mark.parametrize("kind", sorted(HOSTED_ITEMS))
def test_no_item_of_a_hosted_tool_is_taken(kind: str):
    with pytest.raises(InvalidRequest) as refused:
        list(list_references({"input": [{"type": kind}]}))
    assert refused.value.param == "input[0].type"
