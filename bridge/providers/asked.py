"""Reads what a Conversation asks for beside its words, as far as it means something: tools, the choice among them, a
schema, thinking. What a client's dialect left open is refused here, with the field's name."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from bridge.conversation.request import Conversation, Tool, ToolChoice
from bridge.conversation.turns import Call, Result
from bridge.json_types import Json, JsonObject
from bridge.providers.base import refuse
from bridge.providers.openai.request_fields import MAX_DROPPED, show_field

# What means the same as leaving it out: not worth a word when a provider has no equal for it.
NEUTRAL: dict[str, tuple[Json, ...]] = {
    "frequency_penalty": (0,),
    "function_call": ("auto",),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "modalities": (["text"], []),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "stream_options": ({},),
    "top_logprobs": (0,),
    "top_p": (1,),
    "verbosity": ("medium",),
}


# The effort that a number of tokens to think with stands for: below so many of them.
EFFORTS_BELOW = ((2048, "minimal"), (8192, "low"), (24_576, "medium"))


def effort_of(budget_tokens: int) -> str:
    """The effort that a budget means to a model that takes none."""
    return next((effort for below, effort in EFFORTS_BELOW if budget_tokens < below), "high")


class Effort(Struct, frozen=True):
    """How much the model is to think: `on` False turns it off; `effort` and `budget_tokens` are what was asked for."""

    on: bool | None = None
    effort: str | None = None
    budget_tokens: int | None = None


def list_functions(conversation: Conversation) -> list[Tool]:
    """The tools that are offered, or the legacy functions where there are none. Raises AttemptFailed for custom tools:
    only OpenAI's own models have them."""
    legacy, functions = conversation.legacy, []
    for tool in conversation.tools:
        if tool.custom is not None:
            place = f"{tool.place}.type" if tool.dialect else tool.place
            raise refuse(place, f"{place}: this model takes function tools only.", "unsupported_parameter")
        if tool.legacy is legacy:
            functions.append(tool)
    return functions


def list_called_tools(conversation: Conversation) -> Iterator[str]:
    """The names in a conversation: of the calls made in it, and of results that name themselves."""
    for turn in conversation.turns:
        for part in turn.parts:
            if isinstance(part, (Call, Result)) and part.name is not None:
                yield part.name


def read_tool_choice(conversation: Conversation) -> ToolChoice | None:
    """None where the client said nothing. Raises AttemptFailed for what means nothing."""
    choice = conversation.tool_choice
    if choice is None or choice.mode:
        return choice
    param = choice.place
    raise refuse(
        param, f"{param} must be auto, none, required, a function's name as OpenAI writes it, or allowed_tools."
    )


def read_schema(conversation: Conversation) -> JsonObject | None:
    """The JSON schema that the answer has to follow, or None. Raises AttemptFailed for a format without one."""
    wanted = conversation.format
    if wanted is None or wanted.kind != "json_schema":
        return None
    schema = (wanted.definition or {}).get("schema")
    if not isinstance(schema, dict):
        param = "response_format.json_schema.schema"
        raise refuse(param, f"{param} is required: a JSON schema.", "missing_required_parameter")
    return schema


def wants_json(conversation: Conversation) -> bool:
    """Whether any JSON object will do (`json_object`)."""
    return conversation.format is not None and conversation.format.kind == "json_object"


def find_cap(conversation: Conversation, output_cap: int | None) -> int | None:
    """The output cap that goes out: ours where there is one, else the client's own."""
    return output_cap or (conversation.sent_cap and conversation.sent_cap[1])


def read_thinking(conversation: Conversation) -> Effort:
    """What `reasoning_effort` and `thinking` say together. Raises AttemptFailed for a `thinking` that means nothing."""
    effort, thinking = conversation.effort, conversation.thinking
    if thinking is None:
        return Effort(False, "none") if effort == "none" else Effort(None, effort or None)
    if not thinking.kind:
        raise refuse("thinking", 'thinking must be {"type": "enabled", "budget_tokens": 2048}, or of type "disabled".')
    if thinking.kind == "disabled":
        return Effort(False)
    return Effort(True, None if effort == "none" else effort, thinking.budget_tokens)


def list_dropped(options: Mapping[str, Json], taken: frozenset[str]) -> list[str]:
    """The options that say something and that the provider has no equal for, in the client's order: as many as a header
    may hold."""
    dropped = [
        show_field(field)
        for field, value in options.items()
        if field not in taken and value is not None and value not in NEUTRAL.get(field, ())
    ]
    return dropped[:MAX_DROPPED]
