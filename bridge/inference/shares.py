"""Keeps count of what each account has of this worker at the moment, so that none takes what is everybody's."""

import dataclasses

from bridge.config import Settings

PARTS = 4  # a quarter of each pot is an account's at most
LEAST_REQUESTS = 2  # however small the pot


@dataclasses.dataclass(slots=True)
class Share:
    """Requests of one account that have not left, those included whose bodies are still read; and its bodies' bytes."""

    account_id: int
    requests: int = 0
    body_bytes: int = 0


class Shares:
    """The shares of the accounts that have requests here now. What an account may have is told by the settings."""

    def __init__(self, settings: Settings):
        self.most_requests = max(LEAST_REQUESTS, settings.max_in_flight // PARTS)
        # one body of the largest size always has room
        self.most_body_bytes = max(settings.max_body_bytes, settings.max_bodies_in_memory_bytes // PARTS)
        self.body_bytes = 0  # of all accounts' bodies in memory
        self._by_account: dict[int, Share] = {}

    def take(self, account_id: int) -> Share:
        """The account's share, one request larger."""
        share = self._by_account.get(account_id)
        if share is None:
            share = self._by_account[account_id] = Share(account_id)
        share.requests += 1
        return share

    def give_back(self, share: Share) -> None:
        """One request has left. Nothing is kept of an account that has none."""
        share.requests -= 1
        if not share.requests:
            self._by_account.pop(share.account_id, None)

    def keep_body(self, share: Share, count: int) -> None:
        """So many more bytes of the account's bodies are in memory."""
        self.body_bytes += count
        share.body_bytes += count

    def __len__(self) -> int:
        return len(self._by_account)
