"""Which channel serves a request, and what becomes of it when one can't: the answer, the ledger and the receipt."""

import collections
import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import requests
import sqlalchemy as sa
from cryptography.fernet import Fernet

from bridge import versions
from bridge.accounts.customers import set_account_group
from bridge.catalogue.editing import set_route_order, update_channel
from bridge.catalogue.tables import Channel
from bridge.db import db
from tests import services
from tests.failover import FAULTS, MOST_ATTEMPTS, TIMES, Course, drive
from tests.gateway import Gateway
from tests.rooms import make_settings
from tests.services import Databases
from tests.upstream import ScriptedUpstream, fails, says, stalls

DOLLAR = 1_000_000_000
WORDS = {"prompt_tokens": 10, "completion_tokens": 5}
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
Upstreams = Callable[[int], list[ScriptedUpstream]]


@pytest.fixture
def upstreams() -> Iterator[Upstreams]:
    """As many as a test needs; each says its number."""
    opened: list[ScriptedUpstream] = []

    def open_some(count: int) -> list[ScriptedUpstream]:
        for number in range(count):
            opened.append(ScriptedUpstream())
            opened[-1].plays(says(f"from {number}", **WORDS))
        return opened

    yield open_some
    for each in opened:
        each.close()


class Served:
    """A caller of one gateway, and what its requests came to."""

    def __init__(self, gateway: Gateway, **key: Any):
        self.gateway, self.make = gateway, gateway.make
        self.key = self.make.make_key(**key)

    def post(self, model: str, text: str = "Hello!", path: str = "chat/completions", **more: Any) -> requests.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        url, stream = f"{self.gateway.base_url}/{path}", bool(more.get("stream"))
        return requests.post(url, json=body, headers=self.key.headers, stream=stream, timeout=60)

    def receipt(self, answer: requests.Response) -> dict[str, Any]:
        url = f"{self.gateway.base_url}/requests/{answer.headers['x-request-id']}"
        found: dict[str, Any] = requests.get(url, headers=self.key.headers, timeout=60).json()
        return found

    def spent(self) -> int:
        """Nano-dollars; nothing may be held any more."""
        balance, held = self.make.find_money(self.key.account_id)
        assert held == 0
        return 10 * DOLLAR - balance

    def change(self, room: Callable[..., object], *arguments: object, **fields: object) -> None:
        """What an operator changes, until the gateway knows it."""
        with self.make.app.app_context():
            room(*arguments, **fields)
        self.make.wait_for_gateway()


def text_of(answer: requests.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


# the order


@ON_SQLITE
def test_a_conversation_stays_with_its_channel_and_others_share_by_weight(gateway, upstreams):
    served, model = Served(gateway), gateway.make.make_model()
    for weight, each in zip((3, 1), upstreams(2), strict=True):
        gateway.make.make_channel(each.base_url, model, weight=weight)
    first = {text: text_of(served.post(model, text)) for text in map(str, range(60))}
    shares = collections.Counter(first.values())
    assert 33 <= shares["from 0"] <= 56
    long = [{"role": "user", "content": "7"}, {"role": "assistant", "content": "So?"}, {"role": "user", "content": "!"}]
    for _ in range(3):
        assert text_of(served.post(model, messages=long)) == first["7"]
    keyed = {text_of(served.post(model, str(number), prompt_cache_key="mine")) for number in range(8)}
    assert len(keyed) == 1


@ON_SQLITE
def test_the_cheapest_channel_comes_first_and_the_row_says_what_it_cost(gateway, upstreams):
    served, model = Served(gateway), gateway.make.make_model()
    for cost_bps, each in zip((10_000, 7_500), upstreams(2), strict=True):
        gateway.make.make_channel(each.base_url, model, cost_bps=cost_bps, weight=1 if cost_bps < 10_000 else 1000)
    served.change(set_route_order, model, "cost")
    assert {text_of(served.post(model, str(number))) for number in range(6)} == {"from 1"}
    row = gateway.make.list_usage(served.key.account_id)[-1]
    assert (row.charge_nanos, row.cost_nanos) == (20_000, 15_000)


@ON_SQLITE
def test_the_quickest_channel_comes_first_once_all_were_measured(gateway, upstreams):
    served, model = Served(gateway), gateway.make.make_model()
    slow, quick = upstreams(2)
    play = says("slow", **WORDS)
    slow.plays(lambda request: gevent.sleep(0.3) or play(request))
    for each in (slow, quick):
        gateway.make.make_channel(each.base_url, model)
    served.change(set_route_order, model, "latency")
    said = collections.Counter(text_of(served.post(model, str(number))) for number in range(20))
    assert 1 <= said["slow"] <= 5  # to be measured, and now and then again


# groups


@ON_SQLITE
def test_a_channel_of_a_group_serves_only_its_accounts_in_models_and_quotes_too(gateway, upstream):
    served, model = Served(gateway), gateway.make.make_model()
    gateway.make.make_channel(upstream.base_url, model, groups=["vip"])

    def status() -> str:
        url = f"{gateway.base_url}/models/{model}"
        return str(requests.get(url, headers=served.key.headers, timeout=60).json()["status"])

    refused = served.post(model)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "upstream_error")
    assert served.post(model, path="quote").json()["route"] == []
    assert status() == "unavailable"
    served.change(set_account_group, served.key.account_id, "vip")
    assert served.post(model).status_code == 200
    assert len(served.post(model, path="quote").json()["route"]) == 1
    assert status() == "live"


# models to fall back on


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_next_model_serves_at_its_own_price_and_the_answer_says_which(gateway, upstreams, stream):
    served = Served(gateway)
    asked, spare = gateway.make.make_model(), gateway.make.make_model(input_price=DOLLAR // 10, output_price=DOLLAR)
    dear = gateway.make.make_model(input_price=50 * DOLLAR, output_price=50 * DOLLAR)
    broken, good = upstreams(2)
    broken.plays(fails(500))
    gateway.make.make_channel(broken.base_url, asked)
    gateway.make.make_channel(good.base_url, spare)
    fields = {"models": [asked, spare, dear], "stream": stream, "max_tokens": 10}
    quote = served.post(asked, path="quote", **fields).json()
    answer = served.post(asked, **fields)
    data = answer.text.replace(": ", ":")
    assert "from 1" in data
    assert f'"model":"{spare}"' in data
    assert f'"model":"{asked}"' not in data
    assert answer.headers["x-bridge-attempts"] == "2"
    assert "x-bridge-dropped" not in answer.headers
    receipt = served.receipt(answer)
    assert receipt["model"] == {"asked": asked, "served": spare, "upstream": spare}
    assert receipt["hold"] == quote["hold"]
    assert float(receipt["hold"]) > 10 * 50e-6  # what the dearest could have cost
    assert served.spent() == 10 * 100 + 5 * 1000
    assert "models" not in good.requests[0].json


@ON_SQLITE
def test_each_model_of_the_list_has_its_chance_within_three_attempts(gateway, upstreams):
    served, asked, spare = Served(gateway), gateway.make.make_model(), gateway.make.make_model()
    *broken, good = upstreams(4)
    for each in broken:
        each.plays(fails(503))
        gateway.make.make_channel(each.base_url, asked)
    gateway.make.make_channel(good.base_url, spare)
    answer = served.post(asked, models=[spare])
    assert text_of(answer) == "from 3"
    assert answer.headers["x-bridge-attempts"] == "3"


@ON_SQLITE
def test_a_wrong_entry_of_the_list_is_named(gateway, upstream):
    make = gateway.make
    model, other = make.make_model(), make.make_model()
    make.make_channel(upstream.base_url, model)
    served = Served(gateway, models=[model])
    unknown = served.post(model, models=[model, "no-such-model"])
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (404, "models[1]")
    foreign = served.post(model, models=[other])
    assert (foreign.status_code, foreign.json()["error"]["param"]) == (403, "models[0]")
    assert served.post(model, models=[model] * 4).status_code == 400
    assert served.post(model, models=[model] * 3).status_code == 200


# the channels' own limits


@ON_SQLITE
def test_a_full_channel_is_passed_over_and_when_all_are_full_it_says_how_long(gateway, upstreams):
    served, model = Served(gateway), gateway.make.make_model()
    first, second = upstreams(2)
    gateway.make.make_channel(first.base_url, model, priority=0, rpm=1)
    gateway.make.make_channel(second.base_url, model, rpm=2)
    answers = [served.post(model) for _ in range(4)]
    assert [text_of(answer) for answer in answers[:3]] == ["from 0", "from 1", "from 1"]
    assert {answer.headers["x-bridge-attempts"] for answer in answers[:3]} == {"1"}
    full = answers[3]
    assert (full.status_code, full.json()["error"]["code"]) == (503, "overloaded")
    assert 5 <= int(full.headers["retry-after"]) <= 120  # until the window has moved on, not just a moment
    assert served.receipt(full)["attempts"] == []
    assert served.spent() == 3 * 20_000


@ON_SQLITE
def test_a_channels_tokens_are_counted_as_used_and_its_leases_come_back(gateway, upstream):
    served, model = Served(gateway), gateway.make.make_model()
    name = gateway.make.make_channel(upstream.base_url, model, tpm=1000, concurrency=1)
    upstream.plays(says("Hi", **WORDS))
    for _ in range(5):  # each reserves some hundred tokens, uses fifteen, and runs alone
        assert served.post(model, max_tokens=400).status_code == 200
    served.change(update_channel, name, tpm=None)
    upstream.plays(stalls())
    with contextlib.closing(served.post(model, stream=True)):  # opened by a keep-alive, and left
        pass
    upstream.plays(fails(500))
    with gevent.Timeout(60):
        while (code := served.post(model).json()["error"]["code"]) == "overloaded":
            gevent.sleep(0.05)
    assert code == "upstream_error"
    upstream.plays(says("Hi", **WORDS))
    with gevent.Timeout(60):
        while served.post(model).status_code != 200:
            gevent.sleep(0.05)


# failover


@ON_SQLITE
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_only_channel_is_asked_again_after_what_may_pass(gateway, upstream, stream):
    served, model = Served(gateway), gateway.make.make_model()
    gateway.make.make_channel(upstream.base_url, model)
    upstream.plays(fails(503), fails(529), says("At last", **WORDS))
    answer = served.post(model, stream=stream)
    assert "At last" in answer.text
    assert [attempt["outcome"] for attempt in served.receipt(answer)["attempts"]][-1] == "200"
    assert answer.headers["x-bridge-attempts"] == "3"
    assert served.spent() == 20_000


@ON_SQLITE
@pytest.mark.parametrize("fault", ["hangs up", "429", "401", "404"])
def test_the_only_channel_is_not_asked_again_where_that_is_no_use_or_would_do_it_twice(gateway, upstream, fault):
    served, model = Served(gateway), gateway.make.make_model()
    gateway.make.make_channel(upstream.base_url, model)
    upstream.plays(FAULTS[fault]())
    answer = served.post(model)
    assert (answer.status_code, len(upstream.requests)) == (503, 1)
    assert served.spent() == 0


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("stream", [False, True])
def test_a_channel_whose_key_no_master_key_opens_is_the_next_ones_turn(gateway, upstreams, stream):
    first, second = upstreams(2)
    model, key = gateway.make.make_model(), gateway.make.make_key()
    channels = [gateway.make.make_channel(each.base_url, model, priority=at) for at, each in enumerate((first, second))]
    sealed = Fernet(Fernet.generate_key()).encrypt(b"sk-lost").decode()
    with gateway.make.app.app_context():
        db.session.execute(sa.update(Channel).where(Channel.name == channels[0]).values(sealed_key=sealed))
        versions.bump("catalogue")
        db.session.commit()
        gateway.make.wait_for_gateway()
    body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}], "stream": stream}
    url = f"{gateway.base_url}/chat/completions"
    answers = [requests.post(url, json=body, headers=key.headers, timeout=60) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert all("from 1" in answer.text for answer in answers)
    assert first.requests == []
    (line,) = [line for line in gateway.log_lines("channel_out") if line["channel"] == channels[0]]
    assert "FERNET_KEYS" in str(line)


@ON_SQLITE
def test_all_failed_says_when_a_channel_is_back(gateway, upstream):
    served, model = Served(gateway), gateway.make.make_model()
    for _ in range(2):
        gateway.make.make_channel(upstream.base_url, model)
    upstream.plays(fails(503, headers="Retry-After: 4000\r\n"), fails(503, headers="Retry-After: 40\r\n"), fails(500))
    answer = served.post(model)
    assert answer.status_code == 503
    assert 30 <= int(answer.headers["retry-after"]) <= 40
    upstream.plays(fails(503, headers="Retry-After: 4000\r\n"))
    alone = gateway.make.make_model()
    gateway.make.make_channel(upstream.base_url, alone)
    assert 290 <= int(served.post(alone).headers["retry-after"]) <= 300


def test_moving_on_to_a_channel_that_is_well_takes_nothing_from_the_budget_of_retries(start_gateway, upstreams):
    # however slow the machine: while nobody waits for long, no channel seems to have fallen silent
    patient = dict.fromkeys(("first_content_timeout_seconds", "answer_timeout_seconds", "total_timeout_seconds"), 300)
    gateway = start_gateway("sqlite", retries_always=0, **patient)
    served, model = Served(gateway), gateway.make.make_model()
    bad, good = upstreams(2)
    bad.plays(fails(500))
    for priority, each in enumerate((bad, good)):
        gateway.make.make_channel(each.base_url, model, priority=priority)
    for stream in (False, True):
        asked = [gevent.spawn(served.post, model, str(number), stream=stream) for number in range(40)]
        for one in asked:
            assert "from 1" in one.get().text
    assert len(bad.requests) >= 5  # each of them a request that was moved on


def test_what_goes_to_channels_that_fail_too_has_a_budget(start_gateway, upstream):
    gateway = start_gateway("sqlite", retries_always=10)
    served = Served(gateway)
    models = [gateway.make.make_model() for _ in range(8)]
    for model in models:
        for _ in range(3):  # of their own, so that none is out before
            gateway.make.make_channel(upstream.base_url, model)
    upstream.plays(fails(500))
    first = [served.post(model) for model in models]
    assert {len(served.receipt(answer)["attempts"]) for answer in first} == {3}  # nothing was known against them
    answers = [served.post(model) for model in models for _ in range(2)]
    attempts = sum(len(served.receipt(answer)["attempts"]) for answer in answers)
    assert attempts - len(answers) in range(10, 21)  # ten, and once more where a window ended meanwhile
    assert "tried again" in answers[-1].json()["error"]["message"]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert served.spent() == 0


@pytest.fixture(scope="module")
def patient(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Gateway]]:
    """A gateway of each engine with a production's budget of retries and cooldown, started when first asked for."""
    running: dict[str, Gateway] = {}
    redis = services.open_redis()

    def find(engine: str) -> Gateway:
        if engine not in running:
            more = {"web_concurrency": 2, "redis_url": next(redis)} if engine == "postgresql" else {}
            folder = tmp_path_factory.mktemp(f"patient-{engine}")
            settings = make_settings(folder, database_url=databases.open(engine), **TIMES, **more)
            running[engine] = Gateway(settings, folder / "log")
        return running[engine]

    yield find
    gevent.joinall([gevent.spawn(gateway.stop) for gateway in running.values()], raise_error=True)
    redis.close()


@pytest.mark.parametrize(
    ("engine", "fault"), [*zip(itertools.cycle(("sqlite", "postgresql")), FAULTS, strict=False)], indirect=["engine"]
)
def test_one_of_three_channels_may_fail_in_any_way(patient, engine, fault):
    check_course(drive(patient(engine), fault, requests_count=60, clients=20))


@pytest.mark.parametrize("fault", ["500", "falls silent", "35 % fail"])
@pytest.mark.parametrize(
    ("engine", "clients"),
    [("sqlite", 8), ("postgresql", 40), ("sqlite", 100), ("postgresql", 100)],
    indirect=["engine"],
)
def test_however_many_ask_at_once_one_failing_channel_of_three_is_not_felt(patient, engine, fault, clients):
    check_course(drive(patient(engine), fault, requests_count=3 * clients, clients=clients))


def check_course(course: Course) -> None:
    assert (course.answered, course.complaints) == (course.requests, []), course.refusals
    assert course.attempts <= MOST_ATTEMPTS * course.requests


@ON_SQLITE
def test_when_all_fail_there_are_three_attempts_at_most_and_nothing_is_charged(gateway):
    course = drive(gateway, "500", requests_count=10, broken=3)
    assert (course.answered, course.complaints) == (0, [])
    assert course.most_attempts <= 3
