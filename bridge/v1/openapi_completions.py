"""What /openapi.json says of plain completions."""

from bridge.dialects.completions.request import DEFAULT_CAP_TOKENS, MOST_PROMPTS
from bridge.v1.openapi_embeddings import TOKENS
from bridge.v1.schemas.blocks import Schema, ref

PROMPT: Schema = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST_PROMPTS},
        TOKENS,
        {"type": "array", "items": TOKENS, "minItems": 1, "maxItems": MOST_PROMPTS},
    ],
    "description": f"What is gone on with: a text, or up to {MOST_PROMPTS} of them; or tokens in the place of a text.",
}
FIELDS = {
    "model": "A model that goes on with texts: GET /models says which by their `endpoints`.",
    "models": "Models to try, in this order, when `model` can't be served, at most three: each at its own price.",
    "suffix": "What is to come behind the completion, for models that fill in the middle.",
    "max_tokens": f"Most tokens of each completion. Default: {DEFAULT_CAP_TOKENS}.",
    "n": "How many completions of each prompt; each is paid for.",
    "best_of": "How many are written of each prompt, at least `n`: the best are given back, and all are paid for.",
    "echo": "Begin each text with its prompt. Not in streams.",
    "logprobs": "The odds of so many tokens at each place, where the upstream tells them.",
    "user": "Your own customer, in at most 256 characters. Usage can be grouped by it; providers get a hash of it.",
}
EXAMPLES: Schema = {
    "middle": {
        "summary": "The middle of a function",
        "value": {
            "model": "deepseek-v4-flash",
            "prompt": "def fib(n):\n    ",
            "suffix": "\n    return fib(n - 1) + fib(n - 2)",
            "max_tokens": 64,
        },
    }
}
EVENT: Schema = {
    "type": "object",
    "properties": {
        "data": {
            "anyOf": [
                {"const": "[DONE]"},
                {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {"anyOf": [ref("TextCompletionChunk"), ref("Error")]},
                },
            ]
        }
    },
    "required": ["data"],
    "description": "One server-sent event, as of a chat completion.",
}


def describe_request(schemas: Schema) -> None:
    """Say what the type leaves open."""
    properties = schemas["CompletionsRequest"]["properties"]
    properties["prompt"] = dict(PROMPT)
    for field, description in FIELDS.items():
        properties[field]["description"] = description


def operation(parameters: list[Schema], answers: Schema) -> Schema:
    """What plain completions may be sent, and what they answer."""
    content = {"application/json": {"schema": ref("CompletionsRequest"), "examples": EXAMPLES}}
    return {
        "operationId": "createCompletion",
        "summary": "Go on with a text, whole or as a stream.",
        "description": "As before there were conversations, by models that have it. Hold and charge are as for a chat "
        "completion: each prompt, and all that is written.",
        "parameters": parameters,
        "requestBody": {"required": True, "content": content},
        "responses": answers,
    }
