"""What providers say against the conversation: what it is about, its pictures, the order of its turns."""

from bridge.providers.blame.complaint import DATA_URL, IMAGE, POLICY, UNSUPPORTED, Complaint, complaint

ORDER = "The messages are in an order that this model does not take: {0}."

REFUSED_CONTENT = "The provider's content policy does not allow this request."


def _refused(pattern: str) -> Complaint:
    return complaint(pattern, REFUSED_CONTENT, "messages", POLICY)


# A line for each wording: what is said of an account that was closed for the same reason is found before these.
_POLICY = (
    _refused(r"content management policy|content_policy_violation|ContentPolicyViolationError|responsibleaipolicy"),
    _refused(r"content violates (?:usage|safety|content|community) (?:guidelines|polic)"),  # xAI
    _refused(r"content exists risk"),  # DeepSeek
    _refused(r"considered high risk"),  # Moonshot
    _refused(r"flagged as potentially violating|has been flagged for potentially violating"),  # OpenAI
    _refused(r"(?:rejected (?:as a result of|by|because of)|not allowed by) (?:our|the|a) safety (?:system|filter)"),
    _refused(r"limited access to this content for safety reasons"),  # OpenAI
    _refused(
        r"(?:blocked|rejected|filtered|stopped) (?:by|due to|because of) (?:our |the )?content[ "
        r"-](?:safety |filter|polic|moderation)|triggered (?:our |the |a )?(?:content|safety) filter|"
        r"flagged by (?:our |the )?(?:content|safety|usage|moderation)|prompt blocked\b"
    ),
    _refused(
        r"requires moderation .{0,80}flagged|(?:input|prompt|content|message)s? (?:was|were|has "
        r"been|is) flagged"
    ),
    _refused(
        r"violat\w{1,5} (?:our|the|google's|their) [\w ]{0,40}(?:polic|practices|guidelines)|against "
        r"our content policy"
    ),
    _refused(r"may contain (?:inappropriate|sensitive|unsafe) (?:content|information)"),  # Qwen, Volcengine
    _refused(r"datainspectionfailed|data_inspection_failed"),  # Qwen
    _refused(r"(?:unsafe or sensitive|sensitive or unsafe|potentially unsafe) content"),  # z.AI
    _refused(
        r"敏感(?:内容|词|信息)|不安全.{0,6}内容|违规内容|内容(?:审核|安全).{0,10}(?:不通过|未通过|拦截)|内容不合规"
    ),
    _refused(r"(?:input|output) new_sensitive|(?:image|text|content) is sensitive"),  # MiniMax
    _refused(
        r"prompt (?:was|is|has been) blocked|prompt contains sensitive words|(?:response|prompt) was filtered"
    ),  # Gemini
    _refused(r"blocked by (?:the |our |a )?(?:guardrail|safety (?:filter|system|setting)|moderation)"),  # Bedrock
    _refused(r"content you provided or machine outputted is blocked"),  # StepFun
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
        r"error while downloading (?:https?|file|image|the (?:image|file|content))|could not fetch image|"
        r"(?:provided )?image[_ ]url is not (?:accessible|reachable)|\bURL sources are not supported|"
        r"(?:failed|unable) to (?:download|fetch) .{0,20}(?:image|picture|file|content|url)\b|"
        r"cannot fetch content from the provided url|url_\w{0,20}(?:robot|error|timeout)\w{0,10}",
        f"The provider can't fetch a picture that the request names. {DATA_URL}",
        "messages",
        IMAGE,
    ),
    complaint(
        r"(?:error|timeout) while downloading|unable to download|client error: [\w ]{1,30} for url\b|"
        r"\b(?:fetch|download|retriev)(?:ing|ed)\b.{0,40}(?:https?://|\bimage\b|\burl\b)|"
        r"image[_ ]url (?:could not|can'?t|cannot) be (?:fetched|read|downloaded)",
        f"The provider can't fetch a picture that the request names. {DATA_URL}",
        "messages",
        IMAGE,
        sure=False,
    ),
    complaint(
        r"(?:unsupported|invalid) (?:image|picture) (?:format|type|url)|unsupported image|"
        r"image has (?:of )?one (?:of )?the following formats|"
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
        r"image input(?: modality)? is not (?:enabled|supported)|missing data required for image input|"
        r"no endpoints found that support image|"
        r"(?:does not|doesn't|do not|don't) support (?:image|vision|picture|multi-?modal)|is not a "
        r"multi-?modal model|"
        r"image_url is only supported by certain models",
        "This model reads no pictures.",
        "messages",
        IMAGE,
    ),
    complaint(
        r"at most (\d{1,4}) images?\b(?:\(s\))? (?:may|can|per)",
        "There are too many pictures: this model takes {1}.",
        "messages",
        IMAGE,
    ),
    complaint(
        r"could not process (?:input )?image|unable to process (?:input )?image|(?:provided )?image is not valid|"
        r"not represent a valid image|cannot identify image file|failed to load image:|"
        r"invalid (?:base64 )?image|base64.{0,40}image|image.{0,20}base64",
        "A picture can't be read: it may be damaged, or not what its type says.",
        "messages",
        IMAGE,
    ),
    complaint(
        r"\bpdf\b.{0,60}(?:not valid|could not|password|maximum|too (?:large|many))|could not process pdf",
        "A document can't be read: it may be damaged, locked or too long.",
        "messages",
        sure=False,
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
CONTENT = (*_POLICY, *_IMAGES, *_TURNS)
