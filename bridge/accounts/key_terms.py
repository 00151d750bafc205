"""A key's terms: its name, limits and rules. Form, command, `/v1/key` and its schema are made from the fields."""

import dataclasses
import datetime
from collections.abc import Collection
from typing import Annotated, Any, Literal, get_type_hints

from bridge.addresses import Network
from bridge.languages import to_translate

# What kind of value a field holds. This decides how it is read, checked and shown.
Kind = Literal["name", "count", "dollars", "period", "models", "networks", "moment"]


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
    """How a field of KeyTerms is named and shown. Names left empty are made from the field's name or its label."""

    kind: Kind
    label: str  # in the form
    option_help: str = ""  # of the command
    hint: str = ""  # below the form's field
    short_label: str = ""  # in the list of what a new key may do
    api_name: str = ""  # in `limits` of /v1/key; a field without it has a member of its own there
    form_name: str = ""  # errors use it too
    option: str = ""
    field: str = ""  # of KeyTerms, and the column

    def named(self, field: str) -> "Term":
        """This term with its empty names filled in."""
        form_name = self.form_name or field
        option = self.option or "--" + form_name.replace("_", "-")
        short_label = self.short_label or self.label
        return dataclasses.replace(self, field=field, form_name=form_name, option=option, short_label=short_label)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeyTerms:
    """Everything that can be set on a key, passed as one value. A limit of None or 0 means the account's limit, if it
    has one; a key's limit never exceeds its account's. `models` are ids or aliases, `addresses` are networks, and None
    allows all."""

    name: Annotated[str, Term("name", to_translate("Name"))]
    rpm: Annotated[
        int | None,
        Term(
            "count",
            to_translate("Requests a minute"),
            "Requests per minute, at most the account's; 0 is the account's.",
            api_name="requests_per_minute",
        ),
    ] = None
    tpm: Annotated[
        int | None,
        Term("count", to_translate("Tokens a minute"), "Tokens per minute, likewise.", api_name="tokens_per_minute"),
    ] = None
    concurrency: Annotated[
        int | None,
        Term(
            "count",
            to_translate("Requests at once"),
            "Requests at once, likewise.",
            short_label=to_translate("At once"),
            api_name="concurrent_requests",
        ),
    ] = None
    budget_day_nanos: Annotated[
        int | None,
        Term(
            "dollars", to_translate("A day"), "Dollars that the key may spend in a day (UTC).", form_name="budget_day"
        ),
    ] = None
    budget_week_nanos: Annotated[
        int | None, Term("dollars", to_translate("A week"), "In a week, from Monday.", form_name="budget_week")
    ] = None
    budget_month_nanos: Annotated[
        int | None, Term("dollars", to_translate("A month"), "In a month.", form_name="budget_month")
    ] = None
    budget_total_nanos: Annotated[
        int | None, Term("dollars", to_translate("In all"), "In all.", form_name="budget_total", option="--budget")
    ] = None
    budget_raise_nanos: Annotated[
        int | None,
        Term(
            "dollars",
            to_translate("Raise each by"),
            "Dollars more for each of these budgets, until --budget-raise-until.",
            to_translate("Dollars on top of each budget above."),
            form_name="budget_raise",
        ),
    ] = None
    budget_raise_until: Annotated[
        datetime.datetime | None,
        Term(
            "moment",
            to_translate("Until"),
            "ISO 8601, likewise. The raise ends by itself.",
            to_translate("In UTC. Then it ends by itself."),
        ),
    ] = None
    budget_user_nanos: Annotated[
        int | None,
        Term(
            "dollars",
            to_translate("Each end user"),
            "Dollars that each end user of the key may spend in --budget-user-period.",
            form_name="budget_user",
        ),
    ] = None
    budget_user_period: Annotated[str, Term("period", to_translate("Period"))] = "day"
    models: Annotated[
        Collection[str] | None, Term("models", to_translate("Models"), "The only models it may use: A,B.")
    ] = None
    addresses: Annotated[
        Collection[str | Network] | None,
        Term(
            "networks",
            to_translate("Addresses"),
            "The only addresses or networks it works from: A,B.",
            to_translate(
                "Where calls may come from, such as 203.0.113.7 or 2001:db8::/32, one a line. Leave empty for anywhere."
            ),
        ),
    ] = None
    expires_at: Annotated[
        datetime.datetime | None,
        Term(
            "moment",
            to_translate("Expires"),
            "ISO 8601; UTC unless it says otherwise.",
            to_translate("Times are UTC. Leave empty for a key that never expires."),
            option="--expires",
        ),
    ] = None


def _list_terms() -> tuple[Term, ...]:
    hints = get_type_hints(KeyTerms, include_extras=True)
    return tuple(hints[field.name].__metadata__[0].named(field.name) for field in dataclasses.fields(KeyTerms))


TERMS = _list_terms()
PLAIN_LIMITS = tuple(term for term in TERMS if term.api_name)


def terms_of(row: Any) -> KeyTerms:
    """The terms of a key's row."""
    return KeyTerms(**{term.field: getattr(row, term.field) for term in TERMS})
