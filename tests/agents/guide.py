"""The settings that a guide of the docs shows, read from the page as a visitor gets it, and filled in."""

from scripts.docs_code import list_blocks
from scripts.quick_starts import fetch
from tests.gateway import Gateway

KEY = "YOUR_API_KEY"


class Guide:
    """The code of a guide by label, with this key; of the models that it names only those that are replaced."""

    def __init__(self, gateway: Gateway, slug: str, key: str, **models: str):
        self._blocks = list_blocks(fetch(f"{gateway.site_url}/docs/{slug}").text)
        self._key, self._models = key, models

    def __getitem__(self, label: str) -> str:
        [code] = [block.code for block in self._blocks if block.language == label]
        code = code.replace(KEY, self._key)
        for documented, model in self._models.items():
            code = code.replace(f'"{documented}"', f'"{model}"')
        return code
