"""What providers say against the conversation: its length, what it is about, its pictures, the order of its turns."""

from bridge.providers.complaint_fields import DATA_URL, IMAGE, POLICY, TOO_LONG, UNSUPPORTED, complaint

ORDER = "The messages are in an order that this model does not take: {0}."

_LENGTH = (
    complaint(
        r"prompt is too long: (\d+) tokens > (\d+)",
        "The prompt is too long: {1} tokens, of at most {2}.",
        "messages",
        TOO_LONG,
    ),
    complaint(
        r"input length and `?max_tokens`? exceed context limit: (\d+) \+ (\d+) > (\d+)",
        "The prompt ({1} tokens) and max_tokens ({2}) are more than the {3} tokens that this model takes together.",
        "max_tokens",
        TOO_LONG,
    ),
    complaint(
        r"input token count \(?(\d+)\)? exceeds the maximum number of tokens allowed \(?(\d+)",
        "The prompt is too long: {1} tokens, of at most {2}.",
        "messages",
        TOO_LONG,
    ),
    complaint(
        r"maximum context length is (\d+) tokens.{0,40}?(?:requested|resulted in) (?:about )?(\d+) tokens",
        "The prompt is too long: {2} tokens, of at most {1}.",
        "messages",
        TOO_LONG,
    ),
    complaint(
        r"(?:exceeded|exceeds) (?:the )?model token limit: (\d+)",
        "The prompt is too long: this model takes {1} tokens.",
        "messages",
        TOO_LONG,
    ),
    complaint(
        r"maximum context length|prompt is too long|context_length|exceed(s|ed)? .{0,40}context|"
        r"input token count.{0,40}exceeds",
        "The prompt is too long for this model.",
        "messages",
        TOO_LONG,
    ),
)
_POLICY = (
    complaint(
        r"content management policy|content exists risk|considered high risk|flagged as potentially violating|"
        r"rejected (?:as a result of|by) (?:our|the) safety system|blocked by content filtering policy|"
        r"requires moderation .{0,80}flagged|violat\w{1,5} (?:our|the) (?:usage|content) polic",
        "The provider's content policy does not allow this request.",
        "messages",
        POLICY,
    ),
)
_IMAGES = (
    complaint(
        r"(?:(?P<param>messages\[\d+\]): )?unknown variant `image_url`, expected `text`",
        "This model reads text only, no pictures.",
        "messages",
        IMAGE,
    ),
    complaint(
        r"(?:(?P<param>messages\[\d+\]): )?unknown variant `(?P<kind>\w{1,20})`, expected `text`",
        "This model reads text only, no {kind}.",
        "messages",
    ),
    complaint(
        r"error while downloading|(?:failed|unable) to (?:download|fetch) .{0,20}(?:image|picture|file|content|url)|"
        r"cannot fetch content from the provided url|url_\w{0,20}(?:robot|error|timeout)\w{0,10}|unable to download",
        f"The provider can't fetch a picture that the request names. {DATA_URL}",
        "messages",
        IMAGE,
    ),
    complaint(
        r"(?:unsupported|invalid) (?:image|picture) (?:format|type|url)|unsupported image|"
        r"one of the following formats|"
        r"media type.{0,60}image appears to be|unsupported mime type:? ?'?image/[\w.+-]{1,20}|"
        r"input should be 'image/jpeg'",
        "A picture is of a kind that this model can't read. It takes PNG, JPEG, GIF and WebP.",
        "messages",
        IMAGE,
    ),
    complaint(
        r"image exceeds (\d+ ?[km]b) maximum|image.{0,20}dimensions? exceed.{0,40}?(\d+ pixels)",
        "A picture is too large: at most {1}.",
        "messages",
        IMAGE,
    ),
    complaint(
        r"image.{0,40}too large|too many (?:images|pixels)",
        "A picture is too large, or there are too many.",
        "messages",
        IMAGE,
    ),
    complaint(
        r"image input(?: modality)? is not (?:enabled|supported)", "This model reads no pictures.", "messages", IMAGE
    ),
    complaint(
        r"could not process (?:input )?image|unable to process (?:input )?image|(?:provided )?image is not valid|"
        r"invalid (?:base64 )?image|base64.{0,40}image|image.{0,20}base64",
        "A picture can't be read: it may be damaged, or not what its type says.",
        "messages",
        IMAGE,
    ),
    complaint(
        r"\bpdf\b.{0,60}(?:not valid|could not|password|maximum|too (?:large|many))|could not process pdf",
        "A document can't be read: it may be damaged, locked or too long.",
        "messages",
    ),
)
_TURNS = (
    complaint(r"roles must alternate", ORDER.format("user and assistant have to alternate"), "messages"),
    complaint(r"first message must use the .{0,3}user", ORDER.format("the user has to begin"), "messages"),
    complaint(
        r"does not support (?:assistant message )?prefill|must end with a user message|"
        r"last message .{0,60}must be a user message",
        ORDER.format("the last one has to be the user's"),
        "messages",
    ),
    complaint(
        r"function call turn comes immediately after",
        ORDER.format("calls come right after the user or a result"),
        "messages",
    ),
    complaint(
        r"text content blocks must (?:be non-empty|contain non-whitespace)|"
        r"role '\w{1,20}' must not be empty|contents? (?:is not specified|are required)|"
        r"must have non-empty content",
        "A message is empty.",
        "messages",
    ),
    complaint(r"cannot end with trailing whitespace", "The last message may not end in white space.", "messages"),
    complaint(r"please use a valid role", "A message has a role that this model does not know.", "messages"),
    complaint(
        r"developer instruction is not enabled|system instruction is not",
        "This model takes no system message.",
        "messages",
    ),
    complaint(
        r"multiple candidates is not enabled|candidate_?count.{0,60}(?:one|1)\b",
        "This model gives one choice only.",
        "n",
    ),
    complaint(
        r"logprobs? is not (?:enabled|supported)|not allowed to request logprobs",
        "This model gives no logprobs.",
        "logprobs",
        UNSUPPORTED,
    ),
    complaint(
        r"penalty is not (?:enabled|supported)", "This model takes no penalties.", "presence_penalty", UNSUPPORTED
    ),
    complaint(
        r"temperature`? and `?top_p`? cannot both be",
        "temperature and top_p can't both be given to this model.",
        "top_p",
        UNSUPPORTED,
    ),
    complaint(r"stop_sequences.{0,60}non-whitespace", "A stop sequence may not be white space alone.", "stop"),
)
CONTENT = (*_LENGTH, *_POLICY, *_IMAGES, *_TURNS)
