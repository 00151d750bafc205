"""What providers say against a client's request, each known complaint with our sentence, our field and our code.

Patterns are searched in order, in 2,000 characters at the most; every repetition that may fail late is bounded."""

from typing import NamedTuple

from bridge.providers.complaint_fields import (
    DATA_URL,
    IMAGE,
    MISSING,
    POLICY,
    TOO_LONG,
    TYPE,
    UNSUPPORTED,
    VALUE,
    our_param,
)
from bridge.providers.complaints_of_content import CONTENT
from bridge.providers.complaints_of_fields import FIELDS


class Explained(NamedTuple):
    """What the client is told. An empty message: what the provider said, scrubbed."""

    message: str
    param: str | None
    code: str | None


KNOWN = (*CONTENT, *FIELDS)
CODES = {
    "context_length_exceeded": Explained("The prompt is too long for this model.", "messages", TOO_LONG),
    "content_filter": Explained("The provider's content policy does not allow this request.", "messages", POLICY),
    "content_policy_violation": Explained(
        "The provider's content policy does not allow this request.", "messages", POLICY
    ),
    "moderation_blocked": Explained("The provider's content policy does not allow this request.", "messages", POLICY),
    "invalid_prompt": Explained("The provider's content policy does not allow this request.", "messages", POLICY),
    "invalid_image_url": Explained(
        f"The provider can't fetch a picture that the request names. {DATA_URL}", "messages", IMAGE
    ),
    "invalid_image_format": Explained("A picture can't be read. PNG, JPEG, GIF and WebP are taken.", "messages", IMAGE),
    "image_parse_error": Explained("A picture can't be read. PNG, JPEG, GIF and WebP are taken.", "messages", IMAGE),
    "unsupported_parameter": Explained("", None, UNSUPPORTED),
    "unknown_parameter": Explained("", None, UNSUPPORTED),
    "missing_required_parameter": Explained("", None, MISSING),
    "invalid_type": Explained("", None, TYPE),
    "unsupported_value": Explained("", None, VALUE),
    "invalid_value": Explained("", None, VALUE),
    "invalid_function_parameters": Explained("", "tools", VALUE),
}


def explain_complaint(code: str, message: str, param: str | None) -> Explained:
    """A known complaint in our words, not yet scrubbed. `param` is the field that the provider names: it counts where
    it is the more exact, or where we know none."""
    theirs = our_param(param)
    for complaint in KNOWN:
        if found := complaint.pattern.search(message):
            names = {name: value for name, value in found.groupdict().items() if value}
            named = names.get("param") or names.get("other")
            own = our_param(named + names.get("rest", "")) if named else complaint.param
            groups = [found.group(0), *(group or "" for group in found.groups())]
            if not found.re.groupindex:  # alternatives leave groups empty: the first that is there is {1}
                groups = [groups[0], *(group for group in groups[1:] if group), *[""] * len(groups)]
            text = complaint.message.format(*groups, **{**names, "param": own or "the field"})
            return Explained(text, _more_exact(own, theirs), complaint.code)
    known = CODES.get(code, Explained("", None, None))
    return known._replace(param=_more_exact(known.param, theirs))


def _more_exact(own: str | None, theirs: str | None) -> str | None:
    if own is None or (theirs is not None and theirs.startswith(own)):
        return theirs
    return own
