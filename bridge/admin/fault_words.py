"""The faults of a drill in the reader's language. Providers have them in English, and know no pages."""

from bridge.languages import to_translate, translate
from bridge.providers.faults import FAULTS

WORDS = {
    "429": to_translate("answers 429: too many requests, come back in 7 seconds"),
    "402": to_translate("answers 402: the balance there is used up"),
    "500": to_translate("answers 500: it is broken"),
    "503": to_translate("answers 503: it is overloaded"),
    "stall": to_translate("takes the request and never answers (stall)"),
    "cut": to_translate("breaks off in the middle (cut)"),
    "malformed": to_translate("answers what is no JSON (malformed)"),
    "slow": to_translate("answers well, but slowly: a word each quarter of a second (slow)"),
    "error-in-200": to_translate("answers 200 with an error in it (error-in-200)"),
    "endless": to_translate("never stops answering (endless)"),
}


def list_faults() -> dict[str, str]:
    """Each fault's name, and what an upstream that has it does."""
    return {name: translate(WORDS[name]) for name in FAULTS}
