"""What providers say against a request's fields: caps, thinking, tools, and values of any kind."""

from bridge.providers.blame.complaint import MISSING, TYPE, UNSUPPORTED, complaint

RESULTS = "Each tool call needs one tool message with its id, directly after the message that made it."

_CAPS = (
    complaint(
        r"max_(?:completion_|output_)?tokens(?: is too large)?: (\d+)(?: > (\d+)|.{0,40}supports at most (\d+))",
        "max_tokens is too large: {1}. This model writes at most {2} tokens.",
        "max_tokens",
    ),
    complaint(
        r"valid range of max_tokens is \[\d+, ?(\d+)\]",
        "max_tokens is too large: this model writes at most {1} tokens.",
        "max_tokens",
    ),
    complaint(
        r"max_?output_?tokens value of (\d+) but the supported range is from \d+ \(inclusive\) to "
        r"(\d+) \(exclusive\)",
        "max_tokens is too large: {1}. It has to be below {2}.",
        "max_tokens",
    ),
    complaint(
        r"range of max_tokens should be \[\d+, ?(\d+)",
        "max_tokens is too large: this model writes at most {1} tokens.",
        "max_tokens",
    ),
    complaint(
        r"max_(?:\w{1,12}_)?tokens[`'\"]? (?:value )?must be (?:less than or equal to|at most|<=|no "
        r"more than) [`'\"]?(\d+)",
        "max_tokens is too large: this model writes at most {1} tokens.",
        "max_tokens",
    ),
    complaint(
        r"(?:maximum tokens you requested exceeds the model limit of|max\w{0,16}tokens\w{0,10}: \d+ "
        r"is not less or equal to) (\d+)",
        "max_tokens is too large: this model writes at most {1} tokens.",
        "max_tokens",
    ),
    complaint(
        r"invalid value for '?max_(?:\w{1,12}_)?tokens'?: (\d+).{0,10}\bmaximum (?:is|value is|allowed is) (\d+)",
        "max_tokens is too large: {1}. This model writes at most {2} tokens.",
        "max_tokens",
    ),
    complaint(
        r"max_tokens or model output limit was reached",
        "max_tokens is too low for this model to finish its answer. Ask for more.",
        "max_tokens",
    ),
    complaint(
        r"requires more credits, or fewer max_tokens",
        "max_tokens is more than the provider takes for this model at the moment. Ask for fewer.",
        "max_tokens",
    ),
    complaint(
        r"max_(?:\w{1,12}_)?tokens\b.{0,40}(?:exceeds?|is (?:greater|larger|more) than|is too (?:large|high|big))",
        "max_tokens is too large for this model.",
        "max_tokens",
    ),
    complaint(
        r"max_tokens'? and '?max_completion_tokens'? at the same time",
        "max_tokens and max_completion_tokens can't both be given.",
        "max_tokens",
    ),
    complaint(
        r"`?max_tokens`? must be greater than "
        r"`?thinking",
        "The thinking budget has to be below max_tokens.",
        "thinking",
    ),
)
_THINKING = (
    complaint(
        r"does not support effort level '(\w{1,20})'\. Supported levels: ([\w, ]{1,80})",
        "reasoning_effort {1} is not one of this model's: {2}.",
        "reasoning_effort",
    ),
    complaint(
        r"thinking[ _]?level\W{1,3}(\w{1,20})?.{0,20}not supported",
        "This model can't think that hard, or that little.",
        "reasoning_effort",
    ),
    complaint(
        r"thinking budget (\d+) is invalid.{0,20}choose a value between (\d+) and (\d+)",
        "The thinking budget {1} is not between {2} and {3}.",
        "thinking",
    ),
    complaint(
        r"budget (-?\d+) is invalid|only works in thinking mode", "This model always thinks.", "reasoning_effort"
    ),
    complaint(
        r"budget_tokens.{0,60}greater than or equal to (\d+)",
        "The thinking budget has to be at least {1} tokens.",
        "thinking",
    ),
    complaint(
        r"function tools with reasoning_effort are not supported",
        "This model takes function tools only with reasoning_effort none.",
        "reasoning_effort",
    ),
    complaint(
        r"thinking mode does not support this tool_choice|tool_choice.{0,40}incompatible with thinking|"
        r"thinking may not be enabled when tool_choice",
        "A tool can't be forced while the model thinks: set reasoning_effort to none, or tool_choice to auto.",
        "tool_choice",
    ),
    complaint(
        r"reasoning_content.{0,60}(?:must be passed back|is missing)|missing a thought_?signature|"
        r"expected `?thinking`? or `?redacted_thinking`?|invalid `?signature`? in `?thinking",
        "The reasoning behind an earlier tool call is missing, or not the model's own: give the "
        "message back as it came, "
        "or turn thinking off.",
        "messages",
    ),
    complaint(
        r"\bthinking\.(?:type\.)?enabled\b.{0,40}not supported",
        "This model takes reasoning_effort, and no thinking budget.",
        "thinking",
    ),
)
_TOOLS = (
    complaint(
        r"too many strict tools \((\d+)\).{0,60}?supported is (\d+)",
        "{1} tools are strict; this model takes at most {2}.",
        "tools",
    ),
    complaint(
        r"too many optional parameters \((\d+)\).{0,200}?limit: (\d+)",
        "The schemas of the strict tools have {1} optional parameters; this model takes at most {2}.",
        "tools",
    ),
    complaint(
        r"too many (?:parameters with )?union.{0,20}\((\d+).{0,200}?limit: (\d+)",
        "The schemas of the strict tools have {1} parameters of several types; this model takes at most {2}.",
        "tools",
    ),
    complaint(
        r"invalid schema for function '(?P<function>[\w.-]{1,128})': (?P<why>.{1,160})",
        "The parameters of function {function} are no schema that this model takes: {why}",
        "tools",
    ),
    complaint(
        r"invalid schema for response_format '?[^:]{0,80}'?: (.{1,160})",
        "The schema of response_format is none that this model takes: {1}",
        "response_format",
    ),
    complaint(
        r"(?P<param>tools\.\d+)\.custom(?P<rest>\.(?:input_schema|name|description))?[\w.]{0,200}: (?P<why>.{1,160})",
        "A tool's definition is none that this model takes: {why}",
        None,
    ),
    complaint(
        r"(?P<param>tools\[\d+\]\.function_?declarations\[\d+\](?:\.(?:parameters|name|description))?)"
        r"[\w.\[\]]{0,200}'?: (?P<why>.{1,160})",
        "A tool's definition is none that this model takes: {why}",
        None,
    ),
    complaint(
        r"didn'?t specify the schema type field|grammar error: unimplemented keys|functionDeclaration `?parameters",
        "A tool's schema is none that this model takes: it uses what the model does not know, or lacks a type.",
        "tools",
    ),
    complaint(r"tool names must be unique|duplicate (?:tool|function) name", "Two tools have the same name.", "tools"),
    complaint(
        r"invalid '(?P<param>tools\[\d+\]\.function\.name)': string does not match|"
        r"invalid function name|function name is invalid",
        "A tool's name is none that this model takes: use letters, digits, _ and -, beginning with a letter.",
        "tools",
    ),
    complaint(r"tool choice is none, but model called", "The model called a tool, which tool_choice forbids.", "tools"),
    complaint(
        r"must be a response to a prec\w{2,6}ing message with 'tool_calls'|"
        r"unexpected `?tool_use_id`?|tool_call_id.{0,60}not found|"
        r"tool result.{0,40}without.{0,20}call",
        f"A tool message answers no call. {RESULTS}",
        "messages",
    ),
    complaint(
        r"tool_calls?'? must be followed by tool messages|did not have response messages|no tool output found|"
        r"tool_use`? ids were found without|number of function response parts",
        f"A tool call has no result. {RESULTS}",
        "messages",
    ),
    complaint(
        r"function calling is not (?:enabled|supported)|no endpoints found that support tool|"
        r"(?:does not|doesn't|do not|don't) support (?:function[ -]?call|tool ?(?:use|call)|tools\b|functions\b)|"
        r"\b(?:tools?|tool use|tool call(?:s|ing)?)['`\"]? (?:is|are) not (?:supported|enabled)|"
        r"--enable-auto-tool-choice|tools param requires --jinja",
        "This model takes no tools.",
        "tools",
        UNSUPPORTED,
    ),
    complaint(
        r"no endpoints found that (?:support|can handle)",
        "No provider of this model takes all that the request asks for. Leave some parameters out.",
        None,
        UNSUPPORTED,
    ),
    complaint(
        r"tool use with a response mime type",
        "This model can't follow a response_format and call tools at once.",
        "response_format",
    ),
    complaint(
        r"json mode is not (?:enabled|supported)",
        "This model takes no response_format.",
        "response_format",
        UNSUPPORTED,
    ),
    complaint(
        r"must contain the word 'json'",
        "With response_format json_object the word JSON has to be in the messages.",
        "response_format",
    ),
)
_FIELDS = (
    complaint(
        r"missing required (?:parameter|field|argument): '?(?P<param>[\w.\[\]]{1,100})",
        "{param} is missing.",
        None,
        MISSING,
    ),
    complaint(r"missing field `(?P<param>\w{1,60})`", "A field is missing: {param}.", None, MISSING),
    complaint(
        r"unsupported value: '?(?P<param>[\w.\[\]]{1,100})'? does not "
        r"support '?(?P<value>[^\s']{1,60})'? with this model",
        "{param} can't be {value} with this model.",
        None,
    ),
    complaint(
        r"unsupported parameter: '?(?P<param>[\w.\[\]]{1,100})|"
        r"(?:unknown parameter|unrecognized request argument supplied): '?(?P<other>[\w.\[\]]{1,100})",
        "This model does not take {param}.",
        None,
        UNSUPPORTED,
    ),
    complaint(
        r"invalid type for '(?P<param>[\w.\[\]]{1,100})': expected (?P<value>[^,.]{1,60})",
        "{param} has to be {value}.",
        None,
        TYPE,
    ),
    complaint(r"invalid '(?P<param>[\w.\[\]]{1,100})': empty array", "{param} is empty.", None),
    complaint(
        r"invalid '(?P<param>[\w.\[\]]{1,100})': .{0,80}?expected an? (?:value|length|string|array)"
        r"[\w ]{0,40}(?P<value>[<>]=? ?-?[\d.]{1,20}|length \d+)",
        "{param} is out of bounds: {value} is expected.",
        None,
    ),
    complaint(
        r"(?P<value>-?[\d.]{1,20}) is less than the minimum of (?P<least>-?[\d.]{1,20}) - '(?P<param>\w{1,60})'",
        "{param} is too small: at least {least}.",
        None,
    ),
    complaint(
        r"invalid (?P<param>temperature|top_p|n)\b: only (?P<value>[\d.]{1,8}) is allowed",
        "{param} can only be {value} with this model.",
        None,
    ),
    complaint(
        r"^`?(?P<param>temperature|top_p|top_k)`?: range: (?P<low>[\d.]{1,8}?)\.\.(?P<high>[\d.]{1,8})",
        "{param} is out of bounds: {low} to {high}.",
        None,
    ),
    complaint(
        r"^`?(?P<param>temperature|top_p|top_k)`? .{0,20}(?:deprecated|not supported)",
        "This model does not take {param}.",
        None,
        UNSUPPORTED,
    ),
    complaint(
        r"invalid value: '(?P<value>[^']{1,60})'\. (?:supported values are|value must be one of):? "
        r"(?P<known>[^.]{1,160})",
        "The value {value} is none of {known}.",
        None,
        sure=False,
    ),
    complaint(
        r"\n(?P<place>[\w.-]{1,100})\n {1,4}(?:extra inputs|extra fields) (?:are )?not permitted",
        "This model does not take {param}.",
        None,
        UNSUPPORTED,
    ),
    complaint(
        r"(?:property|parameter|field|argument|option)s?:? [`'\"]?(?P<param>[\w.\[\]]{1,100})[`'\"]?:? (?:is|are) "
        r"(?:unsupported|not supported|not allowed|not permitted|unknown)|"
        r"[`'\"](?P<other>[\w.\[\]]{1,100})[`'\"]:? (?:is|are) (?:unsupported|not supported|not permitted)",
        "This model does not take {param}.",
        None,
        UNSUPPORTED,
        sure=False,
    ),
)
FIELDS = (*_CAPS, *_THINKING, *_TOOLS, *_FIELDS)
