"""Names that agents have for models and that no operator had to enter."""

from collections.abc import Iterable, Iterator

from bridge.providers.anthropic.models import read_model

FOR_CLAUDE_CODE = "anthropic/"  # before a model's name: in its list Claude Code keeps only what begins like its maker's
KEPT_BY_CLAUDE_CODE = ("claude", FOR_CLAUDE_CODE.removesuffix("/"))
LONG_CONTEXT = "[1m]"  # Claude Code's mark on a model's name, which no model has
FAMILIES = ("opus", "sonnet", "haiku")


def name_for_claude_code(model_id: str) -> str:
    """The name under which Claude Code offers the model, whoever makes it."""
    return model_id if model_id.startswith(KEPT_BY_CLAUDE_CODE) else FOR_CLAUDE_CODE + model_id


def list_meant_names(name: str, on_sale: Iterable[str]) -> Iterator[str]:
    """What a name may mean that nobody has entered, the likeliest first. `on_sale` are the ids of all models that can
    be asked; they are looked at for a bare family alone, which means its newest model."""
    name = name.removesuffix(LONG_CONTEXT)
    yield name
    name = name.removeprefix(FOR_CLAUDE_CODE)
    yield name
    if name in FAMILIES:
        family = [each for each in on_sale if each.startswith("claude-") and read_model(each).family == name]
        if family:
            yield max(family, key=lambda each: (read_model(each).version, each))
