"""The rule by which a request was charged, in plain words: its receipt shows it beside the sums."""

import dataclasses

from bridge.languages import to_translate
from bridge.ledger.tables import UsageRecord


@dataclasses.dataclass(frozen=True, slots=True)
class ChargeRule:
    """What happened, and what was charged for it, a sentence each; `name` is for programs."""

    name: str
    happened: str
    paid: str

    @property
    def text(self) -> str:
        return f"{self.happened} {self.paid}"


FREE = to_translate("You were not charged.")
SO_FAR = to_translate("You paid for the prompt and for what had arrived until then.")
COMPLETE = ChargeRule(
    "complete",
    to_translate("The answer was complete."),
    to_translate("You paid for its tokens as the provider counted them."),
)
COMPLETE_ESTIMATE = ChargeRule(
    "complete_estimate",
    to_translate("The answer was complete, but its provider gave no counts."),
    to_translate("You paid for its tokens as we counted them."),
)
COMPLETE_MIXED = ChargeRule(
    "complete_mixed",
    to_translate("The answer was complete, but one of its provider's counts was missing or impossible."),
    to_translate("You paid for the tokens of that part as we counted them, and for the others as the provider did."),
)
COMPLETE_CLAMPED = ChargeRule(
    "complete_clamped",
    to_translate("The answer was complete, but its provider counted more than this request can hold."),
    to_translate("You paid for what it can hold, and not for the rest."),
)
EMPTY = ChargeRule("empty", to_translate("The answer was complete, but held nothing: no text and no call."), FREE)
CUT = ChargeRule("cut", to_translate("The answer broke off."), SO_FAR)
LEFT = ChargeRule("client_left", to_translate("The client left before the end."), SO_FAR)
LEFT_EARLY = ChargeRule(
    "client_left_early",
    to_translate("The client left before a provider had answered."),
    to_translate("An account has three such streams a minute free. You were not charged."),
)
LEFT_EARLY_PAID = ChargeRule(
    "client_left_early_paid",
    LEFT_EARLY.happened,
    to_translate(
        "The account had used its three free ones of that minute. You paid for the prompt, as we counted it, because "
        "the provider had received it."
    ),
)
SLOW = ChargeRule("client_slow", to_translate("The client took nothing of the answer for too long."), SO_FAR)
SLOW_FREE = ChargeRule("client_slow_free", SLOW.happened, FREE)
NO_ANSWER = ChargeRule("no_answer", to_translate("No provider delivered any of an answer."), FREE)
REFUSED = ChargeRule("refused", to_translate("The request was refused."), FREE)
LOST = ChargeRule(
    "interrupted",
    to_translate("Our process ended while this ran."),
    to_translate("You paid at most for what had been delivered."),
)
LOST_FREE = ChargeRule("interrupted_free", LOST.happened, FREE)
RULES = (
    *(COMPLETE, COMPLETE_ESTIMATE, COMPLETE_MIXED, COMPLETE_CLAMPED, EMPTY, CUT, LEFT, LEFT_EARLY, LEFT_EARLY_PAID),
    *(SLOW, SLOW_FREE, NO_ANSWER, REFUSED, LOST, LOST_FREE),
)


def find_rule(record: UsageRecord) -> ChargeRule:
    """The rule that applied to a settled request."""
    captured = record.state == "captured"
    if record.outcome == "worker_lost":
        return LOST if captured else LOST_FREE
    if record.outcome == "client_gone" and captured:
        return LEFT_EARLY_PAID if record.error_code == LEFT_EARLY_PAID.name else LEFT
    if record.outcome == "client_gone":
        return LEFT_EARLY
    if record.outcome == "client_slow":
        return SLOW if captured else SLOW_FREE
    if not captured and record.outcome == "complete":
        return EMPTY
    if not captured:
        return REFUSED if 400 <= record.status < 500 else NO_ANSWER
    if record.outcome == "cut":
        return CUT
    if record.tokens_source == "provider":
        return COMPLETE_CLAMPED if record.provider_counts else COMPLETE
    return COMPLETE_MIXED if record.tokens_source == "mixed" else COMPLETE_ESTIMATE
