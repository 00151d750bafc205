"""How often an account may have tokens counted: a budget of its own, for counting is free and must not eat up what the
account may ask for. Agents count fifteen things at once."""

from bridge.accounts.keys import Caller
from bridge.counters.windows import Ask, Counters, seconds_until_free
from bridge.errors import RateLimitExceeded

COUNTS_A_MINUTE = 600


def take_count(counters: Counters, caller: Caller) -> None:
    """Count one more. Raises RateLimitExceeded."""
    ask = Ask(f"{{a{caller.account_id}}}:counts", COUNTS_A_MINUTE, 1)
    [count] = counters.take_all([ask])
    if not count.admitted:
        message = f"Rate limit exceeded: {COUNTS_A_MINUTE} counts of tokens per minute"
        raise RateLimitExceeded(message, retry_after_seconds=seconds_until_free(ask, count))
