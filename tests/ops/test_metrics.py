"""GET /metrics: what Prometheus reads is what the ledger has, over all workers, also of one that is gone."""

from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
import requests
from flask import Flask
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app import create_app
from bridge.metrics import _observe_all
from tests.factories import DOLLAR
from tests.gateway import Gateway
from tests.rooms import close_rooms, make_settings
from tests.served import Served
from tests.upstream import ScriptedUpstream, fails, says

TOKEN = "scrape-Zq83hTr0-4b1c"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def gateway(start_gateway: Callable[..., Gateway]) -> Gateway:
    return start_gateway("postgresql", web_concurrency=2, metrics_token=TOKEN)


def scrape(gateway: Gateway) -> Samples:
    answer = requests.get(f"{gateway.site_url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def total(samples: Samples, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (found, has), value in samples.items() if found == name and wanted <= has)


def await_total(gateway: Gateway, number: float, name: str, **labels: str) -> Samples:
    with gevent.Timeout(30):
        while total(samples := scrape(gateway), name, **labels) < number:
            gevent.sleep(0.05)
    return samples


def test_metrics_are_the_ledger_s_over_all_workers_and_outlive_one(gateway: Gateway, upstream: ScriptedUpstream):
    served = Served(gateway, upstream.base_url)
    first = iter([fails(500)])
    upstream.plays(lambda request: next(first, says("Hello", " there"))(request))
    answers = [served.post(stream) for stream in (False, True) * 4]
    assert [answer.status_code for answer in answers] == [200] * 8
    refused = requests.post(f"{gateway.base_url}/chat/completions", json={}, timeout=30)
    assert refused.status_code == 401
    samples = await_total(gateway, 8, "bridge_requests_total", status="200")
    await_total(gateway, 1, "bridge_refusals_total", status="401", code="invalid_api_key")

    rows = [row for row in gateway.make.list_usage(served.key.account_id) if row.charge_nanos]
    where = {"model": rows[0].model_id, "provider": "openai"}
    assert total(samples, "bridge_requests_total", **where, endpoint="chat", outcome=rows[0].outcome) == 8
    charged = sum(row.charge_nanos for row in rows) / DOLLAR
    assert total(samples, "bridge_revenue_dollars_total", **where) == pytest.approx(charged)
    assert total(samples, "bridge_cost_dollars_total", **where) == pytest.approx(
        sum(row.cost_nanos for row in rows) / DOLLAR
    )
    for kind, column in (("input", "prompt_tokens"), ("output", "completion_tokens")):
        counted = sum(getattr(row, column) for row in rows)
        assert total(samples, "bridge_tokens_total", **where, type=kind) == counted
    assert total(samples, "bridge_request_seconds_count", model=where["model"]) == 8
    assert total(samples, "bridge_request_seconds_bucket", model=where["model"], le="+Inf") == 8
    assert total(samples, "bridge_first_token_seconds_count", model=where["model"]) == 4  # streamed
    assert total(samples, "bridge_upstream_attempts_total", outcome="200") == 8
    assert total(samples, "bridge_upstream_attempts_total", outcome="500") == 1
    assert total(samples, "bridge_holds") == 0
    assert total(samples, "bridge_database_up") == 1
    assert total(samples, "bridge_job_runs_total", job="sweep", outcome="ok") >= 1

    gateway.kill_worker()
    assert total(scrape(gateway), "bridge_requests_total", status="200") == 8


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_metrics_open_by_their_token_alone(app: Flask, database_url: str, tmp_path: Path):
    assert app.test_client().get("/metrics").status_code == 404
    open_app = create_app(make_settings(tmp_path, database_url=database_url, metrics_token=TOKEN))
    client = open_app.test_client()
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer \xe9"}):
        answer = client.get("/metrics", headers=header)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert b"bridge_holds 0.0" in client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).data
    close_rooms(open_app)


def test_values_observed_together_are_those_observed_one_by_one():
    values = [0.1, 0.25, 0.3, 1, 1.0001, 7, 60, 61, 10**6]
    texts = []
    for together in (False, True):
        registry = CollectorRegistry()
        histogram = Histogram("seconds", "…", registry=registry, buckets=(0.25, 1, 60))
        if together:
            _observe_all(histogram, values)
        else:
            for value in values:
                histogram.observe(value)
        texts.append([line for line in generate_latest(registry).splitlines() if b"_created" not in line])
    assert texts[0] == texts[1]
