"""What providers say against a client's request, each known complaint with our sentence, our field and our code.

Patterns are searched in order, in 2,000 characters at the most; every repetition that may fail late is bounded."""

from typing import NamedTuple

from bridge.json_types import Json
from bridge.providers.blame.complaint import (
    DATA_URL,
    IMAGE,
    MISSING,
    POLICY,
    TOO_LARGE,
    TOO_LONG,
    TYPE,
    UNSUPPORTED,
    VALUE,
    Complaint,
    our_param,
    param_of_place,
)
from bridge.providers.blame.error_bodies import Said, unwrap
from bridge.providers.blame.of_content import CONTENT, REFUSED_CONTENT
from bridge.providers.blame.of_fields import FIELDS
from bridge.providers.blame.of_length import LARGE, LENGTH
from bridge.providers.blame.scrubbing import keep_name, keep_plain, keep_sentence, scrub


class Explained(NamedTuple):
    """What the client is told. An empty message: what the provider said, as far as it is plain words. `sure`: it
    counts whatever the status is."""

    message: str
    param: str | None
    code: str | None
    sure: bool = True


KNOWN = (*LENGTH, *CONTENT, *FIELDS)
_TOO_LONG = Explained("The prompt is too long for this model.", "messages", TOO_LONG)
_REFUSED = Explained(REFUSED_CONTENT, "messages", POLICY)
_UNREACHED = Explained(f"The provider can't fetch a picture that the request names. {DATA_URL}", "messages", IMAGE)
_UNREADABLE = Explained("A picture can't be read. PNG, JPEG, GIF and WebP are taken.", "messages", IMAGE)
CODES = {
    **dict.fromkeys(("context_length_exceeded", "context_window_exceeded", "model_context_window_exceeded"), _TOO_LONG),
    **dict.fromkeys(("exceed_context_size_error", "tokens_limit_reached"), _TOO_LONG),
    **dict.fromkeys(("model_max_prompt_tokens_exceeded", "contextwindowexceedederror"), _TOO_LONG),
    **dict.fromkeys(("content_filter", "content_policy_violation", "moderation_blocked", "invalid_prompt"), _REFUSED),
    **dict.fromkeys(("data_inspection_failed", "datainspectionfailed", "responsibleaipolicyviolation"), _REFUSED),
    **dict.fromkeys(("censorship_blocked", "sensitivecontentdetected", "contentpolicyviolationerror"), _REFUSED),
    **dict.fromkeys(("inputtextsensitivecontentdetected", "prohibited_content", "content_filter_policy"), _REFUSED),
    **dict.fromkeys(("invalid_image_url", "failed_to_download_image"), _UNREACHED),
    **dict.fromkeys(
        ("invalid_image_format", "image_parse_error", "invalid_image", "invalid_base64_image"), _UNREADABLE
    ),
    **dict.fromkeys(("unsupported_image_media_type", "empty_image_file"), _UNREADABLE),
    **dict.fromkeys(
        ("image_too_large", "image_file_too_large"), Explained("A picture is too large.", "messages", IMAGE)
    ),
    **dict.fromkeys(
        ("request_too_large", "payload_too_large", "requestentitytoolarge"), Explained(LARGE, None, TOO_LARGE)
    ),
    **dict.fromkeys(("unsupported_parameter", "unknown_parameter"), Explained("", None, UNSUPPORTED, sure=False)),
    "missing_required_parameter": Explained("", None, MISSING, sure=False),
    "invalid_type": Explained("", None, TYPE, sure=False),
    **dict.fromkeys(("unsupported_value", "invalid_value"), Explained("", None, VALUE, sure=False)),
    "invalid_function_parameters": Explained("", "tools", VALUE, sure=False),
}
# FastAPI's kinds of complaint, by how they end or begin.
_PLACED: tuple[tuple[str, str], ...] = (
    ("missing", MISSING),
    ("extra_forbidden", UNSUPPORTED),
    ("_type", TYPE),
    ("value_error.missing", MISSING),
)
_PLACED += (("type_error", TYPE), ("value_error.extra", UNSUPPORTED))


def explain_complaint(said: Said) -> Explained | None:
    """What a complaint means to the client, in our words where we know it; None for one that we don't know. `param` is
    the field that the provider names: it counts where it is the more exact, or where we know none."""
    theirs = our_param(said.param) or param_of_place(said.place)
    for text in dict.fromkeys((unwrap(said.message), said.message)):
        for known in KNOWN:
            if (found := known.pattern.search(text)) and (explained := _write(known, found, theirs)) is not None:
                return explained
    if said.place:
        return _explain_placed(said, theirs)
    for word in (said.code, said.kind):
        if by_code := CODES.get(word.lower()):
            return by_code._replace(param=_more_exact(by_code.param, theirs))
    return None


def tell_unknown(said: Said) -> Explained:
    """What nobody knows, as far as it is plain words."""
    return Explained(keep_sentence(unwrap(said.message)), our_param(said.param), None)


def _write(known: Complaint, found: Json, theirs: str | None) -> Explained | None:
    """Our sentence with what it quotes of theirs. None for what names no field of a request's after all."""
    names = {name: value for name, value in found.groupdict().items() if value}
    named = names.get("param") or names.get("other") or names.get("place")
    own = our_param(named + names.get("rest", "")) if named else known.param
    if "place" in names:
        own = param_of_place(tuple(int(step) if step.isdigit() else step for step in names["place"].split(".")))
    if named and own is None and not known.sure:
        return None
    groups = [found.group(0), *(group or "" for group in found.groups())]
    if not found.re.groupindex:  # alternatives leave groups empty: the first that is there is {1}
        groups = [groups[0], *(group for group in groups[1:] if group), *[""] * len(groups)]
    quoted = [keep_plain(group) for group in groups]
    shown = {name: keep_name(value) if name == "function" else keep_plain(value) for name, value in names.items()}
    text = known.message.format(*quoted, **{**shown, "param": own or "the field"})
    sure = known.sure and (named is None or own is not None)
    return Explained(scrub(text), _more_exact(own, theirs), known.code, sure)


def _explain_placed(said: Said, param: str | None) -> Explained | None:
    code = next((ours for end, ours in _PLACED if said.kind.endswith(end) or said.kind.startswith(end)), VALUE)
    message = keep_sentence(said.message)
    if param is None:
        return None
    return Explained(f"{param}: {message}" if message else f"{param} is not valid.", param, code, sure=False)


def _more_exact(own: str | None, theirs: str | None) -> str | None:
    if own is None or (theirs is not None and theirs.startswith(own)):
        return theirs
    return own
