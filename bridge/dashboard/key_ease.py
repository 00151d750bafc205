"""Eases a key's own rule in one press, where its page says that calls were refused by it."""

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any

from bridge.accounts.key_terms import KeyTerms, terms_of
from bridge.accounts.tables import Key
from bridge.languages import to_translate, translate
from bridge.limits.limits import LIMITS
from bridge.limits.refusals import Refused

_LIMIT = re.compile(rf"Rate limit exceeded: (\d+) ({'|'.join(LIMITS.values())})")
WORDS = {
    "rpm": to_translate("Raise to %(limit)s a minute"),
    "tpm": to_translate("Raise to %(limit)s tokens a minute"),
    "concurrency": to_translate("Raise to %(limit)s at once"),
}
TIMES = 2


@dataclasses.dataclass(frozen=True)
class Ease:
    """A press: what its button says, and the term and the value that it sets."""

    text: str
    field: str
    value: str


def find_ease(key: Key, refused: Refused, account_limits: Mapping[str, int], offered: Collection[str]) -> Ease | None:
    """What would let these calls in: twice the key's own limit, at most the account's, or the model that was asked
    for, if it is `offered`. None where the key's own rule isn't the one that refused."""
    if refused.code == "model_not_allowed" and key.models is not None:
        model = refused.last_model
        may = model in offered and model not in key.models
        return Ease(translate("Allow %(model)s", model=model), "models", model) if may else None
    limit = _LIMIT.match(refused.last_message)
    if refused.code != "rate_limit_exceeded" or limit is None:
        return None
    field = next(name for name, words in LIMITS.items() if words == limit[2])
    own, most = getattr(key, field) or 0, account_limits[field]
    more = min(own * TIMES, most) if most else own * TIMES
    if not int(limit[1]) == own < more:
        return None
    said = f"{more:,}"
    return Ease(translate(WORDS[field], limit=said), field, str(more))


def ease(key: Key, field: str, value: str) -> KeyTerms:
    """The key's terms with this one eased: a limit's new figure, or one model more."""
    changes: dict[str, Any] = {field: [*(key.models or ()), value] if field == "models" else int(value)}
    return dataclasses.replace(terms_of(key), **changes)
