"""What a client may read of an upstream's own words: plain ones, and nothing that could name the operator's things.

What is known to be a secret is taken out of every text. What nobody knows passes only as far as it consists of words,
numbers and names of a request's own fields: no list of secrets is complete, but a list of what is none can be short."""

import re

from bridge.providers.blame.complaint import FIELDS_OF_REQUESTS, PARTS_OF_REQUESTS, keep_known, list_words

MAX_MESSAGE = 300
FEWEST_WORDS = 2
_KNOWN_NAMES = FIELDS_OF_REQUESTS | PARTS_OF_REQUESTS | {"model", "OpenAI's", "and/or", "input/output"}
# Every repetition that may fail late is bounded: a message can quote whatever a client wrote.
_SECRETS = re.compile(
    r"\b[a-z][a-z0-9+.]{0,15}://\S+|[^\s@]{1,64}@[^\s@]+|"
    r"\b(?:[a-z0-9-]{1,63}\.){1,8}(?:com|net|org|io|ai|dev|cn|local|internal|cloud)\b(?:[:/]\S*)?|"
    r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b|"
    r"\b(?:sk|pk|rk|gsk|xai|org|proj|key|acct|acc|user|req)[-_][\w*.-]{4,}|\b(?:AIza|eyJ|AKIA|hf_)[\w.-]{8,}|"
    r"\S{0,20}\*{3,}\S*|"  # what the provider has masked in part
    r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|\b(?=\w*\d)(?=\w*[a-z])\w{24,}\b|"  # ids, and keys of any make
    r"\b(?:organi[sz]ation|project|account)s?\b[^.]*",
    re.I,
)
# Things of the operator's have names that may be plain words: what follows them goes too, to the sentence's end.
_NAMED = re.compile(
    r"\b(?:(?:organi[sz]ation|project|account|team|tenant|subscription|workspace|deployment|cluster|namespace|host|"
    r"hostname|node|pod|region|bucket|backend|billing|credit|credential|secret|password|passphrase|username|login|"
    r"customer|api[ _-]?key|access[ _-]?key|request[ _-]?id|trace[ _-]?id|resource (?:group|name)|resource)s?\b"
    r"|账[户号]|余额|密钥|组织|项目|团队|部署|请求 ?id)(?:[^.。\n]|\.(?=\S)){0,2000}",
    re.I,
)
_ASSIGNED = re.compile(r"[^\s=]{1,80}\s{1,3}(?<![<>!])=\s{1,3}\S+")  # `=` within a word is no plain word anyway
_CHUNK = re.compile(r"[^\s,;|，；、]+")
_EDGES = re.compile(r"([\"'`(\[{<“‘«*#-]{0,6})(.*?)([\"'`)\]}>”’».,:;!?…*]{0,6})", re.S)
_NUMBER = re.compile(r"[-+]?(?:\d{1,8}(?:\.\d{1,6})?)%?")
_SIGN = re.compile(r"[<>=!+*/&–—…-]{0,3}")
_WORD = re.compile(
    r"(?:[a-z]{1,18}|[A-Z][a-z]{0,17}|[A-Z]{2,10}s?)(?:['’](?:s|t|re|ve|ll|d|m))?"
    r"|(?:[a-z]{1,18}|[A-Z][a-z]{0,17}|[A-Z]{2,10})?[^\x00-\x7f]{1,80}(?:[A-Za-z]{1,12}[^\x00-\x7f]{1,80}){0,4}"
)
_COMPOUND = re.compile(
    r"non-(?:empty|null|negative|zero|positive|string|streaming|whitespace|object|ascii|text|integer|numeric|blank)"
    r"|(?:read|text|image|user|system)-only|built-in|top-level|so-called|zero-length|multi-?(?:turn|modal)|pre-?filled"
    r"|one-of|two-letter|tool-use|case-sensitive|lower-case|upper-case|well-formed|up-to-date|re-?send",
    re.I,
)
_MIME = re.compile(
    r"(?:image|audio|video|text|application)/(?:png|jpe?g|gif|webp|heic|heif|bmp|tiff|mp3|mpeg|wav|ogg|flac|mp4|"
    r"webm|plain|html|csv|json|pdf|\*)"
)
# What providers' codes are made of; one of other words could be a name.
_CODE_WORDS = list_words(
    "error errors exception fault failure failed invalid bad incorrect unsupported unknown missing required "
    "unauthorized forbidden denied permission access authentication auth authorization unauthenticated api key "
    "token request requests argument arguments parameter parameters param params value values type types format "
    "input output prompt message messages content filter filtered policy violation moderation blocked safety "
    "sensitive risk inspection data image images url file media parse context length window size max maximum min "
    "minimum limit limits limited exceeded exceed exhausted reached rate quota current insufficient balance "
    "credit credits billing payment hard account inactive deactivated disabled suspended active not no found "
    "exist exists model models deployment resource endpoint engine overloaded overload unavailable available "
    "service server internal upstream gateway timeout timed out connection network throttling throttled too many "
    "large long concurrent concurrency conflict aborted cancelled precondition unprocessable entity validation "
    "response stream status operation supported country region territory array string above below integer decimal "
    "range of in for the and is to by json schema function call tool tools tokens per minute user organization "
    "project verified expired deprecated decommissioned terms client http other new usage unexpected object null "
    "empty property extra unrecognized stopped retry later busy capacity down default deadline failed general "
    "base common algo arrearage overdue"
)
_READ = re.compile(r"[^\W\d_]{2,}")


def scrub(text: str) -> str:
    """One of our own sentences, in 300 characters, without what is known to be a secret in what it quotes."""
    return " ".join(_SECRETS.sub("…", text).split())[:MAX_MESSAGE]


def keep_plain(text: str) -> str:
    """Another's sentence as far as it consists of plain words, in 300 characters; … stands for the rest."""
    text = _ASSIGNED.sub("…", _NAMED.sub("…", _SECRETS.sub("…", text)))
    return re.sub(r"…(?:[\s,;|]*…)+", "…", " ".join(_CHUNK.sub(_keep, text).split()))[:MAX_MESSAGE]


def keep_sentence(text: str) -> str:
    """The same; "" where too little is left to be understood."""
    kept = keep_plain(text)
    words = _READ.findall(kept)
    dense = any(len(word) > 3 and not word.isascii() for word in words)  # a script that is written without spaces
    return kept if len(words) >= max(FEWEST_WORDS, kept.count("…")) or dense else ""


def keep_name(text: str) -> str:
    """A function's name as its client gave it; … for what looks like anything else."""
    return text if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", text) and scrub(text) == text else "…"


def keep_word(text: str) -> str:
    """A provider's code or type, for the log and the receipt; "" where it isn't made of words that errors have."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text) if re.fullmatch(r"[A-Za-z][A-Za-z_]{1,79}", text) else []
    return text if words and all(word.lower() in _CODE_WORDS for word in words) else ""


def _keep(found: re.Match[str]) -> str:
    chunk = found.group(0)
    if "…" in chunk and re.search(r"\w", chunk):  # what is left of a word around a secret
        return "…" + chunk[len(chunk.rstrip(":;,")) :]
    edges = _EDGES.fullmatch(chunk)
    if edges is None:
        return "…"
    before, core, after = edges.groups()
    if core.count("[") > core.count("]") and after.startswith("]"):
        core, after = core + "]", after[1:]
    if _is_plain(core):
        return chunk
    return "…" + "".join(mark for mark in after if mark in ":;,")


def _is_plain(core: str) -> bool:
    if core in _KNOWN_NAMES or keep_known(core) == core:
        return True
    return any(pattern.fullmatch(core) for pattern in (_WORD, _NUMBER, _SIGN, _COMPOUND, _MIME))
