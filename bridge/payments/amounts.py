"""Top-ups in their currency, in whole cents, and the credit for them."""

from bridge.config import Settings
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.money import format_percent

NANOS_PER_MINOR = 10_000_000
MINOR_PER_UNIT = 100
FULL_BPS = 10_000
# currencies that Stripe doesn't count in hundredths; none can be asked for here, but money may arrive in one
NO_DECIMALS = "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf"
THREE_DECIMALS = "bhd jod kwd omr tnd"


def to_credit(settings: Settings, amount_minor: int) -> int:
    """Nano-dollars for an amount, at the current rate, rounded down."""
    return amount_minor * settings.top_up_rate_nanos // MINOR_PER_UNIT


def to_bonus(settings: Settings, amount_minor: int, credit_nanos: int) -> int:
    """Nano-dollars given on top of this credit for an amount, by the current steps, rounded down; 0 below the first."""
    reached = [points for start, points in settings.top_up_bonus_steps if amount_minor * NANOS_PER_MINOR >= start]
    return credit_nanos * reached[-1] // FULL_BPS if reached else 0


def describe_bonus(settings: Settings) -> str:
    """`5% from $50.00, 10% from $200.00`; "" where there is none."""
    steps = settings.top_up_bonus_steps
    amounts = (format_amount(start // NANOS_PER_MINOR, settings.top_up_currency) for start, _ in steps)
    return ", ".join(
        translate("%(percent)s%% from %(amount)s", percent=format_percent(points), amount=amount)
        for (_, points), amount in zip(steps, amounts, strict=True)
    )


def check_amount(settings: Settings, nanos: int | None, param: str) -> int:
    """Whole cents from billionths of the currency's unit, which forms use. Raises InvalidRequest naming the bounds."""
    smallest, largest = settings.top_up_bounds
    if nanos is None or not smallest <= nanos <= largest:
        raise InvalidRequest(tell_bounds(settings), param=param)
    return whole_cents(nanos, param)


def is_within_bounds(settings: Settings, amount_minor: int) -> bool:
    """Whether this amount may be paid at once, by the current settings."""
    smallest, largest = settings.top_up_bounds
    return smallest <= amount_minor * NANOS_PER_MINOR <= largest


def describe_bounds(settings: Settings) -> str:
    """`$5.00 to $500.00`, in English: for what is stored."""
    return " to ".join(_format_bounds(settings))


def say_bounds(settings: Settings) -> str:
    """The same in the reader's language."""
    smallest, largest = _format_bounds(settings)
    return translate("%(smallest)s to %(largest)s", smallest=smallest, largest=largest)


def tell_bounds(settings: Settings) -> str:
    """What is wrong with an amount beyond the bounds."""
    return translate("Give an amount of %(bounds)s.", bounds=say_bounds(settings))


def _format_bounds(settings: Settings) -> list[str]:
    bounds = (bound // NANOS_PER_MINOR for bound in settings.top_up_bounds)
    return [format_amount(bound, settings.top_up_currency) for bound in bounds]


def whole_cents(nanos: int, param: str) -> int:
    """Whole cents from billionths of the unit. Raises InvalidRequest for a fraction of a cent."""
    if nanos % NANOS_PER_MINOR:
        raise InvalidRequest(translate("Give whole cents."), param=param)
    return nanos // NANOS_PER_MINOR


def format_amount(amount_minor: int, currency: str) -> str:
    """`$20.00`; other currencies with their code: `20.00 EUR`, `2,000 JPY`."""
    decimals = 0 if currency in NO_DECIMALS.split() else 3 if currency in THREE_DECIMALS.split() else 2
    units, rest = divmod(amount_minor, 10**decimals)
    amount = f"{units:,}.{rest:0{decimals}d}" if decimals else f"{units:,}"
    return f"${amount}" if currency == "usd" else f"{amount} {currency.upper()}"
