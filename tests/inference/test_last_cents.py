"""Many clients at once on little money: exactly what the balance pays for is served, on both engines."""

import collections

import gevent
import pytest
import requests
from gevent.pool import Pool

from tests.doors import DOORS, TEXT_DOORS, read_told
from tests.upstream import pauses, says

CLIENTS = 200
AFFORDABLE = 7
CAP = 16  # the least that Responses take
HELD_NANOS = CAP * 2_000
BODY = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 10}


KINDS = ["chat", "completions"]
REFUSED = {**dict.fromkeys(TEXT_DOORS, "insufficient_balance"), "messages": "billing_error"}


def test_200_clients_of_every_door_on_money_for_7_get_7_answers_and_193_times_402(gateway, upstream):
    model = gateway.make.make_model(kinds=KINDS, input_price=0, output_price=2_000_000_000)
    gateway.make.make_channel(upstream.base_url, model)
    upstream.plays(pauses(says("Hello", prompt_tokens=10, completion_tokens=CAP)))
    # a hold is 16 tokens at 2,000 nanos; half of another one is left over
    account = gateway.make.make_account(balance_nanos=AFFORDABLE * HELD_NANOS + HELD_NANOS // 2)
    key = gateway.make.make_key(account)

    def ask(place: int) -> tuple[int, str]:
        door, stream = list(TEXT_DOORS.values())[place % len(TEXT_DOORS)], place % 8 < 4
        body = door.ask(model, "Hello!", stream=stream, cap=CAP)
        url = f"{gateway.site_url}{door.path}"
        answer = requests.post(url, json=body, headers=key.headers, timeout=60)
        told = read_told(door, answer.content, stream=stream and answer.ok)
        if answer.ok:
            assert (told.end, told.text, told.cost) == ("done", "Hello", "0.000032")
        else:
            assert told.error["type" if door.name == "messages" else "code"] == REFUSED[door.name]
        return answer.status_code, told.end

    pool = Pool(CLIENTS)
    asking = [pool.spawn(ask, place) for place in range(CLIENTS)]
    with gevent.Timeout(60):
        while sum(each.ready() for each in asking) < CLIENTS - AFFORDABLE:  # the refused ones wait for nobody
            gevent.sleep(0.05)
    upstream.resume()
    gevent.joinall(asking, timeout=60)
    counts = collections.Counter(each.get() for each in asking)
    assert counts == {(200, "done"): AFFORDABLE, (402, "error"): CLIENTS - AFFORDABLE}
    assert gateway.make.find_money(account.id) == (HELD_NANOS // 2, 0)
    assert len(upstream.requests) == AFFORDABLE
    assert gateway.make.check_ledger() == []


def test_a_keys_budget_ends_before_the_balance_does_whichever_doors_it_goes_by(gateway, upstream):
    model = gateway.make.make_model(input_price=0, output_price=2_000_000_000)
    gateway.make.make_channel(upstream.base_url, model)
    upstream.plays(says("Hello", prompt_tokens=10, completion_tokens=CAP))
    key = gateway.make.make_key(budget_day_nanos=3 * HELD_NANOS + 10_000)
    answers = [
        requests.post(
            f"{gateway.site_url}{door.path}",
            json=door.ask(model, "Hello!", stream=False, cap=CAP),
            headers=key.headers,
            timeout=60,
        )
        for door in (*DOORS.values(), *DOORS.values())
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 402, 402, 402]
    errors = [answer.json()["error"] for answer in answers[3:]]
    assert [error.get("code", error["type"]) for error in errors] == [
        *("key_budget_exceeded", "billing_error", "key_budget_exceeded")
    ]
    shown = requests.get(f"{gateway.base_url}/key", headers=key.headers, timeout=60).json()
    assert shown["budgets"] == [shown["budget"]]
    assert shown["budget"].pop("starts_again_at").endswith("T00:00:00+00:00")
    assert shown["budget"] == {"amount": "0.000106", "period": "day", "remaining": "0.00001"}


def test_an_answer_without_a_cap_is_capped_by_a_quarter_of_the_balance_and_says_so(gateway, upstream):
    model = gateway.make.make_model(input_price=0, output_price=2_000_000_000, max_output_tokens=4096)
    gateway.make.make_channel(upstream.base_url, model)
    account = gateway.make.make_account(balance_nanos=4 * 1000 * 2_000)
    key = gateway.make.make_key(account)
    body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}
    answer = requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60)
    assert answer.headers["x-bridge-clamped"] == "max_tokens=1000"
    assert upstream.requests[-1].json["max_tokens"] == 1000
    body |= {"max_tokens": 5}
    answer = requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60)
    assert "x-bridge-clamped" not in answer.headers
    assert upstream.requests[-1].json["max_tokens"] == 5


def test_x_bridge_max_cost_refuses_what_could_cost_more(gateway, upstream):
    model = gateway.make.make_model(input_price=0, output_price=2_000_000_000)
    gateway.make.make_channel(upstream.base_url, model)
    key = gateway.make.make_key()
    for limit, status in (("0.00001", 402), ("0.00002", 200), ("lots", 400)):
        headers = {**key.headers, "x-bridge-max-cost": limit}
        url = f"{gateway.base_url}/chat/completions"
        assert requests.post(url, json=BODY | {"model": model}, headers=headers, timeout=60).status_code == status


def test_counts_that_cannot_be_true_are_brought_within_what_is_possible(gateway, upstream):
    model = gateway.make.make_model(input_price=1_000_000_000, output_price=2_000_000_000)
    gateway.make.make_channel(upstream.base_url, model)
    upstream.plays(says("Hello", prompt_tokens=32_768, completion_tokens=32_768))
    for stream in (False, True):
        key = gateway.make.make_key()
        body = BODY | {"model": model, "stream": stream}
        answer = requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60)
        assert answer.status_code == 200
        usage = gateway.make.list_usage(key.account_id)[-1]
        assert usage.completion_tokens == 10
        assert usage.prompt_tokens <= 32_768
        assert usage.request_id in {line["request_id"] for line in gateway.log_lines("usage_clamped")}


@pytest.mark.parametrize("counts", [(-5, 2), (7, -1), ("7", 2), (7.5, 2)], ids=str)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_count_that_is_none_is_replaced_by_our_own(gateway, upstream, counts, stream):
    """Neither free of charge nor a failure: the answer is there."""
    model = gateway.make.make_model(input_price=1_000_000_000, output_price=2_000_000_000)
    gateway.make.make_channel(upstream.base_url, model)
    key = gateway.make.make_key()
    prompt, completion = counts
    upstream.plays(says("Hello", " there", prompt_tokens=prompt, completion_tokens=completion))
    body = BODY | {"model": model, "stream": stream}
    answer = requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60)
    assert (answer.status_code, "there" in answer.text) == (200, True)
    (usage,) = gateway.make.list_usage(key.account_id)
    assert (usage.outcome, usage.tokens_source) == ("complete", "mixed")
    assert usage.prompt_tokens == 7 if prompt == 7 else usage.prompt_tokens > 7  # what is a count stands
    assert usage.completion_tokens == 2 if completion == 2 else usage.completion_tokens > 2
    assert usage.charge_nanos == usage.prompt_tokens * 1000 + usage.completion_tokens * 2000
    assert usage.request_id in {line["request_id"] for line in gateway.log_lines("usage_not_believed")}
