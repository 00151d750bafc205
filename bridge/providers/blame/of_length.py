"""What providers and servers say of a prompt that is too long, or a request that is too large: a line for each wording.

Agents shorten their conversation when they read `context_length_exceeded`, so it has to be found in all of them. What
is said of tokens in a minute is no complaint of this kind: that is a limit of the operator's there."""

from bridge.providers.blame.complaint import TOO_LARGE, TOO_LONG, Complaint, complaint

LARGE = "The request is too large for the provider. Send smaller files, or less of the conversation."
_BOTH = "The prompt is too long: {1} tokens, of at most {2}."
_TURNED = "The prompt is too long: {2} tokens, of at most {1}."
_MOST = "The prompt is too long: this model takes {1} tokens."
_PLAIN = "The prompt is too long for this model."
_TOGETHER = "The prompt ({1} tokens) and max_tokens ({2}) are more than the {3} tokens that this model takes together."
_N = r"([\d,]{1,15})"


def _too_long(pattern: str, message: str = _PLAIN, param: str = "messages", sure: bool = True) -> Complaint:
    return complaint(pattern.replace("#", _N), message, param, TOO_LONG, sure)


# With both figures. The servers that say it so are named where they are few.
_MEASURED = (
    _too_long(r"prompt is too long: # tokens > #", _BOTH),  # Anthropic
    _too_long(
        r"input length and `?max_tokens`? exceed context limit:? ?\(?(?:i\.e\.? ?)?# \+ # > "
        r"#",
        _TOGETHER,
        "max_tokens",
    ),
    _too_long(r"input token count \(?#\)? exceeds the maximum number of tokens allowed \(?#", _BOTH),  # Gemini
    _too_long(r"input token count is # but (?:the )?model only supports up to #", _BOTH),  # Vertex
    _too_long(
        r"max_(?:completion_)?tokens'? (?:or '?max_completion_tokens'? )?is too large: #\. this "
        r"model's maximum context "
        r"length is # tokens and your request has # input tokens",
        "The prompt ({3} tokens) and max_tokens ({1}) are more than the {2} tokens that this model takes together.",
        "max_tokens",
    ),  # vLLM
    _too_long(r"maximum context length is # tokens.{0,60}prompt contains (?:at least )?# input tokens", _TURNED),
    _too_long(r"maximum context length is # tokens.{0,40}?(?:requested|resulted in) (?:about )?# tokens", _TURNED),
    _too_long(r"prompt \(length #\) is longer than the maximum model length of #", _BOTH),  # vLLM
    _too_long(r"prompt has # tokens,? but the configured context size is #", _BOTH),  # ds4
    _too_long(r"input \(# tokens\) is longer than the model'?s context length \(#", _BOTH),  # SGLang, Together
    _too_long(r"\(# tokens\) exceeds (?:the )?available context size \(#", _BOTH),  # llama.cpp
    _too_long(r"maximum prompt length is # but the request contains #", _TURNED),  # xAI
    _too_long(r"prompt contains # tokens.{0,40}too large for model with # maximum context", _BOTH),  # Mistral
    _too_long(r"prompt is too long: #, model maximum context length: #", _BOTH),  # Fireworks
    _too_long(r"prompt token count of # exceeds the limit of #", _BOTH),  # Copilot
    _too_long(r"input length:? \(?#\)?(?: tokens)? exceeds [a-z' ]{0,60}(?:length|limit)(?: of)? ?\(?#", _BOTH),
    _too_long(r"request contains # tokens, which exceeds the limit of #", _BOTH),  # Vertex
    _too_long(r"max input tokens: #, request input token count: #", _TURNED),  # Bedrock
    _too_long(r"prompt has # tokens,? which exceeds the maximum (?:allowed )?#", _BOTH),
    _too_long(r"sequence length # exceeds (?:the )?max\w{0,20} #", _BOTH),
    _too_long(r"max_prompt_tokens exceeded: prompt is longer than # tokens", _MOST),
    _too_long(r"exceed the configured limit of # tokens\. your messages resulted in #", _TURNED),  # OpenAI
    _too_long(r"current length is # while limit is #", _BOTH),  # Cerebras
    _too_long(r"length of prompt_tokens \(#\) must be less than max_seq_len \(#", _BOTH),  # SiliconFlow
    _too_long(r"maximum output tokens \(#\) exceeded this model context window limit \(#", _BOTH),  # Cloudflare
    _too_long(r"cannot exceed # - received #", _TURNED),  # Cohere
    _too_long(r"prompt is # tokens long.{0,200}maximum supported sequence length is just #", _BOTH),  # SambaNova
    _too_long(
        r"`?inputs`? tokens \+ `?max_new_tokens`? must be <= #",
        "The prompt and max_tokens are more than the {1} tokens that this model takes together.",
        "max_tokens",
    ),  # TGI
    _too_long(r"`?inputs`? must have less than # tokens", _MOST),  # TGI
    _too_long(r"(?:exceeded|exceeds) (?:the )?model token limit: #", _MOST),  # Moonshot
    _too_long(r"range of input length should be \[\d{1,9}, ?#", _MOST),  # Qwen
    _too_long(r"too large for .{1,60} model\. max size: # tokens", _MOST),  # GitHub
)
_UNMEASURED = (
    _too_long(
        r"prompt tokens limit exceeded: \d", "The prompt is too long for this model at the moment."
    ),  # OpenRouter
    _too_long(r"context_length_exceeded|context_window_exceeded|ContextWindowExceededError"),
    _too_long(r"maximum context length"),
    _too_long(r"length of all messages is too long|exceeds? max message tokens"),  # Perplexity, Volcengine
    _too_long(r"invalid 'messages\S{0,100}': string too long"),  # OpenAI
    _too_long(r"prompt (?:is )?too long|prompt (?:is )?too large for"),  # Anthropic, z.AI, Ollama
    _too_long(r"input (?:text |context |prompt )?is too long"),  # Bedrock, Mistral, Gemini
    _too_long(
        r"input (?:token )?length (?:is )?too long|(?:length|number) of tokens in the (?:request|prompt) is too long"
    ),
    _too_long(r"context window exceeds limit"),  # MiniMax
    _too_long(r"exceed(?:s|ed|ing)? .{0,40}context (?:window|length|size|limit|budget)"),  # OpenAI, llama.cpp, Ollama
    _too_long(r"context (?:window|length|size)(?: limit)? (?:has been |was |is )?exceeded"),
    _too_long(r"greater than the context length|context the overflows|reached context length of \d"),  # LM Studio
    _too_long(r"reduce the length of (?:the|your) (?:messages|prompt|input)"),  # Groq
    _too_long(r"input token count.{0,40}exceeds|exceeds the maximum number of (?:input )?tokens"),
    _too_long(r"total (?:message )?tokens? ?(?:length )?exceeds? (?:the )?model"),  # Cohere, Qwen
    _too_long(r"exceeds (?:the )?maximum (?:allowed )?(?:input|prompt|sequence) (?:length|tokens)"),
    _too_long(r"(?:prompt|input) exceeds (?:the )?max(?:imum)? (?:\w{1,10} )?(?:length|number of tokens)"),  # z.AI
    _too_long(r"tokens in request more than max tokens allowed"),
    _too_long(r"(?:exceeded|exceeds) (?:the )?model token limit"),  # Moonshot
    _too_long(r"conversation (?:is too long|length exceeded)"),
    _too_long(
        r"prompt ?超长|(?:输入|上下文|提示词|内容|token ?数量?)(?:的)?(?:长度)?(?:已)?(?:超出|超过|过长)|"
        r"超[出过].{0,6}上下文"
    ),
    _too_long(r"^token limit$", sure=False),  # MiniMax
    _too_long(r"too many tokens", sure=False),  # Bedrock says it of a minute's
)
_SIZE = (
    complaint(
        r"request(?: entity| body| payload| size)? (?:is |was )?too large|payload (?:is )?too large|"
        r"request_too_large|"
        r"请求(?:体)?过大",
        LARGE,
        None,
        TOO_LARGE,
    ),
    complaint(
        r"request (?:payload )?(?:size )?exceeds the (?:maximum (?:allowed )?size|limit)", LARGE, None, TOO_LARGE
    ),
    complaint(r"too many total text bytes", LARGE, "messages", TOO_LARGE),
)
LENGTH = (*_MEASURED, *_UNMEASURED, *_SIZE)
