"""Decides which channel a request is sent to next, and whether to any: three attempts at the most, within one deadline
and the channels' own limits.

Moving on to a channel that is well is always allowed. Anything else has a budget."""

import random
import time
from collections.abc import Callable

import gevent

from bridge.catalogue.breaker_counts import Record
from bridge.catalogue.routing import Route, order_routes
from bridge.errors import BridgeError, Overloaded, UpstreamError
from bridge.inference.affinity import Affinity
from bridge.inference.drill import Drill
from bridge.inference.plan import Offer, Plan
from bridge.inference.services import Services
from bridge.limits.limits import Admission, take_channel
from bridge.providers.base import AttemptFailed, Blame

MAX_ATTEMPTS = 3
MOST_KEYS_TRIED = 2  # of one channel, while another one is well
PASSING_STATUSES = (500, 502, 503, 504, 529)  # after which the same channel may answer a moment later
MAX_BACKOFF_SECONDS = 2.0
UNCONNECTED_SECONDS = 60.0
LEAST_RETRY_AFTER_SECONDS, MOST_RETRY_AFTER_SECONDS = 1.0, 300.0
Choice = tuple[Offer, Route]


class Failover:
    """One request's way through the channels of its models. Every attempt that `choose` begins is ended by `failed`,
    `succeeded` or `leave`."""

    def __init__(
        self,
        services: Services,
        plan: Plan,
        account_id: int,
        request_id: str,
        deadline: float,
        drill: Drill | None = None,
    ):
        self._services = services
        self._drill = drill
        self._offers = plan.offers
        self._account_id = account_id
        self._affinity = Affinity(plan.request, account_id)
        self._request_id = request_id
        self._deadline = deadline
        self._orders: dict[int, list[Route]] = {}
        self._tried: list[Choice] = []
        self._full: dict[int, float] = {}  # routes by their identity, and the seconds until they have room
        self._under_way: Route | None = None
        self._listened: Record | None = None  # what health knows of it
        self._place: Admission | None = None  # what the attempt under way took of its channel's limits
        self._failure: AttemptFailed | None = None
        self._over_budget = False

    def choose(self) -> Choice | None:
        """Choose the model and channel to ask next; an attempt is under way then. Returns None when it is time to give
        up. Before it asks the only channel again, it waits a moment."""
        now, health, account = time.monotonic(), self._services.health, self._account_id
        if not self._tried:
            self._services.retries.note_request(now)
            heard = None
            if not health.all_well:
                heard = self._find_healthy(now, lambda route: not health.is_silent(route, now, account))
            return heard or self._find_healthy(now) or self._find_least_bad(now)
        if len(self._tried) >= MAX_ATTEMPTS or now >= self._deadline:
            return None

        def is_well(route: Route) -> bool:
            return health.is_well(route, now, account)

        found = None
        if self._tried[-1][1].key_id:  # a channel's further keys are tried before other channels, but not all of them
            found = self._find_healthy(now, lambda route: is_well(route) and not self._had_its_keys(route))
        return found or self._find_healthy(now, is_well) or self._find_within_budget(now)

    @property
    def attempts(self) -> int:
        """How many were begun."""
        return len(self._tried)

    def list_choices(self) -> list[Choice]:
        """List what would be tried if each attempt failed. No attempt is under way then."""
        now, health = time.monotonic(), self._services.health
        found = [(offer, route) for place, offer in enumerate(self._offers) for route in self._order(place)]
        return sorted(found, key=lambda choice: health.seconds_out(choice[1], now, self._account_id) > 0)[:MAX_ATTEMPTS]

    def heard(self) -> None:
        """The attempt under way has given a first content; it goes on."""
        if self._listened is not None:
            self._services.health.heard(self._listened)

    def succeeded(self, first_content_seconds: float, whole_seconds: float) -> None:
        """The attempt under way was answered."""
        route, self._under_way = self._under_way, None
        if route is not None:
            self._services.health.succeeded(route, first_content_seconds, whole_seconds, account_id=self._account_id)

    def failed(self, failure: AttemptFailed) -> None:
        """The attempt under way failed; a request's own fault is no verdict on the channel, nor is the sandbox's."""
        self._failure = failure
        route, self._under_way = self._under_way, None
        if route is not None:
            health = self._services.health
            if failure.blame is Blame.REQUEST or route.made_up:
                health.dropped(route, self._account_id)
                if failure.status:
                    self.heard()
            else:
                health.failed(route, _as_verdict(failure), account_id=self._account_id)
        self._give_place_back(0)

    def leave(self, used_tokens: int) -> None:
        """The request has ended, with this many tokens: nothing of its last channel stays taken. May be called
        again."""
        if self._under_way is not None:
            self._services.health.dropped(self._under_way, self._account_id)
            self._under_way = None
        self._give_place_back(used_tokens)

    def explain(self) -> BridgeError:
        """The error that the client gets when no attempt was left, and when it is worth asking again."""
        name, now = self._offers[0].name, time.monotonic()
        routes = [route for offer in self._offers for route in offer.model.routes]
        if not routes:
            return UpstreamError(
                f"No provider is connected for {name} yet. You were not charged.",
                retry_after_seconds=UNCONNECTED_SECONDS,
            )
        soonest = min(max(self._seconds_out(route, now), self._full.get(id(route), 0.0)) for route in routes)
        seconds = min(max(soonest, LEAST_RETRY_AFTER_SECONDS), MOST_RETRY_AFTER_SECONDS)
        if not self._tried:
            return Overloaded(
                f"All upstream channels for {name} are at their limits. You were not charged.",
                retry_after_seconds=seconds,
            )
        if self._over_budget:
            return UpstreamError(
                f"A channel for {name} failed, and too much is being tried again already. You were not charged.",
                retry_after_seconds=seconds,
            )
        return UpstreamError(
            f"All upstream channels for {name} failed. You were not charged.", retry_after_seconds=seconds
        )

    # the channels

    def _find_healthy(self, now: float, fits: Callable[[Route], bool] | None = None) -> Choice | None:
        """The next channel that isn't out, has room and fits: of the first model, unless its attempts are used up."""
        for place, offer in enumerate(self._offers):
            if self._tried and self._is_used_up(place):
                continue
            for route in self._order(place):
                if self._was_tried(route) or self._seconds_out(route, now) > 0:
                    continue
                if (fits is None or fits(route)) and self._begin(offer, route):
                    return offer, route
        return None

    def _find_within_budget(self, now: float) -> Choice | None:
        """A channel that may fail as well, or the same once more: only as far as the worker's budget of retries goes,
        for where much fails, retries would only add to it."""
        retries = self._services.retries
        if not retries.take(now):
            self._over_budget = True
            return None
        found = self._find_healthy(now) or self._find_same_again(now)
        if found is None:
            retries.give_back(now)
        return found

    def _find_least_bad(self, now: float) -> Choice | None:
        """Where no channel is healthy, the one that is back soonest is asked: none is locked out for good."""
        waiting = [
            (self._seconds_out(route, now), place, route)
            for place, offer in enumerate(self._offers)
            for route in self._order(place)
            if id(route) not in self._full
        ]
        for _, place, route in sorted(waiting, key=lambda each: each[:2]):
            if self._begin(self._offers[place], route, probed=True):
                return self._offers[place], route
        return None

    def _find_same_again(self, now: float) -> Choice | None:
        """The only channel there is, after a failure that may have passed, and a moment that grows and is drawn: else
        all would come back at once. A request that it may have begun without answering is not sent to it again."""
        offer, route = self._tried[-1]
        failure = self._failure
        if failure is None or any(tried is not route for _, tried in self._tried):
            return None
        if failure.blame is not Blame.UPSTREAM or not (failure.unsent or failure.status in PASSING_STATUSES):
            return None
        base = self._services.settings.retry_backoff_seconds
        seconds = random.uniform(0, min(MAX_BACKOFF_SECONDS, base * 2 ** (len(self._tried) - 1)))
        if now + seconds >= self._deadline:
            return None
        gevent.sleep(seconds)
        if not self._services.health.may_repeat(route, time.monotonic(), self._account_id):
            return None
        return (offer, route) if self._begin(offer, route) else None

    def _order(self, place: int) -> list[Route]:
        found = self._orders.get(place)
        if found is None:
            model, health = self._offers[place].model, self._services.health
            found = order_routes(
                model.routes,
                health,
                by=model.route_order,
                point=self._affinity,
                account_id=self._account_id,
                keyed=model.keyed,
            )
            if self._drill is not None:
                found = self._drill.lead(found, is_first=place == 0)
            self._orders[place] = found
        return found

    def _seconds_out(self, route: Route, now: float) -> float:
        return self._services.health.seconds_out(route, now, self._account_id)

    def _is_used_up(self, place: int) -> bool:
        """Whether what attempts are left belong to the models after this one: each is to have its chance."""
        tried = {id(offer) for offer, _ in self._tried}
        if id(self._offers[place]) not in tried:
            return False
        later = sum(bool(each.model.routes) and id(each) not in tried for each in self._offers[place + 1 :])
        return len(self._tried) + later >= MAX_ATTEMPTS

    def _was_tried(self, route: Route) -> bool:
        return bool(self._tried) and any(tried is route for _, tried in self._tried)

    def _had_its_keys(self, route: Route) -> bool:
        """Whether so many keys of this channel were tried that another channel comes first: whoever revokes one key
        may have revoked them all."""
        return sum(tried.channel_id == route.channel_id for _, tried in self._tried) >= MOST_KEYS_TRIED

    def _begin(self, offer: Offer, route: Route, *, probed: bool = False) -> bool:
        """Whether the channel had room, and nobody else has just begun to probe it, which is no matter where it is
        `probed` anyway: then an attempt is under way."""
        health = self._services.health
        if not health.begin(route, self._account_id) and not probed:
            return False
        if route.limited and not self._take_place(offer, route):
            health.dropped(route, self._account_id)
            return False
        self._under_way = route
        self._listened = None if route.made_up else health.sent(route, self._account_id)
        self._tried.append((offer, route))
        return True

    def _take_place(self, offer: Offer, route: Route) -> bool:
        settings = self._services.settings
        taken = take_channel(
            self._services.counters,
            route,
            f"{self._request_id}:{len(self._tried)}",
            requests=offer.calls,
            tokens=offer.measure.reserved_tokens,
            lease_seconds=max(0.0, self._deadline - time.monotonic()) + settings.hold_grace_seconds,
        )
        if not isinstance(taken, Admission):
            self._full[id(route)] = taken
            return False
        self._place = taken
        return True

    def _give_place_back(self, used_tokens: int) -> None:
        if self._place is not None:
            self._place.true_up(self._services.counters, used_tokens)
            self._place = None


def _as_verdict(failure: AttemptFailed) -> AttemptFailed:
    """What health is told of a failure: a 503 that says when to come back is as good as a limit that says so."""
    if failure.status != 503 or failure.blame is not Blame.UPSTREAM or not failure.retry_after_seconds:
        return failure
    return AttemptFailed(
        Blame.RATE, failure.reason, status=failure.status, retry_after_seconds=failure.retry_after_seconds
    )
