"""The landing page, and the models that pages for everyone show."""

from collections.abc import Sequence

from flask import Blueprint, render_template
from flask_login import current_user

from bridge.catalogue.listing import TOPIC as CATALOGUE
from bridge.catalogue.listing import ListedModel, list_models
from bridge.catalogue.tables import Channel
from bridge.conversation.kinds import CHAT
from bridge.dashboard.account import list_own_models
from bridge.dashboard.snippets import quick_start
from bridge.db import DEFAULT_GROUP, db
from bridge.extensions import anyone_may_enter
from bridge.languages import join_names, translate
from bridge.providers import stands_in
from bridge.versions import select_number

# one of each provider that the catalogue has; others fill up
FEATURED = ("claude-sonnet-5-5", "gpt-6.2-sol", "gemini-3.8-flash", "deepseek-flash", "kimi-k3.1-pro")

public = Blueprint("public", __name__)


@public.get("/")
@anyone_may_enter
def show_landing() -> str:
    models = list_offered(list_seen_models())
    providers = _connected_providers(models)
    return render_template(
        "public/landing.html",
        providers=providers,
        reach=join_names(providers) or translate("every model that its operator connects"),
        featured=_feature([model for model in models if CHAT in model.kinds]),
        total=len(models),
        snippets=quick_start(),
    )


def list_seen_models(channels: Sequence[Channel] | None = None) -> list[ListedModel]:
    """The models as the signed-in account sees them: at its prices, and served by its group's channels. `channels` are
    all of them, where they were just read."""
    if current_user.is_authenticated:
        return list_own_models(channels)
    number = db.session.scalar(select_number(CATALOGUE)) or 0
    return list_models(group=DEFAULT_GROUP, number=number, channels=channels)


def list_offered(models: list[ListedModel]) -> list[ListedModel]:
    """The models for a newcomer: without the sandbox's failures, and without models that are refused."""
    return [model for model in models if not stands_in(model.provider) and model.status != "retired"]


def _connected_providers(models: list[ListedModel]) -> list[str]:
    """The connected providers, by how many models they have; all of the catalogue's while none is connected."""
    serving = [model.provider_label for model in models if model.status in ("live", "degraded")]
    labels = serving or [model.provider_label for model in models]
    return sorted(set(labels), key=lambda label: (-labels.count(label), label))[:6]


def _feature(models: list[ListedModel]) -> list[ListedModel]:
    """As many models as FEATURED has, those of FEATURED first."""
    by_id = {model.id: model for model in models}
    named = [by_id[name] for name in FEATURED if name in by_id]
    return (named + [model for model in models if model not in named])[: len(FEATURED)]
