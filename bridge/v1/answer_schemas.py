"""The schemas of what the API answers, for /openapi.json; requests' are built from the types that check them."""

from bridge.ledger.charge_rules import RULES
from bridge.providers.tally import PARTS
from bridge.v1.schema_blocks import Schema, array, dollars, nullable, obj, ref, text, whole

PER_TOKEN = dollars("Dollars for one token, a plain decimal.", places=15)
FURTHER_PRICES = {
    **dict.fromkeys(
        ("reasoning", "audio_prompt", "cached_audio_prompt", "audio_completion", "image_prompt"), PER_TOKEN
    ),
    "request": dollars("Dollars for each call of a provider."),
}
CHARGE_RULES = [rule.name for rule in RULES]
STAMP = {"type": "string", "format": "date-time"}
FINISH = text("Why the model stopped: stop, length, tool_calls, content_filter, or what else the provider says.")
LOGPROBS = nullable({"type": "object", "description": "Log probabilities, where they were asked for and are offered."})
REASONING = nullable(text("What a model that thinks aloud thought."))
THINKING_BLOCKS = array(
    {"type": "object"},
    description="Anthropic's signed reasoning behind tool calls. You may give it back; you need not.",
)
EXTRA_CONTENT = {
    "type": "object",
    "description": "Google's signature of the reasoning behind this call. You may give it back; you need not.",
}
ANNOTATIONS = array({"type": "object"}, description="Sources, as `url_citation`, where the model named any.")
LEGACY_CALL = obj({"name": text(), "arguments": text()}, optional=("name", "arguments"))

LIMIT = nullable(obj({"limit": whole(), "remaining": whole(), "reset": text("Such as 6m0s or 120ms.")}))

TOOL_CALL = obj(
    {
        "id": text("Give it back as tool_call_id, with the tool's result."),
        "type": text(examples=["function"]),
        "function": obj({"name": text(), "arguments": text("JSON as the model wrote it; it may not be valid.")}),
        "extra_content": EXTRA_CONTENT,
    },
    optional=("type", "function", "extra_content"),
)
ANSWER_MESSAGE = obj(
    {
        "role": {"const": "assistant"},
        "content": nullable(text()),
        "refusal": nullable(text("Why the model would not answer.")),
        "tool_calls": nullable(array(TOOL_CALL)),
        "function_call": nullable(LEGACY_CALL),
        "reasoning_content": REASONING,
        "thinking_blocks": THINKING_BLOCKS,
        "annotations": ANNOTATIONS,
    },
    optional=("tool_calls", "function_call", "reasoning_content", "thinking_blocks", "annotations"),
)
DELTA = obj(
    {
        "role": text("In the first chunk."),
        "content": nullable(text("The text to append.")),
        "refusal": nullable(text()),
        "reasoning_content": REASONING,
        "tool_calls": nullable(
            array(
                obj(
                    {
                        "index": whole("Which call these pieces belong to."),
                        "id": text("In the call's first piece."),
                        "type": text(),
                        "function": obj(
                            {"name": text("In the call's first piece."), "arguments": text("To append.")},
                            optional=("name", "arguments"),
                        ),
                        "extra_content": EXTRA_CONTENT,
                    },
                    optional=("id", "type", "function", "extra_content"),
                )
            )
        ),
        "function_call": nullable(LEGACY_CALL),
        "thinking_blocks": THINKING_BLOCKS,
        "annotations": ANNOTATIONS,
    },
    optional=(
        "role",
        "content",
        "refusal",
        "reasoning_content",
        "tool_calls",
        "function_call",
        "thinking_blocks",
        "annotations",
    ),  # fmt: skip
)

ANSWERS: Schema = {
    "Error": obj(
        {
            "error": obj(
                {
                    "code": text("What went wrong, for a program.", examples=["insufficient_balance"]),
                    "message": text("What went wrong and what helps, for a person."),
                    "type": {
                        "enum": [
                            "invalid_request_error",
                            "authentication_error",
                            "permission_error",
                            "rate_limit_error",
                            "billing_error",
                            "api_error",
                        ]
                    },
                    "param": nullable(text("The field at fault.", examples=["messages[2].content"])),
                },
                additionalProperties=False,
            )
        },
        additionalProperties=False,
    ),
    "ProviderCounts": obj(
        {
            **dict.fromkeys(("prompt_tokens", "completion_tokens"), nullable({"type": "integer"})),
            **dict.fromkeys(PARTS, {"type": "integer"}),
            "not_charged_tokens": whole("Of them, how many were not charged. In receipts."),
            "not_charged": dollars("What those would have cost. In receipts."),
        },
        optional=(*PARTS, "not_charged_tokens", "not_charged"),
        description="How the provider counted, where that differs from what was charged: it gave no count of a part "
        "(null), or one that can be none, or more than the request can hold.",
    ),
    "Usage": obj(
        {
            "prompt_tokens": whole("Those read from a cache and written to one included."),
            "completion_tokens": whole("Reasoning included."),
            "total_tokens": whole(),
            "prompt_tokens_details": obj(
                {
                    "cached_tokens": whole("Read from the provider's cache."),
                    "cache_write_tokens": whole("Written to it."),
                    "audio_tokens": whole("Sound, where there was some."),
                },
                optional=("audio_tokens",),
            ),
            "completion_tokens_details": obj({"reasoning_tokens": whole()}),
            "provider_counts": ref("ProviderCounts"),
            "cost": {"type": "number", "minimum": 0, "description": "What was charged, in dollars, with exact digits."},
        },
        optional=("provider_counts",),
    ),
    "AnswerMessage": ANSWER_MESSAGE,
    "ChatCompletion": obj(
        {
            "id": text("`chatcmpl-` and the request's own number.", pattern="^chatcmpl-"),
            "object": {"const": "chat.completion"},
            "created": whole("Seconds since 1970."),
            "model": text("The model as it was asked for."),
            "choices": array(
                obj(
                    {
                        "index": whole(),
                        "message": ref("AnswerMessage"),
                        "finish_reason": FINISH,
                        "logprobs": LOGPROBS,
                    }
                ),
                minItems=1,
            ),
            "usage": ref("Usage"),
        },
    ),
    "ChatCompletionChunk": obj(
        {
            "id": text("The same in every chunk.", pattern="^chatcmpl-"),
            "object": {"const": "chat.completion.chunk"},
            "created": whole("Seconds since 1970."),
            "model": text("The model as it was asked for."),
            "choices": array(
                obj(
                    {
                        "index": whole(),
                        "delta": DELTA,
                        "finish_reason": nullable(FINISH),
                        "logprobs": LOGPROBS,
                    },
                    optional=("finish_reason", "logprobs"),
                ),
                description="Empty in the chunk that carries the usage.",
            ),
            "usage": nullable(ref("Usage")),
        },
        optional=("usage",),
        description="One event of a stream. `usage` is there, null but in the last chunk, with "
        "stream_options.include_usage alone.",
    ),
    "Model": obj(
        {
            "id": text("What a request names.", examples=["gpt-4o"]),
            "object": {"const": "model"},
            "created": whole("Seconds since 1970."),
            "owned_by": text(examples=["openai"]),
            "name": text("For people.", examples=["GPT-4o"]),
            "context_length": whole("Tokens of prompt and answer together."),
            "max_output_tokens": whole("Most tokens of one answer."),
            "pricing": nullable(
                obj(
                    {
                        "prompt": PER_TOKEN,
                        "completion": PER_TOKEN,
                        "cached_prompt": PER_TOKEN,
                        "cache_write": PER_TOKEN,
                        "cache_write_hour": PER_TOKEN,
                        **FURTHER_PRICES,
                        "tiers": array(
                            obj(
                                {
                                    "above_prompt_tokens": whole(),
                                    **dict.fromkeys(
                                        ("prompt", "completion", "cached_prompt", "cache_write", "cache_write_hour"),
                                        PER_TOKEN,
                                    ),
                                    **FURTHER_PRICES,
                                },
                                optional=tuple(FURTHER_PRICES),
                            ),
                            description="What the whole of a request costs whose prompt is longer.",
                        ),
                    },
                    optional=(*FURTHER_PRICES, "tiers"),
                    description="What this key's account pays, markup included. Classes without a price of their own: "
                    "reasoning and audio_completion cost what completion does, audio_prompt and image_prompt what "
                    "prompt does, a request nothing. cached_prompt is of prompt tokens that the provider reads from "
                    "its cache, cache_write of those that it writes to one, cache_write_hour of those to be kept for "
                    "an hour.",
                )
            ),
            "aliases": array(text(), description="Other names for it."),
            "input_modalities": array(text(), examples=[["text", "image"]]),
            "supported_parameters": array(text(), examples=[["temperature", "tools"]]),
            "status": {"enum": ["live", "degraded", "unavailable", "retired"]},
            "note": text("What a buyer should know, such as which model answers in its place."),
        },
        optional=("note",),
    ),
    "Quote": obj(
        {
            "object": {"const": "quote"},
            "model": obj({"asked": text(), "served": text()}),
            "route": array(
                obj({"model": text(), "channel": text(), "upstream": text("What the channel calls the model.")}),
                description="The channels in the order in which they would be tried now.",
            ),
            "max_cost": dollars("The most that the answer can cost, in dollars."),
            "tokens": obj(
                {
                    "prompt_at_most": whole("No count of the prompt is above it."),
                    "output_at_most": whole("Of each choice: yours, or what the model and the balance allow."),
                    "choices": whole(),
                    "calls": whole("Where choices are parallel calls, how many; each reads the prompt."),
                }
            ),
            "hold": dollars("What would be set aside, in dollars."),
            "available": dollars("What the account could hold now, in dollars."),
            "budget_remaining": nullable(dollars("What is left of the key's budget; null without one.")),
            "refusal": nullable(text("The code with which the request would be refused now; null if it would run.")),
            "limits": obj({"requests": LIMIT, "tokens": LIMIT}, description="null is no limit."),
            "dropped": array(text(), description="Fields that would be left out."),
            "clamped": array(text(), description="Values that would be brought into range."),
        }
    ),
    "ModelList": obj({"object": {"const": "list"}, "data": array(ref("Model"))}),
    "Key": obj(
        {
            "object": {"const": "key"},
            "label": text("The key's name."),
            "limits": obj(
                {
                    "requests_per_minute": nullable(whole()),
                    "tokens_per_minute": nullable(whole()),
                    "concurrent_requests": nullable(whole()),
                },
                description="null is no limit.",
            ),
            "budget": nullable(obj({"amount": dollars(), "period": text(), "remaining": dollars()})),
            "models": nullable(array(text(), description="The models it may use; null is all of them.")),
            "usage": obj({"today": dollars(), "week": dollars(), "month": dollars()}),
            "expires_at": nullable(STAMP),
        }
    ),
    "Credits": obj(
        {
            "object": {"const": "credits"},
            "balance": dollars("All that was credited, less all that was used."),
            "held": dollars("Set aside for requests that run."),
            "available": dollars("The balance less what is held."),
            "total_credited": dollars(),
            "total_used": dollars(),
        }
    ),
    "Receipt": obj(
        {
            "object": {"const": "request"},
            "id": text("The answer's x-request-id.", pattern="^req_"),
            "answer_id": text("The answer's own id.", pattern="^chatcmpl-"),
            "created_at": STAMP,
            "settled_at": STAMP,
            "endpoint": text(),
            "stream": {"type": "boolean"},
            "model": obj({"asked": text(), "served": text(), "upstream": nullable(text())}),
            "outcome": {"enum": ["complete", "cut", "client_gone", "client_slow", "failed", "worker_lost"]},
            "state": {"enum": ["captured", "released"], "description": "captured is charged, released is not."},
            "status": whole("The HTTP status; 499 where the client had left."),
            "error_code": nullable(text()),
            "finish_reason": nullable(text()),
            "attempts": array(
                obj(
                    {
                        "channel": text(),
                        "upstream_id": text("The model's name there."),
                        "started_ms": whole("Since the request came in."),
                        "took_ms": whole(),
                        "outcome": text(),
                    }
                )
            ),
            "tokens": obj(
                {
                    "prompt": whole("All of the prompt."),
                    "cached": whole("Of the prompt: read from the provider's cache."),
                    "cache_write": whole("Of the prompt: written to it."),
                    "cache_write_hour": whole("Of the written: to be kept for an hour."),
                    "completion": whole(),
                    "reasoning": whole(),
                    "source": {"enum": ["provider", "estimate", "mixed", "none"], "description": "Who counted."},
                }
            ),
            "provider_counts": nullable(ref("ProviderCounts")),
            "prices_per_million": obj(
                {
                    "prompt": dollars(),
                    "cached": dollars(),
                    "cache_write": dollars(),
                    "cache_write_hour": dollars(),
                    "completion": dollars(),
                    "version": whole(),
                }
            ),
            "price": obj(
                {
                    "version": whole("The price's version, frozen when the request was admitted."),
                    "above_prompt_tokens": whole("The tier that applied is that of longer prompts; 0 is the ordinary."),
                    "markup_percent": text("Included in the unit prices.", examples=["12.5"]),
                    "markup_rule": {"enum": ["none", "model", "account"], "description": "Whose markup it is."},
                    "lines": array(
                        obj(
                            {
                                "class": text(examples=["prompt"]),
                                "count": whole("Tokens; of the class request, calls."),
                                "per_million": dollars("The unit price of tokens."),
                                "per_request": dollars("The unit price of calls."),
                                "amount": dollars("Count × unit price, exactly.", places=15),
                            },
                            optional=("per_million", "per_request"),
                        )
                    ),
                    "sum": dollars(
                        "Of the amounts, exactly: rounded up once, it is charge plus not_charged.", places=15
                    ),
                }
            ),
            "hold": dollars("Set aside before the call: the most it could cost."),
            "charge": dollars("What was paid."),
            "not_charged": dollars("What the answer cost beyond hold and balance: we pay it."),
            "released": dollars("What was given back."),
            "rule": obj(
                {
                    "name": {"enum": CHARGE_RULES, "description": "The rule that it was charged by."},
                    "text": text("The same in words."),
                }
            ),
            "balance_after": nullable(
                dollars("What the account had right after this was settled; null where that was not kept yet.")
            ),
            "refund": nullable(
                obj(
                    {
                        "amount": dollars("What was given back later: all of the charge."),
                        "reason": text(),
                        "created_at": STAMP,
                    }
                )
            ),
            "output_cap_tokens": whole(),
            "dropped": array(text(), description="Fields that the provider has no equal for."),
            "clamped": array(text(), description="Values that were brought into range."),
            "first_content_ms": nullable(whole()),
            "total_ms": whole(),
        }
    ),
}
