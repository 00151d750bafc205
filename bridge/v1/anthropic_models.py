"""GET /v1/models and /v1/models/{id} as Anthropic's clients read them: who sends `anthropic-version` gets these."""

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import parse_qs

import msgspec
from flask import Response

from bridge.catalogue.listing import ListedModel
from bridge.catalogue.other_names import name_for_claude_code
from bridge.conversation.kinds import CHAT
from bridge.dialects.messages.request import wrong
from bridge.errors import ModelNotFound
from bridge.v1.door import count
from bridge.v1.list_models import list_allowed
from bridge.v1.schemas.messages import AnthropicModel, AnthropicModelList
from bridge.v1.visit import Visit

PAGE, LARGEST_PAGE = 20, 1000
RETIRED = "retired"
STAGES = ("active", "deprecated", RETIRED)


def list_all(visit: Visit) -> Response:
    """A page of the models that the key may use, newest first."""
    count(visit)
    asked = {name: ",".join(values) for name, values in parse_qs(visit.header("QUERY_STRING")).items()}
    limit, stages = _read_limit(asked.get("limit")), _read_stages(asked)
    talking = (model for model in list_allowed(visit) if CHAT in model.kinds)
    models = [one for model in talking if (one := _describe(model)).lifecycle in stages]
    models.sort(key=lambda model: model.created_at, reverse=True)
    if limit == LARGEST_PAGE:
        models = [*_rename(models), *models]
    ids = [model.id for model in models]
    start, end = 0, len(models)
    if (after := asked.get("after_id")) is not None:
        start = ids.index(after) + 1 if after in ids else end
    elif (before := asked.get("before_id")) is not None:
        end = ids.index(before) if before in ids else 0
        start = max(0, end - limit)
    page = models[start : min(end, start + limit)]
    more = start > 0 if "before_id" in asked and "after_id" not in asked else start + limit < end
    found = AnthropicModelList(
        data=page, has_more=more, first_id=page[0].id if page else None, last_id=page[-1].id if page else None
    )
    visit.leave()
    return visit.answer(msgspec.json.encode(found))


def retrieve(visit: Visit, name: str) -> Response:
    """One model, by id or alias. Raises ModelNotFound, also for one that the key may not use."""
    count(visit)
    name = visit.services.catalogue.find_name(name)
    for model in list_allowed(visit):
        if name == model.id or name in model.aliases:
            visit.leave()
            return visit.answer(msgspec.json.encode(_describe(model)))
    raise ModelNotFound(f"model: {name[:128]}", param="model")


def _rename(models: Iterable[AnthropicModel]) -> Iterator[AnthropicModel]:
    """Other makers' models under names that Claude Code keeps: it asks for the longest page, and leaves out whatever
    isn't called like a model of Anthropic's. They come first, so that a long list cuts none of them off."""
    for model in models:
        if (name := name_for_claude_code(model.id)) != model.id:
            yield msgspec.structs.replace(model, id=name)


def _read_stages(asked: Mapping[str, str]) -> Sequence[str]:
    """The stages of a model's life that are asked for: without a word all but the last."""
    text = asked.get("lifecycle") or asked.get("lifecycle[]")
    if text is None:
        return STAGES[:-1]
    wanted = text.split(",")
    if any(one not in STAGES for one in wanted):
        raise wrong("lifecycle", f"Input should be one of {', '.join(STAGES)}")
    return wanted


def _read_limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= LARGEST_PAGE:
        raise wrong("limit", f"Input should be a whole number from 1 to {LARGEST_PAGE}")
    return int(text)


def _describe(model: ListedModel) -> AnthropicModel:
    created = model.created_at.replace(tzinfo=datetime.UTC)
    return AnthropicModel(
        type="model",
        id=model.id,
        display_name=model.name,
        created_at=created.isoformat(timespec="seconds").replace("+00:00", "Z"),
        max_input_tokens=model.context_tokens,
        max_tokens=model.max_output_tokens,
        lifecycle="retired" if model.status == RETIRED else "active",
    )
