"""Price versions for tests, without rows."""

from collections.abc import Sequence

from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.rates import PRICE_CLASSES, Rates, make_rates


def make_version(
    id_: int, *figures: int, longer: Sequence[Rates] = (), markup_bps: int = 0, **further: int
) -> PriceVersion:
    """A version with these prices by PRICE_CLASSES, and of further classes; `longer` are tiers of long prompts."""
    tiers = (make_rates({**dict(zip(PRICE_CLASSES, figures, strict=True)), **further}), *longer)
    return PriceVersion(id_, tiers, tiers, markup_bps, "model" if markup_bps else "")
