"""The body of a chat completion: what is checked before it goes anywhere. What the
provider gets of its fields is decided by `providers/openai/request_fields.py`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from bridge.json_types import JsonObject

AtLeastOne = Annotated[int, Meta(ge=1, le=2**31)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class ImageUrl(Struct):
    url: Annotated[str, Meta(min_length=1)]
    detail: str | None = None


class TextPart(Struct, tag_field="type", tag="text"):
    text: str


class ImagePart(Struct, tag_field="type", tag="image_url"):
    image_url: ImageUrl


class AudioPart(Struct, tag_field="type", tag="input_audio"):
    input_audio: JsonObject


class FilePart(Struct, tag_field="type", tag="file"):
    file: JsonObject


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    refusal: str


class PlainText(Struct):
    """A text part where there is no other kind. A tag alone could be left out, and providers insist on it."""

    type: Literal["text"]
    text: str


TextContent = str | list[PlainText]
UserPart = TextPart | ImagePart | AudioPart | FilePart
Parts = Annotated[list[UserPart], Meta(min_length=1)]


class SystemMessage(Struct, tag_field="role", tag="system"):
    content: TextContent


class DeveloperMessage(Struct, tag_field="role", tag="developer"):
    content: TextContent


class UserMessage(Struct, tag_field="role", tag="user"):
    content: str | Parts


class FunctionCall(Struct):
    name: str
    arguments: str


class ToolCall(Struct):
    id: str
    type: str = "function"
    function: FunctionCall | None = None


class AssistantMessage(Struct, tag_field="role", tag="assistant"):
    content: str | list[TextPart | RefusalPart] | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: FunctionCall | None = None
    reasoning_content: str | None = None
    thinking_blocks: list[JsonObject] | None = None


class ToolMessage(Struct, tag_field="role", tag="tool"):
    tool_call_id: str
    content: str | Parts


class FunctionMessage(Struct, tag_field="role", tag="function"):
    name: str
    content: str | None


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage


class StreamOptions(Struct):
    include_usage: bool | None = None


class FunctionDefinition(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class Tool(Struct):
    type: str
    function: FunctionDefinition | None = None


class ResponseFormat(Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonObject | None = None


class ChatRequest(Struct, kw_only=True):
    """OpenAI's chat completion request, as far as we check it."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    models: Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=3)] | None = None
    messages: Annotated[list[Message], Meta(min_length=1, max_length=4096)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: AtLeastOne | None = None
    max_completion_tokens: AtLeastOne | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    user: str | None = None
    tools: list[Tool] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    thinking: JsonObject | None = None
    modalities: list[str] | None = None
    audio: JsonObject | None = None
    prediction: JsonObject | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: JsonObject | None = None
    web_search_options: JsonObject | None = None
    prompt_cache_key: str | None = None
    verbosity: str | None = None
    functions: list[FunctionDefinition] | None = None
    function_call: str | JsonObject | None = None
