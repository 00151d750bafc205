"""Markup and prices of many models at once: chosen, shown with old and new figures, and only then confirmed."""

import datetime
from typing import Any

from flask import flash, redirect, render_template, request, url_for

from bridge.admin.below_cost import FIELD, is_confirmed
from bridge.admin.door import admin, find_operator, needs_right
from bridge.catalogue.below_cost import BelowCost
from bridge.catalogue.bulk_prices import MARKUP, Plan, carry_out, plan_change
from bridge.catalogue.listing import ListedModel, find_number, list_models
from bridge.errors import InvalidRequest
from bridge.forms import FormReader
from bridge.languages import to_translate, translate, translate_plural

MOST_MODELS = 2000
LABELS = {"percent": to_translate("Percent"), "effective_at": to_translate("From")}


@admin.get("/models/bulk")
@needs_right("prices")
def show_bulk_prices() -> str:
    """The models to choose from: those of a provider, or whose id contains every word of `q`. These are ticked."""
    provider, search = request.args.get("provider", "")[:64], request.args.get("q", "").strip()[:100]
    everything = [model for model in list_models(number=find_number()) if model.status != "retired"]
    found = [model for model in everything if _fits(model, provider, search)]
    chosen = {model.id for model in found} if provider or search else set()
    return _render(FormReader({"kind": MARKUP}), chosen, found, everything, provider, search)


@admin.post("/models/bulk")
@needs_right("prices")
def change_prices_in_bulk() -> Any:
    """Show what the change would do, or carry it out as it was shown."""
    form, chosen = FormReader(request.form), set(request.form.getlist("model")[:MOST_MODELS])
    percent, effective_at = form.percent("percent"), form.moment("effective_at")
    if percent is None:
        form.errors.setdefault("percent", translate("Give a percentage, such as 12.5 or -3."))
    plan = None
    if percent is not None and not form.errors:
        try:
            plan = plan_change(form.text("kind"), chosen, percent, effective_at)
            if form.text("do") == "apply" and plan.changes:
                if form.text("seen") not in ("", plan.seen):
                    raise InvalidRequest(
                        translate("A price or markup was changed meanwhile. These are the new figures.")
                    )
                count = carry_out(plan, below_cost=is_confirmed(form), actor=find_operator())
                flash(_describe_done(count, effective_at))
                return redirect(url_for("admin.show_models"), 303)
        except BelowCost as error:
            form.errors[FIELD] = "\n".join(error.lines)
        except InvalidRequest as error:
            form.errors[{"markup": "percent"}.get(error.param or "", error.param or "")] = error.message
    everything = [model for model in list_models(number=find_number()) if model.status != "retired"]
    page = _render(form, chosen, everything, everything, "", "", plan)
    return page, 400 if form.errors else 200


def _describe_done(count: int, effective_at: datetime.datetime | None) -> str:
    if effective_at is None:
        return translate_plural(
            "%(num)s model has other prices from now on.", "%(num)s models have other prices from now on.", count
        )
    moment = f"{effective_at:%Y-%m-%d %H:%M}"
    return translate_plural(
        "%(num)s model has other prices from %(moment)s UTC on.",
        "%(num)s models have other prices from %(moment)s UTC on.",
        count,
        moment=moment,
    )


def _fits(model: ListedModel, provider: str, search: str) -> bool:
    names = " ".join((model.id, model.name, model.provider_label, *model.aliases)).lower()
    return provider in ("", model.provider) and all(word in names for word in search.lower().split())


def _render(  # noqa: PLR0913 - what the page shows
    form: FormReader,
    chosen: set[str],
    found: list[ListedModel],
    everything: list[ListedModel],
    provider: str,
    search: str,
    plan: Plan | None = None,
) -> str:
    return render_template(
        "admin/models_bulk.html",
        models=found,
        chosen=chosen,
        providers=[
            ("", translate("All providers")),
            *sorted({(one.provider, one.provider_label) for one in everything}),
        ],
        provider=provider,
        search=search,
        plan=plan,
        values=form.values,
        errors=form.errors,
        labels={name: translate(text) for name, text in LABELS.items()},
    )
