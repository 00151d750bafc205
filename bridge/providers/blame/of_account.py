"""What providers say of the operator's own affairs there: account, balance, key, limits, place, which models it has.

None of it is the client's, whatever the status: a 400 may say that an organisation has to be verified first. Only how a
sentence begins counts, since a provider's 400 may quote what the client wrote, and that must not take a channel out."""

import re

from bridge.providers.blame.complaint import FIELDS_OF_REQUESTS

_ARTICLES = r"(?:the |your |this |our |an? )*"
_NAME = r"[`'\"]?[\w./:@-]{1,120}[`'\"]?"


def _begins(*wordings: str) -> re.Pattern[str]:
    """Any of these at the beginning, with or without an article. Every repetition in them is bounded."""
    return re.compile(f"{_ARTICLES}(?:{'|'.join(wordings)})", re.I)


# A line for each wording, or for each family of them.
_ACCOUNT = _begins(
    r"credit balance is too low",  # Anthropic, under 400
    r"(?:newly created )?(?:account|organi[sz]ation|org|team|workspace|project|"
    r"subscription)\b.{0,100}\b(?:disabled|suspended)",
    r"(?:account|organi[sz]ation|workspace|project|team|subscription|"
    r"consumer)\b.{0,100}\b(?:deactivated|deleted|inactive|overdue)",
    r"(?:account|organi[sz]ation|workspace|project|team|subscription|consumer)\b.{0,100}\b(?:verified|"
    r"archived|restricted)",
    r"(?:account|organi[sz]ation|workspace|project|team|subscription|consumer)\b.{0,100}\b(?:not "
    r"active|is not|not found|blocked)(?!.{0,20}\b(?:valid|supported) \w{1,12} (?:name|type)\b)",
    r"organi[sz]ation must (?:first )?(?:complete|be|have)\b",
    r"(?:data sharing|zero data retention)\b.{0,60}\borgani[sz]ation",
    r"we(?:'ve| have) (?:flagged|suspended|disabled|blocked|restricted|limited|closed) (?:your|this) "
    r"(?:account|organi[sz]ation|access|api|key|project|team)\b",
    r"(?:due to|because of) .{0,100}\byour (?:access|account|api|key|organi[sz]ation)\b.{0,60}\b(?:revoked|suspended|"
    r"disabled|restricted|terminated|blocked)",
    r"you(?:'ve| have)? violated .{0,60}\b(?:access|account) (?:is|was|has been)\b",
    r"(?:account|organi[sz]ation|workspace|project|team|subscription) [^ ]{0,60} ?(?:has|have|does "
    r"not have|doesn'?t have)\b",
    r"(?<=your )(?:newly created )?(?:account|organi[sz]ation|team|workspace|project|subscription|plan|tier|group)\b",
    r"(?<=your )(?:access to the api|api access|prepayment|prepaid|free (?:trial|tier|credits?|quota)|"
    r"balance|wallet|quota)\b",
    r"(?<=this )(?:account|organi[sz]ation|workspace|project|team) ",
    r"access denied, please make sure your account|arrearage\b",  # Qwen, under 400
    # keys
    r"(?:incorrect|invalid|wrong|expired|missing|unknown|revoked|no|bad)(?: or \w{1,12})? (?:x-)?api[ _-]?keys?\b",
    r"(?:incorrect|invalid|wrong|expired|missing|no|bad) (?:auth\w{0,14}|credentials?|access key|"
    r"bearer token|access token)\b",
    r"(?:provided )?(?:x-)?(?:api|access)[ _-]?key\b.{0,60}\b(?:not|invalid|expired|missing|required|"
    r"incorrect|disabled)\b",
    r"(?:provided )?(?:x-)?(?:api|access)[ _-]?key\b.{0,60}\b(?:revoked|deleted|leaked|blocked|"
    r"suspended|wrong|reported)\b",
    r"(?:api )?key (?:limit|quota|budget) (?:exceeded|reached)",  # OpenRouter
    r"(?:authentication|authorization) (?:fails?|failed|error|required|is required)",
    r"(?:security |access |auth\w{0,14} )?token (?:included in the request )?is (?:invalid|expired)",  # AWS
    r"invalid token\W{0,3}$|invalid jwt\b|service access\b.{0,40}\bsuspended",
    r"无效的(?:令牌|api|密钥)|令牌",
    # balances and budgets
    r"billing\b.{0,60}\b(?:not|required|disabled|overdue|failed|inactive|depleted|needed)\b",
    r"insufficient (?:account |user |available )?(?:balance|credits?|funds|quota|permissions?)",
    r"(?:you(?:'re| are| have run| ran) )?out of (?:credits?|funds|quota)|not enough (?:credits?|balance|funds|quota)",
    r"(?:token |user )?quota is not enough|you have no (?:quota|credits?|balance)\b",  # New API
    r"(?:valid )?payment method\b|please (?:add|update) (?:your |a )?(?:valid )?(?:payment|billing|credit card)\b",
    r"(?:please )?(?:recharge|top up) (?:your|the) (?:account|balance|wallet)\b|(?:free )?trial (?:has |is )",
    r"no (?:remaining |available )?(?:credits?|balance|quota)\b",
    r"(?:account )?(?:balance|credits?|funds|quota) (?:is|are|has been|have been) (?:\w{1,12} "
    r")?(?:low|insufficient|exhausted|depleted)",
    r"you(?:'ve| have) (?:reached|exceeded|hit|used|exhausted|insufficient|no)\b.{0,60}\b(?:usage|"
    r"spend\w{0,4}|credits?|balance)\b",
    r"you(?:'ve| have) (?:reached|exceeded|hit|used|exhausted|insufficient|no)\b.{0,60}\b(?:budget|"
    r"plan|allowance|billing|funds)\b",
    r"you(?:'ve| have) insufficient permissions|you (?:didn'?t|did not) provide an api key",
    r"(?:monthly|weekly|daily|\d{1,2}-hour|spend\w{0,4}|usage|billing hard) (?:usage |spend\w{0,4} |"
    r"credit )?(?:limit|cap)\b",
    r"free (?:tier|quota|trial|credits?) (?:of .{1,30} )?(?:has been|have been|is|was) ",
    # OpenRouter, where as good as nothing is left
    r"request requires more credits, or fewer max_tokens\. you requested up to \d{1,9} tokens, but "
    r"can only afford \d{1,2}\b",
    r"[账帐][户号].{0,20}(?:余额|欠费|停用|不足)|余额不足|已?欠费|额度不足",
    r"payment (?:is )?required|(?:credit|usage|spend\w{0,4}) limit (?:exceeded|reached)|(?:zero|negative) balance",
    r"to \w{1,10} (?:this|the) .{0,40}\b(?:organi[sz]ation|account|team|project)\b.{0,20} must be",
    # places
    r"(?:user )?(?:country|region|location|territory)\b.{0,40} not (?:supported|available|allowed)",
    r"unsupported (?:country|region|location|territory)",
    r"access to .{0,60}not allowed from unsupported (?:countr|region|location)",  # Anthropic
    # what has to be agreed to or switched on first
    r"you (?:must|need to) (?:first )?(?:accept|agree|verify|be added)\b",
    r"you (?:must|need to) (?:first )?(?:enable|add|complete)\b.{0,40}\b(?:billing|payment|card|api|verification|funds|"
    r"credits?|profile|access|terms|account)\b",
    r"gemini api free tier|[\w ]{1,60} api has not been used in project|api method requires billing",
    r"(?:client |source )?(?:ip|ip address)\b.{0,60}\b(?:not|blocked|denied|whitelist|allowlist)",
    r"you (?:do not|don'?t) have (?:the )?permissions?\b",
)
# The same of a key of ours, or of whoever keeps a picture that the client named: then it is about that.
_DENIED = _begins(r"permission denied|access (?:is )?denied|forbidden\b|unauthorized\b|not authorized\b")
_OF_MEDIA = re.compile(
    r"\b(?:fetch|download|retriev)\w{0,4}\b|\b(?:image|picture|photo|video|audio|pdf|document)(?:s|_urls?)?\b|"
    r"\bfor url\b(?!.{0,200}/(?:(?:chat/)?completions|messages|responses|embeddings|models)\b)",
    re.I,
)
# Google says this of a minute's limit too, with `RESOURCE_EXHAUSTED`.
_OVER_QUOTA = _begins(
    r"(?:you(?:'ve| have)? )?exceeded your current (?:\w{1,20} )?quota",
    r"quota (?:has been )?(?:exceeded|exhausted)|you(?:'ve| have) (?:reached|exceeded|exhausted) your .{0,20}quota",
)
_WHICH_MODEL = (
    r"(?:requested |provided |specified |selected |publisher |base |foundation )*model(?: name| id| "
    r"identifier| version)?"
    rf"(?:[ :=]{{1,3}}{_NAME})?,? ?(?:that you \w+ |you \w+ |with .{{1,60}} )?"
)
_MODEL = _begins(
    *(
        f"{_WHICH_MODEL}(?:{gone})"
        for gone in (
            r"(?:does not|doesn'?t|do not|not) exist|is only supported in v1/",  # OpenAI
            r"(?:was |is |be |could )?not (?:be |currently )?(?:found|available|accessible|loaded|valid|deployed|"
            r"enabled|allowed|ready)\b",
            r"is (?:not a valid|no longer|unavailable|deprecated|retired|discontinued|invalid|unknown|"
            r"decommissioned|disabled)",
            r"is not supported (?:in|by|on|for (?:api|generate|this api)|with the \w{1,20} api)\b|is "
            r"not supported\W{0,3}$",
            r"(?:has been |was |have been )(?:deprecated|removed|retired|decommissioned|shut ?down|"
            r"disabled|unloaded)",
            r"has reached (?:the end|its end)|is unloaded\b",  # Bedrock, LM Studio
            r"requires (?:terms|you to accept|acceptance|a different api|access)",  # Groq
            r"(?:does not|doesn'?t) support (?:chat|generate|this api|on-demand)",  # Bedrock, Ollama
        )
    ),
    rf"(?:models?/|publisher model )?{_NAME} (?:is not found|not found|does not exist|is not available|"
    rf"is not a valid model)",
    rf"{_NAME} (?:is not a (?:supported|chat) model|does not support (?:chat|generate)|(?:has been|is) deprecated)",
    r"model you (?:requested|specified|asked for)\b.{1,100}\b(?:does not exist|not found|not available)",
    r"there is no model\b|(?:could not|cannot|can'?t|unable to) find (?:the |a )?model\b|model is required\W{0,3}$",
    r"supported api model names are |not found the model |not a chat model|chatcompletion operation does not work",
    r"(?:unknown|invalid|unsupported|no such|unavailable|unrecognized|undefined) (?:the )?(?:model|"
    r"deployment|engine)\b",
    r"(?:this is )?not a chat model|this is not a chat model|requested combination of response modalities",
    r"invocation of model|action doesn'?t support the model|operation (?:is )?not (?:allowed|supported)",  # Bedrock
    r"model is (?:not|no longer|currently) (?:available|supported|accessible|enabled|unavailable)",
    r"you (?:do not|don'?t|are not|aren'?t)\b.{0,30}\b(?:access|allowed|permitted|"
    r"authorized)\b.{0,60}\b(?:model|deployment|sample)",
    r"access to (?:.{1,60} )?models? (?:[\w./:-]{1,80} )?(?:is )?(?:denied|not)|model access (?:is )?denied",
    r"(?:api )?(?:deployment|engine|endpoint|resource)\b.{0,80}(?:does not exist|not found|is not|was "
    r"deleted|disabled)",  # Azure
    r"no (?:endpoints|providers|allowed providers|instances?|deployments?|healthy|models? loaded|"
    r"available (?:channel|provider))",
    r"all providers have been ignored",  # OpenRouter
    r"failed to load model|无可用渠道|模型.{0,20}(?:不存在|未找到|不可用|下线)",
    r"(?:api|api version|service)\b.{0,40}(?:is not supported|not found|is disabled|is not enabled)",
)
# How sentences begin that speak of a limit, an overload or a lack of room there, under a status of the request's.
_LIMITED = _begins(
    r"rate[ _-]?limit|throttl|request rate|request would exceed",
    r"request too large (?:for|on) .{0,160}(?:per (?:min|day)|tp[md]\b|rp[md]\b)",  # OpenAI, Groq
    r"too many (?:concurrent )?requests|too many tokens, please wait|number of request tokens has exceeded",
    r"(?:maximum|max|too many) (?:number of )?(?:concurren|parallel|simultaneous)|concurren\w{1,5} (?!tool|function)",
    r"(?:requests?|tokens?) per (?:min|minute|day|hour|second)",
    r"(?:server|model|service|engine|system) (?:is )?(?:\w{1,12} )?(?:overloaded|busy|at capacity|unavailable)",
)
# A fault there that comes as a refusal.
_BROKEN = _begins(
    r"(?:internal|unknown|unexpected) (?:server |service )?error\b|bad gateway|gateway time-?out|service unavailable",
    r"upstream (?:request|service|server|connection|provider)?\b.{0,20}\b(?:failed|error|reset|timed? ?out|disconnect)",
    r"upstream connect error|no healthy upstream|connection (?:error|reset|refused|closed|aborted)",
    r"(?:the |your )?request (?:has )?timed? ?out\b|(?:request|read|connection) timeout\b",
    r"failed to call a function\b|(?:the )?model produced invalid content",  # Groq, OpenAI: the model's own mistake
)
# The same anywhere in a text, where the status is none of the request's.
_LIMITED_ANYWHERE = re.compile(
    r"rate[ _-]?limit|(?:tokens?|requests?)[ _-]per[ _-]?(?:min|minute|day|hour|second)|per[ -]minute|\b[TR]P[MDS]\b|"
    r"too many (?:\w{1,12} )?requests|throttl|please (?:wait|slow down)|try again (?:in|later|after)|"
    r"retry (?:after|in|later|shortly)|concurren\w{1,3}|quota exceeded|overloaded|(?:at|over) capacity|high demand|"
    r"out of memory|\bOOM\b|temporarily (?:unavailable|rate|overloaded|limited|down|out)|timed? ?out|"
    r"service unavailable|internal (?:server )?error|"
    r"\b(?:docker|kubernetes|k8s|container|redis|CUDA|GPUs?|shared memory|pull secret|from (?:the |a )?registry)\b|"
    r"\b(?:lookup|service|worker|node|cache) (?:is )?(?:failed|failure|down|unreachable|crashed|lost)\b",
    re.I,
)
# A field's name that is no plain word: who says it speaks of what was asked of the model.
_FIELD = re.compile(r"\b(?:[a-z]{1,20}(?:_[a-z]{1,20}){1,4}|logprobs|temperature|modalities|verbosity)\b")
_QUOTED = re.compile(r"(?<!\w)(?:'[^']{0,400}'|\"[^\"]{0,400}\"|`[^`]{0,400}`)(?!\w)")


def speaks_of_account(text: str, google_limit: bool) -> bool:
    """Whether it is about the operator's account, key or balance. `google_limit`: see _OVER_QUOTA."""
    if _ACCOUNT.match(text) or (not google_limit and _OVER_QUOTA.match(text)):
        return True
    return bool(_DENIED.match(text)) and not _OF_MEDIA.search(text)


def speaks_of_model(text: str) -> bool:
    """Whether it is about the operator's model, place or settings there."""
    return bool(_MODEL.match(text)) and FIELDS_OF_REQUESTS.isdisjoint(_FIELD.findall(text))


def speaks_of_fault(text: str) -> bool:
    """Whether something broke there, whatever the status says."""
    return bool(_BROKEN.match(text))


def speaks_of_limit(text: str, anywhere: bool) -> bool:
    """Whether it is a limit, an overload or a fault of the upstream's. `anywhere`: not at the beginning alone."""
    return bool(_LIMITED.match(text) or (anywhere and _LIMITED_ANYWHERE.search(_QUOTED.sub(" ", text))))
