"""Limits how much may be tried again: where much fails, retries would only add to it."""

WINDOW_SECONDS = 10
SHARE = 0.2


class RetryBudget:
    """A worker's retries of what may fail again: in any ten seconds at most a fifth as many as requests, but never
    fewer than `always`. Moving on to a channel that is well is none of them. `now` is monotonic, in seconds."""

    __slots__ = ("_always", "_requests", "_retries", "_second")

    def __init__(self, always: int) -> None:
        self._always = always
        self._requests = [0] * WINDOW_SECONDS  # by second
        self._retries = [0] * WINDOW_SECONDS
        self._second = 0

    def note_request(self, now: float) -> None:
        """One more request has begun."""
        self._requests[self._look(now)] += 1

    def take(self, now: float) -> bool:
        """Whether there is room for one more retry: then it is taken."""
        slot = self._look(now)
        if sum(self._retries) >= max(self._always, SHARE * sum(self._requests)):
            return False
        self._retries[slot] += 1
        return True

    def give_back(self, now: float) -> None:
        """The retry that was taken `now` didn't come to pass."""
        if self._retries[int(now) % WINDOW_SECONDS]:
            self._retries[int(now) % WINDOW_SECONDS] -= 1

    def _look(self, now: float) -> int:
        """This second's slot, after those that have left the window were emptied."""
        second = int(now)
        if second != self._second:
            for passed in range(max(self._second + 1, second - WINDOW_SECONDS + 1), second + 1):
                self._requests[passed % WINDOW_SECONDS] = self._retries[passed % WINDOW_SECONDS] = 0
            self._second = second
        return second % WINDOW_SECONDS
