"""Top-ups in their currency, whole cents of it, and what is credited for them."""

from bridge.config import Settings
from bridge.errors import InvalidRequest

NANOS_PER_MINOR = 10_000_000
MINOR_PER_UNIT = 100


def to_credit(settings: Settings, amount_minor: int) -> int:
    """Nano-dollars for an amount, at the rate of now; rounded down, if the rate leaves anything to round."""
    return amount_minor * settings.top_up_rate_nanos // MINOR_PER_UNIT


def check_amount(settings: Settings, nanos: int | None, param: str) -> int:
    """Billionths of the currency's unit, as a form reads them, to whole cents. Raises InvalidRequest naming bounds."""
    smallest, largest = settings.top_up_bounds
    if nanos is None or not smallest <= nanos <= largest:
        bounds = " to ".join(
            format_amount(bound // NANOS_PER_MINOR, settings.top_up_currency) for bound in (smallest, largest)
        )
        raise InvalidRequest(f"Give an amount of {bounds}.", param=param)
    return whole_cents(nanos, param)


def whole_cents(nanos: int, param: str) -> int:
    """The same in cents. Raises InvalidRequest for a fraction of one."""
    if nanos % NANOS_PER_MINOR:
        raise InvalidRequest("Give whole cents.", param=param)
    return nanos // NANOS_PER_MINOR


def format_amount(amount_minor: int, currency: str) -> str:
    """`$20.00`; any other currency by its name, `20.00 EUR`."""
    units, cents = divmod(amount_minor, MINOR_PER_UNIT)
    return f"${units:,}.{cents:02d}" if currency == "usd" else f"{units:,}.{cents:02d} {currency.upper()}"
