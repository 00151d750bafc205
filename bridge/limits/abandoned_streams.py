"""Streams that their client leaves before a provider has answered: an account's first three in a minute are free.

They are counted when they are left, one after the other and by all workers together, whatever their keys are: of sixty
that leave at the same moment three are free. Only streams that are left ask here, so that no other request pays."""

from bridge.counters import Ask, Counters

FREE_A_MINUTE = 3
MINUTE_SECONDS = 60.0


def take_free_one(counters: Counters, account_id: int, request_id: str) -> bool:
    """Whether this stream is one of the account's free ones. If so it stays one for a minute: it is counted as a lease
    that nobody gives back, so that no sixty seconds have more of them, wherever a minute begins."""
    ask = Ask(
        f"{{a{account_id}}}:left", FREE_A_MINUTE, is_lease=True, lease_id=request_id, lease_seconds=MINUTE_SECONDS
    )
    return counters.take_all([ask])[0].admitted
