"""The pages that everyone may read: the landing page, models and prices, the docs."""

from flask import Blueprint, render_template, request
from flask_login import current_user

from bridge.catalogue.listing import ListedModel, list_models
from bridge.dashboard.account import list_own_models
from bridge.dashboard.guides import GUIDES, find_guide
from bridge.dashboard.snippets import list_examples, quick_start, site_url
from bridge.db import DEFAULT_GROUP
from bridge.extensions import anyone_may_enter
from bridge.providers import stands_in

# one of each provider that the catalogue has; others fill up
FEATURED = ("claude-sonnet-4-5", "gpt-4o", "gemini-2.5-pro", "deepseek-chat", "kimi-k2.5")
INPUTS = [("image", "Images"), ("file", "Files"), ("audio", "Audio")]

public = Blueprint("public", __name__)


@public.get("/")
@anyone_may_enter
def show_landing() -> str:
    models = _offered(_list_models())
    providers = _connected_providers(models)
    return render_template(
        "public/landing.html",
        providers=providers,
        reach=_enumerate(providers) or "every model that its operator connects",
        featured=_feature(models),
        total=len(models),
        snippets=quick_start(),
    )


@public.get("/models")
@anyone_may_enter
def show_models() -> str:
    """All models that match the filter, which is the URL: q, provider, input."""
    everything = _list_models()
    words = request.args.get("q", "").strip().lower()[:100].split()
    provider, takes = request.args.get("provider", ""), request.args.get("input", "")
    models = [
        model
        for model in everything
        if (not provider or model.provider == provider)
        and (not takes or takes in model.input_modalities)
        and all(word in _searchable(model) for word in words)
    ]
    return render_template(
        "public/models.html",
        models=models,
        total=len(everything),
        providers=sorted({(model.provider, model.provider_label) for model in everything}, key=lambda one: one[1]),
        inputs=[one for one in INPUTS if any(one[0] in model.input_modalities for model in everything)],
        checked_on=max((model.checked_on for model in everything if model.checked_on), default=None),
    )


@public.get("/docs")
@anyone_may_enter
def show_docs() -> str:
    return render_template(
        "public/docs.html",
        models=_offered(list_models(group=DEFAULT_GROUP)),
        snippets=quick_start(),
        examples=list_examples(),
        guides=GUIDES,
        site_url=site_url(),
    )


@public.get("/docs/<slug>")
@anyone_may_enter
def show_guide(slug: str) -> str:
    guide = find_guide(slug)
    return render_template(f"public/guides/{guide.slug}.html", guide=guide, guides=GUIDES, site_url=site_url())


def _list_models() -> list[ListedModel]:
    """The models as the signed-in account sees them: at its prices, and served by its group's channels."""
    return list_own_models() if current_user.is_authenticated else list_models(group=DEFAULT_GROUP)


def _searchable(model: ListedModel) -> str:
    return " ".join((model.id, model.name, model.provider_label, *model.aliases)).lower()


def _offered(models: list[ListedModel]) -> list[ListedModel]:
    """The models for a newcomer: without the sandbox's failures, and without models that are refused."""
    return [model for model in models if not stands_in(model.provider) and model.status != "retired"]


def _connected_providers(models: list[ListedModel]) -> list[str]:
    """The connected providers, by how many models they have; all of the catalogue's while none is connected."""
    serving = [model.provider_label for model in models if model.status in ("live", "degraded")]
    labels = serving or [model.provider_label for model in models]
    return sorted(set(labels), key=lambda label: (-labels.count(label), label))[:6]


def _enumerate(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _feature(models: list[ListedModel]) -> list[ListedModel]:
    """As many models as FEATURED has, those of FEATURED first."""
    by_id = {model.id: model for model in models}
    named = [by_id[name] for name in FEATURED if name in by_id]
    return (named + [model for model in models if model not in named])[: len(FEATURED)]
