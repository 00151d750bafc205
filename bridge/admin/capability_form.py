"""The form of what a model takes and does; converts fields to those of `edit_model` and back. Each kind of input beside
text is a box of its own: `takes_image` and so on."""

from typing import Any

from bridge.catalogue.listing import ListedModel
from bridge.catalogue.price_file import INPUT_KINDS
from bridge.forms import FormReader

FURTHER_INPUTS = tuple(kind for kind in INPUT_KINDS if kind != "text")
CHECKED = "yes"


def read_capabilities(form: FormReader) -> dict[str, Any]:
    """The fields of `edit_model`; a number that is left empty is none of them. What is no number is an error of the
    form's."""
    kinds = ["text", *(kind for kind in FURTHER_INPUTS if form.text(f"takes_{kind}") == CHECKED)]
    numbers = {"image_tokens": form.number("image_tokens"), "added_tokens": form.number("added_tokens")}
    given = {name: number for name, number in numbers.items() if number is not None}
    return {"input_modalities": kinds, "thinks": form.text("thinks") == CHECKED, **given}


def write_capabilities(model: ListedModel) -> dict[str, str]:
    """The fields as the model is."""
    return {
        "name": model.name,
        "upstream_id": model.upstream_id,
        "note": model.note or "",
        "context_tokens": str(model.context_tokens),
        "max_output_tokens": str(model.max_output_tokens),
        "image_tokens": str(model.image_tokens or ""),
        "thinks": CHECKED if model.thinks else "",
        **{f"takes_{kind}": CHECKED if kind in model.input_modalities else "" for kind in FURTHER_INPUTS},
    }
