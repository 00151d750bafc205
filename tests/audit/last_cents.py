"""The race for the last cents: many clients at once, by every door, on every worker, and money for a few of them."""

import collections
import random

import gevent
import requests
from gevent.pool import Pool

from tests.doors import TEXT_DOORS
from tests.gateway import Gateway
from tests.upstream import ScriptedUpstream, pauses, says

OUTPUT_PRICE = 2_000_000_000  # nano-dollars per million tokens
CAP = 16  # the least that Responses take
HELD_NANOS = CAP * 2_000
MOST_AFFORDABLE = 12


def race(gateway: Gateway, upstream: ScriptedUpstream, *, clients: int, rounds: int) -> list[str]:
    """Whatever differs from what the balance pays for; [] if nothing does."""
    kinds = ["chat", "completions"]
    model = gateway.make.make_model(input_price=0, output_price=OUTPUT_PRICE, kinds=kinds)
    gateway.make.make_channel(upstream.base_url, model)
    found, doors = [], list(TEXT_DOORS.values())
    for number in range(rounds):
        affordable = random.Random(number).randint(1, MOST_AFFORDABLE)
        rest = random.Random(-number).randrange(HELD_NANOS)
        account = gateway.make.make_account(affordable * HELD_NANOS + rest)
        keys = [gateway.make.make_key(account) for _ in range(4)]
        upstream.plays(pauses(says("Hello", prompt_tokens=10, completion_tokens=CAP)))

        def ask(place: int, model: str = model, keys: list = keys) -> int:
            headers = keys[place % len(keys)].headers | {"Connection": "close"}
            door = doors[place % len(doors)]
            body = door.ask(model, "Hello!", stream=place % 8 < 4, cap=CAP)
            url = f"{gateway.site_url}{door.path}"
            return requests.post(url, json=body, headers=headers, timeout=60).status_code

        pool = Pool(clients)
        asking = [pool.spawn(ask, place) for place in range(clients)]
        with gevent.Timeout(60, False):
            while sum(each.ready() for each in asking) < clients - affordable:  # the refused wait for nobody
                gevent.sleep(0.02)
        upstream.resume()
        gevent.joinall(asking, timeout=60, raise_error=True)
        counts = collections.Counter(each.value for each in asking)
        money = gateway.make.find_money(account.id)
        if counts != {200: affordable, 402: clients - affordable} or money != (rest, 0):
            found.append(f"round {number}: money for {affordable}, answers {dict(counts)}, balance and held {money}")
    return found + gateway.make.check_ledger()
