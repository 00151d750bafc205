"""Streams that their client leaves before a provider has answered: an account's first three in a minute are free.

They are counted when they are left, by all workers together and for all keys of the account: of sixty that are left at
the same moment three are free. Only abandoned streams ask here, so other requests cost nothing more."""

from bridge.counters.windows import Ask, Counters

FREE_A_MINUTE = 3
MINUTE_SECONDS = 60.0


def take_free_one(counters: Counters, account_id: int, request_id: str) -> bool:
    """Whether this stream is one of the account's free ones. If so, it counts for a minute as a lease that nobody gives
    back, so no sixty seconds contain more of them, wherever a minute begins."""
    ask = Ask(
        f"{{a{account_id}}}:left", FREE_A_MINUTE, is_lease=True, lease_id=request_id, lease_seconds=MINUTE_SECONDS
    )
    return counters.take_all([ask])[0].admitted
